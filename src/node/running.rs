//! Starting a node, and closing it.

use std::{
    collections::BTreeSet,
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
    detour::detour,
    expiry::Expiry,
    http,
    leaving::Leaving,
    membership::{Known, Membership, read_roster},
    retention::Keeping,
    secret_file::SecretFile,
    trimming::{Trimming, TrimmingTask},
    view::View,
};
use crate::{
    clock::{SystemClock, WallClock},
    cluster::{ClusterView, Gossip, GossipConfig, GossipTotals, Member, Roster},
    config::NodeConfig,
    http::Tls,
    secret::Keyring,
    store::{HistoryLimits, Store, StoreError, StoreOptions},
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
    /// What reads the file of secrets again.
    secrets: JoinHandle<()>,
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
        let tls = http::tls(&config)?;
        let addresses = Addresses::bind(&config).await?;
        let store = open_store(&config, Arc::clone(&clock)).await?;
        match Self::run(config, addresses, tls, store.clone(), clock).await {
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
        let _panicked = self.secrets.await;
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
        tls: Option<Arc<Tls>>,
        store: Store,
        clock: Arc<dyn WallClock>,
    ) -> Result<Self, NodeError> {
        let local = local_peer(&config, &addresses);
        let listener = TcpTransport::new(addresses.peer).map_err(|source| NodeError::Listen {
            what: "peer",
            address: addresses.peer_addr,
            source,
        })?;
        let member = member(&local, &store);
        let roster = Roster::new(store.clone());
        let replica = enter(&roster, &member).await?;
        let (keyring, keys) = Keyring::new(&config.cluster_secrets, &config.cluster);
        let driver_config = driver_config(&config, local.clone(), keyring.clone());
        let driver = Driver::start(
            driver_config,
            store.clone(),
            clock.clone(),
            listener,
            TcpConnector,
        );
        let membership_stopping = CancellationToken::new();
        let period = Duration::from_millis(config.gossip_interval_ms);
        let boots = store.identity().boots;
        let gossip = Arc::new(Gossip::start(
            gossip_config(&config, boots, addresses.peer_advertised, &local),
            clock.clone(),
            addresses.gossip,
            keyring,
            detour(&driver, &membership_stopping),
        ));
        let secrets = SecretFile::watch(&config, keys, &membership_stopping);
        let (known_sender, known) = watch::channel(Arc::new(Known::default()));
        let leaving = Leaving::default();
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
            namesakes: BTreeSet::new(),
            leaving: leaving.clone(),
        };
        let membership = tokio::spawn(membership.run(period, membership_stopping.clone()));
        let catch_up = CatchUp {
            store: store.clone(),
            driver: driver.clone(),
            known,
            has_seeds: !config.seeds.is_empty(),
        };
        let stopping = membership_stopping.clone();
        let view = view(
            local,
            roster,
            Arc::clone(&gossip),
            catch_up,
            (leaving, stopping),
        );
        let count = Arc::clone(&view.count);
        let cluster: Arc<dyn ClusterView> = Arc::new(view);
        let loops = start_loops(&config, &store, &cluster, &clock, count);
        let http_stopping = CancellationToken::new();
        let name = config.name.clone();
        let http = tokio::spawn(http::serve(http::Parts {
            listener: addresses.http,
            store: store.clone(),
            cluster: Arc::clone(&cluster),
            config,
            clock,
            tls,
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
            secrets,
            loops,
        })
    }
}

/// How this node tells others who it is.
fn local_peer(config: &NodeConfig, addresses: &Addresses) -> LocalPeer {
    LocalPeer {
        cluster: config.cluster.clone(),
        name: config.name.clone(),
        http: addresses.http_advertised.to_string(),
        peer: addresses.peer_advertised.to_string(),
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

/// What the cluster looks like from a node that begins to catch up, until `stopping`.
fn view(
    local: LocalPeer,
    roster: Roster,
    gossip: Arc<Gossip>,
    catch_up: CatchUp,
    (leaving, stopping): (Leaving, CancellationToken),
) -> View {
    View {
        local,
        started: Instant::now(),
        store: catch_up.store.clone(),
        roster,
        driver: catch_up.driver.clone(),
        known: catch_up.known.clone(),
        gossip,
        leaving,
        count: LastCount::default(),
        catching_up: catch_up.start(stopping),
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
        history: HistoryLimits {
            versions: config.contact_history_versions,
            age_ms: config.contact_history_age_s.saturating_mul(1_000),
        },
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

fn driver_config(config: &NodeConfig, local: LocalPeer, keyring: Keyring) -> DriverConfig {
    let engine = EngineConfig {
        probe_period_ms: config.pull_interval_ms,
        ..EngineConfig::default()
    };
    DriverConfig {
        engine,
        keyring,
        scrub_pause: (config.scrub_pause_ms > 0)
            .then(|| Duration::from_millis(config.scrub_pause_ms)),
        ..DriverConfig::new(local, config.max_clock_skew_ms)
    }
}

/// What the roster says of this node.
fn member(local: &LocalPeer, store: &Store) -> Member {
    Member {
        name: local.name.clone(),
        http: local.http.clone(),
        peer: local.peer.clone(),
        store_id: store.identity().store_id,
    }
}

fn gossip_config(
    config: &NodeConfig,
    boots: u64,
    advertised: SocketAddr,
    local: &LocalPeer,
) -> GossipConfig {
    GossipConfig {
        cluster: config.cluster.clone(),
        name: config.name.clone(),
        boots,
        advertised,
        http: local.http.clone(),
        seeds: config.seeds.clone(),
        interval: Duration::from_millis(config.gossip_interval_ms),
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
        config.contact_history_versions = 3;
        config.contact_history_age_s = 60;
        let options = store_options(&config);
        assert!(options.compact_at_start);
        assert_eq!(options.cache_bytes, 8 * 1024 * 1024);
        let history = HistoryLimits {
            versions: 3,
            age_ms: 60_000,
        };
        assert_eq!(options.history, history);
    }
}
