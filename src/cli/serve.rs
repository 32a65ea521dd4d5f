//! `grapevine serve`: one node of a cluster, until it is told to stop.

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::{flags::SettingFlags, listen::Wanted, stop::Stop};
use crate::{config::NodeConfig, logging::Logging, node::Node, traces::Traces};

/// Runs one node of a cluster.
///
/// Each setting is taken from the first of these that names it: its flag, its environment variable, the
/// settings file, the default. When the node serves, one line of JSON on standard output tells where:
/// {"ready":true,"name":...,"http":...,"peer":...}. Ctrl-C or SIGTERM closes it.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  grapevine serve --name ship --data /var/lib/grapevine --cluster-secret-file /etc/grapevine/secret --http 0.0.0.0:7801 --peer 10.0.0.5:7901 --seed home.example:7901"
)]
pub(super) struct Serve {
    #[command(flatten)]
    settings: SettingFlags<true>,
}

/// What standard output says when the node serves.
#[derive(Debug, Serialize)]
struct Announcement<'a> {
    ready: bool,
    name: &'a str,
    http: String,
    peer: String,
}

impl Serve {
    /// Starts the node and returns when it is closed.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let layers = self.settings.layers()?;
        let config = layers.node()?;
        Logging::from_settings(&layers, "info")?.start();
        let mut stop = Stop::catch()?;
        look_at(&config)?;
        let name = config.name.clone();
        let traces = Traces::start(&name).context("spans cannot be told")?;
        let node = Node::start(config)
            .await
            .with_context(|| format!("cannot start node {name}"))?;
        announce(&Announcement {
            ready: true,
            name: &name,
            http: node.http_addr().to_string(),
            peer: node.peer_addr().to_string(),
        })?;
        stop.requested().await?;
        tracing::info!("closing");
        let closing = async {
            node.shutdown().await;
            traces.close().await;
        };
        stop.close(closing).await
    }
}

fn look_at(config: &NodeConfig) -> anyhow::Result<()> {
    Wanted {
        address: config.http,
        udp: false,
        what: "HTTP",
        flag: "--http",
    }
    .check()?;
    Wanted {
        address: config.peer,
        udp: true,
        what: "peers",
        flag: "--peer",
    }
    .check()?;
    if !config.http.ip().is_loopback() {
        if config.insecure {
            tracing::warn!(
                http = %config.http,
                "insecure: whoever reaches this address can read and write everything until the first token is made"
            );
        }
        if config.tls_cert.is_none() {
            tracing::warn!(
                http = %config.http,
                "HTTP is not encrypted: whoever is on the way can read and use the tokens of clients"
            );
        }
    }
    if !config.peer.ip().is_loopback() && config.cluster_secrets.is_empty() {
        tracing::warn!(
            peer = %config.peer,
            "--insecure: whoever reaches this address can read and write everything; a cluster secret ends that (`grapevine secret new`)"
        );
    }
    Ok(())
}

/// A reader that is gone does not keep the node from serving.
fn announce(announcement: &Announcement<'_>) -> anyhow::Result<()> {
    let line = serde_json::to_string(announcement)?;
    let mut out = io::stdout().lock();
    let _reader_gone = writeln!(out, "{line}").and_then(|()| out.flush());
    Ok(())
}
