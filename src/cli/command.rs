//! Which commands there are, and what happens around each of them.

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use super::{bundle, dev, failure, serve};

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
            Command::Serve(serve) => serve.run().await,
            Command::Dev(dev) => dev.run().await,
            Command::Bundle(bundle) => bundle.run().await,
        }
    });
    runtime.shutdown_timeout(THREADS_ABANDONED_AFTER);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
