//! `grapevine bundle`: what one node holds, as a file for another that no network reaches.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use tokio::{fs::File, task::spawn_blocking};

use super::node_client::NodeClient;
use crate::bundle;

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
    Token(Token),
    /// Writes what a node holds, or what it holds since a token, into a file
    Export(Export),
    /// Takes a file into a node
    Import(Import),
}

#[derive(Debug, Args)]
struct Node {
    /// Where the node serves HTTP
    #[arg(long, default_value = "http://127.0.0.1:7801", value_name = "URL")]
    node: String,
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
                let answer = NodeClient::new(&token.node.node)?
                    .get("/v1/bundle/token")
                    .await?;
                let token = answer["token"].as_str();
                println!("{}", token.context("the node told no token")?);
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
        let node = NodeClient::new(&self.node.node)?;
        let mut partial = self.output.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let mut file = File::create(&partial)
            .await
            .with_context(|| format!("{} cannot be written", partial.display()))?;
        let wanted = json!({ "since": self.since });
        let written = node.download("/v1/bundle/export", &wanted, &mut file).await;
        let verified = match written {
            Ok(()) => verify(&partial).await,
            Err(error) => Err(error),
        };
        let verified = match verified {
            Ok(verified) => verified,
            Err(error) => {
                let _left_behind = fs::remove_file(&partial);
                return Err(error);
            }
        };
        fs::rename(&partial, &self.output)
            .with_context(|| format!("{} cannot be written", self.output.display()))?;
        println!(
            "{}",
            json!({ "partitions": verified.partitions, "entities": verified.entities })
        );
        Ok(())
    }
}

impl Import {
    /// A file that is not whole is not even sent.
    async fn run(self) -> anyhow::Result<()> {
        let node = NodeClient::new(&self.node.node)?;
        verify(&self.file).await?;
        let answer = node.upload("/v1/bundle", &self.file).await?;
        println!("{answer}");
        Ok(())
    }
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
