//! `grapevine bundle`: what one node holds, as a file for another that no network reaches.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use serde_json::json;
use tokio::{fs::File, task::spawn_blocking};

use super::{nodes::AccessArgs, output::Output, partial::Partial, progress};
use crate::{
    bundle,
    client::{Client, ClientError, ClientOptions},
};

/// Carries data between nodes that share no network.
///
/// On the node that lacks something: `bundle token`. On the node that has it: `bundle export --since` that token.
/// Carry the file over, and there: `bundle import`. Importing a file twice, or an older one after a newer, does
/// no harm; a damaged one is refused whole.
#[derive(Debug, Args)]
pub(super) struct Bundle {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints the token that stands for everything a node holds
    #[command(after_help = "Example:\n  grapevine bundle token --node http://ship:7801")]
    Token(Token),
    /// Writes what a node holds, or what it holds since a token, into a file
    #[command(
        after_help = "Example:\n  grapevine bundle export --node http://home:7801 --since TOKEN -o for-the-ship"
    )]
    Export(Export),
    /// Takes a file into a node
    #[command(
        after_help = "Example:\n  grapevine bundle import for-the-ship --node http://ship:7801"
    )]
    Import(Import),
}

#[derive(Debug, Args)]
pub(super) struct Node {
    /// Where the node serves HTTP: one, for what is asked is what one node holds
    #[arg(long, default_value = "http://127.0.0.1:7801", value_name = "URL")]
    node: String,
    #[command(flatten)]
    access: AccessArgs,
}

impl Node {
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let options = ClientOptions::default().node(&self.node)?;
        Ok(self.access.add_to(options)?.connect()?)
    }
}

#[derive(Debug, Args)]
struct Token {
    #[command(flatten)]
    node: Node,
}

#[derive(Debug, Args)]
struct Export {
    #[command(flatten)]
    node: Node,
    /// What the other node holds already, as `bundle token` or its last import told [default: nothing]
    #[arg(long, value_name = "TOKEN")]
    since: Option<String>,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Args)]
struct Import {
    #[command(flatten)]
    node: Node,
    /// The file to take in
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Bundle {
    /// Runs to its end. What it answers is on standard output.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::Token(token) => {
                let token = token.node.client()?.bundles().token().await?;
                print(&token)?;
            }
            Action::Export(wanted) => wanted.run().await?,
            Action::Import(wanted) => wanted.run().await?,
        }
        Ok(())
    }
}

impl Export {
    /// Writes beside the file and puts it in place only when it is whole.
    async fn run(self) -> anyhow::Result<()> {
        let node = self.node.client()?;
        let since = self.since.as_deref();
        let written = async |file: &mut File, bar: &ProgressBar| {
            let progress = |bytes| bar.set_position(bytes);
            node.bundles().export(since, file, progress).await
        };
        let verified = keep(&self.output, "exporting", written).await?;
        let told = json!({ "partitions": verified.partitions, "entities": verified.entities });
        print(&told.to_string())
    }
}

impl Import {
    /// A file that is not whole is not even sent.
    async fn run(self) -> anyhow::Result<()> {
        let node = self.node.client()?;
        verify(&self.file).await?;
        let answer = node.bundles().import(&self.file).await?;
        print(&answer.to_string())
    }
}

/// Has `write` write beside the file `output`, and puts that in place only when it is a whole bundle.
pub(super) async fn keep(
    output: &Path,
    doing: &'static str,
    write: impl AsyncFnOnce(&mut File, &ProgressBar) -> Result<(), ClientError>,
) -> anyhow::Result<bundle::Imported> {
    let partial = Partial::of(output);
    let mut file = File::create(partial.path())
        .await
        .with_context(|| format!("{} cannot be written", partial.path().display()))?;
    let bar = progress::growing(doing);
    let written = write(&mut file, &bar).await;
    bar.finish_and_clear();
    written?;
    let verified = verify(partial.path()).await?;
    partial
        .keep()
        .with_context(|| format!("{} cannot be written", output.display()))?;
    Ok(verified)
}

pub(super) fn print(line: &str) -> anyhow::Result<()> {
    let mut output = Output::new(false);
    output.line(line)?;
    output.flush()
}

async fn verify(path: &Path) -> anyhow::Result<bundle::Imported> {
    let path = path.to_owned();
    spawn_blocking(move || {
        let file =
            fs::File::open(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        bundle::verify(std::io::BufReader::new(file))
            .with_context(|| format!("{} cannot be used", path.display()))
    })
    .await?
}
