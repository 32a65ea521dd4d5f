//! A driver as the layers above hold it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use grapevine_crdt::ReplicaId;
use rand::{SeedableRng, rngs::StdRng};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Carried, DriverConfig, DriverTotals, MAX_CARRIED_BYTES, Probed, RefusedPeer,
    accounts::Accounts,
    apply,
    carried::MAX_CARRIED_WAITING,
    clocks::Clocks,
    counters::Counters,
    dialer,
    event_loop::{Control, EventLoop, RosterRead, Sources},
    listening,
    peers::Peers,
    scrub, serve,
    session::MAX_ROOM_OF_ALL_BYTES,
    shared::{Shared, UpPeers},
    strangers::Strangers,
    tasks,
};
use crate::{
    clock::WallClock,
    model::{Collection, EntityId, Root},
    store::{Edit, Store},
    sync::{
        PeerInfo,
        engine::{CollectionStatus, Divergence, Engine, EngineConfig, Expelling, PeerStatus},
        transport::{Connector, Listener, TrafficTotals},
    },
    warnings::Warnings,
};

/// How many messages of all links wait for the event loop.
const MAX_INBOUND_WAITING: usize = 256;

/// How many local commits wait to be pushed, each of about 4 MiB at most; what exceeds that is found by pulls.
const MAX_COMMITS_WAITING: usize = 512;

/// How many requests from above wait.
const MAX_CONTROL_WAITING: usize = 256;

/// What is known of a peer.
#[derive(Clone, Debug)]
pub struct PeerReport {
    /// How it introduced itself; `None` while it is down.
    pub info: Option<PeerInfo>,
    /// What was asked of it and what it told; `None` while it is down.
    pub probed: Option<Probed>,
    /// How far its clock is ahead of ours (negative: behind), in milliseconds; `None` while it is down.
    pub clock_offset_ms: Option<i64>,
    /// How many bytes wait to be sent to it.
    pub waiting_bytes: usize,
    /// What the engine knows of it.
    pub status: PeerStatus,
}

/// How well the partitions are.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// How far collection is.
    pub collection: CollectionStatus,
    /// The partitions that differ from a peer's although both took in the same writes.
    pub divergences: Vec<Divergence>,
}

/// Sync that runs. Cheap to clone; all clones are one driver.
#[derive(Clone)]
pub struct Driver {
    shared: Arc<Shared>,
    control: mpsc::Sender<Control>,
    addresses: watch::Sender<Arc<BTreeSet<String>>>,
    changes: watch::Receiver<u64>,
    carried: Arc<Mutex<Option<mpsc::Receiver<Carried>>>>,
    tasks: TaskTracker,
}

impl Driver {
    /// Starts to sync `store` with whoever comes to `listener` and with whom `connector` reaches at the
    /// addresses of [`Self::set_addresses`]. Peers are talked to once the store has a life.
    #[must_use]
    pub fn start(
        config: DriverConfig,
        store: Store,
        clock: Arc<dyn WallClock>,
        listener: impl Listener,
        connector: impl Connector,
    ) -> Self {
        let (inbound_sender, inbound) = mpsc::channel(MAX_INBOUND_WAITING);
        let (control_sender, control) = mpsc::channel(MAX_CONTROL_WAITING);
        let (addresses, wanted) = watch::channel(Arc::default());
        let (changes_sender, changes) = watch::channel(0);
        let (carried_sender, carried) = mpsc::channel(MAX_CARRIED_WAITING);
        let engine = Engine::new(EngineConfig {
            store: store.identity().store_id,
            ..config.engine.clone()
        });
        let commits = store.subscribe(MAX_COMMITS_WAITING);
        let clocks = Clocks::new(config.max_clock_skew_ms);
        let shared = Arc::new(Shared {
            config,
            store,
            clock,
            started: Instant::now(),
            accounts: Accounts::default(),
            counters: Counters::default(),
            warnings: Warnings::default(),
            clocks,
            strangers: Strangers::default(),
            doorstep: Arc::default(),
            carried: carried_sender,
            inbound: inbound_sender,
            room: Arc::new(Semaphore::new(MAX_ROOM_OF_ALL_BYTES)),
            up: watch::Sender::new(Arc::new(UpPeers::new())),
            returned: watch::Sender::new(BTreeSet::new()),
            stopping: CancellationToken::new(),
            stopped: CancellationToken::new(),
        });
        let tasks = TaskTracker::new();
        let (steps, applied) = apply::start(&shared, &tasks);
        let (work, done) = tasks::start(&shared, &tasks);
        let event_loop = EventLoop {
            shared: Arc::clone(&shared),
            engine,
            rng: StdRng::from_rng(&mut rand::rng()),
            peers: Peers::default(),
            steps,
            backlog: VecDeque::new(),
            requests: serve::start(&shared, &tasks),
            tasks: work,
            probed: BTreeMap::new(),
            epochs: 0,
            changes: changes_sender,
            commands: Vec::new(),
            clock_is_off: false,
        };
        tasks.spawn(event_loop.run(Sources {
            control,
            inbound,
            commits,
            applied,
            done,
        }));
        tasks.spawn(scrub::run(Arc::clone(&shared)));
        tasks.spawn(listening::run(Arc::clone(&shared), listener, tasks.clone()));
        tasks.spawn(dialer::run(
            Arc::clone(&shared),
            Arc::new(connector),
            wanted,
            tasks.clone(),
        ));
        Self {
            shared,
            control: control_sender,
            addresses,
            changes,
            carried: Arc::new(Mutex::new(Some(carried))),
            tasks,
        }
    }

