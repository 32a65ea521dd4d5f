//! Which commands there are, and what happens around each of them.

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use super::{
    backup, batch, bundle, cluster, compact, completions, contacts, counter, dev, dump, failure,
    kv, load, mend_clock, ping, secret, serve, stress, token, topic, verify, watch,
};

/// How long the process waits for threads that do not end when the command has ended.
const THREADS_ABANDONED_AFTER: Duration = Duration::from_secs(2);

/// A store for contacts, counters and key-values that stays writable when the network does not.
#[derive(Debug, Parser)]
#[command(
    name = "grapevine",
    version,
    after_help = failure::EXIT_CODES
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Dev(dev::Dev),
    Contacts(contacts::Contacts),
    Counter(counter::CounterCommand),
    Kv(kv::Kv),
    Topic(topic::Topic),
    Batch(batch::Batch),
    Watch(watch::Watch),
    Cluster(cluster::Cluster),
    Ping(ping::Ping),
    Stress(stress::Stress),
    Bundle(bundle::Bundle),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Dump(dump::Dump),
    Load(load::Load),
    Token(token::Token),
    Verify(verify::Verify),
    Compact(compact::Compact),
    MendClock(mend_clock::MendClock),
    Secret(secret::SecretCommand),
    Completions(completions::Completions),
}

/// Runs the command that the arguments of this process name, until it ends.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failure::report(&error.into()),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Serve(serve) => done(serve.run().await),
            Command::Dev(dev) => done(dev.run().await),
            Command::Contacts(contacts) => done(contacts.run().await),
            Command::Counter(counter) => done(counter.run().await),
            Command::Kv(kv) => done(kv.run().await),
            Command::Topic(topic) => done(topic.run().await),
            Command::Batch(batch) => done(batch.run().await),
            Command::Watch(watch) => done(watch.run().await),
            Command::Cluster(cluster) => done(cluster.run().await),
            Command::Ping(ping) => ping.run().await,
            Command::Stress(stress) => done(stress.run().await),
            Command::Verify(verify) => verify.run(),
            Command::Compact(compact) => compact.run(),
            Command::MendClock(mend) => mend.run(),
            Command::Secret(secret) => done(secret.run()),
            Command::Bundle(bundle) => done(bundle.run().await),
            Command::Backup(backup) => done(backup.run().await),
            Command::Restore(restore) => done(restore.run().await),
            Command::Dump(dump) => done(dump.run().await),
            Command::Load(load) => done(load.run().await),
            Command::Token(token) => token.run().await,
            Command::Completions(completions) => done(completions.run::<Cli>()),
        }
    });
    runtime.shutdown_timeout(THREADS_ABANDONED_AFTER);
    match result {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}

fn done(result: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    result.map(|()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _};

    use super::Cli;

    /// Every command that does something, and the words that name it.
    fn leaves(command: &Command, path: &str, found: &mut Vec<(String, Command)>) {
        let mut subcommands = command.get_subcommands().peekable();
        if subcommands.peek().is_none() {
            found.push((path.to_owned(), command.clone()));
        }
        for subcommand in subcommands {
            let path = format!("{path} {}", subcommand.get_name());
            leaves(subcommand, &path, found);
        }
    }

    /// The words of a line of a shell, up to where it goes on to another program or a file.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![None::<String>];
        let mut quote = None;
        for character in line.chars() {
            match (character, quote) {
                ('|' | '>', None) => break,
                ('"' | '\'', None) => {
                    quote = Some(character);
                    last(&mut words);
                }
                (_, Some(open)) if character == open => quote = None,
                (' ', None) => words.push(None),
                _ => last(&mut words).push(character),
            }
        }
        words.into_iter().flatten().collect()
    }

    fn last(words: &mut [Option<String>]) -> &mut String {
        let last = words.last_mut().expect("there is one");
        last.get_or_insert_default()
    }

    #[test]
    fn every_command_has_an_example_that_it_understands() {
        Cli::command().debug_assert();
        let mut found = Vec::new();
        leaves(&Cli::command(), "grapevine", &mut found);
        assert!(found.len() > 20, "{}", found.len());
        for (path, command) in found {
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            let examples: Vec<&str> = help
                .lines()
                .filter_map(|line| Some(&line[line.find("grapevine ")?..]))
                .filter(|example| example.starts_with(&path))
                .collect();
            assert!(!examples.is_empty(), "no example in `{path} --help`");
            for example in examples {
                let parsed = Cli::command().try_get_matches_from(words(example));
                assert!(parsed.is_ok(), "{example}: {:?}", parsed.err());
            }
        }
    }
}
