//! What a group of steps changes: rows, log, vectors and digests, decided over a consistent view.
//!
//! A [`Workspace`] is opened over the rows and the state as they are, takes steps one after another (each
//! sees those before it), and yields the [`Group`] to be journaled and the [`Changes`] to be published.
//! Replaying the journaled group over the same rows and state yields the same changes: nothing here reads a
//! clock or draws a random number.

use std::collections::BTreeMap;

use bytes::Bytes;
use grapevine_crdt::{Dot, Entity, FieldCell, HybridClock, ReplicaId, Seq, Timestamp, Value};
use serde::{Deserialize, Serialize};

use super::{
    RowChange, Rows, State, StoreError, Table,
    layout::{self, StoredEntity},
    rows,
};
use crate::model::{Claim, EntityCells, EntityId, Floor, Op, Outcome, PartitionId, PartitionState};

/// The most bytes of an entity's row that a write may make: an entity is never split, and must fit into a frame
/// between peers together with the vector of its partition.
const MAX_ENTITY_BYTES: usize = 12 * 1024 * 1024;

/// What one journal row holds: everything that a group commit took in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its number; contiguous in the journal.
    pub number: u64,
    /// The high-water mark of the clock after it.
    pub clock: Timestamp,
    /// Its steps, in order.
    pub ops: Vec<Op>,
}

/// What a group changes.
#[derive(Debug)]
pub struct Changes {
    /// New rows, each key once, in the order of the keys.
    pub rows: Vec<RowChange>,
    /// The state after it.
    pub state: State,
}

/// What a local write is told when it decides what to write.
#[derive(Debug)]
pub struct Edit<'a> {
    /// The entity as it is; empty if nothing is held.
    pub entity: &'a Entity,
    /// The name of the write.
    pub dot: Dot,
    /// The time of the write, above every time told or observed before.
    pub time: Timestamp,
    /// What has been collected of the partition.
    pub floor: &'a Floor,
}

/// Rows and state as they are, with the steps of one group on top.
#[derive(Debug)]
pub struct Workspace<'a, R: Rows + ?Sized> {
    rows: &'a R,
    dirty: [BTreeMap<Bytes, Option<Bytes>>; Table::ALL.len()],
    /// What the step under way has put so far, with what was there before: a step that fails halfway leaves
    /// no trace.
    undo: Vec<Undo>,
    bytes: usize,
    state: State,
    ops: Vec<Op>,
}

/// What takes a row put into `dirty` back.
#[derive(Debug)]
enum Undo {
    /// It held nothing about this row.
    Remove(Table, Bytes),
    /// It held this.
    Restore(Table, Bytes, Option<Bytes>),
}

impl<'a, R: Rows + ?Sized> Workspace<'a, R> {
    /// A workspace over `rows`, of which `state` is the state.
    #[must_use]
    pub const fn new(rows: &'a R, state: State) -> Self {
        Self {
            rows,
            dirty: [const { BTreeMap::new() }; Table::ALL.len()],
            undo: Vec::new(),
            bytes: 0,
            state,
            ops: Vec::new(),
        }
    }

    /// Whether no step changed anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// How many steps changed something.
    #[must_use]
    pub const fn steps(&self) -> usize {
        self.ops.len()
    }

