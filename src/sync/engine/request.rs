//! What a peer asks to be read for it. Each request holds all that is needed to go on: nobody keeps state for a
//! peer.

use grapevine_crdt::VersionVector;

use super::Telling;
use crate::model::{Cursor, EntityId, PartitionId};

/// Something to be read from a fresh snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A page of a delta, sent as `Delta`.
    Page(PullRequest),
    /// A page of all that is held, sent as `State`.
    State(StateRequest),
    /// A page of the visible entities, sent as `Listing`.
    List(ListRequest),
    /// Whole entities, sent as `Cells`.
    Cells(FetchRequest),
}

/// A page of a delta that a peer asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Echoed in the answer.
    pub pull: u64,
    /// Echoed in the answer.
    pub page: u32,
    /// Of which partition.
    pub partition: PartitionId,
    /// What need not be sent.
    pub base: VersionVector,
    /// Behind which place of the log.
    pub cursor: Option<Cursor>,
    /// How the vectors of the answer are told.
    pub telling: Telling,
}

/// A page of all that is held of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRequest {
    /// Echoed in the answer.
    pub pull: u64,
    /// Echoed in the answer.
    pub page: u32,
    /// Of which partition.
    pub partition: PartitionId,
    /// Behind which entity.
    pub cursor: Option<EntityId>,
    /// How the vectors of the answer are told; the vector asked with among it.
    pub telling: Telling,
}

/// A page of the visible entities of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRequest {
    /// Echoed in the answer.
    pub pull: u64,
    /// Echoed in the answer.
    pub page: u32,
    /// Of which partition.
    pub partition: PartitionId,
    /// Behind which entity.
    pub cursor: Option<EntityId>,
}

/// Some entities of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// Echoed in the answer.
    pub pull: u64,
    /// Echoed in the answer.
    pub page: u32,
    /// Of which partition.
    pub partition: PartitionId,
    /// Which, in order.
    pub ids: Vec<EntityId>,
}

/// A page of a peer's listing, to be compared with the visible entities that we hold between its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Echoed in the answer.
    pub repair: u64,
    /// Of which partition.
    pub partition: PartitionId,
    /// The page begins behind this entity; `None`: at the beginning.
    pub after: Option<EntityId>,
    /// It ends with this entity; `None`: at the end.
    pub upto: Option<EntityId>,
    /// What the peer holds there, each with its hash, in order.
    pub theirs: Vec<(EntityId, u128)>,
}
