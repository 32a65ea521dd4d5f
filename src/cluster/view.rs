//! What the cluster looks like from here, as the layers above ask for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use grapevine_crdt::ReplicaId;

use crate::{metrics::Exposition, model::Root};

/// The answering node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// The cluster it belongs to.
    pub cluster: String,
    /// The life under which it writes; `None` before its first write.
    pub replica: Option<ReplicaId>,
    /// Where it serves HTTP (`host:port`).
    pub http: String,
    /// Where it listens for peers (`host:port`).
    pub peer: String,
    /// The hash over everything it holds.
    pub root: Root,
    /// How long it has been running.
    pub uptime: Duration,
}

/// A member of the roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its name.
    pub name: String,
    /// The life it writes under.
    pub replica: ReplicaId,
    /// Where it serves HTTP (`host:port`).
    pub http: String,
    /// Where it listens for peers (`host:port`).
    pub peer: String,
    /// Whether gossip or a connection says that it runs. The answering node is alive.
    pub alive: bool,
    /// Whether everything it holds is what we hold, by the root it last told.
    pub agrees: bool,
    /// How many writes that we hold it lacked when it last told; `None` if it never told.
    pub lag: Option<u64>,
    /// How long ago it was last heard of; `None` if never since this node started.
    pub last_heard: Option<Duration>,
    /// How far its clock is ahead of ours (negative: behind), in milliseconds; `None` while no link to it is up.
    pub clock_offset_ms: Option<i64>,
}

/// A peer that this node does not talk to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedStatus {
    /// Its name; empty if it did not come as far as to say it.
    pub name: String,
    /// The life it says it writes under.
    pub replica: Option<ReplicaId>,
    /// Where it listens for peers, as it says (`host:port`); of one that did not come so far, where it was dialled or
    /// from which host it came.
    pub address: String,
    /// Why it is refused.
    pub reason: String,
    /// How far its clock was ahead of ours (negative: behind), in milliseconds.
    pub offset_ms: Option<i64>,
    /// Since when (milliseconds since 1970-01-01T00:00:00Z).
    pub since_unix_ms: u64,
}

/// Why a member is in the way of collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockedWhy {
    /// It has not told what it holds since it, or the answering node, came up.
    Silent,
    /// It holds writes that it could not take in whole yet.
    Open,
    /// It holds writes that the answering node has not taken in yet.
    Ahead,
    /// It is not known to keep away yet from a member that was expelled.
    Unwarned,
}

/// A member because of which nothing that was deleted can go for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// Its name; empty if nobody knows.
    pub name: String,
    /// The life it writes under.
    pub replica: ReplicaId,
    /// Why.
    pub why: BlockedWhy,
    /// For how long.
    pub lasted: Duration,
}

/// How far the collection of what was deleted is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collection {
    /// In how many of the 256 partitions something was collected.
    pub partitions_collected: u64,
    /// How many entities hold something deleted that may go some day.
    pub garbage: u64,
    /// Who is in the way.
    pub blocked_by: Vec<Blocker>,
}

/// A partition that differs from a member's although both took in the same writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Its name; empty if nobody knows.
    pub name: String,
    /// The life it writes under.
    pub replica: ReplicaId,
    /// Which partition.
    pub partition: u8,
    /// For how long.
    pub lasted: Duration,
}

/// What should never happen, counted since the node started; more than 0 is an alarm, though it may be repaired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    /// Entities whose rows were found damaged.
    pub damaged: u64,
    /// How often a partition differed from a member's although both took in the same writes.
    pub divergences: u64,
    /// Cells of members that differ from a held one of the same name.
    pub clashes: u64,
}

/// How well the partitions are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// How far collection is.
    pub collection: Collection,
    /// What should never differ and does; it is being repaired.
    pub divergences: Vec<Divergence>,
    /// What was found since the start.
    pub alarms: Alarms,
}

/// Why a member was not forgotten. No state changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForgetError {
    /// The roster does not have it.
    #[error("the roster does not name it")]
    Unknown,
    /// It is alive, and would enter itself again.
    #[error("it is alive; stop it first")]
    Alive,
    /// The store could not.
    #[error("{0}")]
    Roster(String),
}

/// Why this node did not leave. It takes part as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaveError {
    /// Nobody else is there to hold what this node holds.
    #[error("no other member is alive, and what this node holds would be nowhere else")]
    Alone,
    /// Live members did not take in what this node holds in time.
    #[error("these do not hold yet what this node holds: {}", .0.join(", "))]
    Behind(Vec<String>),
    /// It is leaving, or has left.
    #[error("this node is leaving, or has left")]
    Leaving,
    /// The store could not.
    #[error("{0}")]
    Roster(String),
}

/// Tells what the cluster looks like from here.
#[async_trait::async_trait]
pub trait ClusterView: Send + Sync + 'static {
    /// This node.
    fn node(&self) -> NodeStatus;

    /// All members, this node among them, in the order of their names.
    async fn members(&self) -> Vec<MemberStatus>;

    /// How well the partitions are.
    async fn health(&self) -> Health;

    /// Takes a member off the roster that will not come back: nothing waits for it any more. If it does come
    /// back, it takes part anew.
    async fn forget(&self, replica: ReplicaId) -> Result<(), ForgetError>;

    /// Lets this node leave for good: no writes are taken any more, the live members take in what it holds, within
    /// `wait`, its entry leaves the roster, and it takes part no longer. It goes on answering reads. Started again, it
    /// takes part anew.
    async fn leave(&self, wait: Duration) -> Result<(), LeaveError> {
        let _not_here = wait;
        Err(LeaveError::Alone)
    }

    /// Whether this node is leaving or has left, and so takes no writes.
    fn is_leaving(&self) -> bool {
        false
    }

    /// Whom this node refused within the last minutes, a bounded number.
    fn refused(&self) -> Vec<RefusedStatus> {
        Vec::new()
    }

    /// The names that more than one node uses, with the members that do.
    async fn namesakes(&self) -> BTreeMap<String, BTreeSet<ReplicaId>> {
        BTreeMap::new()
    }

    /// Why this node should make no writes now, if it knows that it is its clock that is off.
    fn clock_fault(&self) -> Option<String> {
        None
    }

    /// Why this node has not caught up with its peers since it was started; `None` once it has, for good.
    fn catching_up(&self) -> Option<String> {
        None
    }

    /// Adds what is measured of the store, of sync, gossip and the members.
    async fn measure(&self, _out: &mut Exposition) {}

    /// Waits until every live member agrees with this node, `wait` at most; else the live members that do
    /// not. Without peers it is true at once.
    async fn converged(&self, wait: Duration) -> Result<(), Vec<MemberStatus>>;

    /// Asks every peer at once what it has, and fetches what is missing here. Waits for nothing.
    fn ask_peers(&self);
}
