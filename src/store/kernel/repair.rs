//! Repair: cells are merged whether they were covered or not, and what the tables say of an entity is made anew.
//!
//! Law: repair only adds. What is sound here stays.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use grapevine_crdt::{Dot, Entity, FieldCell};

use super::{Workspace, replace::Old};
use crate::{
    model::{
        EntityCells, EntityId, PartitionId, PartitionState, index_rows, indexed_entity, is_indexed,
    },
    store::{
        Rows, StoreError, Table,
        layout::{self, StoredEntity},
    },
};

/// A row of an entity as it was found.
enum Found {
    /// Its cells are what its hash was made from, or it is not there.
    Sound(StoredEntity),
    /// It cannot be read, or its cells are not what its hash was made from; these could be read.
    Damaged(Entity),
}

/// What the indexes of a partition say of some entities, whether it is the truth or not.
struct Traces {
    /// The dots of entities, by what the log says of an entity.
    logged: BTreeMap<Bytes, BTreeSet<Dot>>,
    /// The rows of the index of what entities are found by.
    found_by: BTreeMap<EntityId, BTreeSet<Bytes>>,
}

impl<R: Rows + ?Sized> Workspace<'_, R> {
    /// Merges cells whether the vector covers them or not; says whether anything changed. Where our own row is
    /// damaged it is made anew from theirs and from those of ours that the log knows.
    pub(super) fn repair(
        &mut self,
        partition: PartitionId,
        state: &mut PartitionState,
        entities: &[EntityCells],
    ) -> Result<bool, StoreError> {
        let mut changed = false;
        let mut damaged = Vec::new();
        for entity in entities {
            match self.find(partition, &entity.id)? {
                Found::Sound(stored) => {
                    let cells = entity.cells.iter();
                    changed |= self.merge(partition, state, &entity.id, cells, stored)?;
                }
                Found::Damaged(held) => damaged.push((entity, held)),
            }
        }
        if damaged.is_empty() {
            return Ok(changed);
        }
        let traces = self.traces(partition, damaged.iter().map(|(entity, _)| &entity.id))?;
        for (EntityCells { id, cells }, held) in damaged {
            let old = self.old(partition, id, &traces)?;
            let mut entity = Entity::default();
            for cell in cells {
                entity.merge_cell(cell.clone());
            }
            for (field, cell) in held.cells() {
                let theirs = cells
                    .iter()
                    .any(|their| their.field == *field && their.cell.dot == cell.dot);
                if !theirs && old.dots.contains(&cell.dot) {
                    entity.merge_cell(FieldCell {
                        field: field.clone(),
                        cell: cell.clone(),
                    });
                }
            }
            self.replace(partition, state, id, &old, &entity)?;
        }
        self.sum_up(partition, state)?;
        Ok(true)
    }

    /// Makes log and index rows of entities anew from the cells held; says whether anything changed. A row whose
    /// cells are not those that its hash was made from, or that cannot be read, counts nothing in the digest from
    /// then on, and its hash stays wrong: so peers see what is missing, and their cells replace it.
    pub(super) fn recount(
        &mut self,
        partition: PartitionId,
        state: &mut PartitionState,
        entities: &[EntityCells],
    ) -> Result<bool, StoreError> {
        let before = state.clone();
        let mut changed = false;
        let traces = self.traces(partition, entities.iter().map(|entity| &entity.id))?;
        for EntityCells { id, .. } in entities {
            let entity = match self.find(partition, id)? {
                Found::Sound(stored) => stored.entity,
                Found::Damaged(_) => {
                    let key = layout::entity_key(partition, id);
                    let row = self.get(Table::Entities, &key)?.unwrap_or_default();
                    if layout::stored_hash(&row) != 0 {
                        self.put(Table::Entities, key, Some(layout::with_hash(&row, 0)));
                        changed = true;
                    }
                    continue;
                }
            };
            let old = self.old(partition, id, &traces)?;
            let right = old.hash == layout::entity_hash(id, &entity)?
                && old.dots == entity.dots()
                && old.is_garbage == super::replace::is_garbage(id, &entity)
                && old.has_conflicts == entity.has_conflicts()
                && old.found_by == index_rows(id, &entity);
            if !right {
                self.replace(partition, state, id, &old, &entity)?;
                changed = true;
            }
        }
        self.sum_up(partition, state)?;
        Ok(changed || before != *state)
    }

    fn find(&self, partition: PartitionId, id: &EntityId) -> Result<Found, StoreError> {
        let key = layout::entity_key(partition, id);
        let Some(row) = self.get(Table::Entities, &key)? else {
            return Ok(Found::Sound(StoredEntity::default()));
        };
        Ok(match layout::decode_entity(&row) {
            Ok(stored) if stored.hash == layout::entity_hash(id, &stored.entity)? => {
                Found::Sound(stored)
            }
            Ok(stored) => Found::Damaged(stored.entity),
            Err(_) => Found::Damaged(Entity::default()),
        })
    }

    /// Reads the whole log of the partition, and the whole index of contacts if one of these is in it, once for all.
    fn traces<'i>(
        &self,
        partition: PartitionId,
        ids: impl Iterator<Item = &'i EntityId>,
    ) -> Result<Traces, StoreError> {
        let mut logged = BTreeMap::new();
        let mut found_by = BTreeMap::new();
        for id in ids {
            logged.insert(layout::log_value(id), BTreeSet::new());
            if is_indexed(id) {
                found_by.insert(id.clone(), BTreeSet::new());
            }
        }
        self.for_each(Table::Log, partition, &mut |key, row| {
            if let Some(dots) = logged.get_mut(row)
                && let Ok(dot) = layout::parse_log_key(key)
            {
                dots.insert(dot);
            }
        })?;
        if !found_by.is_empty() {
            self.for_each_between(Table::Search, &[], &[], &mut |key, _| {
                if let Some(id) = indexed_entity(key)
                    && let Some(rows) = found_by.get_mut(&id)
                {
                    rows.insert(Bytes::copy_from_slice(key));
                }
            })?;
        }
        Ok(Traces { logged, found_by })
    }

    /// What the tables say of an entity, whether it is the truth or not.
    fn old(
        &self,
        partition: PartitionId,
        id: &EntityId,
        traces: &Traces,
    ) -> Result<Old, StoreError> {
        let key = layout::entity_key(partition, id);
        let row = self.get(Table::Entities, &key)?;
        let value = layout::log_value(id);
        let mut dots = BTreeSet::new();
        for dot in traces.logged.get(&value).into_iter().flatten() {
            // Another entity of this step may have taken the row over.
            let row = self.get(Table::Log, &layout::log_key(partition, *dot))?;
            if row.as_ref() == Some(&value) {
                dots.insert(*dot);
            }
        }
        Ok(Old {
            hash: row.as_deref().map_or(0, layout::stored_hash),
            dots,
            is_garbage: self.get(Table::Garbage, &key)?.is_some(),
            has_conflicts: self.get(Table::Conflicts, &key)?.is_some(),
            found_by: traces.found_by.get(id).cloned().unwrap_or_default(),
        })
    }

    /// Digest and counts of a partition, from all its rows.
    fn sum_up(&self, partition: PartitionId, state: &mut PartitionState) -> Result<(), StoreError> {
        let (mut digest, mut garbage, mut unclaimed) = (0_u128, 0, 0);
        self.for_each(Table::Entities, partition, &mut |_, row| {
            digest = digest.wrapping_add(layout::stored_hash(row));
        })?;
        self.for_each(Table::Garbage, partition, &mut |_, _| garbage += 1)?;
        self.for_each(Table::Log, partition, &mut |key, _| {
            let held = layout::parse_log_key(key);
            unclaimed += u64::from(held.is_ok_and(|dot| !state.vector.covers(dot)));
        })?;
        state.digest = digest;
        state.garbage = garbage;
        state.unclaimed = unclaimed;
        Ok(())
    }

    /// The entities of a partition, in order.
    pub(super) fn ids(&self, partition: PartitionId) -> Result<Vec<EntityId>, StoreError> {
        let mut keys = BTreeSet::new();
        self.for_each(Table::Entities, partition, &mut |key, _| {
            keys.insert(Bytes::copy_from_slice(key));
        })?;
        keys.iter()
            .map(|key| layout::parse_entity_key(key))
            .collect()
    }
}
