//! Rejoin: a partition is taken in whole from a peer that collected what we never took in, or that never took
//! in what we collected.
//!
//! The peer's cells were merged before. What the peer covers and does not hold goes: it was replaced or
//! collected there. What only one side has is written anew, with the next names of our replica and fresh times:
//! a third member may still hold a tombstone that one of the two has collected, and an edit that nobody has
//! deleted must win there as it does here. Hidden entities, removals and counters are not written anew: they
//! carry no time that could lose wrongly.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use grapevine_crdt::{
    CausalContext, Cell, Dot, Entity, Field, FieldCell, FieldKey, LwwMap, MergeRule, Rank,
    ReplicaId, Seq, Timestamp, VersionVector,
};

use super::{Workspace, merge::raise_floor, replace::Old};
use crate::{
    model::{
        CellName, Collection, EntityCells, EntityId, Floor, PartitionId, PartitionState, Rejoin,
    },
    store::{Rows, StoreError},
};

/// Hands out names and times, each once.
#[derive(Debug)]
pub(super) struct Names {
    replica: ReplicaId,
    last: Seq,
    /// The time of the last name, once there is one.
    told: Option<Timestamp>,
    next: Timestamp,
}

impl Names {
    /// The names of `replica` behind `last`, the first at `first`.
    pub(super) const fn new(replica: ReplicaId, last: Seq, first: Timestamp) -> Self {
        Self {
            replica,
            last,
            told: None,
            next: first,
        }
    }

    fn next(&mut self) -> Result<(Dot, Timestamp), StoreError> {
        let time = self.next;
        let after = time.as_u64().checked_add(1).ok_or(StoreError::Exhausted)?;
        let dot = self.next_from(time)?;
        self.next = Timestamp::from_u64(after);
        Ok((dot, time))
    }

    /// A name for a write that keeps its own `time`.
    fn next_from(&mut self, time: Timestamp) -> Result<Dot, StoreError> {
        self.last = self.last.next().ok_or(StoreError::Exhausted)?;
        self.told = self.told.max(Some(time));
        Ok(Dot::new(self.replica, self.last))
    }
}

/// What becomes of the time of a cell that is written anew.
#[derive(Clone, Copy, Debug)]
pub(super) enum Times<'a> {
    /// It stays, but is raised above what was collected: a tombstone that is gone here would have beaten it where it
    /// is still held, and a write that was acknowledged meanwhile must not be beaten.
    Raised,
    /// As [`Self::Raised`], and in these fields at least to these times.
    Above(&'a BTreeMap<FieldKey, Timestamp>),
    /// It was wrong; there is another.
    Replaced,
}

/// Writes those timed cells of `entity` anew that `chosen` chooses, in the order of their ranks, so that what
/// wins among them stays what wins. With `collected` a clearing of it joins the first.
///
/// What a cell has seen is told as the highest write of each replica. So whoever sees a cell that is written anew
/// claims to have seen everything that its old and its new writer wrote to the field before. Law: therefore the cells
/// of a field that are written anew have seen all that any of those has seen, and none of those stays beside them.
pub(super) fn reissue(
    entity: &mut Entity,
    names: &mut Names,
    times: &Times<'_>,
    collected: Option<&VersionVector>,
    chosen: impl Fn(&FieldKey, &Cell) -> bool,
) -> Result<bool, StoreError> {
    let mut old: Vec<(FieldKey, Cell, CausalContext)> = Vec::new();
    for (field, cells) in entity.fields().filter(|(field, _)| field.is_timed()) {
        let (cells, seen) = written_anew(field, cells, names.replica, &chosen);
        let cells = cells.into_iter();
        old.extend(cells.map(|cell| (field.clone(), cell, seen.clone())));
    }
    old.sort_by(|(a, left, _), (b, right, _)| {
        (left.rank, left.dot, a).cmp(&(right.rank, right.dot, b))
    });
    let mut first = None;
    for (field, cell, seen) in &old {
        let (dot, time) = match times {
            Times::Raised => {
                let time = replacing(field, cell)?.max(names.next);
                (names.next_from(time)?, time)
            }
            Times::Above(least) => {
                let least = least.get(field).copied().unwrap_or(Timestamp::ZERO);
                let time = replacing(field, cell)?.max(names.next).max(least);
                (names.next_from(time)?, time)
            }
            Times::Replaced => names.next()?,
        };
        first.get_or_insert(dot);
        let mut seen = seen.clone();
        if matches!(field, FieldKey::Attribute(_)) {
            seen.insert(cell.dot);
        }
        entity.retain(|key, held| key != field || held.dot != cell.dot);
        entity.merge_cell(FieldCell {
            field: field.clone(),
            cell: Cell {
                rank: Rank::at(time),
                dot,
                seen,
                value: cell.value.clone(),
            },
        });
    }
    if let (Some(dot), Some(collected)) = (first, collected) {
        let clearing = LwwMap::new(entity).clearing(collected, dot);
        entity.merge_cell(clearing);
    }
    Ok(!old.is_empty())
}

