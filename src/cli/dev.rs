//! `grapevine dev`: a cluster in one process, to try things out.

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use comfy_table::{Table, presets};
use tokio::time::{sleep, timeout};

use super::{flags::SettingFlags, listen::Wanted, stop::Stop};
use crate::{
    config::{ConfigError, NodeConfig, Origin, Scope},
    logging::Logging,
    node::Node,
};

/// How long the welcome waits for the nodes to find each other; usually that takes less than a second.
const JOIN_WAIT: Duration = Duration::from_secs(5);

/// How often they are asked.
const JOIN_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Runs a small cluster in one process, to try things out.
///
/// The nodes listen on loopback, each with its own data directory, and join through the first. Ctrl-C closes
/// them; the next run goes on with the same data.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  grapevine dev --nodes 3")]
pub(super) struct Dev {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=16))]
    nodes: u16,
    /// The directory that holds a data directory for each node
    #[arg(long, default_value = "./grapevine-data", value_name = "DIR")]
    data: PathBuf,
    /// The HTTP port of the first node, the others take those that follow; 0 takes free ones
    #[arg(long, default_value_t = 7801, value_name = "PORT")]
    http_port: u16,
    /// The peer port of the first node, the others take those that follow; 0 takes free ones
    #[arg(long, default_value_t = 7901, value_name = "PORT")]
    peer_port: u16,
    #[command(flatten)]
    settings: SettingFlags<false>,
}

impl Dev {
    /// Starts the nodes and returns when they are closed.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let layers = self.settings.layers()?;
        layers.refuse(
            Scope::Identity,
            "`dev` chooses it for each of its nodes; see `grapevine dev --help`, or use `grapevine serve`",
        )?;
        let mut configs = Vec::new();
        for index in 0..self.nodes {
            configs.push(layers.complete(self.node(index)?)?);
        }
        Logging::from_settings(&layers, "warn")?.start();
        let mut stop = Stop::catch()?;
        for config in &configs {
            look_at(config)?;
        }
        let nodes = start(configs).await?;
        if timeout(JOIN_WAIT, joined(&nodes)).await.is_err() {
            tracing::warn!("the nodes have not all found each other yet");
        }
        tell(&welcome(&nodes));
        stop.requested().await?;
        tell("\nClosing; the next run goes on with the same data.");
        stop.close(close(nodes)).await
    }

    fn node(&self, index: u16) -> Result<NodeConfig, ConfigError> {
        let name = format!("node-{}", index + 1);
        let data = self.data.join(&name);
        let http = address("http_port", self.http_port, index, self.nodes)?;
        let peer = address("peer_port", self.peer_port, index, self.nodes)?;
        Ok(NodeConfig::new(name, data, http, peer))
    }
}

/// A node that runs, and what the table says of it.
struct Running {
    name: String,
    data: PathBuf,
    node: Node,
}

/// The address of the node `index` of `nodes` if the first has the port `first`, as `key` says.
fn address(
    key: &'static str,
    first: u16,
    index: u16,
    nodes: u16,
) -> Result<SocketAddr, ConfigError> {
    let port = match first {
        0 => 0,
        first => first
            .checked_add(index)
            .ok_or_else(|| ConfigError::NotAllowed {
                key,
                value: first.to_string(),
                origin: Origin::Flag(format!("--{}", key.replace('_', "-"))),
                allowed: format!("0 to {} with {nodes} nodes", u16::MAX - (nodes - 1)),
            })?,
    };
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn look_at(config: &NodeConfig) -> anyhow::Result<()> {
    let name = &config.name;
    Wanted {
        address: config.http,
        udp: false,
        what: &format!("HTTP of {name}"),
        flag: "--http-port",
    }
    .check()?;
    Wanted {
        address: config.peer,
        udp: true,
        what: &format!("peers of {name}"),
        flag: "--peer-port",
    }
    .check()
}

/// Starts the first, then the others with it as seed. If one cannot start, those before it are closed.
async fn start(configs: Vec<NodeConfig>) -> anyhow::Result<Vec<Running>> {
    let mut nodes: Vec<Running> = Vec::new();
    for mut config in configs {
        if let Some(first) = nodes.first() {
            config.seeds = vec![first.node.peer_addr().to_string()];
        }
        let (name, data) = (config.name.clone(), config.data.clone());
        match Node::start(config).await {
            Ok(node) => nodes.push(Running { name, data, node }),
            Err(error) => {
                close(nodes).await;
                return Err(error).with_context(|| format!("cannot start {name}"));
            }
        }
    }
    Ok(nodes)
}

/// Waits until each node sees all and agrees with them, so that what is tried at once works at once.
async fn joined(nodes: &[Running]) {
    for running in nodes {
        let cluster = running.node.cluster();
        while cluster
            .members()
            .await
            .iter()
            .filter(|member| member.alive)
            .count()
            < nodes.len()
        {
            sleep(JOIN_POLL_INTERVAL).await;
        }
        let _late = cluster.converged(JOIN_WAIT).await;
    }
}

async fn close(nodes: Vec<Running>) {
    let mut closing = tokio::task::JoinSet::new();
    for running in nodes {
        closing.spawn(running.node.shutdown());
    }
    closing.join_all().await;
}

/// The table and three lines to try.
fn welcome(nodes: &[Running]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header([
        "name",
        "HTTP address",
        "peer address",
        "data directory",
    ]);
    for running in nodes {
        table.add_row([
            running.name.clone(),
            url(running),
            running.node.peer_addr().to_string(),
            shown(&running.data),
        ]);
    }
    let node = |index: usize| url(&nodes[index.min(nodes.len() - 1)]);
    format!(
        "{table}\n\n\
         Write on one node, read on another, look at the cluster:\n\n  \
         curl -X PUT {}/v1/kv/greeting -H 'content-type: text/plain' -d 'hello'\n  \
         curl {}/v1/kv/greeting\n  \
         curl {}/v1/cluster\n\n\
         Ctrl-C closes the nodes; the next run goes on with the same data.",
        node(0),
        node(1),
        node(2),
    )
}

fn url(running: &Running) -> String {
    format!("http://{}", running.node.http_addr())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A reader that is gone does not end the cluster.
fn tell(text: &str) {
    let mut out = io::stdout().lock();
    let _reader_gone = writeln!(out, "{text}").and_then(|()| out.flush());
}
