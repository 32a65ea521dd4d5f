//! What the driver is told when it starts.

use std::time::Duration;

use crate::{
    secret::Keyring,
    sync::{engine::EngineConfig, transport::LinkConfig},
};

/// How this node introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPeer {
    /// The cluster it belongs to.
    pub cluster: String,
    /// Its name.
    pub name: String,
    /// Where others reach its HTTP (`host:port`).
    pub http: String,
    /// Where others reach it for sync (`host:port`).
    pub peer: String,
}

/// The settings of a driver.
#[derive(Clone, Debug)]
pub struct DriverConfig {
    /// How this node introduces itself.
    pub local: LocalPeer,
    /// The keys of the cluster's secret; none on a network where everybody may come.
    pub keyring: Keyring,
    /// How far a peer's wall clock may be off, in milliseconds.
    pub max_clock_skew_ms: u64,
    /// The engine's settings.
    pub engine: EngineConfig,
    /// The bounds of each link.
    pub link: LinkConfig,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long each part of the handshake may take once connected: proving the secret, and saying who one is.
    pub handshake_timeout: Duration,
    /// How long the first retry of an address waits at most; each next twice as long.
    pub min_redial_period: Duration,
    /// How long a retry of an address waits at most.
    pub max_redial_period: Duration,
    /// How long checking what is stored rests after each partition; `None`: it is never checked.
    pub scrub_pause: Option<Duration>,
}

impl DriverConfig {
    /// Defaults for everything but these.
    #[must_use]
    pub fn new(local: LocalPeer, max_clock_skew_ms: u64) -> Self {
        Self {
            local,
            keyring: Keyring::open(),
            max_clock_skew_ms,
            engine: EngineConfig::default(),
            link: LinkConfig::default(),
            connect_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            min_redial_period: Duration::from_millis(100),
            max_redial_period: Duration::from_secs(5),
            scrub_pause: None,
        }
    }
}
