//! Starting a node, and closing it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use grapevine_crdt::ReplicaId;
use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_blocking},
};
use tokio_util::sync::CancellationToken;

use super::{
    NodeError,
    absence::Absence,
    addresses::Addresses,
    catching_up::CatchUp,
    census::{Census, LastCount},
    expiry::Expiry,
    http,
    membership::{Known, Membership, read_roster},
    retention::Keeping,
    trimming::{Trimming, TrimmingTask},
    view::View,
};
use crate::{
    clock::{SystemClock, WallClock},
    cluster::{ClusterView, Gossip, GossipConfig, GossipTotals, Member, Roster},
    config::NodeConfig,
    store::{Store, StoreError, StoreOptions},
    sync::{
        driver::{Driver, DriverConfig, DriverTotals, LocalPeer},
        engine::EngineConfig,
        transport::{TcpConnector, TcpTransport},
    },
};

/// A node that runs until [`Self::shutdown`].
pub struct Node {
    name: String,
    http_addr: SocketAddr,
    peer_addr: SocketAddr,
    store: Store,
    driver: Driver,
    gossip: Arc<Gossip>,
    cluster: Arc<dyn ClusterView>,
    http_stopping: CancellationToken,
    http: JoinHandle<()>,
    membership_stopping: CancellationToken,
    membership: JoinHandle<()>,
    /// What trims conflicts, keeps topics within their bounds, removes what has expired, and counts what is held.
    loops: [TrimmingTask; 4],
}

impl Node {
    /// Starts a node: binds its addresses, opens its store, and serves. Waits for no other node.
    pub async fn start(config: NodeConfig) -> Result<Self, NodeError> {
        Self::start_with_clock(config, Arc::new(SystemClock)).await
    }

