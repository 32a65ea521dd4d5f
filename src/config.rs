//! The settings of a node, each with its unit, range and default, checked before anything is opened.

use std::{net::SocketAddr, path::PathBuf};

/// The settings of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Its name, unique in the cluster: 1 to 63 characters of `a-z`, `A-Z`, `0-9`, `-`, `_`, `.`.
    pub name: String,
    /// The cluster it belongs to, of the same characters. Default `grapevine`.
    pub cluster: String,
    /// The data directory; made if it is not there.
    pub data: PathBuf,
    /// Where it serves HTTP. Port 0 takes a free one.
    pub http: SocketAddr,
    /// Where it listens for peers: TCP for sync, UDP on the same port for gossip. Port 0 takes a free one.
    pub peer: SocketAddr,
    /// Peer addresses (`host:port`, names allowed) through which it joins.
    pub seeds: Vec<String>,
    /// How often it gossips, in milliseconds: 50 to 60,000. Default 200.
    pub gossip_interval_ms: u64,
    /// How often it probes a random peer, in milliseconds: 50 to 60,000. Default 1,000.
    pub pull_interval_ms: u64,
    /// How far a peer's wall clock may be off, in milliseconds: 1,000 to 3,600,000. Default 60,000.
    pub max_clock_skew_ms: u64,
    /// How much memory the cache of the storage may take, in MiB: 8 to 65,536. Default 256.
    pub cache_mib: usize,
    /// The most bytes of an HTTP request body: 1,024 to 67,108,864. Default 8 MiB.
    pub max_body_bytes: usize,
    /// How long an HTTP request may take, in milliseconds: 100 to 600,000. Default 30,000.
    pub request_timeout_ms: u64,
}

impl NodeConfig {
    /// A node with defaults for everything but these.
    #[must_use]
    pub fn new(name: impl Into<String>, data: PathBuf, http: SocketAddr, peer: SocketAddr) -> Self {
        Self {
            name: name.into(),
            cluster: "grapevine".to_owned(),
            data,
            http,
            peer,
            seeds: Vec::new(),
            gossip_interval_ms: 200,
            pull_interval_ms: 1_000,
            max_clock_skew_ms: 60_000,
            cache_mib: 256,
            max_body_bytes: 8 * 1_024 * 1_024,
            request_timeout_ms: 30_000,
        }
    }
}