    /// The addresses (`host:port`) at which peers may be; kept trying until they are taken back.
    pub fn set_addresses(&self, addresses: BTreeSet<String>) {
        self.addresses.send_if_modified(|held| {
            let changed = **held != addresses;
            if changed {
                *held = Arc::new(addresses);
            }
            changed
        });
    }

    /// What gossip says of the roots of peers. Dropped if the driver is busy.
    pub fn gossiped(&self, roots: Vec<(ReplicaId, Root)>) {
        let _busy = self.control.try_send(Control::Gossiped(roots));
    }

    /// Sends a message of gossip that is too large for a datagram over the link to the peer that listens at `to`. Dropped
    /// if there is none, or the driver is busy; false if it is too large for that as well.
    #[must_use]
    pub fn carry(&self, to: SocketAddr, message: Bytes) -> bool {
        if message.len() > MAX_CARRIED_BYTES {
            return false;
        }
        let _busy = self.control.try_send(Control::Carry(to, message));
        true
    }

    /// The messages of gossip that peers send over links. `None` if somebody has asked before.
    #[must_use]
    pub fn carried(&self) -> Option<mpsc::Receiver<Carried>> {
        let mut carried = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
        carried.take()
    }

    /// Asks every peer that is up whether it agrees. Dropped if the driver is busy.
    pub fn probe_all(&self) {
        let _busy = self.control.try_send(Control::ProbeAll);
    }

    /// What is known of the peers that were up since the start; empty once the driver stopped.
    pub async fn peers(&self) -> Vec<PeerReport> {
        let (answer, reports) = oneshot::channel();
        if self.control.send(Control::Peers(answer)).await.is_err() {
            return Vec::new();
        }
        reports.await.unwrap_or_default()
    }

    /// What the roster says. Nothing is collected before. Waits for the driver, for the word must not be lost.
    pub async fn set_roster(&self, roster: RosterRead) {
        let _stopped = self.control.send(Control::Roster(roster)).await;
    }

    /// The stores that expelled this one, if it has taken in every partition anew since; else none.
    #[must_use]
    pub fn returned(&self) -> BTreeSet<Expelling> {
        self.shared.returned.borrow().clone()
    }

    /// How well the partitions are; the best once the driver stopped.
    pub async fn health(&self) -> Health {
        let (answer, health) = oneshot::channel();
        if self.control.send(Control::Health(answer)).await.is_err() {
            return Health::default();
        }
        health.await.unwrap_or_default()
    }

    /// The peers that were refused at the handshake within the last minutes, in the order of their addresses, and behind
    /// them those who did not come as far as to say who they are; [`MAX_REFUSED`](super::MAX_REFUSED) of each at most.
    #[must_use]
    pub fn refused(&self) -> Vec<RefusedPeer> {
        let now = self.shared.now();
        let mut refused = self.shared.clocks.refused(now);
        refused.extend(self.shared.strangers.told(now));
        refused
    }

    /// Why this node should make no writes now, if it is its clock that is off.
    #[must_use]
    pub fn clock_fault(&self) -> Option<String> {
        self.shared.clocks.fault(self.shared.now())
    }

    /// Changes whenever a peer comes, goes, or tells its root.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// What was counted since the start.
    #[must_use]
    pub fn totals(&self) -> DriverTotals {
        self.shared.counters.totals(self.shared.accounts.totals())
    }

    /// What went over the links, by the names of the peers; all those that are not told apart, more than
    /// [`MAX_PEERS_COUNTED`](super::MAX_PEERS_COUNTED), are under the empty name.
    #[must_use]
    pub fn traffic_by_peer(&self) -> BTreeMap<String, TrafficTotals> {
        self.shared.accounts.by_peer()
    }

    /// Stops: takes no new links, pushes what was committed, lets every link send what waits (a second at
    /// most), and finishes the steps that the store has taken. The store stays open.
    pub async fn shutdown(&self) {
        self.settle().await;
        self.shared.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Driver {
    /// Waits until everything that was acknowledged so far was also handed to the loop: the writer answers
    /// first and hands on then, and does both before it takes the next write, even one of nothing.
    async fn settle(&self) {
        let Ok(nothing) = EntityId::new(Collection::Roster, "nothing") else {
            return;
        };
        let write = |_: Edit<'_>| Ok::<_, Infallible>((Vec::new(), ()));
        if let Err(error) = self.shared.store.write(nothing, write).await {
            tracing::debug!(%error, "the store takes no more writes");
        }
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("local", &self.shared.config.local)
            .finish_non_exhaustive()
    }
}
