//! Gossip: who is alive, and a few short texts of each node.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, NodeState,
    spawn_chitchat,
};
use grapevine_crdt::ReplicaId;
use tokio::{
    net::UdpSocket,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{
    Detour,
    courier::{Courier, Drawn},
    seeds::Seeds,
    socket::{BoundSocket, Counters},
};
use crate::{clock::WallClock, model::Root, secret::Keyring};

/// How long a dead node is remembered.
const DEAD_NODE_GRACE: Duration = Duration::from_secs(10 * 60);

/// How suspicious silence must be before a node counts as dead: that many times its usual interval.
const PHI_THRESHOLD: f64 = 8.0;

/// How many intervals between heartbeats the usual one is drawn from.
const SAMPLED_INTERVALS: usize = 100;

/// How long after chitchat failed it is started anew.
const RESTARTED_AFTER: Duration = Duration::from_secs(1);

/// The bits of a generation that are the wall clock; the rest count how often the store was opened.
const CLOCK_BITS: u32 = 44;

const NAME: &str = "name";
const HTTP: &str = "http";
const PEER: &str = "peer";
const REPLICA: &str = "replica";
const ROOT: &str = "root";

/// How a node takes part in gossip.
#[derive(Clone, Debug)]
pub struct GossipConfig {
    /// The cluster; nodes of others are not heard.
    pub cluster: String,
    /// The name of this node.
    pub name: String,
    /// How often the store was opened: a later start is a later generation.
    pub boots: u64,
    /// Where others reach it, for gossip and for sync.
    pub advertised: SocketAddr,
    /// Where others reach its HTTP (`host:port`).
    pub http: String,
    /// Where to join (`host:port`).
    pub seeds: Vec<String>,
    /// How often to gossip.
    pub interval: Duration,
}

/// What gossip says of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipPeer {
    /// Its name.
    pub name: String,
    /// The life it writes under.
    pub replica: ReplicaId,
    /// Where it serves HTTP (`host:port`).
    pub http: String,
    /// Where it listens for peers (`host:port`).
    pub peer: String,
    /// Its root when it told last.
    pub root: Root,
    /// Whether it is thought to be alive.
    pub alive: bool,
}

/// What went over the socket, from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GossipTotals {
    /// Messages received.
    pub received: u64,
    /// Messages sent.
    pub sent: u64,
    /// Datagrams received that are no messages.
    pub unreadable: u64,
    /// Datagrams that no key of this node opens, or that are not sealed although they should be, or the other way.
    pub strangers: u64,
    /// Sealed datagrams that came before.
    pub repeated: u64,
    /// Sealed datagrams that did not prove from where they came, and were answered with a token.
    pub unproven: u64,
    /// Messages too large for a datagram that were handed to the detour.
    pub carried: u64,
    /// Messages that the operating system did not take.
    pub unsent: u64,
    /// Messages too large even for the detour.
    pub too_large: u64,
    /// How often chitchat failed and was started anew.
    pub restarts: u64,
}

/// Gossip that runs.
#[derive(Debug)]
pub struct Gossip {
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

struct Shared {
    config: GossipConfig,
    clock: Arc<dyn WallClock>,
    /// What this node tells; also what a new chitchat begins with.
    told: Mutex<BTreeMap<&'static str, String>>,
    /// The chitchat that runs now.
    current: Mutex<Option<Arc<tokio::sync::Mutex<Chitchat>>>>,
    restarts: AtomicU64,
}

impl Gossip {
    /// Starts to gossip over `socket`, sealed with the keys of `keyring`. What is too large for a datagram takes the
    /// `detour`, or is lost if there is none. Waits for no seed.
    #[must_use]
    pub fn start(
        config: GossipConfig,
        clock: Arc<dyn WallClock>,
        socket: UdpSocket,
        keyring: Keyring,
        detour: Option<Detour>,
    ) -> Self {
        let counters = Arc::new(Counters::default());
        let drawn = Drawn {
            life: rand::random(),
            token_key: rand::random(),
        };
        let courier = Courier::new(keyring, drawn);
        let transport = BoundSocket::new(socket, Arc::clone(&counters), courier, detour);
        let told = BTreeMap::from([
            (NAME, config.name.clone()),
            (HTTP, config.http.clone()),
            (PEER, config.advertised.to_string()),
        ]);
        let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (_numbered, named) = split_seeds(&config.seeds);
        let seeds = Seeds::resolve(named, &stopping, &tasks);
        let shared = Arc::new(Shared {
            config,
            clock,
            told: Mutex::new(told),
            current: Mutex::new(None),
            restarts: AtomicU64::new(0),
        });
        tasks.spawn(supervise(
            Arc::clone(&shared),
            transport,
            seeds,
            stopping.clone(),
        ));
        Self {
            shared,
            counters,
            stopping,
            tasks,
        }
    }

