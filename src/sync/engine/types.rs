//! What goes into the engine and what comes out.

use std::{collections::BTreeSet, sync::Arc};

use grapevine_crdt::{ReplicaId, Timestamp, VersionVector};
use uuid::Uuid;

use super::{Comparison, Expelled, Expelling, Request, Rules};
use crate::{
    model::{
        CommitRecord, EntityId, Op, Outcome, PartitionId, PartitionState, PartitionSummary, Root,
    },
    sync::{Message, PeerInfo},
};

/// When a step happens. Durations are told by `monotonic_ms` alone; the wall clock only refuses times that
/// are too far ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds from any origin, never falling.
    pub monotonic_ms: u64,
    /// Our wall clock (milliseconds since 1970-01-01T00:00:00Z).
    pub unix_ms: u64,
}

/// The engine's settings. Durations in milliseconds.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Which store this is, through all its lives.
    pub store: Uuid,
    /// How often a random live peer is probed.
    pub probe_period_ms: u64,
    /// A pull whose next page does not come for this long, although we took in all that came, is given up;
    /// the next probe begins anew.
    pub pull_abandoned_after_ms: u64,
    /// The most pulls under way to one peer.
    pub max_pulls_per_peer: usize,
    /// The most pulls under way to all peers. Each holds at most three pages in memory at a time: one that
    /// waits for those before it, and [`MAX_PAGES_APPLYING`](super::MAX_PAGES_APPLYING) at the writer.
    pub max_pulls: usize,
    /// The most push records of a peer that are parked while their partition is being pulled.
    pub max_parked_records: usize,
    /// The most push records of a peer that are on their way through the writer.
    pub max_pushes_applying: usize,
    /// How often what is deleted is looked through for what may go for good.
    pub collect_period_ms: u64,
    /// Vectors of at most so many entries are told to peers whole; longer ones in outline.
    pub max_told_whole: usize,
    /// What keeps collection and rejoin safe; all of it, but for simulations.
    pub rules: Rules,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            store: Uuid::nil(),
            probe_period_ms: 1_000,
            pull_abandoned_after_ms: 10_000,
            max_pulls_per_peer: 64,
            max_pulls: 128,
            max_parked_records: 4_096,
            max_pushes_applying: 16_384,
            collect_period_ms: 5_000,
            max_told_whole: 32,
            rules: Rules::default(),
        }
    }
}

/// What the engine may see of the local store: the latest committed state.
pub trait View {
    /// The hash over all summaries.
    fn root(&self) -> Root;
    /// One partition's summary.
    fn summary(&self, partition: PartitionId) -> PartitionSummary;
    /// One partition, cheap to clone.
    fn partition(&self, partition: PartitionId) -> Arc<PartitionState>;
    /// The life under which this node writes; `None` before its first write. What a commit wrote must be
    /// visible here before a push of it is sent: a peer that claims more of it than is visible is disconnected.
    fn replica(&self) -> Option<ReplicaId>;
}

/// Names an [`Command::Apply`] in the event that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A peer passed the handshake ([`check_hello`](super::check_hello)); frames can be sent to it. Also when it comes back.
    PeerUp(PeerInfo),
    /// The last connection to a peer is gone.
    PeerDown(ReplicaId),
    /// A message other than `Hello` came from a peer that is up.
    Received(ReplicaId, Message),
    /// A group commit wrote this locally.
    Committed(Arc<[CommitRecord]>),
    /// An applied step is durable.
    Applied(Ticket, Outcome),
    /// A step could not be applied; nothing changed.
    ApplyFailed(Ticket),
    /// Gossip says that this is a peer's root. May be stale.
    Gossiped(ReplicaId, Root),
    /// Somebody waits for agreement: probe every peer now.
    ProbeAll,
    /// Who belongs to the cluster, as the roster says.
    Roster {
        /// The lives in it.
        members: Arc<BTreeSet<ReplicaId>>,
        /// Who was expelled and has not come back yet.
        expelled: Arc<Expelled>,
        /// What of the roster's partition had been taken in when it was read.
        read: VersionVector,
        /// Whether this node knows of nobody to ask before it collects: it was given no seeds.
        alone: bool,
    },
    /// [`Command::Collect`] is done; whether all of it could be.
    Collected(PartitionId, bool),
    /// [`Command::Compare`] was carried out for the repair of this number: these entities differ.
    Compared(u64, Vec<EntityId>),
    /// Time went on. Comes at least every 100 ms.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Send this to a peer. May be lost.
    Send(ReplicaId, Message),
    /// Send a push to each of these peers, ahead of everything else that waits. May be lost.
    Push(Vec<ReplicaId>, Arc<[CommitRecord]>),
    /// Read what a peer asked for from a fresh snapshot and send it. May be lost.
    Serve(ReplicaId, Request),
    /// Hand this step to the writer, in the order of the commands; answer with `Applied` or `ApplyFailed`.
    Apply {
        /// Names it in the answer.
        ticket: Ticket,
        /// The step.
        op: Op,
        /// The clock that its sender announced.
        announced: Timestamp,
    },
    /// Somebody holds writes of this life that it never made: let the next write begin a new one, but not
    /// more often than the store allows.
    NewLife,
    /// We were expelled so, and have taken in every partition anew since we know: our name may be cleared of that. May
    /// be told more than once.
    Returned(BTreeSet<Expelling>),
    /// Close every connection to this peer: it broke the protocol. It counts as down from here on; the
    /// `PeerDown` that follows changes nothing.
    Disconnect(ReplicaId, String),
    /// Two closed partitions with equal vectors have different digests. Told again from time to time.
    Diverged(ReplicaId, PartitionId),
    /// Take what may go of the entities of this partition that have something to go, with steps of
    /// [`Claim::Collect`](crate::model::Claim::Collect); answer with `Collected`.
    Collect {
        /// Which.
        partition: PartitionId,
        /// What every member has taken in.
        stable: VersionVector,
    },
    /// Compare a page of a peer's listing with what we hold; answer with `Compared`.
    Compare(Comparison),
    /// Somebody should know this.
    Warn(String),
}
