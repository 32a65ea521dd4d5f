//! What all tasks of a driver share.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use grapevine_crdt::ReplicaId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Carried, DriverConfig,
    accounts::Accounts,
    clocks::Clocks,
    counters::Counters,
    strangers::{Doorstep, Strangers},
};
use crate::{
    clock::WallClock,
    secret::Fingerprint,
    store::Store,
    sync::{
        Message, PROTOCOL_VERSION, PeerInfo,
        engine::{Expelling, Now},
        transport::LinkSender,
    },
    warnings::Warnings,
};

/// Names a link for as long as the driver runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkId(pub(super) u64);

/// The room that a message takes, of its link's and of everybody's, between socket and store; dropped with the last that holds it.
pub(super) type Room = Arc<[OwnedSemaphorePermit; 2]>;

/// What sessions tell the event loop.
#[derive(Debug)]
pub(super) enum Inbound {
    /// A peer passed the handshake on this link.
    Up {
        link: LinkId,
        /// The life that we introduced ourselves as.
        ours: ReplicaId,
        /// How far our wall clock was ahead of the monotonic one when clocks were compared.
        base_ms: i64,
        /// With which secret the link is sealed.
        sealed_with: Option<Fingerprint>,
        info: PeerInfo,
        sender: LinkSender,
    },
    /// A message came.
    Message {
        link: LinkId,
        message: Message,
        room: Room,
    },
    /// The link is gone.
    Down(LinkId),
}

/// The peers that are up, with the addresses at which they listen.
pub(super) type UpPeers = BTreeMap<ReplicaId, String>;

/// What all tasks share.
pub(super) struct Shared {
    pub(super) config: DriverConfig,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) started: Instant,
    pub(super) accounts: Accounts,
    pub(super) counters: Counters,
    pub(super) warnings: Warnings,
    pub(super) clocks: Clocks,
    pub(super) strangers: Strangers,
    pub(super) doorstep: Arc<Doorstep>,
    /// Messages of gossip that peers sent.
    pub(super) carried: mpsc::Sender<Carried>,
    pub(super) inbound: mpsc::Sender<Inbound>,
    /// The room of all messages between socket and store.
    pub(super) room: Arc<Semaphore>,
    pub(super) up: watch::Sender<Arc<UpPeers>>,
    /// The stores that expelled us, once every partition was taken in anew since.
    pub(super) returned: watch::Sender<BTreeSet<Expelling>>,
    /// No new links, no new work.
    pub(super) stopping: CancellationToken,
    /// The event loop has sent its last.
    pub(super) stopped: CancellationToken,
}

impl Shared {
    /// What we say to a peer now; `None` before the first write of this life.
    pub(super) fn hello(&self) -> Option<PeerInfo> {
        let replica = self.store.replica()?;
        let local = &self.config.local;
        Some(PeerInfo {
            version: PROTOCOL_VERSION,
            cluster: local.cluster.clone(),
            name: local.name.clone(),
            replica,
            store: self.store.identity().store_id,
            http: local.http.clone(),
            peer: local.peer.clone(),
            unix_ms: self.clock.unix_ms(),
            clock: self.store.snapshot().state().clock(),
        })
    }

    pub(super) fn now(&self) -> Now {
        let elapsed = self.started.elapsed().as_millis();
        Now {
            monotonic_ms: u64::try_from(elapsed).unwrap_or(u64::MAX),
            unix_ms: self.clock.unix_ms(),
        }
    }
}
