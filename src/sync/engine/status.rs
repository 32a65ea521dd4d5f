//! What the engine tells of itself.

use grapevine_crdt::ReplicaId;

use crate::model::PartitionId;

/// What is known of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The life it writes under.
    pub replica: ReplicaId,
    /// Whether it is up.
    pub up: bool,
    /// Whether the root it last told is our root now.
    pub agrees: bool,
    /// How many writes that we hold it lacked when it last told; `None` if it never told.
    pub lag: Option<u64>,
    /// Of how many partitions something is still to be fetched from it, as far as is known.
    pub wanted: usize,
    /// How long ago it was last heard of, in milliseconds.
    pub last_heard_ms: u64,
}

/// Why nothing can be collected because of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocked {
    /// It has not told what it holds since it, or this node, came up.
    Silent,
    /// It holds writes that it could not take in whole yet.
    Open,
    /// It holds writes that this node has not taken in yet.
    Ahead,
    /// It is not known to keep away yet from a member that was expelled.
    Unwarned,
}

/// Who is in the way of collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockedBy {
    /// Which member.
    pub replica: ReplicaId,
    /// Why.
    pub why: Blocked,
    /// For how long, in milliseconds.
    pub blocked_ms: u64,
}

/// How far collection is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectionStatus {
    /// In how many partitions something has been collected.
    pub partitions_collected: u64,
    /// How many entities hold something that may be collected some day.
    pub garbage: u64,
    /// Who is in the way of it; nobody if there is nothing to collect.
    pub blocked_by: Vec<BlockedBy>,
}

/// A partition that differs from a peer's although both took in the same writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The peer.
    pub peer: ReplicaId,
    /// The partition.
    pub partition: PartitionId,
    /// For how long, in milliseconds.
    pub lasted_ms: u64,
}
