//! What a member takes in whole that was away for so long that others collected what it never took in.

use grapevine_crdt::{ReplicaId, Timestamp, VersionVector};
use serde::{Deserialize, Serialize};

use super::{CellName, EntityId, Floor};

/// The state of one partition of a peer, whose cells were taken in before.
///
/// What the peer's vector covers and the peer does not hold was replaced or collected there, and goes; what the
/// peer has never seen stays, under new dots and fresh times, so that no tombstone that a third member still
/// holds can win over it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejoin {
    /// The peer's vector on the first page of its state.
    pub vector: VersionVector,
    /// What the peer has collected of what `vector` covers.
    pub floor: Floor,
    /// What the peer holds: the dots of each entity of the partition, in the order of the ids.
    pub held: Vec<(EntityId, Vec<CellName>)>,
    /// Whether the peer's vector did not include our floor: then what only the peer has is written anew too.
    pub refresh_theirs: bool,
    /// Whether it is for having been expelled: what the peer hides counts as collected, for others may have collected it
    /// already. The step then brings the deletions of keys that the peer holds.
    pub returning: bool,
    /// Under which names what stays is written anew. The writer fills it in before the step is journaled.
    pub issue: Option<Issue>,
}

/// The names of cells that are written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// Who writes them, from its next write to the partition on.
    pub replica: ReplicaId,
    /// The time of the first; each that follows is one later.
    pub time: Timestamp,
    /// If given, this is no rejoin: a clock is mended, and what is written anew is what has a time before the
    /// first or after the second of these.
    pub outside: Option<(Timestamp, Timestamp)>,
}

impl Rejoin {
    /// A step that takes nobody in, and only writes anew what `issue` says.
    #[must_use]
    pub fn alone(issue: Issue) -> Self {
        Self {
            vector: VersionVector::default(),
            floor: Floor::default(),
            held: Vec::new(),
            refresh_theirs: false,
            returning: false,
            issue: Some(issue),
        }
    }
}
