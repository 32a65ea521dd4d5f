//! The one place where an entity's row changes: log, indexes, digest and counts go with it.

use std::{collections::BTreeSet, ops::ControlFlow};

use bytes::Bytes;
use grapevine_crdt::{Dot, Entity};

use super::Workspace;
use crate::{
    model::{Collection, EntityId, PartitionId, PartitionState, index_rows},
    store::{
        Rows, StoreError, Table,
        layout::{self, StoredEntity},
    },
};

/// What the tables say of an entity before it changes.
#[derive(Debug, Default)]
pub(super) struct Old {
    /// What it adds to the digest.
    pub(super) hash: u128,
    /// The dots that have a row in the log.
    pub(super) dots: BTreeSet<Dot>,
    pub(super) is_garbage: bool,
    pub(super) has_conflicts: bool,
    /// Its rows in the index of what entities are found by.
    pub(super) found_by: BTreeSet<Bytes>,
}

impl Old {
    /// What the tables say if they say the truth.
    pub(super) fn of(id: &EntityId, stored: &StoredEntity) -> Self {
        Self {
            hash: stored.hash,
            dots: stored.entity.dots(),
            is_garbage: is_garbage(id, &stored.entity),
            has_conflicts: stored.entity.has_conflicts(),
            found_by: index_rows(id, &stored.entity),
        }
    }
}

/// Whether the entity has a row in the index of what may be collected. Counters are never collected.
pub(in crate::store) fn is_garbage(id: &EntityId, entity: &Entity) -> bool {
    id.collection() != Collection::Counters && entity.is_garbage()
}

impl<R: Rows + ?Sized> Workspace<'_, R> {
    /// Puts `entity` in the place of what the tables say. Yields how many bytes its row has now; an entity
    /// without cells has no row.
    pub(super) fn replace(
        &mut self,
        partition: PartitionId,
        state: &mut PartitionState,
        id: &EntityId,
        old: &Old,
        entity: &Entity,
    ) -> Result<usize, StoreError> {
        let dots = entity.dots();
        for dot in old.dots.difference(&dots) {
            self.put(Table::Log, layout::log_key(partition, *dot), None);
            let uncovered = !state.vector.covers(*dot);
            state.unclaimed = state.unclaimed.saturating_sub(u64::from(uncovered));
        }
        for dot in dots.difference(&old.dots) {
            let value = layout::log_value(id);
            self.put(Table::Log, layout::log_key(partition, *dot), Some(value));
            state.unclaimed += u64::from(!state.vector.covers(*dot));
        }
        let key = layout::entity_key(partition, id);
        let garbage = is_garbage(id, entity);
        if garbage != old.is_garbage {
            self.put(Table::Garbage, key.clone(), index_value(garbage));
            state.garbage = if garbage {
                state.garbage + 1
            } else {
                state.garbage.saturating_sub(1)
            };
        }
        let conflicts = entity.has_conflicts();
        if conflicts != old.has_conflicts {
            self.put(Table::Conflicts, key.clone(), index_value(conflicts));
        }
        let found_by = index_rows(id, entity);
        for row in old.found_by.difference(&found_by) {
            self.put(Table::Search, row.clone(), None);
        }
        for row in found_by.difference(&old.found_by) {
            self.put(Table::Search, row.clone(), index_value(true));
        }
        let hash = layout::entity_hash(id, entity)?;
        state.digest = state.digest.wrapping_sub(old.hash).wrapping_add(hash);
        if entity.is_empty() {
            self.put(Table::Entities, key, None);
            return Ok(0);
        }
        let row = layout::encode_entity(hash, entity)?;
        let row_bytes = row.len();
        self.put(Table::Entities, key, Some(row));
        Ok(row_bytes)
    }

    /// An entity as it is stored; without cells if it is not.
    pub(super) fn load(
        &self,
        partition: PartitionId,
        id: &EntityId,
    ) -> Result<StoredEntity, StoreError> {
        self.get(Table::Entities, &layout::entity_key(partition, id))?
            .map_or_else(
                || Ok(StoredEntity::default()),
                |bytes| layout::decode_entity(&bytes),
            )
    }

    /// A row with the steps so far.
    pub(super) fn get(&self, table: Table, key: &Bytes) -> Result<Option<Bytes>, StoreError> {
        match self.dirty[table.index()].get(key) {
            Some(row) => Ok(row.clone()),
            None => self.rows.get(table, key),
        }
    }

    /// Calls `visit` for every row of a partition with the steps so far, in no particular order.
    pub(super) fn for_each(
        &self,
        table: Table,
        partition: PartitionId,
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), StoreError> {
        let end = layout::partition_end(partition);
        self.for_each_between(table, &[partition.get()], &end, visit)
    }

    /// As [`Self::for_each`], for the rows from `from` on and before `end`; an empty one is no end.
    pub(super) fn for_each_between(
        &self,
        table: Table,
        from: &[u8],
        end: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), StoreError> {
        let dirty = &self.dirty[table.index()];
        self.rows.scan(table, from, false, end, &mut |key, value| {
            if !dirty.contains_key(key) {
                visit(key, value);
            }
            ControlFlow::Continue(())
        })?;
        for (key, value) in dirty.range(Bytes::copy_from_slice(from)..) {
            if !end.is_empty() && key.as_ref() >= end {
                break;
            }
            if let Some(value) = value {
                visit(key, value);
            }
        }
        Ok(())
    }
}

fn index_value(is_there: bool) -> Option<Bytes> {
    is_there.then(layout::index_value)
}