    /// About how many bytes the steps and the rows they put have; rows that were put again count again.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The state with the steps so far.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Makes one local write under `replica`: asks `decide` what to write, merges it, and claims it.
    ///
    /// If `decide` yields no cells or an error, nothing changes and the dot stays free. `Ok(None)` says so
    /// for no cells.
    pub fn write<E>(
        &mut self,
        id: &EntityId,
        replica: ReplicaId,
        now_unix_ms: u64,
        decide: impl FnOnce(Edit<'_>) -> Result<Vec<FieldCell>, E>,
    ) -> Result<Result<Option<Dot>, E>, StoreError> {
        let partition = id.partition();
        let after = self.state.partition(partition).vector.get(replica);
        let upto = after.next().ok_or(StoreError::Exhausted)?;
        let mut clock = HybridClock::resume(self.state.clock());
        let time = clock.tick(now_unix_ms).map_err(|_| StoreError::Exhausted)?;
        let dot = Dot::new(replica, upto);
        let stored = self.load(partition, id)?;
        let floor = self.state.partition(partition).floor.clone();
        let edit = Edit {
            entity: &stored.entity,
            dot,
            time,
            floor: &floor,
        };
        let cells = match decide(edit) {
            Ok(cells) => cells,
            Err(error) => return Ok(Err(error)),
        };
        if cells.is_empty() {
            return Ok(Ok(None));
        }
        debug_assert!(cells.iter().all(|cell| cell.cell.dot == dot));
        let op = Op {
            partition,
            entities: vec![EntityCells {
                id: id.clone(),
                cells,
            }],
            claim: Claim::Advance {
                replica,
                after,
                upto,
            },
        };
        self.execute(op, Some(stored))?;
        self.state.observe(time);
        Ok(Ok(Some(dot)))
    }

    /// Takes in a step from a peer, or one from the journal. The clock observes `announced`, the clock of
    /// the sender, which no time in the step exceeds.
    pub fn apply(&mut self, op: Op, announced: Timestamp) -> Result<Outcome, StoreError> {
        let ours = &self.state.partition(op.partition).vector;
        match &op.claim {
            Claim::Advance {
                replica,
                after,
                upto,
            } => {
                let have = ours.get(*replica);
                if have >= *upto {
                    return Ok(Outcome::Covered);
                }
                if have < *after {
                    return Ok(Outcome::Gap);
                }
            }
            Claim::Absorb { vector, .. } if op.entities.is_empty() && ours.includes(vector) => {
                return Ok(Outcome::Covered);
            }
            Claim::Nothing if op.entities.is_empty() => return Ok(Outcome::Covered),
            Claim::Absorb { .. } | Claim::Nothing => {}
            Claim::Repair | Claim::Recount | Claim::Collect { .. } | Claim::Rejoin(_) => {
                return Err(StoreError::Unsupported);
            }
        }
        let changed = self.execute(op, None)?;
        self.state.observe(announced);
        Ok(if changed {
            Outcome::Applied
        } else {
            Outcome::Covered
        })
    }

    /// The steps taken, as the group `number`, and what they change.
    #[must_use]
    pub fn finish(self, number: u64) -> (Group, Changes) {
        let group = Group {
            number,
            clock: self.state.clock(),
            ops: self.ops,
        };
        let changes = Changes {
            rows: Table::ALL
                .into_iter()
                .zip(self.dirty)
                .flat_map(|(table, rows)| {
                    rows.into_iter()
                        .map(move |(key, value)| ((table, key), value))
                })
                .collect(),
            state: self.state,
        };
        (group, changes)
    }

    /// Takes in a journaled group again.
    pub fn replay(&mut self, group: Group) -> Result<(), StoreError> {
        for op in group.ops {
            self.execute(op, None)?;
        }
        self.state.observe(group.clock);
        Ok(())
    }

    /// Takes one step whole, or on error not at all, and says whether it changed anything. `loaded` is its
    /// first entity as it is, if it was read already.
    ///
    /// One that changes nothing leaves no trace: peers that send each other what both hold must come to rest.
    fn execute(&mut self, op: Op, loaded: Option<StoredEntity>) -> Result<bool, StoreError> {
        self.undo.clear();
        match self.step(&op, loaded) {
            Ok(Some(partition)) => {
                self.bytes += op_bytes(&op);
                self.state.set(op.partition, partition);
                self.ops.push(op);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(error) => {
                self.roll_back();
                Err(error)
            }
        }
    }

    fn step(
        &mut self,
        op: &Op,
        mut loaded: Option<StoredEntity>,
    ) -> Result<Option<PartitionState>, StoreError> {
        // What peers have taken in is merged whatever its size; a write of our own can still be refused.
        let limit = loaded.as_ref().map_or(usize::MAX, |_| MAX_ENTITY_BYTES);
        let before = self.state.partition(op.partition).clone();
        let mut partition = PartitionState::clone(&before);
        self.claim(op.partition, &before, &mut partition, &op.claim)?;
        let mut changed = partition.vector_hash != before.vector_hash;
        for cells in &op.entities {
            let stored = match loaded.take() {
                Some(stored) => stored,
                None => self.load(op.partition, &cells.id)?,
            };
            let row_bytes = self.merge(op.partition, &before, &mut partition, cells, stored)?;
            if row_bytes > limit {
                return Err(StoreError::EntityTooLarge {
                    bytes: row_bytes,
                    limit,
                });
            }
            changed |= row_bytes > 0;
        }
        partition.steps += u64::from(changed);
        Ok(changed.then_some(partition))
    }

    fn roll_back(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Remove(table, key) => self.dirty[table.index()].remove(&key),
                Undo::Restore(table, key, value) => self.dirty[table.index()].insert(key, value),
            };
        }
    }