/// Which cells of a field are written anew by `replica` if `chosen` chooses some, and what they have seen: with those
/// chosen the earlier ones of their writers and of `replica`, whose markers are seen.
fn written_anew(
    field: &FieldKey,
    held: &Field,
    replica: ReplicaId,
    chosen: impl Fn(&FieldKey, &Cell) -> bool,
) -> (Vec<Cell>, CausalContext) {
    let mut seen = CausalContext::default();
    let (mut cells, mut rest): (Vec<&Cell>, Vec<&Cell>) = held
        .cells()
        .partition(|cell| !cell.is_marker() && chosen(field, cell));
    if cells.is_empty() || field.rule() != MergeRule::LatestWithMemory {
        return (cells.into_iter().cloned().collect(), seen);
    }
    // Those that join have earlier ones in turn.
    loop {
        let is_claimed = |cell: &Cell| {
            let earlier = |other: &&Cell| {
                other.dot.replica == cell.dot.replica && other.dot.seq > cell.dot.seq
            };
            cell.dot.replica == replica || cells.iter().any(earlier)
        };
        let (claimed, others): (Vec<&Cell>, Vec<&Cell>) =
            rest.into_iter().partition(|cell| is_claimed(cell));
        if claimed.is_empty() {
            break;
        }
        rest = others;
        let (markers, earlier): (Vec<&Cell>, Vec<&Cell>) =
            claimed.into_iter().partition(|cell| cell.is_marker());
        for marker in markers {
            seen.insert(marker.dot);
            seen.merge(&marker.seen);
        }
        cells.extend(earlier);
    }
    for cell in &cells {
        seen.merge(&cell.seen);
    }
    (cells.into_iter().cloned().collect(), seen)
}

/// The least time with which `cell`, written anew, takes its own place wherever it is held. One that remembers what it
/// has seen does so by that.
fn replacing(field: &FieldKey, cell: &Cell) -> Result<Timestamp, StoreError> {
    let time = cell.rank.time();
    if matches!(field, FieldKey::Attribute(_)) {
        return Ok(time);
    }
    let next = time.as_u64().checked_add(1).ok_or(StoreError::Exhausted)?;
    Ok(Timestamp::from_u64(next))
}

impl<R: Rows + ?Sized> Workspace<'_, R> {
    /// Takes a peer's whole state of a partition in; says whether anything changed.
    pub(super) fn rejoin(
        &mut self,
        partition: PartitionId,
        state: &mut PartitionState,
        rejoin: &Rejoin,
        deletions: &[EntityCells],
    ) -> Result<bool, StoreError> {
        let issue = rejoin.issue.ok_or(StoreError::NotIssued)?;
        let ours = state.vector.clone();
        self.claim(partition, state, &rejoin.vector)?;
        let mut changed = raise_floor(state, &rejoin.floor);
        let last = state.vector.get(issue.replica);
        let mut names = Names::new(issue.replica, last, issue.time);
        let held: BTreeMap<&EntityId, BTreeSet<CellName>> = rejoin
            .held
            .iter()
            .map(|(id, names)| (id, names.iter().copied().collect()))
            .collect();
        let nothing = BTreeSet::new();
        if let Some((_, latest)) = issue.outside
            && state.floor.rank.time() > latest
        {
            let mut floor = Floor::clone(&state.floor);
            floor.rank = Rank::at(issue.time);
            state.floor = Arc::new(floor);
            changed = true;
        }
        let deletions: BTreeMap<&EntityId, &[FieldCell]> = deletions
            .iter()
            .map(|entity| (&entity.id, entity.cells.as_slice()))
            .collect();
        let mut ids: BTreeSet<EntityId> = self.ids(partition)?.into_iter().collect();
        ids.extend(deletions.keys().copied().cloned());
        for id in ids {
            if id.collection() == Collection::Counters {
                continue;
            }
            let stored = match self.load(partition, &id) {
                Ok(stored) => stored,
                // It is repaired another time.
                Err(StoreError::Row { .. }) => continue,
                Err(error) => return Err(error),
            };
            let old = Old::of(&id, &stored);
            let mut entity = stored.entity.clone();
            if let Some(bounds) = issue.outside {
                mend(&mut entity, &mut names, bounds)?;
            } else {
                let theirs = held.get(&id).unwrap_or(&nothing);
                let refreshes_theirs = rejoin.refresh_theirs
                    || (rejoin.returning && is_gone_here(&entity, theirs, &ours));
                let sides = Sides {
                    rejoin,
                    theirs,
                    ours: &ours,
                    refreshes_theirs,
                };
                let floor = &state.floor.vector;
                if rejoin.returning {
                    let deletions = deletions.get(&id).copied().unwrap_or_default();
                    sides.return_to(&mut entity, deletions, &mut names, floor)?;
                } else {
                    sides.meet(&mut entity, &mut names, floor)?;
                }
            }
            if entity == stored.entity {
                continue;
            }
            state.advance(issue.replica, names.last);
            self.replace(partition, state, &id, &old, &entity)?;
            changed = true;
        }
        if let Some(time) = names.told {
            self.observe(time);
        }
        Ok(changed)
    }
}

