//! Collection: what everybody has taken in and nobody needs goes, and the floor says so.
//!
//! What goes follows from the entity, what is stable and our vector alone, so that a replay does the same.
//!
//! Law: the digest stays as it is.

use std::ops::AddAssign;

use grapevine_crdt::{CausalContext, Cell, FieldCell, Value, VersionVector};

use super::{Workspace, merge::raise_floor, replace::Old};
use crate::{
    model::{Collection, EntityId, Floor, PartitionId, PartitionState},
    store::{Rows, StoreError},
};

/// How many cells were collected, by what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Deleted fields.
    pub tombstones: u64,
    /// Removals of whole entities.
    pub removals: u64,
    /// Values of entities that were removed, and what was only counted of them.
    pub values: u64,
}

impl Collected {
    fn add(&mut self, cell: &Cell) {
        let number = match cell.value {
            Value::Tombstone => &mut self.tombstones,
            Value::Dots(_) => &mut self.removals,
            Value::Bytes(_) | Value::Counted => &mut self.values,
        };
        *number += 1;
    }
}

impl AddAssign for Collected {
    fn add_assign(&mut self, more: Self) {
        self.tombstones += more.tombstones;
        self.removals += more.removals;
        self.values += more.values;
    }
}

impl<R: Rows + ?Sized> Workspace<'_, R> {
    /// Collects what it may of the entities `ids`; says whether anything went.
    pub(super) fn collect(
        &mut self,
        partition: PartitionId,
        state: &mut PartitionState,
        stable: &VersionVector,
        ids: &[EntityId],
    ) -> Result<bool, StoreError> {
        let stable = stable.meet(&state.vector);
        let mut floor = Floor::default();
        let mut collected = Collected::default();
        let mut changed = false;
        for id in ids {
            if id.collection() == Collection::Counters || id.partition() != partition {
                continue;
            }
            let stored = match self.load(partition, id) {
                Ok(stored) => stored,
                // Whatever is wrong with one row must not keep the others for ever.
                Err(StoreError::Row { .. }) => continue,
                Err(error) => return Err(error),
            };
            let old = Old::of(id, &stored);
            let mut entity = stored.entity;
            if !old.dots.iter().all(|dot| state.vector.covers(*dot)) {
                continue;
            }
            let gone = entity.collect(&stable);
            if gone.is_empty() {
                continue;
            }
            for gone in &gone {
                add(&mut floor, gone);
                collected.add(&gone.cell);
            }
            let digest = state.digest;
            self.replace(partition, state, id, &old, &entity)?;
            debug_assert_eq!(state.digest, digest, "what goes is in no digest");
            changed = true;
        }
        raise_floor(state, &floor);
        self.collected += collected;
        Ok(changed)
    }
}

/// What goes is covered by the floor with all that it named: whoever writes the entity anew must be able to
/// keep away everything that what went had replaced or hidden.
fn add(floor: &mut Floor, FieldCell { field, cell }: &FieldCell) {
    let named = match &cell.value {
        Value::Dots(dots) => Some(dots),
        Value::Bytes(_) | Value::Tombstone | Value::Counted => None,
    };
    let named = named.into_iter().flat_map(CausalContext::iter);
    for dot in cell.seen.iter().chain(named).chain([cell.dot]) {
        floor.vector.advance(dot.replica, dot.seq);
    }
    if field.is_timed() {
        floor.rank = floor.rank.max(cell.rank);
    }
}
