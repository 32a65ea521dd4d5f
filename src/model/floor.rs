//! The floor of a partition: what has been collected there.
//!
//! Law: who holds no cell of a write that the floor covers must not take that write in again from anybody.
//! Floors only grow. A vector always includes its floor.

use grapevine_crdt::{Rank, VersionVector};
use serde::{Deserialize, Serialize};

/// What has been collected of a partition. The default says that nothing was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// The writes of which cells were collected, with those before them. A cell that is still held may be
    /// covered too.
    pub vector: VersionVector,
    /// The greatest time among the collected cells; what is written from outside with a time of its own
    /// must be above it.
    pub rank: Rank,
}

impl Floor {
    /// The least floor that includes both.
    pub fn join(&mut self, other: &Self) {
        self.vector.join(&other.vector);
        self.rank = self.rank.max(other.rank);
    }

    /// Whether joining `other` would change nothing.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        self.rank >= other.rank && self.vector.includes(&other.vector)
    }

    /// Whether nothing was collected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vector.is_empty()
    }
}
