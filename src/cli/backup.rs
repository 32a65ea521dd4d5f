//! `grapevine backup` and `grapevine restore`: everything that a node holds, as a file, and back again.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;
use tokio::{fs::File, task::spawn_blocking};

use super::bundle::{Node, keep, print};
use crate::{
    bundle::{Restored, restore},
    clock::SystemClock,
    model::rfc3339,
};

/// Writes everything that a node holds at one moment into a file.
///
/// The node goes on meanwhile, and takes writes. The file is checked as it comes and gets its name only when it is whole. It
/// holds all data of the cluster that the node has, so keep it as you keep the node's directory. `restore` makes a
/// directory from it; `bundle import` takes it into a node that runs.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  grapevine backup --node http://home:7801 -o monday.backup")]
pub(super) struct Backup {
    #[command(flatten)]
    node: Node,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Backup {
    /// Runs to its end.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let node = self.node.client()?;
        let written = async |file: &mut File, bar: &ProgressBar| {
            let progress = |bytes| bar.set_position(bytes);
            node.bundles().backup(file, progress).await
        };
        let verified = keep(&self.output, "backing up", written).await?;
        let told = json!({ "partitions": verified.partitions, "entities": verified.entities });
        print(&told.to_string())
    }
}

/// Makes a data directory from a backup.
///
/// A node that is started on it is a new member with what the backup holds: it joins the cluster that has moved on since, or
/// begins one anew. A damaged file is refused before anything is made, and so is a directory in which something is.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  grapevine restore monday.backup --data /var/lib/grapevine")]
pub(super) struct Restore {
    /// The backup, or a bundle of everything
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The directory to make; it may be there if it is empty
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

impl Restore {
    /// Runs to its end.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self { file, data } = self;
        let making = move || {
            restore(&file, &data, Arc::new(SystemClock))
                .with_context(|| format!("{} cannot be restored", file.display()))
        };
        let Restored { header, contents } = spawn_blocking(making).await??;
        let at = rfc3339(grapevine_crdt::Timestamp::from_unix_ms(header.unix_ms));
        let told = json!({
            "cluster": header.cluster,
            "node": header.node,
            "at": at,
            "partitions": contents.partitions,
            "entities": contents.entities,
        });
        print(&told.to_string())
    }
}
