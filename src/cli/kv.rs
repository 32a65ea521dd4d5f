//! `grapevine kv`: key-values.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::{Args, Subcommand};
use serde_json::json;
use tokio::task::spawn_blocking;

use super::{
    listed::{self, Most},
    nodes::NodeArgs,
    output::{Output, shown},
};
use crate::client::{Client, Condition, Tagged, Value};

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
/// The most bytes that are read of what is to be stored; nodes take fewer.
const MAX_READ_BYTES: u64 = 64 * 1_024 * 1_024;

/// Reads and writes key-values.
#[derive(Debug, Args)]
pub(super) struct Kv {
    #[command(flatten)]
    nodes: NodeArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Writes the bytes stored under a key to standard output, as they are
    #[command(after_help = "Example:\n  grapevine kv get greetings/en")]
    Get {
        /// The key
        key: String,
    },
    /// Stores bytes under a key
    #[command(
        after_help = "Examples:\n  grapevine kv put greetings/en --value hello\n  \
            grapevine kv put logo logo.png --content-type image/png\n  \
            date | grapevine kv put now\n  \
            grapevine kv put lock --value mine --if-absent --ttl 60"
    )]
    Put(Put),
    /// Deletes keys; one that is not there is no error
    #[command(after_help = "Example:\n  grapevine kv rm greetings/en greetings/vi")]
    Rm {
        /// The keys
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
    },
    /// Lists keys
    #[command(after_help = "Example:\n  grapevine kv ls greetings/")]
    Ls {
        /// Only keys that begin with this
        #[arg(default_value = "")]
        prefix: String,
        #[command(flatten)]
        most: Most,
    },
}

#[derive(Debug, Args)]
struct Put {
    /// The key
    key: String,
    /// The file whose bytes are stored; `-` is standard input
    #[arg(
        default_value = "-",
        conflicts_with = "value",
        hide_default_value = true
    )]
    file: PathBuf,
    /// The text that is stored, in place of a file
    #[arg(long, value_name = "TEXT")]
    value: Option<String>,
    /// The media type [default: text for --value, else application/octet-stream]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// For how many seconds it stays [default: for ever]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_153_600_000))]
    ttl: Option<u64>,
    /// Only if nothing is stored there, as far as the node knows
    #[arg(long, conflicts_with = "if_match")]
    if_absent: bool,
    /// Only if what is stored still has this tag, as `kv get --json` tells it
    #[arg(long, value_name = "TAG")]
    if_match: Option<String>,
}

impl Kv {
    /// Runs to its end.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.nodes.client()?;
        let mut output = self.nodes.output();
        match self.action {
            Action::Get { key } => get(&client, &mut output, &key).await?,
            Action::Put(put) => put.run(&client, &mut output).await?,
            Action::Rm { keys } => {
                for key in keys {
                    client.kv().delete(&key).await?;
                    if output.is_json() {
                        output.json_line(&json!({ "key": key, "deleted": true }))?;
                    }
                }
            }
            Action::Ls { prefix, most } => {
                let keys = client.kv().list(&prefix);
                let header = ["KEY", "BYTES", "TYPE", "UPDATED"];
                listed::print(&mut output, keys, &most, header, |entry| {
                    [
                        shown(&entry.key),
                        entry.size.to_string(),
                        shown(&entry.content_type),
                        entry.updated_at.clone(),
                    ]
                })
                .await?;
            }
        }
        output.flush()
    }
}

async fn get(client: &Client, output: &mut Output, key: &str) -> anyhow::Result<()> {
    let Some(Tagged { value, tag }) = client.kv().get(key).await? else {
        bail!("nothing is stored under {}", shown(key));
    };
    if !output.is_json() {
        return output.bytes(&value.bytes);
    }
    let Value {
        content_type,
        bytes,
    } = value;
    let mut answer = json!({
        "key": key,
        "content_type": content_type,
        "size": bytes.len(),
        "etag": tag,
    });
    match std::str::from_utf8(&bytes) {
        Ok(text) => answer["text"] = text.into(),
        Err(_) => answer["base64"] = BASE64_STANDARD.encode(&bytes).into(),
    }
    output.json_line(&answer)
}

impl Put {
    async fn run(self, client: &Client, output: &mut Output) -> anyhow::Result<()> {
        let condition = match self.if_match {
            Some(tag) => Condition::Unchanged(tag),
            None if self.if_absent => Condition::Absent,
            None => Condition::None,
        };
        let (bytes, default) = match self.value {
            Some(text) => (text.into_bytes(), TEXT),
            None => (read(&self.file).await?, BYTES),
        };
        let content_type = self.content_type.as_deref().unwrap_or(default);
        let kv = client.kv();
        let tag = match self.ttl {
            None => {
                kv.put_if(&self.key, content_type, bytes, &condition)
                    .await?
            }
            Some(ttl_s) => {
                kv.put_for(&self.key, content_type, bytes, ttl_s, &condition)
                    .await?
            }
        };
        if output.is_json() {
            output.json_line(&json!({ "key": self.key, "etag": tag }))?;
        }
        Ok(())
    }
}

/// All of a file, or of standard input.
pub(super) async fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let source = file.to_owned();
    let reading = spawn_blocking(move || {
        let mut bytes = Vec::new();
        let most = MAX_READ_BYTES + 1;
        if source.as_os_str() == "-" {
            io::stdin().lock().take(most).read_to_end(&mut bytes)?;
        } else {
            File::open(source)?.take(most).read_to_end(&mut bytes)?;
        }
        Ok::<_, io::Error>(bytes)
    });
    let bytes = reading
        .await?
        .with_context(|| format!("{} cannot be read", file.display()))?;
    if bytes.len() as u64 > MAX_READ_BYTES {
        bail!(
            "{} has more than the {MAX_READ_BYTES} bytes that a node may take",
            file.display()
        );
    }
    Ok(bytes)
}
