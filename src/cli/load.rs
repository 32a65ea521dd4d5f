//! `grapevine load`: takes a dump into a cluster.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clap::Args;
use serde_json::Value;
use tokio::{
    sync::{Semaphore, mpsc},
    task::{JoinSet, spawn_blocking},
};

use super::{
    bundle::{Node, print},
    dump_lines::{Counts, Head, Kind, read},
    output::shown,
    progress,
};
use crate::{
    client::{Client, ClientError},
    clock::{SystemClock, WallClock as _},
    model::read_instant,
};

/// How many writes are under way at once.
const UNDER_WAY: usize = 32;
/// How many lines are read ahead.
const LINES_AHEAD: usize = 256;
/// How many refused items are named.
const MAX_NAMED: usize = 20;

/// Takes a dump into a cluster.
///
/// The file is checked to its end before anything is written. Loading it again changes nothing that was loaded: contacts,
/// key-values and settings of topics are put as they are in it, over what is there; what a dump counted is counted once; a
/// message is posted once. Messages get ids and times of their own, in their old order. Counters are counted on, not
/// set: do not load a dump into the cluster that it came from.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  grapevine load everything.jsonl --node http://home:7801")]
pub(super) struct Load {
    #[command(flatten)]
    node: Node,
    /// The dump
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Load {
    /// Runs to its end; what was refused is named, and then it fails.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.node.client()?;
        let (head, counts) = checked(&self.file).await?;
        let bar = progress::items("loading", counts.all());
        let (lines, mut items) = mpsc::channel(LINES_AHEAD);
        let file = self.file.clone();
        let reading = spawn_blocking(move || {
            let mut take = |kind, item| Ok(lines.blocking_send((kind, item))?);
            read(open(&file)?, &mut take)
        });
        let mut loading = Loading::new(client, &head);
        while let Some((kind, item)) = items.recv().await {
            loading.take(kind, item).await?;
            bar.inc(1);
        }
        reading.await??;
        let refused = loading.finish().await?;
        bar.finish_and_clear();
        print(&counts.to_json().to_string())?;
        for refused in refused.iter().take(MAX_NAMED) {
            eprintln!("grapevine: {}", shown(refused));
        }
        match refused.len() {
            0 => Ok(()),
            number => bail!("{number} items were refused; the others are loaded"),
        }
    }
}

fn open(file: &Path) -> anyhow::Result<BufReader<File>> {
    let opened = File::open(file).map(BufReader::new);
    opened.with_context(|| format!("{} cannot be read", file.display()))
}

async fn checked(file: &Path) -> anyhow::Result<(Head, Counts)> {
    let file = file.to_owned();
    let check = move || {
        read(open(&file)?, &mut |_, _| Ok(()))
            .with_context(|| format!("{} cannot be used", file.display()))
    };
    spawn_blocking(check).await?
}

/// Writes under way, a bounded number.
struct Loading {
    client: Client,
    /// Under which counts are counted once.
    key: String,
    places: Arc<Semaphore>,
    under_way: JoinSet<(String, anyhow::Result<()>)>,
    refused: Vec<String>,
}

impl Loading {
    fn new(client: Client, head: &Head) -> Self {
        Self {
            client,
            key: format!("load/{}", head.id),
            places: Arc::new(Semaphore::new(UNDER_WAY)),
            under_way: JoinSet::new(),
            refused: Vec::new(),
        }
    }

    /// Begins to write an item, when there is room. Messages are posted one after another.
    async fn take(&mut self, kind: Kind, item: Value) -> anyhow::Result<()> {
        if kind == Kind::Message {
            self.settle().await?;
        }
        let place = Arc::clone(&self.places).acquire_owned().await?;
        let (client, key) = (self.client.clone(), self.key.clone());
        self.under_way.spawn(async move {
            let _place = place;
            let written = write(&client, kind, &item, &key).await;
            (format!("{} {}", kind.member(), name(kind, &item)), written)
        });
        while let Some(done) = self.under_way.try_join_next() {
            self.note(done?)?;
        }
        Ok(())
    }

    async fn settle(&mut self) -> anyhow::Result<()> {
        while let Some(done) = self.under_way.join_next().await {
            self.note(done?)?;
        }
        Ok(())
    }

    async fn finish(mut self) -> anyhow::Result<Vec<String>> {
        self.settle().await?;
        Ok(self.refused)
    }

    /// What a node refuses is noted; if no node answers, nothing more can be done.
    fn note(&mut self, (what, written): (String, anyhow::Result<()>)) -> anyhow::Result<()> {
        let Err(error) = written else {
            return Ok(());
        };
        let refused = match error.downcast_ref::<ClientError>() {
            Some(client) => client.problem().is_some_and(|problem| problem.status < 500),
            None => true,
        };
        if refused {
            self.refused.push(format!("{what}: {error:#}"));
            return Ok(());
        }
        let what = format!("{what} was not loaded; loading again does no harm");
        Err(error.context(what))
    }
}

/// The member that names an item.
fn name(kind: Kind, item: &Value) -> &str {
    let member = match kind {
        Kind::Contact | Kind::Message => "id",
        Kind::Counter => "name",
        Kind::KeyValue => "key",
        Kind::Topic => "topic",
    };
    item[member].as_str().unwrap_or("?")
}

async fn write(client: &Client, kind: Kind, item: &Value, key: &str) -> anyhow::Result<()> {
    let everything = client.everything();
    let name = name(kind, item);
    let text = |member: &str| {
        let text = item[member].as_str();
        text.with_context(|| format!("it has no {member}"))
    };
    match kind {
        Kind::Contact => everything.put_contact(name, item).await?,
        Kind::Counter => {
            let value = item["value"]
                .as_i64()
                .context("its value is no whole number")?;
            let by = value.unsigned_abs();
            if value > 0 {
                client.counters().increment_once(name, by, key).await?;
            } else if value < 0 {
                client.counters().decrement_once(name, by, key).await?;
            }
        }
        Kind::KeyValue => {
            let bytes = match item["base64"].as_str() {
                Some(base64) => Bytes::from(STANDARD.decode(base64)?),
                None => Bytes::from(text("text")?.to_owned()),
            };
            let ttl_s = match item.get("expires_at") {
                None | Some(Value::Null) => None,
                Some(at) => match left_s(at)? {
                    0 => return Ok(()),
                    left => Some(left),
                },
            };
            let content_type = text("content_type")?;
            everything.put_kv(name, content_type, bytes, ttl_s).await?;
        }
        Kind::Topic => {
            let (count, seconds) = (&item["retain_count"], &item["retain_seconds"]);
            if !(count.is_null() && seconds.is_null()) {
                everything.put_topic(name, count, seconds).await?;
            }
        }
        Kind::Message => {
            let (topic, author, body) = (text("topic")?, text("author")?, text("body")?);
            let key = format!("load/{name}");
            everything.post_once(topic, author, body, &key).await?;
        }
    }
    Ok(())
}

/// How many seconds are left until `at`, rounded up; 0 if it is over.
fn left_s(at: &Value) -> anyhow::Result<u64> {
    let at = read_instant(at).context("expires_at is no time")?;
    let at = u64::try_from(at).unwrap_or(0);
    Ok(at.saturating_sub(SystemClock.unix_ms()).div_ceil(1_000))
}
