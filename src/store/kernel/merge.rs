//! Writes, deltas and pushes: cells merge, and the vector moves with them.

use std::collections::BTreeSet;

use grapevine_crdt::{Dot, Entity, Field, FieldCell, ReplicaId, Seq, VersionVector};

use super::{Workspace, replace::Old};
use crate::{
    model::{Claim, Collection, EntityCells, EntityId, Floor, Op, PartitionId, PartitionState},
    store::{
        Rows, StoreError, Table,
        layout::{self, StoredEntity},
        rows,
    },
};

/// The most bytes of an entity's row that a write may make: an entity is never split, and must fit into a frame
/// between peers together with the vector of its partition.
pub const MAX_ENTITY_BYTES: usize = 12 * 1024 * 1024;

/// The most bytes of an entity's row that cells of a peer may make: edits of two halves, each as large as a
/// write may make it, still meet. One that is larger than a frame cannot be sent whole to a member that
/// holds nothing of it, until somebody settles its conflicts; but nobody who has a part of it is held up.
pub const MAX_MERGED_BYTES: usize = 32 * 1024 * 1024;

/// Whose cells they are, and so what is asked of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A write of ours.
    Local,
    /// A peer.
    Peer,
    /// The journal, which took them in before.
    Journal,
}

impl Source {
    const fn max_bytes(self) -> usize {
        match self {
            Self::Local => MAX_ENTITY_BYTES,
            Self::Peer => MAX_MERGED_BYTES,
            Self::Journal => usize::MAX,
        }
    }
}

impl<R: Rows + ?Sized> Workspace<'_, R> {
    /// Moves the vector. Dots held so far without a claim may be claimed by it: they are counted in the log,
    /// which is read only if there are any.
    pub(super) fn claim(
        &self,
        id: PartitionId,
        state: &mut PartitionState,
        claimed: &VersionVector,
    ) -> Result<(), StoreError> {
        if state.unclaimed > 0 {
            for (replica, upto) in claimed.raised_above(&state.vector) {
                let held = self.count_log(id, replica, state.vector.get(replica), upto)?;
                state.unclaimed = state.unclaimed.saturating_sub(held);
            }
        }
        state.join(claimed);
        Ok(())
    }

    /// Merges cells into their entities, except those that `before` covers; says whether anything changed.
    pub(super) fn merge_all(
        &mut self,
        id: PartitionId,
        before: &PartitionState,
        state: &mut PartitionState,
        entities: &[EntityCells],
        mut loaded: Option<StoredEntity>,
    ) -> Result<bool, StoreError> {
        let mut changed = false;
        for cells in entities {
            let stored = match loaded.take() {
                Some(stored) => stored,
                None => self.load(id, &cells.id)?,
            };
            let new = |cell: &&FieldCell| !before.vector.covers(cell.cell.dot);
            let cells_new = cells.cells.iter().filter(new);
            changed |= self.merge(id, state, &cells.id, cells_new, stored)?;
        }
        Ok(changed)
    }

    /// Merges cells into an entity; says whether that changed it.
    pub(super) fn merge<'c>(
        &mut self,
        partition: PartitionId,
        state: &mut PartitionState,
        id: &EntityId,
        cells: impl Iterator<Item = &'c FieldCell>,
        stored: StoredEntity,
    ) -> Result<bool, StoreError> {
        let mut cells = cells.peekable();
        if cells.peek().is_none() {
            return Ok(false);
        }
        let old = Old::of(id, &stored);
        let mut entity = stored.entity;
        let before = (id.collection() == Collection::Contacts).then(|| entity.clone());
        let mut changed = false;
        for cell in cells {
            changed |= self.take(&mut entity, cell);
        }
        if !changed {
            return Ok(false);
        }
        self.check_names(partition, id, &old.dots, &entity)?;
        let row_bytes = self.replace(partition, state, id, &old, &entity)?;
        if let Some(before) = before {
            self.remember(partition, id, &before, &entity)?;
        }
        let limit = self.source.max_bytes();
        if row_bytes > limit {
            return Err(StoreError::EntityTooLarge {
                bytes: row_bytes,
                limit,
            });
        }
        Ok(true)
    }

    /// Takes one cell in; says whether that changed anything. Of two that differ and have one name the
    /// greater stays, wherever they meet, and it is counted: no honest writers make such. The lesser goes only if
    /// the greater is held then: one that clears its own write would leave nothing.
    fn take(&mut self, entity: &mut Entity, incoming: &FieldCell) -> bool {
        let FieldCell { field, cell } = incoming;
        let clash = entity.field(field).and_then(|held| {
            let mut cells = held.cells();
            cells.find(|held| held.dot == cell.dot && *held != cell)
        });
        if let Some(held) = clash {
            self.clashes += 1;
            if held > cell {
                return false;
            }
            let mut greater = entity.clone();
            greater.retain(|key, held| key != field || held.dot != cell.dot);
            greater.merge_cell(incoming.clone());
            let holds = |held: &Field| held.cells().any(|held| held == cell);
            if !greater.field(field).is_some_and(holds) {
                return false;
            }
            *entity = greater;
            return true;
        }
        entity.merge_cell(incoming.clone())
    }

    /// Whether the dots that came are of no other entity: a write touches one.
    fn check_names(
        &self,
        partition: PartitionId,
        id: &EntityId,
        old: &BTreeSet<Dot>,
        entity: &Entity,
    ) -> Result<(), StoreError> {
        if self.source != Source::Peer {
            return Ok(());
        }
        for dot in entity.dots().difference(old) {
            let Some(row) = self.get(Table::Log, &layout::log_key(partition, *dot))? else {
                continue;
            };
            let other = layout::parse_log_value(&row)?;
            if other != *id {
                return Err(StoreError::TwoEntities {
                    dot: *dot,
                    entities: Box::new([other, id.clone()]),
                });
            }
        }
        Ok(())
    }

    /// How many rows the log has for `replica` above `after` up to `upto`, those of this group included.
    fn count_log(
        &self,
        partition: PartitionId,
        replica: ReplicaId,
        after: Seq,
        upto: Seq,
    ) -> Result<u64, StoreError> {
        let from = layout::log_key(partition, Dot::new(replica, after));
        let last = layout::log_key(partition, Dot::new(replica, upto));
        let mut count: u64 = 0;
        rows::scan_with(
            self.rows,
            &self.dirty[Table::Log.index()],
            Table::Log,
            &from,
            &last,
            &mut |_key| count += 1,
        )?;
        Ok(count)
    }
}

/// Raises the floor; says whether that changed it. What the vector does not cover is no part of a floor.
pub(super) fn raise_floor(state: &mut PartitionState, by: &Floor) -> bool {
    let by = Floor {
        vector: by.vector.meet(&state.vector),
        rank: by.rank,
    };
    if state.floor.includes(&by) {
        return false;
    }
    state.raise_floor(&by);
    true
}

/// The step as it is journaled, over a partition that was as `before`: what `before` covered is not named again.
/// A replay begins from the same, so it does the same; and a row costs what is new, not all lives there were.
pub(super) fn journaled(mut op: Op, before: &PartitionState) -> Op {
    if let Claim::Absorb { vector, floor } = &mut op.claim {
        *vector = vector.raised_above(&before.vector).collect();
        floor.vector = floor.vector.raised_above(&before.floor.vector).collect();
    }
    op
}
