//! What a user of a cluster waits for, measured over loopback: `cargo bench --bench cluster`, with the name of
//! one measurement behind `--` to run only that.
//!
//! - `visibility`: the time from the acknowledgement of a write on one node until another serves it.
//! - `writes`: durable writes per second on one of three nodes until all three have them.
//! - `catch-up`: the time that a node which missed writes needs after its start, and the bytes it takes.
//! - `million`: start-up and memory of a node that holds `CONTACTS` contacts (1,000,000 unless set).
//!
//! The first three are measured without a cluster secret and with one. Each runs once and prints its figures; these machines are noisy, so compare within one run.

use std::{
    error::Error,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use grapevine::{
    config::NodeConfig,
    node::Node,
    secret::{Secret, Secrets},
};
use grapevine_crdt::{CausalContext, Cell, FieldCell, FieldKey, Rank, Value};
use reqwest::Client;
use tempfile::TempDir;

type Anyhow<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Anyhow<()> {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    if wants("visibility") {
        for seal in [Seal::Open, Seal::Sealed] {
            visibility(seal).await?;
        }
    }
    if wants("writes") {
        writes().await?;
    }
    if wants("catch-up") {
        for missed in [10_000, 100_000] {
            for seal in [Seal::Open, Seal::Sealed] {
                catch_up(missed, seal).await?;
            }
        }
    }
    if wants("million") {
        million().await?;
    }
    Ok(())
}

/// Whether the nodes have a cluster secret.
#[derive(Clone, Copy, Debug)]
enum Seal {
    Open,
    Sealed,
}

fn config(name: &str, parent: &Path, seeds: Vec<String>, seal: Seal) -> Anyhow<NodeConfig> {
    let any = "127.0.0.1:0".parse()?;
    let mut config = NodeConfig::new(name, parent.join(name), any, any);
    config.seeds = seeds;
    match seal {
        Seal::Open => {}
        Seal::Sealed => config.cluster_secrets = Secrets::new(vec![Secret::from_bytes([7; 32])])?,
    }
    Ok(config)
}

async fn joined(parent: &Path, names: &[&str], seal: Seal) -> Anyhow<Vec<Node>> {
    let mut nodes: Vec<Node> = Vec::new();
    for name in names {
        let seeds = nodes.first().map(|node| node.peer_addr().to_string());
        let seeds = seeds.into_iter().collect();
        nodes.push(Node::start(config(name, parent, seeds, seal)?).await?);
    }
    for node in &nodes {
        wait(Duration::from_secs(30), async || {
            let members = node.cluster().members().await;
            members.iter().filter(|member| member.alive).count() == names.len()
                && members.iter().all(|member| member.agrees)
        })
        .await?;
    }
    Ok(nodes)
}

async fn wait(limit: Duration, mut condition: impl AsyncFnMut() -> bool) -> Anyhow<Duration> {
    let started = Instant::now();
    while !condition().await {
        if started.elapsed() > limit {
            return Err("the condition did not come to hold in time".into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(started.elapsed())
}

async fn visibility(seal: Seal) -> Anyhow<()> {
    const WRITES: usize = 2_000;
    let directory = TempDir::new()?;
    let nodes = joined(directory.path(), &["a", "b", "c"], seal).await?;
    let (writer, reader) = (Client::new(), Client::new());
    let mut delays = Vec::with_capacity(WRITES);
    let mut acknowledgements = Vec::with_capacity(WRITES);
    for number in 0..WRITES {
        let put = format!("http://{}/v1/kv/seen-{number}", nodes[0].http_addr());
        let get = format!("http://{}/v1/kv/seen-{number}", nodes[1].http_addr());
        let started = Instant::now();
        writer.put(put).body("x").send().await?.error_for_status()?;
        let acknowledged = Instant::now();
        acknowledgements.push(acknowledged - started);
        while !reader.get(&get).send().await?.status().is_success() {}
        delays.push(acknowledged.elapsed());
    }
    print_percentiles(
        &format!("{seal:?}: acknowledged write, one after the other"),
        &mut acknowledgements,
    );
    print_percentiles(
        &format!("{seal:?}: from acknowledgement to a read on another node"),
        &mut delays,
    );
    for node in nodes {
        node.shutdown().await;
    }
    Ok(())
}

fn print_percentiles(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!(
        "{what}: median {:?}, 99th percentile {:?} of {}",
        at(50),
        at(99),
        times.len()
    );
}

/// Writes `count` key-values straight into a node's store, many at a time.
async fn fill(node: &Node, name: &str, count: usize) -> Anyhow<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..count {
        let store = node.store().clone();
        let id = grapevine::model::EntityId::new(
            grapevine::model::Collection::Kv,
            format!("{name}-{number}"),
        )?;
        tasks.spawn(async move {
            store
                .write(id, |edit| {
                    let cell = Cell {
                        rank: Rank::at(edit.time),
                        dot: edit.dot,
                        seen: CausalContext::default(),
                        value: Value::Bytes(vec![7; 100]),
                    };
                    let field = FieldKey::Register("value".to_owned());
                    Ok::<_, String>((vec![FieldCell { field, cell }], ()))
                })
                .await
        });
        if tasks.len() >= 1_024 {
            tasks.join_next().await.ok_or("no task")???;
        }
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Turn by turn, so that what else the machine does meets both alike.
async fn writes() -> Anyhow<()> {
    const WRITES: u32 = 40_000;
    const ROUNDS: usize = 5;
    let directory = TempDir::new()?;
    let mut clusters = Vec::new();
    for seal in [Seal::Open, Seal::Sealed] {
        let parent = directory.path().join(format!("{seal:?}"));
        let nodes = joined(&parent, &["a", "b", "c"], seal).await?;
        clusters.push((seal, nodes, Vec::new()));
    }
    for round in 0..=ROUNDS {
        for (_, nodes, rates) in &mut clusters {
            let started = Instant::now();
            fill(&nodes[0], &format!("round-{round}"), WRITES as usize).await?;
            let acknowledged = started.elapsed();
            wait(Duration::from_secs(60), async || {
                let root = |node: &Node| node.store().snapshot().state().root();
                nodes.iter().all(|node| root(node) == root(&nodes[0]))
            })
            .await?;
            // The first round warms up.
            if round > 0 {
                let rate = |time: Duration| f64::from(WRITES) / time.as_secs_f64();
                rates.push((rate(acknowledged), rate(started.elapsed())));
            }
        }
    }
    for (seal, nodes, mut rates) in clusters {
        rates.sort_by(|one, other| one.1.total_cmp(&other.1));
        let (acknowledged, everywhere) = rates[rates.len() / 2];
        println!(
            "{seal:?}: {acknowledged:.0} writes/s acknowledged, {everywhere:.0}/s until all three nodes have them \
             (median of {ROUNDS} rounds of {WRITES}, all: {rates:.0?})"
        );
        for node in nodes {
            node.shutdown().await;
        }
    }
    Ok(())
}

async fn catch_up(missed: usize, seal: Seal) -> Anyhow<()> {
    let directory = TempDir::new()?;
    let mut nodes = joined(directory.path(), &["a", "b", "c"], seal).await?;
    let away = nodes.pop().ok_or("three nodes")?;
    away.shutdown().await;
    fill(&nodes[0], "missed", missed).await?;
    let root = || nodes[0].store().snapshot().state().root();
    wait(Duration::from_secs(60), async || {
        nodes[1].store().snapshot().state().root() == root()
    })
    .await?;
    let seeds = vec![nodes[0].peer_addr().to_string()];
    let started = Instant::now();
    let back = Node::start(config("c", directory.path(), seeds, seal)?).await?;
    let opened = started.elapsed();
    wait(Duration::from_secs(120), async || {
        back.store().snapshot().state().root() == root()
    })
    .await?;
    let caught_up = started.elapsed();
    let traffic = back.sync_totals().traffic;
    println!(
        "{seal:?}: {missed} writes of 100 bytes missed: serving after {opened:?}, caught up after {caught_up:?}, \
         {traffic:?}"
    );
    nodes.push(back);
    for node in nodes {
        node.shutdown().await;
    }
    Ok(())
}

/// A `grapevine serve` process without peers.
struct Served {
    process: Child,
    http: String,
    started_in: Duration,
}

impl Served {
    fn start(data: &Path) -> Anyhow<Self> {
        use std::io::BufRead as _;
        let started = Instant::now();
        let mut process = Command::new(env!("CARGO_BIN_EXE_grapevine"))
            .args(["serve", "--name", "million", "--data"])
            .arg(data)
            .args(["--http", "127.0.0.1:0", "--peer", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let out = process.stdout.take().ok_or("a pipe")?;
        let mut line = String::new();
        std::io::BufReader::new(out).read_line(&mut line)?;
        let ready: serde_json::Value = serde_json::from_str(&line)?;
        let http = ready["http"].as_str().ok_or("an address")?.to_owned();
        Ok(Self {
            process,
            http,
            started_in: started.elapsed(),
        })
    }

    /// The resident memory of the process (`VmRSS` of Linux).
    fn memory(&self) -> Anyhow<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        Ok(line
            .unwrap_or("VmRSS: unknown")
            .replace("VmRSS:", "")
            .trim()
            .to_owned())
    }

    fn stop(mut self, signal: &str) -> Anyhow<()> {
        let id = self.process.id().to_string();
        Command::new("kill").args([signal, &id]).status()?;
        self.process.wait()?;
        Ok(())
    }
}

async fn million() -> Anyhow<()> {
    let contacts: usize = std::env::var("CONTACTS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(1_000_000);
    let directory = TempDir::new()?;
    let data = directory.path().join("million");
    let served = Served::start(&data)?;
    let started = Instant::now();
    create(&served.http, contacts).await?;
    let elapsed = started.elapsed();
    println!(
        "{contacts} contacts created over HTTP in {elapsed:?}, {} of memory then",
        served.memory()?
    );
    served.stop("-TERM")?;
    let served = Served::start(&data)?;
    println!(
        "after a clean close: serving in {:?}, {} of memory then",
        served.started_in,
        served.memory()?
    );
    create(&served.http, contacts.min(50_000)).await?;
    println!("{} of memory after 50,000 more", served.memory()?);
    served.stop("-KILL")?;
    let served = Served::start(&data)?;
    println!(
        "after kill -9 in the middle of that: serving in {:?}",
        served.started_in
    );
    let files: u64 = std::fs::read_dir(&data)?
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|metadata| metadata.len())
        .sum();
    println!("{} MiB on disk", files / (1_024 * 1_024));
    served.stop("-TERM")
}

async fn create(http: &str, contacts: usize) -> Anyhow<()> {
    const CONNECTIONS: usize = 64;
    let client = Client::new();
    let mut tasks = tokio::task::JoinSet::new();
    for connection in 0..CONNECTIONS {
        let client = client.clone();
        let url = format!("http://{http}/v1/contacts");
        tasks.spawn(async move {
            for number in (connection..contacts).step_by(CONNECTIONS) {
                let contact = serde_json::json!({
                    "name": format!("Nguyễn Văn {number}"),
                    "phones": [{"label": "mobile", "number": format!("+84 {number:09}")}],
                    "emails": [{"label": "home", "address": format!("person-{number}@example.org")}],
                    "organization": "Example",
                });
                let answer = client.post(&url).json(&contact).send().await?;
                answer.error_for_status()?;
            }
            Ok::<_, reqwest::Error>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
