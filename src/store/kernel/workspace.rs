//! Steps taken one after another over rows and state as they are.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use grapevine_crdt::{CausalContext, Dot, Entity, FieldCell, HybridClock, ReplicaId, Timestamp};

use super::{
    Changes, Collected, Edit, Group, HistoryLimits,
    merge::{Source, journaled, raise_floor},
    weight::op_bytes,
};
use crate::{
    model::{Claim, Collection, EntityCells, EntityId, Issue, Op, Outcome, PartitionState},
    store::{Rows, State, StoreError, Table, layout::StoredEntity},
};

/// Rows and state as they are, with the steps of one group on top.
#[derive(Debug)]
pub struct Workspace<'a, R: Rows + ?Sized> {
    pub(super) rows: &'a R,
    pub(super) dirty: [BTreeMap<Bytes, Option<Bytes>>; Table::ALL.len()],
    /// What the step under way has put so far, with what was there before: a step that fails halfway leaves
    /// no trace.
    undo: Vec<Undo>,
    bytes: usize,
    state: State,
    ops: Vec<Op>,
    /// Whose step is under way.
    pub(super) source: Source,
    /// How many cells came that differ from a held one of the same name.
    pub(super) clashes: u64,
    /// What the steps collected.
    pub(super) collected: Collected,
    /// How much is remembered of what contacts were.
    pub(super) history: HistoryLimits,
    /// The clock before the first step.
    pub(super) began: Timestamp,
    /// Up to where what is too old was taken away.
    pub(super) swept: Bytes,
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
            source: Source::Journal,
            clashes: 0,
            collected: Collected {
                tombstones: 0,
                removals: 0,
                values: 0,
            },
            history: HistoryLimits {
                versions: 0,
                age_ms: 0,
            },
            began: Timestamp::ZERO,
            swept: Bytes::new(),
        }
    }

    /// Remembers what contacts were within `limits`; without it, nothing is.
    #[must_use]
    pub fn remembering(mut self, limits: HistoryLimits) -> Self {
        self.history = limits;
        self.began = self.state.clock();
        self
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

    /// How many cells came that differ from a held one of the same name: an alarm.
    #[must_use]
    pub const fn clashes(&self) -> u64 {
        self.clashes
    }

    /// How many cells the steps collected.
    #[must_use]
    pub const fn collected(&self) -> Collected {
        self.collected
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
        debug_assert!(
            cells
                .iter()
                .map(|cell| &cell.field)
                .collect::<BTreeSet<_>>()
                .len()
                == cells.len(),
            "a write has one cell of a field"
        );
        let needs = needed(id, &stored.entity, replica);
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
                needs,
            },
        };
        self.source = Source::Local;
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
                needs,
            } => {
                let have = ours.get(*replica);
                if have >= *upto {
                    return Ok(Outcome::Covered);
                }
                if have < *after || !needs.iter().all(|dot| ours.covers(dot)) {
                    return Ok(Outcome::Gap);
                }
            }
            Claim::Absorb { .. }
            | Claim::Nothing
            | Claim::Repair
            | Claim::Recount
            | Claim::Collect { .. }
            | Claim::Rejoin(_) => {}
        }
        if let Claim::Rejoin(rejoin) = &op.claim {
            self.state.observe(rejoin.floor.rank.time());
        }
        self.source = Source::Peer;
        let changed = self.execute(op, None)?;
        self.state.observe(announced);
        Ok(if changed {
            Outcome::Applied
        } else {
            Outcome::Covered
        })
    }

    /// As [`Self::apply`], and gives the cells that a [`Claim::Rejoin`] writes anew their names: those of the
    /// next writes of `replica`, and times above all that either side has collected. What a writer calls for
    /// every step that is not a write of its own.
    pub fn apply_as(
        &mut self,
        mut op: Op,
        announced: Timestamp,
        replica: impl FnOnce() -> ReplicaId,
    ) -> Result<Outcome, StoreError> {
        if let Claim::Rejoin(rejoin) = &mut op.claim {
            let ours = self.state.partition(op.partition).floor.rank;
            let collected = ours.max(rejoin.floor.rank).get();
            let first = collected.checked_add(1).ok_or(StoreError::Exhausted)?;
            rejoin.issue = Some(Issue {
                replica: replica(),
                time: Timestamp::from_u64(first),
                outside: None,
            });
        }
        self.apply(op, announced)
    }

    /// The steps taken, as the group `number`, and what they change.
    #[must_use]
    pub fn finish(mut self, number: u64) -> (Group, Changes) {
        self.stamp_history();
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
        self.source = Source::Journal;
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
                let id = op.partition;
                let op = journaled(op, self.state.partition(id));
                self.bytes += op_bytes(&op);
                self.state.set(id, partition);
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
        loaded: Option<StoredEntity>,
    ) -> Result<Option<PartitionState>, StoreError> {
        let id = op.partition;
        let before = self.state.partition(id).clone();
        let mut state = PartitionState::clone(&before);
        let mut changed = match &op.claim {
            Claim::Nothing => false,
            Claim::Advance { replica, upto, .. } => {
                self.claim(id, &mut state, &[(*replica, *upto)].into_iter().collect())?;
                false
            }
            Claim::Absorb { floor, .. }
                if !before.vector.is_empty() && !before.vector.includes(&floor.vector) =>
            {
                // Something was written since it was decided that nothing could be missed.
                return Err(StoreError::BelowFloor {
                    partition: id.get(),
                });
            }
            Claim::Absorb { vector, floor } => {
                self.claim(id, &mut state, vector)?;
                raise_floor(&mut state, floor)
            }
            Claim::Repair => self.repair(id, &mut state, &op.entities)?,
            Claim::Recount => self.recount(id, &mut state, &op.entities)?,
            Claim::Collect { stable, ids } => self.collect(id, &mut state, stable, ids)?,
            Claim::Rejoin(rejoin) => self.rejoin(id, &mut state, rejoin, &op.entities)?,
        };
        match op.claim {
            Claim::Nothing | Claim::Advance { .. } | Claim::Absorb { .. } => {
                changed |= self.merge_all(id, &before, &mut state, &op.entities, loaded)?;
            }
            Claim::Repair | Claim::Recount | Claim::Collect { .. } | Claim::Rejoin(_) => {}
        }
        changed |= state.vector_hash != before.vector_hash;
        state.steps += u64::from(changed);
        Ok(changed.then_some(state))
    }

    fn roll_back(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Remove(table, key) => self.dirty[table.index()].remove(&key),
                Undo::Restore(table, key, value) => self.dirty[table.index()].insert(key, value),
            };
        }
    }

    pub(super) fn put(&mut self, table: Table, key: Bytes, value: Option<Bytes>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        let before = self.dirty[table.index()].insert(key.clone(), value);
        self.undo.push(match before {
            None => Undo::Remove(table, key),
            Some(value) => Undo::Restore(table, key, value),
        });
    }

    /// Raises the clock's high-water mark.
    pub(super) fn observe(&mut self, time: Timestamp) {
        self.state.observe(time);
    }
}

/// What others must have taken in before a write of `replica` to this entity, which is held so, may join what they hold
/// of it.
///
/// Only of contacts do several cells tell together what is shown, and only of them goes what an edit was made beside.
fn needed(id: &EntityId, held: &Entity, replica: ReplicaId) -> CausalContext {
    if id.collection() != Collection::Contacts {
        return CausalContext::default();
    }
    let others = held.cells().map(|(_, cell)| cell.dot);
    others.filter(|dot| dot.replica != replica).collect()
}
