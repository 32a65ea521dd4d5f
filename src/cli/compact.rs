//! `grapevine compact`: the files of a closed store, as small as they can be.

use std::process::ExitCode;

use clap::Args;

use super::closed::{ClosedStore, cannot_open};
use crate::store;

/// Gives the space that a closed store does not use back to the file system.
///
/// A file never shrinks by itself: what was deleted leaves room for what is written next. Compacting moves what
/// is held to the front of the file. If it is cut short, the store is as it was.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  grapevine compact --data /var/lib/grapevine\n\nExit codes: 0 done, 1 it failed, 2 the store cannot be opened."
)]
pub(super) struct Compact {
    #[command(flatten)]
    store: ClosedStore,
}

impl Compact {
    /// Compacts both files and says how large they were and are.
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        match store::compact(&self.store.data) {
            Ok(compacted) => {
                println!(
                    "{} bytes before, {} after",
                    compacted.before, compacted.after
                );
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => cannot_open(error),
        }
    }
}
