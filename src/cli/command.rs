//! Which commands there are, and what happens around each of them.

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use super::{bundle, compact, dev, failure, mend_clock, serve, verify};

/// How long the process waits for threads that do not end when the command has ended.
const THREADS_ABANDONED_AFTER: Duration = Duration::from_secs(2);

/// A store for contacts, counters and key-values that stays writable when the network does not.
#[derive(Debug, Parser)]
#[command(
    name = "grapevine",
    version,
    after_help = "Exit codes: 0 ended on request, 1 could not start or failed, 2 a wrong command line or setting."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Dev(dev::Dev),
    Bundle(bundle::Bundle),
    Verify(verify::Verify),
    Compact(compact::Compact),
    MendClock(mend_clock::MendClock),
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
            Command::Serve(serve) => serve.run().await.map(|()| ExitCode::SUCCESS),
            Command::Dev(dev) => dev.run().await.map(|()| ExitCode::SUCCESS),
            Command::Verify(verify) => verify.run(),
            Command::Compact(compact) => compact.run(),
            Command::MendClock(mend) => mend.run(),
            Command::Bundle(bundle) => bundle.run().await.map(|()| ExitCode::SUCCESS),
        }
    });
    runtime.shutdown_timeout(THREADS_ABANDONED_AFTER);
    match result {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}