    /// Moves the vector. Dots held so far without a claim may be claimed by it: they are counted in the log,
    /// which is read only if there are any.
    fn claim(
        &self,
        id: PartitionId,
        before: &PartitionState,
        partition: &mut PartitionState,
        claim: &Claim,
    ) -> Result<(), StoreError> {
        let single;
        let claimed: &mut dyn Iterator<Item = (ReplicaId, Seq)> = match claim {
            Claim::Nothing => return Ok(()),
            Claim::Advance { replica, upto, .. } => {
                single = [(*replica, *upto)];
                &mut single.into_iter()
            }
            Claim::Absorb { vector, .. } => &mut vector.iter(),
            Claim::Repair | Claim::Recount | Claim::Collect { .. } | Claim::Rejoin(_) => {
                return Err(StoreError::Unsupported);
            }
        };
        for (replica, upto) in claimed {
            let ours = before.vector.get(replica);
            if upto <= ours {
                continue;
            }
            if before.unclaimed > 0 {
                let held = self.count_log(id, replica, ours, upto)?;
                partition.unclaimed = partition.unclaimed.saturating_sub(held);
            }
            partition.advance(replica, upto);
        }
        Ok(())
    }

    /// Merges cells into an entity; says how many bytes its row has now, 0 if nothing changed.
    fn merge(
        &mut self,
        id: PartitionId,
        before: &PartitionState,
        partition: &mut PartitionState,
        incoming: &EntityCells,
        stored: StoredEntity,
    ) -> Result<usize, StoreError> {
        let StoredEntity { hash, mut entity } = stored;
        let old_dots = entity.dots();
        let mut changed = false;
        for cell in &incoming.cells {
            if !before.vector.covers(cell.cell.dot) {
                changed |= entity.merge_cell(cell.clone());
            }
        }
        if !changed {
            return Ok(0);
        }
        let new_dots = entity.dots();
        for dot in old_dots.difference(&new_dots) {
            self.put(Table::Log, layout::log_key(id, *dot), None);
            let uncovered = !partition.vector.covers(*dot);
            partition.unclaimed = partition.unclaimed.saturating_sub(u64::from(uncovered));
        }
        for dot in new_dots.difference(&old_dots) {
            let value = layout::log_value(&incoming.id);
            self.put(Table::Log, layout::log_key(id, *dot), Some(value));
            partition.unclaimed += u64::from(!partition.vector.covers(*dot));
        }
        let new_hash = layout::entity_hash(&incoming.id, &entity)?;
        partition.digest = partition.digest.wrapping_sub(hash).wrapping_add(new_hash);
        let row = layout::encode_entity(new_hash, &entity)?;
        let key = layout::entity_key(id, &incoming.id);
        let row_bytes = row.len();
        self.put(Table::Entities, key, Some(row));
        Ok(row_bytes)
    }

    fn load(&self, partition: PartitionId, id: &EntityId) -> Result<StoredEntity, StoreError> {
        let key = layout::entity_key(partition, id);
        let row = match self.dirty[Table::Entities.index()].get(&key) {
            Some(row) => row.clone(),
            None => self.rows.get(Table::Entities, &key)?,
        };
        row.map_or_else(
            || {
                Ok(StoredEntity {
                    hash: 0,
                    entity: Entity::default(),
                })
            },
            |bytes| layout::decode_entity(&bytes),
        )
    }

    fn put(&mut self, table: Table, key: Bytes, value: Option<Bytes>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        let before = self.dirty[table.index()].insert(key.clone(), value);
        self.undo.push(match before {
            None => Undo::Remove(table, key),
            Some(value) => Undo::Restore(table, key, value),
        });
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

/// About how many bytes a step has in the journal.
fn op_bytes(op: &Op) -> usize {
    const CELL_BYTES: usize = 64;
    const DOT_BYTES: usize = 24;
    let claim = match &op.claim {
        Claim::Nothing | Claim::Repair | Claim::Recount => 0,
        Claim::Advance { .. } => DOT_BYTES,
        Claim::Absorb { vector, floor } => (vector.len() + floor.vector.len()) * DOT_BYTES,
        Claim::Collect { stable, ids } => {
            stable.len() * DOT_BYTES + ids.iter().map(|id| id.key().len()).sum::<usize>()
        }
        Claim::Rejoin(rejoin) => {
            let held = rejoin.held.iter();
            let held = held.map(|(id, dots)| id.key().len() + dots.len() * DOT_BYTES);
            let vectors = rejoin.vector.len() + rejoin.floor.vector.len();
            vectors * DOT_BYTES + held.sum::<usize>()
        }
    };
    let cells = |cells: &EntityCells| {
        let cells_bytes: usize = cells
            .cells
            .iter()
            .map(|FieldCell { cell, .. }| {
                let value = match &cell.value {
                    Value::Bytes(bytes) => bytes.len(),
                    Value::Dots(dots) => dots.len() * DOT_BYTES,
                    Value::Tombstone | Value::Counted => 0,
                };
                CELL_BYTES + cell.seen.len() * DOT_BYTES + value
            })
            .sum();
        cells.id.key().len() + cells_bytes
    };
    claim + op.entities.iter().map(cells).sum::<usize>()
}