    /// Tells under which life this node writes, and what it holds.
    pub async fn publish(&self, replica: ReplicaId, root: Root) {
        {
            let mut told = lock(&self.shared.told);
            told.insert(REPLICA, replica.to_string());
            told.insert(ROOT, root.to_string());
        }
        let Some(chitchat) = self.shared.current() else {
            return;
        };
        let mut chitchat = chitchat.lock().await;
        let state = chitchat.self_node_state();
        for (key, value) in &*lock(&self.shared.told) {
            state.set(key, value);
        }
    }

    /// What is known of other nodes that have told who they are, each in its latest generation that is alive,
    /// or else in its latest.
    pub async fn peers(&self) -> Vec<GossipPeer> {
        let Some(chitchat) = self.shared.current() else {
            return Vec::new();
        };
        let chitchat = chitchat.lock().await;
        let ourselves = chitchat.self_chitchat_id();
        let alive: Vec<&ChitchatId> = chitchat.live_nodes().collect();
        let mut latest: BTreeMap<&str, ((bool, u64), &NodeState)> = BTreeMap::new();
        for (id, state) in chitchat.node_states() {
            // A directory that was put back from a copy may count generations anew, below those that died.
            let standing = (alive.contains(&id), id.generation_id);
            let held = latest.get(&*id.node_id).map(|(standing, _)| *standing);
            if id.node_id != ourselves.node_id && held < Some(standing) {
                latest.insert(&id.node_id, (standing, state));
            }
        }
        latest
            .into_values()
            .filter_map(|((alive, _), state)| peer(state, alive))
            .collect()
    }

    /// What was counted since the start.
    #[must_use]
    pub fn totals(&self) -> GossipTotals {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        GossipTotals {
            received: read(&self.counters.received),
            sent: read(&self.counters.sent),
            unreadable: read(&self.counters.unreadable),
            strangers: read(&self.counters.strangers),
            repeated: read(&self.counters.repeated),
            unproven: read(&self.counters.unproven),
            carried: read(&self.counters.carried),
            unsent: read(&self.counters.unsent),
            too_large: read(&self.counters.too_large),
            restarts: read(&self.shared.restarts),
        }
    }

