//! What becomes of an entity when a member that was expelled takes its partition in anew.
//!
//! Whom it meets may still hold what others have collected: a removal with what it hides, or a tombstone. Both must
//! come to the same, so what the peer hides counts as collected. An edit that the cluster has not seen is kept, alone:
//! it is written anew with a clearing of what it was hidden with, so that this goes wherever it is held. And it wins over
//! a tombstone of its field, for where that was collected there is nothing left to lose to.
//!
//! What the member that returns holds no unseen edit of stays as the peer holds it: others may still know better.

use std::collections::{BTreeMap, BTreeSet};

use grapevine_crdt::{
    CausalContext, Cell, Entity, Field, FieldCell, FieldKey, Timestamp, Value, VersionVector,
};

use super::rejoin::{Names, Sides, Times, reissue};
use crate::store::StoreError;

impl Sides<'_> {
    /// As [`Sides::meet`], for who was expelled; `deletions` are those of keys that the peer holds.
    pub(super) fn return_to(
        &self,
        entity: &mut Entity,
        deletions: &[FieldCell],
        names: &mut Names,
        floor: &VersionVector,
    ) -> Result<(), StoreError> {
        let we_held_none = entity.dots().iter().all(|dot| !self.ours.covers(*dot));
        self.drop_what_went(entity);
        let one_holds_none = self.theirs.is_empty() || (self.refreshes_theirs && we_held_none);
        let has_attributes = entity
            .cells()
            .any(|(key, _)| matches!(key, FieldKey::Attribute(_)));
        let gone = if has_attributes {
            self.drop_what_is_hidden(entity)
        } else {
            CausalContext::default()
        };
        let above = self.settle_deletions(entity, deletions)?;
        if !entity.is_visible() {
            return Ok(());
        }
        if has_attributes && (!gone.is_empty() || (one_holds_none && !floor.is_empty())) {
            let mut collected = floor.clone();
            collected.extend(gone.iter().map(|dot| (dot.replica, dot.seq)));
            reissue(
                entity,
                names,
                &Times::Above(&above),
                Some(&collected),
                |_, _| true,
            )?;
            return Ok(());
        }
        let winning: BTreeSet<FieldKey> = entity
            .fields()
            .filter(|(key, field)| {
                let counted = field
                    .cells()
                    .filter(|cell| !self.is_their_deletion(key, cell));
                let best = counted.max_by_key(|cell| (cell.rank, cell.dot));
                best.is_some_and(|best| self.is_one_sided(key, best))
            })
            .map(|(key, _)| key.clone())
            .collect();
        reissue(entity, names, &Times::Above(&above), None, |key, cell| {
            winning.contains(key)
                && self.is_one_sided(key, cell)
                && !self.is_their_deletion(key, cell)
        })?;
        Ok(())
    }

    fn is_their_deletion(&self, key: &FieldKey, cell: &Cell) -> bool {
        cell.value == Value::Tombstone && self.is_theirs(key, cell)
    }

    /// Drops what one side hides, if the other has something to show that it never saw; says what that was, with all
    /// that it names.
    fn drop_what_is_hidden(&self, entity: &mut Entity) -> CausalContext {
        let theirs = part(entity, |key, cell| self.is_theirs(key, cell));
        let ours_alone = part(entity, |key, cell| !self.is_theirs(key, cell));
        let mut gone = CausalContext::default();
        if !theirs.is_visible() && ours_alone.is_visible() {
            entity.retain(|key, cell| {
                let goes = self.is_theirs(key, cell) && self.rejoin.vector.covers(cell.dot);
                if goes {
                    name(&mut gone, cell);
                }
                !goes
            });
            return gone;
        }
        let ours = part(entity, |_, cell| self.ours.covers(cell.dot));
        let theirs_alone = part(entity, |_, cell| !self.ours.covers(cell.dot));
        if self.refreshes_theirs && !ours.is_visible() && theirs_alone.is_visible() {
            entity.retain(|_, cell| {
                let goes = self.ours.covers(cell.dot);
                if goes {
                    name(&mut gone, cell);
                }
                !goes
            });
        }
        gone
    }

    /// Takes in the peer's deletions of keys, but where an edit of ours stays that the peer never saw; says above which
    /// time that has to be, and what is edited beside a tombstone that the peer holds.
    fn settle_deletions(
        &self,
        entity: &mut Entity,
        deletions: &[FieldCell],
    ) -> Result<BTreeMap<FieldKey, Timestamp>, StoreError> {
        let mut above = BTreeMap::new();
        let held = entity
            .cells()
            .filter(|(key, cell)| key.is_timed() && self.is_their_deletion(key, cell))
            .map(|(key, cell)| (key.clone(), cell.rank.time()));
        for (key, time) in held {
            raise(&mut above, key, time)?;
        }
        for deletion in deletions {
            let held = entity.field(&deletion.field).map(Field::shown);
            let stays = held.is_some_and(|held| {
                held.value != Value::Tombstone && !self.is_theirs(&deletion.field, held)
            });
            if stays {
                raise(
                    &mut above,
                    deletion.field.clone(),
                    deletion.cell.rank.time(),
                )?;
            } else {
                entity.merge_cell(deletion.clone());
            }
        }
        Ok(above)
    }
}

fn raise(
    above: &mut BTreeMap<FieldKey, Timestamp>,
    key: FieldKey,
    time: Timestamp,
) -> Result<(), StoreError> {
    let next = time.as_u64().checked_add(1).ok_or(StoreError::Exhausted)?;
    let least = above.entry(key).or_insert(Timestamp::ZERO);
    *least = (*least).max(Timestamp::from_u64(next));
    Ok(())
}

/// What of an entity `keep` keeps.
fn part(entity: &Entity, keep: impl FnMut(&FieldKey, &Cell) -> bool) -> Entity {
    let mut part = entity.clone();
    part.retain(keep);
    part
}

/// Adds the write of `cell` with all writes that it names.
fn name(gone: &mut CausalContext, cell: &Cell) {
    gone.insert(cell.dot);
    gone.merge(&cell.seen);
    if let Value::Dots(dots) = &cell.value {
        gone.merge(dots);
    }
}
