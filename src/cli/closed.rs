//! What the commands on a closed store share: naming its directory, and saying why it cannot be opened.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use crate::store::StoreError;

/// The store cannot be opened: it is not there, or a node has it open.
const CANNOT_OPEN: u8 = 2;

/// Whose store.
#[derive(Debug, Args)]
pub(super) struct ClosedStore {
    /// The data directory. No node may have it open.
    #[arg(long, value_name = "DIR")]
    pub(super) data: PathBuf,
}

/// Says that the store could not be opened, or rethrows what happened once it was.
pub(super) fn cannot_open(error: StoreError) -> anyhow::Result<ExitCode> {
    match error {
        StoreError::InUse { .. }
        | StoreError::Directory { .. }
        | StoreError::FileMissing { .. }
        | StoreError::ForeignFile { .. }
        | StoreError::UnknownTable { .. } => {
            eprintln!("grapevine: {error}");
            Ok(ExitCode::from(CANNOT_OPEN))
        }
        other => Err(other.into()),
    }
}