    /// Stops gossiping.
    pub async fn shutdown(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Shared {
    fn current(&self) -> Option<Arc<tokio::sync::Mutex<Chitchat>>> {
        lock(&self.current).clone()
    }

    fn chitchat_config(&self, unix_ms: u64) -> ChitchatConfig {
        let config = &self.config;
        let generation = generation(config.boots, unix_ms);
        let (numbered, _named) = split_seeds(&config.seeds);
        ChitchatConfig {
            chitchat_id: ChitchatId::new(node_id(&config.name), generation, config.advertised),
            cluster_id: config.cluster.clone(),
            gossip_interval: config.interval,
            listen_addr: config.advertised,
            seed_nodes: numbered,
            failure_detector_config: FailureDetectorConfig {
                phi_threshold: PHI_THRESHOLD,
                sampling_window_size: SAMPLED_INTERVALS,
                max_interval: config.interval * 20,
                initial_interval: config.interval,
                dead_node_grace_period: DEAD_NODE_GRACE,
            },
            marked_for_deletion_grace_period: DEAD_NODE_GRACE,
            catchup_callback: None,
            extra_liveness_predicate: None,
        }
    }

    async fn spawn(&self, transport: &BoundSocket) -> anyhow::Result<ChitchatHandle> {
        let told = lock(&self.told).clone();
        let told = told
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        let handle =
            spawn_chitchat(self.chitchat_config(self.clock.unix_ms()), told, transport).await?;
        *lock(&self.current) = Some(handle.chitchat());
        Ok(handle)
    }
}

/// Keeps chitchat running: bytes from outside that make it fail cost a second of gossip.
async fn supervise(
    shared: Arc<Shared>,
    transport: BoundSocket,
    seeds: Seeds,
    stopping: CancellationToken,
) {
    loop {
        match shared.spawn(&transport).await {
            Ok(handle) => {
                let ended = tokio::select! {
                    () = stopping.cancelled() => None,
                    ended = handle.termination_watcher() => Some(ended),
                    () = greet(&handle, &seeds, &shared.config) => None,
                };
                let Some(ended) = ended else {
                    let _already_over = handle.shutdown().await;
                    return;
                };
                tracing::error!(?ended, "gossip failed, it is started anew");
            }
            Err(error) => tracing::error!(%error, "gossip cannot be started"),
        }
        shared.restarts.fetch_add(1, Ordering::Relaxed);
        tokio::select! {
            () = stopping.cancelled() => return,
            () = sleep(RESTARTED_AFTER) => {}
        }
    }
}

/// Gossips with the named seeds that are not known to be alive; numbered ones chitchat greets by itself.
async fn greet(handle: &ChitchatHandle, seeds: &Seeds, config: &GossipConfig) {
    let mut ticks = interval(config.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let chitchat = handle.chitchat();
    loop {
        ticks.tick().await;
        let mut strangers = seeds.addresses();
        if strangers.is_empty() {
            continue;
        }
        for id in chitchat.lock().await.live_nodes() {
            strangers.remove(&id.gossip_advertise_addr);
        }
        for stranger in strangers {
            let _ended = handle.gossip(stranger);
        }
    }
}

fn peer(state: &NodeState, alive: bool) -> Option<GossipPeer> {
    let root = u128::from_str_radix(state.get(ROOT)?, 16).ok()?;
    let replica = Uuid::parse_str(state.get(REPLICA)?).ok()?;
    Some(GossipPeer {
        name: state.get(NAME)?.to_owned(),
        replica: ReplicaId::from_bytes(*replica.as_bytes()),
        http: state.get(HTTP)?.to_owned(),
        peer: state.get(PEER)?.to_owned(),
        root: Root(root),
        alive,
    })
}

/// Later starts have higher generations. The boot count alone would not do: a directory that is put back from
/// a copy counts anew, and others would take what they know of the generation that died for the one that
/// lives.
fn generation(boots: u64, unix_ms: u64) -> u64 {
    let clock = unix_ms & ((1 << CLOCK_BITS) - 1);
    (boots << CLOCK_BITS) | clock
}

/// Eight bytes of BLAKE3 of the name, in hexadecimal: every datagram carries the ids of all nodes, so they
/// must be short, and equally long whatever the names.
fn node_id(name: &str) -> String {
    let hash = blake3::hash(name.as_bytes());
    let (short, _) = hash
        .as_bytes()
        .split_first_chunk::<8>()
        .expect("a BLAKE3 hash has 32 bytes");
    format!("{:016x}", u64::from_be_bytes(*short))
}

/// Seeds that are addresses, and seeds that are names.
fn split_seeds(seeds: &[String]) -> (Vec<String>, Vec<String>) {
    seeds
        .iter()
        .cloned()
        .partition(|seed| seed.parse::<SocketAddr>().is_ok())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of the lock panics")
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use chitchat::Serializable;

    use super::*;
    use crate::clock::SystemClock;

    /// How long a test waits for what must come.
    const DEADLINE: Duration = Duration::from_secs(30);

    async fn started(name: &str, seeds: Vec<String>) -> (Gossip, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        let config = GossipConfig {
            cluster: "grapevine".to_owned(),
            name: name.to_owned(),
            boots: 1,
            advertised: address,
            http: "127.0.0.1:1".to_owned(),
            seeds,
            interval: Duration::from_millis(50),
        };
        let gossip = Gossip::start(config, Arc::new(SystemClock), socket, Keyring::open(), None);
        (gossip, address)
    }

    async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = condition().await {
                    return found;
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        let found = tokio::time::timeout(DEADLINE, found).await;
        found.unwrap_or_else(|_| panic!("waited too long: {what}"))
    }

    /// A delta whose greatest version is below that of what it holds: chitchat asserts that it is not.
    fn poison(id: &ChitchatId) -> Vec<u8> {
        let mut delta = vec![0];
        id.serialize(&mut delta);
        0_u64.serialize(&mut delta);
        0_u64.serialize(&mut delta);
        delta.push(1);
        "key".serialize(&mut delta);
        "value".serialize(&mut delta);
        100_u64.serialize(&mut delta);
        delta.push(0);
        delta.push(2);
        50_u64.serialize(&mut delta);
        // Version, magic number, chitchat's version, Ack, an uncompressed block, no more blocks.
        let mut datagram = vec![1, 0x53, 0xb0, 0, 2, 2];
        u16::try_from(delta.len())
            .expect("it is short")
            .serialize(&mut datagram);
        datagram.append(&mut delta);
        datagram.push(0);
        datagram
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_makes_chitchat_panic_costs_a_restart_and_no_more() {
        let (ann, address) = started("ann", Vec::new()).await;
        let replica = ReplicaId::from_bytes([1; 16]);
        ann.publish(replica, Root(1)).await;
        let chitchat = eventually("a start", async || ann.shared.current()).await;
        let id = chitchat.lock().await.self_chitchat_id().clone();
        let eve = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        eventually("a restart", async || {
            let sent = eve.send_to(&poison(&id), address).await;
            sent.expect("it is sent");
            (ann.totals().restarts > 0).then_some(())
        })
        .await;
        let (bob, _) = started("bob", vec![address.to_string()]).await;
        let seen = eventually("ann, alive again", async || {
            let peers = bob.peers().await;
            peers.into_iter().find(|peer| peer.alive)
        })
        .await;
        assert_eq!((seen.name.as_str(), seen.replica), ("ann", replica));
        assert_eq!(seen.root, Root(1));
        ann.shutdown().await;
        bob.shutdown().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn roots_travel_and_silence_is_noticed() {
        let (ann, address) = started("ann", Vec::new()).await;
        let (bob, _) = started("bob", vec![address.to_string()]).await;
        for root in 1..=3 {
            ann.publish(ReplicaId::from_bytes([1; 16]), Root(root))
                .await;
            eventually("the root", async || {
                let peers = bob.peers().await;
                peers
                    .iter()
                    .any(|peer| peer.root == Root(root))
                    .then_some(())
            })
            .await;
        }
        ann.shutdown().await;
        eventually("silence", async || {
            let peers = bob.peers().await;
            peers.iter().all(|peer| !peer.alive).then_some(())
        })
        .await;
        bob.shutdown().await;
    }

    #[test]
    fn a_directory_put_back_from_a_copy_begins_a_generation_of_its_own() {
        assert_ne!(generation(2, 1_000), generation(2, 1_001));
        assert!(generation(3, 0) > generation(2, u64::MAX));
    }

    #[test]
    fn ids_are_short_whatever_the_name() {
        assert_eq!(node_id("a").len(), 16);
        assert_eq!(node_id(&"a".repeat(63)).len(), 16);
        assert_ne!(node_id("a"), node_id("b"));
    }
}
