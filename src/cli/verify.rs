//! `grapevine verify`: whether a closed store is what it says it is.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::Args;

use super::closed::{ClosedStore, cannot_open};
use crate::{model::PARTITIONS, store};

/// Checks a closed store and changes nothing.
///
/// Every row is read: the hash of each entity, the log and the indexes, the digests, counts and vectors, and
/// the chain of the journal are computed anew and compared. What is wrong is told in plain words, a line each.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  grapevine verify --data /var/lib/grapevine\n\nExit codes: 0 sound, 1 something is wrong, 2 the store cannot be opened."
)]
pub(super) struct Verify {
    #[command(flatten)]
    store: ClosedStore,
}

impl Verify {
    /// Checks it and says what it found.
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let on_terminal = io::stderr().is_terminal();
        let mut wrong: u64 = 0;
        let checked = store::verify(
            &self.store.data,
            &mut |finding| {
                wrong += 1;
                match finding.partition {
                    Some(partition) => println!("partition {partition}: {}", finding.what),
                    None => println!("{}", finding.what),
                }
            },
            &mut |partition| {
                if on_terminal {
                    eprint!("\rpartition {} of {PARTITIONS}", partition.index() + 1);
                    let _unseen = io::stderr().flush();
                }
            },
        );
        if on_terminal {
            eprintln!();
        }
        match checked {
            Ok(entities) if wrong == 0 => {
                println!("{entities} entities: everything is as it should be");
                Ok(ExitCode::SUCCESS)
            }
            Ok(entities) => {
                println!("{entities} entities: {wrong} things are wrong");
                Ok(ExitCode::FAILURE)
            }
            Err(error) => cannot_open(error),
        }
    }
}
