//! `grapevine dump`: what a cluster shows, as lines of JSON for people and other tools.
//!
//! It is read through one node as any client reads, page by page: what is written meanwhile may be in it or not. `backup` is
//! for restoring; this is for looking, moving elsewhere, and keeping what no program of today need be there to read.

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    bundle::Node,
    dump_lines::{Counts, DUMP_VERSION, Kind},
    output::gone,
    partial::Partial,
    progress,
};
use crate::{
    client::{Client, List},
    clock::{SystemClock, WallClock as _},
    model::rfc3339,
};

/// Writes contacts, counters, key-values and topics as lines of JSON.
///
/// The first line tells the version, the last one how much there is. What was deleted, conflicts, and who counted what are
/// not in it: for a copy from which a node can be restored, see `backup`. `load` takes it into a cluster.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  grapevine dump -o everything.jsonl\n  grapevine dump --node http://ship:7801 | jq .contact.name"
)]
pub(super) struct Dump {
    #[command(flatten)]
    node: Node,
    /// The file to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Dump {
    /// Runs to its end.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.node.client()?;
        let Some(output) = &self.output else {
            let out = BufWriter::new(io::stdout());
            return write(&client, out).await.map(drop);
        };
        let partial = Partial::of(output);
        let written = async {
            let file = fs::File::create(partial.path())?;
            let counts = write(&client, BufWriter::new(&file)).await?;
            file.sync_all()?;
            partial.keep()?;
            Ok::<Counts, anyhow::Error>(counts)
        };
        let counts = written.await;
        let counts = counts.with_context(|| format!("{} was not written", output.display()))?;
        super::bundle::print(&counts.to_json().to_string())
    }
}

async fn write(client: &Client, out: impl Write) -> anyhow::Result<Counts> {
    let bar = progress::counting("dumping");
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut dumping = Dumping {
        client,
        out,
        counts: Counts::default(),
        bar,
    };
    let status = client.cluster().status().await?;
    let at = grapevine_crdt::Timestamp::from_unix_ms(SystemClock.unix_ms());
    dumping.line(&json!({
        "grapevine_dump": DUMP_VERSION,
        "id": Uuid::now_v7().to_string(),
        "cluster": status.node.cluster,
        "node": status.node.name,
        "at": rfc3339(at),
    }))?;
    let everything = client.everything();
    dumping.all(Kind::Contact, everything.contacts()).await?;
    dumping.all(Kind::Counter, everything.counters()).await?;
    dumping.key_values().await?;
    let mut topics = everything.topics();
    while let Some(topic) = topics.next().await? {
        let name = topic["topic"].as_str().unwrap_or_default().to_owned();
        dumping.item(Kind::Topic, topic)?;
        let messages = everything.messages(&name);
        dumping.all(Kind::Message, messages).await?;
    }
    let end = json!({ "end": dumping.counts.to_json() });
    dumping.line(&end)?;
    dumping.out.flush().map_err(gone)?;
    dumping.bar.finish_and_clear();
    Ok(dumping.counts)
}

struct Dumping<'a, W> {
    client: &'a Client,
    out: W,
    counts: Counts,
    bar: ProgressBar,
}

impl<W: Write> Dumping<'_, W> {
    async fn all(&mut self, kind: Kind, mut list: List<Value>) -> anyhow::Result<()> {
        while let Some(item) = list.next().await? {
            self.item(kind, item)?;
        }
        Ok(())
    }

    async fn key_values(&mut self) -> anyhow::Result<()> {
        let mut keys = self.client.everything().keys();
        while let Some(mut entry) = keys.next().await? {
            let Some(key) = entry["key"].as_str() else {
                bail!("the node lists a key without a name: {entry}");
            };
            let read = self.client.kv().get(key).await;
            let read = read.with_context(|| format!("the key {key} cannot be read"))?;
            // It has gone since the list was read.
            let Some(read) = read else {
                continue;
            };
            entry["content_type"] = read.value.content_type.into();
            match std::str::from_utf8(&read.value.bytes) {
                Ok(text) => entry["text"] = text.into(),
                Err(_) => entry["base64"] = STANDARD.encode(&read.value.bytes).into(),
            }
            self.item(Kind::KeyValue, entry)?;
        }
        Ok(())
    }

    fn item(&mut self, kind: Kind, item: Value) -> anyhow::Result<()> {
        self.counts.add(kind);
        self.bar.inc(1);
        let mut line = serde_json::Map::new();
        line.insert(kind.member().to_owned(), item);
        self.line(&Value::Object(line))
    }

    fn line(&mut self, line: &Value) -> anyhow::Result<()> {
        writeln!(self.out, "{line}").map_err(gone)
    }
}