    /// As [`Self::start`], with a wall clock other than the system's.
    pub async fn start_with_clock(
        config: NodeConfig,
        clock: Arc<dyn WallClock>,
    ) -> Result<Self, NodeError> {
        config.validate()?;
        let addresses = Addresses::bind(&config).await?;
        let store = open_store(&config, Arc::clone(&clock)).await?;
        match Self::run(config, addresses, store.clone(), clock).await {
            Ok(node) => Ok(node),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it serves HTTP.
    #[must_use]
    pub const fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Where it listens for peers.
    #[must_use]
    pub const fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }

    /// What it holds.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// What the cluster looks like from it.
    #[must_use]
    pub fn cluster(&self) -> &dyn ClusterView {
        &*self.cluster
    }

    /// What sync has counted since the start.
    #[must_use]
    pub fn sync_totals(&self) -> DriverTotals {
        self.driver.totals()
    }

    /// What gossip has counted since the start.
    #[must_use]
    pub fn gossip_totals(&self) -> GossipTotals {
        self.gossip.totals()
    }

    /// Closes it: HTTP answers what it accepted, sync sends what was committed, the store closes its files.
    pub async fn shutdown(self) {
        self.http_stopping.cancel();
        let _panicked = self.http.await;
        self.membership_stopping.cancel();
        let _panicked = self.membership.await;
        for running in self.loops {
            running.stop().await;
        }
        self.driver.shutdown().await;
        self.gossip.shutdown().await;
        self.store.close().await;
    }

    /// Everything above the store.
    async fn run(
        config: NodeConfig,
        addresses: Addresses,
        store: Store,
        clock: Arc<dyn WallClock>,
    ) -> Result<Self, NodeError> {
        let local = LocalPeer {
            cluster: config.cluster.clone(),
            name: config.name.clone(),
            http: addresses.http_advertised.to_string(),
            peer: addresses.peer_advertised.to_string(),
        };
        let listener = TcpTransport::new(addresses.peer).map_err(|source| NodeError::Listen {
            what: "peer",
            address: addresses.peer_addr,
            source,
        })?;
        let member = Member {
            name: local.name.clone(),
            http: local.http.clone(),
            peer: local.peer.clone(),
            store_id: store.identity().store_id,
        };
        let roster = Roster::new(store.clone());
        let replica = enter(&roster, &member).await?;
        let driver_config = driver_config(&config, local.clone());
        let driver = Driver::start(
            driver_config,
            store.clone(),
            clock.clone(),
            listener,
            TcpConnector,
        );
        let period = Duration::from_millis(config.gossip_interval_ms);
        let gossip_config = GossipConfig {
            cluster: config.cluster.clone(),
            name: config.name.clone(),
            boots: store.identity().boots,
            advertised: addresses.peer_advertised,
            http: local.http.clone(),
            seeds: config.seeds.clone(),
            interval: period,
        };
        let gossip = Arc::new(Gossip::start(
            gossip_config,
            clock.clone(),
            addresses.gossip,
        ));
        let (known_sender, known) = watch::channel(Arc::new(Known::default()));
        let membership = Membership {
            ourselves: member,
            replica,
            seeds: config.seeds.clone(),
            store: store.clone(),
            roster: roster.clone(),
            gossip: Arc::clone(&gossip),
            driver: driver.clone(),
            known: known_sender,
            max_offline: Duration::from_secs(config.max_offline_s),
            absence: Absence::default(),
        };
        let membership_stopping = CancellationToken::new();
        let membership = tokio::spawn(membership.run(period, membership_stopping.clone()));
        let catching_up = CatchUp {
            store: store.clone(),
            driver: driver.clone(),
            known: known.clone(),
            has_seeds: !config.seeds.is_empty(),
        };
        let catching_up = catching_up.start(membership_stopping.clone());
        let count = LastCount::default();
        let cluster: Arc<dyn ClusterView> = Arc::new(View {
            local,
            started: Instant::now(),
            store: store.clone(),
            roster,
            driver: driver.clone(),
            known,
            gossip: Arc::clone(&gossip),
            count: Arc::clone(&count),
            catching_up,
        });
        let loops = start_loops(&config, &store, &cluster, &clock, count);
        let http_stopping = CancellationToken::new();
        let name = config.name.clone();
        let http = tokio::spawn(http::serve(http::Parts {
            listener: addresses.http,
            store: store.clone(),
            cluster: Arc::clone(&cluster),
            config,
            clock,
            stopping: http_stopping.clone(),
        }));
        tracing::info!(
            name,
            http = %addresses.http_addr,
            peer = %addresses.peer_addr,
            %replica,
            "a node serves"
        );
        Ok(Self {
            name,
            http_addr: addresses.http_addr,
            peer_addr: addresses.peer_addr,
            store,
            driver,
            gossip,
            cluster,
            http_stopping,
            http,
            membership_stopping,
            membership,
            loops,
        })
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("name", &self.name)
            .field("http_addr", &self.http_addr)
            .field("peer_addr", &self.peer_addr)
            .finish_non_exhaustive()
    }
}

/// What this node does now and then, one of the members for each thing.
fn start_loops(
    config: &NodeConfig,
    store: &Store,
    cluster: &Arc<dyn ClusterView>,
    clock: &Arc<dyn WallClock>,
    count: LastCount,
) -> [TrimmingTask; 4] {
    let keeping = Keeping {
        store: store.clone(),
        cluster: cluster.clone(),
        clock: clock.clone(),
        most: config.topic_retention(),
        counted: Mutex::default(),
    };
    let expiry = Expiry {
        store: store.clone(),
        cluster: cluster.clone(),
        clock: clock.clone(),
        max_clock_skew_ms: config.max_clock_skew_ms,
    };
    let census = Census {
        store: store.clone(),
        clock: clock.clone(),
        last: count,
    };
    [
        Trimming::start(store.clone(), cluster.clone(), clock.clone()),
        TrimmingTask::start(keeping),
        TrimmingTask::start(expiry),
        TrimmingTask::start(census),
    ]
}

/// Opening replays the journal, which may take seconds.
async fn open_store(config: &NodeConfig, clock: Arc<dyn WallClock>) -> Result<Store, NodeError> {
    let options = store_options(config);
    let opened = spawn_blocking(move || Store::open(options, clock)).await;
    Ok(opened.unwrap_or(Err(StoreError::Closed))?)
}

fn store_options(config: &NodeConfig) -> StoreOptions {
    StoreOptions {
        cache_bytes: config.cache_mib * 1024 * 1024,
        compact_at_start: config.compact_at_start,
        ..StoreOptions::new(config.data.clone())
    }
}

/// Enters this life into the roster, and strikes those of the same store before it.
async fn enter(roster: &Roster, member: &Member) -> Result<ReplicaId, NodeError> {
    let replica = roster.enter(member).await?;
    for (earlier, entry) in read_roster(roster).await?.members {
        if entry.store_id == member.store_id && earlier != replica {
            roster.strike(earlier).await?;
        }
    }
    Ok(replica)
}

fn driver_config(config: &NodeConfig, local: LocalPeer) -> DriverConfig {
    let engine = EngineConfig {
        probe_period_ms: config.pull_interval_ms,
        ..EngineConfig::default()
    };
    DriverConfig {
        engine,
        scrub_pause: (config.scrub_pause_ms > 0)
            .then(|| Duration::from_millis(config.scrub_pause_ms)),
        ..DriverConfig::new(local, config.max_clock_skew_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_of_the_storage_does_not_reach_it() {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = NodeConfig::new("ann", "data".into(), free, free);
        assert!(!store_options(&config).compact_at_start);
        config.compact_at_start = true;
        config.cache_mib = 8;
        let options = store_options(&config);
        assert!(options.compact_at_start);
        assert_eq!(options.cache_bytes, 8 * 1024 * 1024);
    }
}
