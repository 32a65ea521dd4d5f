//! What a bundle says of a partition, and whether its pages may be taken in.

use grapevine_crdt::{Timestamp, VersionVector};
use serde::{Deserialize, Serialize};

use super::BundleError;
use crate::{
    model::{Floor, PartitionId, PartitionState},
    store::State,
};

/// What the pages that follow are of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionHead {
    /// Which.
    pub partition: PartitionId,
    /// What must be held already.
    pub base: VersionVector,
    /// What is held with the pages.
    pub vector: VersionVector,
    /// What the node had collected.
    pub floor: Floor,
    /// Its clock: no time in the pages is above it.
    pub clock: Timestamp,
}

impl PartitionHead {
    /// What a bundle says of a partition of `held` for somebody who holds `known` of it; nothing if that is all.
    pub fn of(
        held: &State,
        partition: PartitionId,
        known: Option<&VersionVector>,
    ) -> Result<Option<Self>, BundleError> {
        let ours = held.partition(partition);
        if known.is_some_and(|known| !known.includes(&ours.floor.vector)) {
            return Err(BundleError::Gone);
        }
        // More than both cover need not be held by who takes in what one lacks of the other.
        let base = known.map_or_else(VersionVector::default, |known| known.meet(&ours.vector));
        Ok((base != ours.vector || ours.unclaimed > 0).then(|| Self {
            partition,
            base,
            vector: ours.vector.clone(),
            floor: ours.floor.as_ref().clone(),
            clock: held.clock(),
        }))
    }

    /// How many writes it builds upon that `ours`, the same partition here, does not include; an error if one side has collected what the other has
    /// not taken in.
    pub fn missing(&self, ours: &PartitionState) -> Result<u64, BundleError> {
        // Who holds nothing has nothing that should have gone.
        let empty = ours.vector.is_empty() && ours.unclaimed == 0;
        let fits = (empty || ours.vector.includes(&self.floor.vector))
            && self.vector.includes(&ours.floor.vector);
        if !fits {
            let partition = self.partition;
            return Err(BundleError::Floor { partition });
        }
        Ok(ours.vector.lag_behind(&self.base))
    }
}