/// Writes the cells anew whose times lie outside the bounds; what was hidden is hidden again.
fn mend(
    entity: &mut Entity,
    names: &mut Names,
    (earliest, latest): (Timestamp, Timestamp),
) -> Result<(), StoreError> {
    let was_visible = entity.is_visible();
    reissue(entity, names, &Times::Replaced, None, |_, cell| {
        cell.rank.time() < earliest || cell.rank.time() > latest
    })?;
    if !was_visible && entity.is_visible() {
        let (dot, _) = names.next()?;
        for cell in LwwMap::new(entity).remove(dot) {
            entity.merge_cell(cell);
        }
    }
    Ok(())
}

/// Who has what of one entity.
pub(super) struct Sides<'a> {
    pub(super) rejoin: &'a Rejoin,
    /// The dots that the peer holds.
    pub(super) theirs: &'a BTreeSet<CellName>,
    /// Our vector before.
    pub(super) ours: &'a VersionVector,
    /// Whether what only the peer has is written anew as well: it may not know what we have collected.
    pub(super) refreshes_theirs: bool,
}

/// Whether we took something in that the peer holds and that is gone here without being replaced by anything held. Who
/// was expelled may have collected it with others of its half, and without whoever expelled it; what comes from
/// there must not bring it back, nor differ from where it is still held.
fn is_gone_here(entity: &Entity, theirs: &BTreeSet<CellName>, ours: &VersionVector) -> bool {
    let is_held_or_replaced = |name: &CellName| {
        let mut fields = entity.fields().filter(|(key, _)| name.is_of(key));
        fields.any(|(key, field)| {
            !matches!(key, FieldKey::Attribute(_))
                || field
                    .cells()
                    .any(|cell| cell.dot == name.dot || cell.seen.covers(name.dot))
        })
    };
    let mut covered = theirs.iter().filter(|name| ours.covers(name.dot));
    covered.any(|name| {
        !is_held_or_replaced(name) && !entity.clearings().any(|dots| dots.covers(name.dot))
    })
}

impl Sides<'_> {
    fn meet(
        &self,
        entity: &mut Entity,
        names: &mut Names,
        floor: &VersionVector,
    ) -> Result<(), StoreError> {
        let we_held_none = entity.dots().iter().all(|dot| !self.ours.covers(*dot));
        self.drop_what_went(entity);
        if !entity.is_visible() {
            return Ok(());
        }
        let one_holds_none = self.theirs.is_empty() || (self.refreshes_theirs && we_held_none);
        let clears = one_holds_none
            && !floor.is_empty()
            && entity
                .cells()
                .any(|(key, _)| matches!(key, FieldKey::Attribute(_)));
        if clears {
            // All of them: one that the clearing covers by chance must not depend on who has it still.
            reissue(entity, names, &Times::Raised, Some(floor), |_, _| true)?;
            return Ok(());
        }
        // What loses to a cell that stays as it is would win over it with a new time.
        let winning: BTreeSet<FieldKey> = entity
            .fields()
            .filter(|(key, field)| self.is_one_sided(key, field.shown()))
            .map(|(key, _)| key.clone())
            .collect();
        reissue(entity, names, &Times::Raised, None, |key, cell| {
            winning.contains(key) && self.is_one_sided(key, cell)
        })?;
        Ok(())
    }

    /// Drops what the peer covers and does not hold.
    pub(super) fn drop_what_went(&self, entity: &mut Entity) {
        entity
            .retain(|key, cell| !self.rejoin.vector.covers(cell.dot) || self.is_theirs(key, cell));
    }

    /// Whether the peer holds a cell.
    pub(super) fn is_theirs(&self, key: &FieldKey, cell: &Cell) -> bool {
        self.theirs.contains(&CellName::of(key, cell))
    }

    /// Whether a cell is to be written anew: only we have it, or only they have it and do not know our floor.
    pub(super) fn is_one_sided(&self, key: &FieldKey, cell: &Cell) -> bool {
        let dot = cell.dot;
        if self.is_theirs(key, cell) {
            self.refreshes_theirs && !self.ours.covers(dot)
        } else {
            !self.rejoin.vector.covers(dot)
        }
    }
}

