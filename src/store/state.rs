//! What is kept in memory: the state of each partition, their root, and the high-water mark of the clock.

use std::sync::Arc;

use grapevine_crdt::Timestamp;

use crate::model::{PARTITIONS, PartitionId, PartitionState, Root, root_term};

/// All partitions, their root, and the high-water mark of the clock. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    partitions: Vec<Arc<PartitionState>>,
    root: u128,
    clock: Timestamp,
}

impl Default for State {
    fn default() -> Self {
        let empty = Arc::new(PartitionState::default());
        Self {
            partitions: vec![empty; PARTITIONS],
            root: 0,
            clock: Timestamp::ZERO,
        }
    }
}

impl State {
    /// One partition.
    #[must_use]
    pub fn partition(&self, partition: PartitionId) -> &Arc<PartitionState> {
        &self.partitions[partition.index()]
    }

    /// All partitions, in order.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionId, &Arc<PartitionState>)> {
        PartitionId::all().zip(&self.partitions)
    }

    /// The hash over all summaries.
    #[must_use]
    pub const fn root(&self) -> Root {
        Root(self.root)
    }

    /// The greatest time told or observed.
    #[must_use]
    pub const fn clock(&self) -> Timestamp {
        self.clock
    }

    /// Puts a partition in place, the root following.
    pub fn set(&mut self, partition: PartitionId, state: PartitionState) {
        let place = &mut self.partitions[partition.index()];
        self.root = self
            .root
            .wrapping_sub(root_term(partition, place.summary()))
            .wrapping_add(root_term(partition, state.summary()));
        *place = Arc::new(state);
    }

    /// Puts the clock's high-water mark back. Only for a closed store that was written under a wrong clock.
    pub(super) const fn put_clock_back(&mut self, time: Timestamp) {
        self.clock = time;
    }

    /// Raises the clock's high-water mark.
    pub fn observe(&mut self, time: Timestamp) {
        self.clock = self.clock.max(time);
    }
}
