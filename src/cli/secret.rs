//! `grapevine secret`: the secret that the nodes of a cluster share.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::secret::{Secret, Secrets};

/// Makes and names the secret that the nodes of a cluster share.
#[derive(Debug, Args)]
pub(super) struct SecretCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    New(New),
    Show(Show),
}

/// Prints a new secret, on a line of its own.
///
/// Put it into a file that only the user of the nodes can read, the same on every node, and name that file with
/// `cluster_secret_file`; or into the environment variable `GRAPEVINE_CLUSTER_SECRET`. Whoever has it is a member.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  grapevine secret new > secret")]
struct New {}

/// Prints the fingerprints of the secrets in a file, the one to send with first: what logs call them.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  grapevine secret show /etc/grapevine/secret")]
struct Show {
    /// The file
    file: PathBuf,
}

impl SecretCommand {
    /// Answers on standard output.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        match self.action {
            Action::New(New {}) => writeln!(out, "{}", *Secret::random().reveal())?,
            Action::Show(Show { file }) => {
                let secrets = Secrets::read(&file)?;
                for keys in secrets.keys("") {
                    writeln!(out, "{}", keys.fingerprint)?;
                }
            }
        }
        out.flush().context("cannot write the answer")
    }
}