#[cfg(test)]
mod tests {
    use grapevine_crdt::Value;

    use super::*;

    fn dot(replica: u8, seq: u64) -> Dot {
        Dot::new(ReplicaId::from_bytes([replica; 16]), Seq::new(seq))
    }

    fn cell(dot: Dot, rank: u64, seen: &[Dot], value: Value) -> FieldCell {
        FieldCell {
            field: FieldKey::Attribute("note".to_owned()),
            cell: Cell {
                rank: Rank::new(rank),
                dot,
                seen: seen.iter().copied().collect(),
                value,
            },
        }
    }

    fn merged<'a>(cells: impl IntoIterator<Item = &'a FieldCell>) -> Entity {
        let mut entity = Entity::default();
        for cell in cells {
            entity.merge_cell(cell.clone());
        }
        entity
    }

    fn all_cells(entity: &Entity) -> Vec<FieldCell> {
        let cells = entity.cells().map(|(field, cell)| FieldCell {
            field: field.clone(),
            cell: cell.clone(),
        });
        cells.collect()
    }

    /// Writes what replica 9 wrote anew under replica `by`, as one that takes part anew would.
    fn anew(entity: &Entity, by: u8, chosen: Dot) -> Entity {
        let mut entity = entity.clone();
        let replica = ReplicaId::from_bytes([by; 16]);
        let mut names = Names::new(replica, Seq::new(10), Timestamp::from_u64(1));
        let is_chosen = |_: &FieldKey, cell: &Cell| cell.dot == chosen;
        reissue(&mut entity, &mut names, &Times::Raised, None, is_chosen).expect("names are left");
        entity
    }

    /// The danger: a marker says which conflicts are gone. Whoever sees a later write of the same replica claims to have
    /// seen the marker; if that write does not say what the marker says, the conflict stays where it comes first.
    #[test]
    fn what_was_trimmed_comes_back_behind_a_cell_that_was_written_anew() {
        let bytes = |byte| Value::Bytes(vec![byte]);
        let trimmed = cell(dot(1, 1), 10, &[], bytes(1));
        let shown = cell(dot(2, 1), 20, &[], bytes(2));
        let marker = cell(dot(3, 1), 0, &[dot(1, 1)], Value::Tombstone);
        for first in [3, 4] {
            let one = anew(&merged([&trimmed, &shown, &marker]), first, dot(2, 1));
            let again = one.cells().map(|(_, cell)| cell.dot).max();
            let two = anew(&one, 5, again.expect("something is held"));
            let late: Vec<FieldCell> = [vec![trimmed.clone()], all_cells(&one), all_cells(&two)]
                .concat()
                .into_iter()
                .chain([marker.clone()])
                .collect();
            let early: Vec<FieldCell> = late.iter().rev().cloned().collect();
            assert_eq!(merged(&late), merged(&early), "by {first}");
            assert_eq!(all_cells(&merged(&late)).len(), all_cells(&two).len());
        }
    }

    /// The danger: of two conflicts of one writer the later is written anew twice, and takes the earlier with it.
    #[test]
    fn an_earlier_conflict_of_the_same_writer_vanishes() {
        let bytes = |byte| Value::Bytes(vec![byte]);
        let earlier = cell(dot(1, 1), 10, &[], bytes(1));
        let later = cell(dot(1, 2), 20, &[], bytes(2));
        let values = |entity: &Entity| -> BTreeSet<Vec<u8>> {
            let cells = entity.cells();
            cells
                .filter_map(|(_, cell)| cell.bytes().map(<[u8]>::to_vec))
                .collect()
        };
        let one = anew(&merged([&earlier, &later]), 3, dot(1, 2));
        assert_eq!(values(&one), BTreeSet::from([vec![1], vec![2]]));
        let latest = one.cells().map(|(_, cell)| cell.dot).max();
        let two = anew(&one, 4, latest.expect("something is held"));
        assert_eq!(values(&two), values(&one));
    }
}
