//! What is kept in memory of each partition: its vector, its digest, whether it is open; and their root.

use std::sync::Arc;

use grapevine_crdt::{ReplicaId, Seq, Timestamp, VersionVector};
use serde::{Deserialize, Serialize};

use super::layout::short_hash;
use crate::model::{PARTITIONS, PartitionId, PartitionSummary, Root};

/// One partition: how far it is taken in, and what it adds up to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionState {
    /// What has been taken in without a gap.
    pub vector: VersionVector,
    /// The wrapping sum of [`vector_term`] over the vector's entries.
    pub vector_hash: u128,
    /// The wrapping sum of [`entity_hash`](super::entity_hash) over the partition's entities.
    pub digest: u128,
    /// How many dots are held (have a row in `log`) that the vector does not cover.
    pub unclaimed: u64,
}

impl PartitionState {
    /// What is compared with a peer.
    #[must_use]
    pub const fn summary(&self) -> PartitionSummary {
        PartitionSummary {
            vector_hash: self.vector_hash,
            digest: self.digest,
            open: self.unclaimed > 0,
        }
    }

    /// Raises the vector's entry of `replica`, and the hash with it.
    pub(super) fn advance(&mut self, replica: ReplicaId, seq: Seq) {
        let before = self.vector.get(replica);
        if seq > before {
            self.vector_hash = self
                .vector_hash
                .wrapping_sub(vector_term(replica, before))
                .wrapping_add(vector_term(replica, seq));
            self.vector.advance(replica, seq);
        }
    }
}

/// What one entry of a vector adds to the vector's hash; 0 for [`Seq::ZERO`], which is no entry.
#[must_use]
pub fn vector_term(replica: ReplicaId, seq: Seq) -> u128 {
    if seq == Seq::ZERO {
        return 0;
    }
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(replica.as_bytes());
    bytes[16..].copy_from_slice(&seq.get().to_be_bytes());
    short_hash(&bytes)
}

/// What one partition adds to the root; 0 for a partition in which nothing was ever written.
#[must_use]
pub fn root_term(partition: PartitionId, summary: PartitionSummary) -> u128 {
    if summary == PartitionSummary::default() {
        return 0;
    }
    let mut bytes = [0; 34];
    bytes[0] = partition.get();
    bytes[1] = u8::from(summary.open);
    bytes[2..18].copy_from_slice(&summary.vector_hash.to_be_bytes());
    bytes[18..].copy_from_slice(&summary.digest.to_be_bytes());
    short_hash(&bytes)
}

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

    /// Raises the clock's high-water mark.
    pub fn observe(&mut self, time: Timestamp) {
        self.clock = self.clock.max(time);
    }
}
