//! Edits from outside: made by somebody who is no replica, at a time of their own, who had taken in what a version
//! vector tells. The replica to which they are brought mints the dot.
//!
//! Law: what is written is ranked above the floor and above every cell of its field that the writer had seen, and
//! not above the latest time allowed; if it would lose all the same nothing is written. A cell that the writer
//! had not seen is not claimed as seen, so what it loses is remembered.
//!
//! The edit's *mark*, a hash of its name, stands in the counter of its time where there is room. By it the edit is
//! known again when it is brought twice, though two clocks never agree on its time to the millisecond.

use crate::{
    CausalContext, Cell, Dot, Entity, Field, FieldCell, FieldKey, Rank, Timestamp, Value,
    VersionVector,
};

/// How far apart two replicas may put one edit: what their clocks and the network's delays amount to.
const SAME_EDIT_WITHIN_MS: u64 = 5 * 60 * 1_000;

/// What is known of an edit from outside, and of the entity it is for.
///
/// ```
/// use grapevine_crdt::{
///     Dot, Entity, FieldKey, OutsideEdit, Rank, ReplicaId, Seq, Timestamp, Value, Verdict,
///     VersionVector,
/// };
///
/// let edit = OutsideEdit {
///     entity: &Entity::default(),
///     seen: &VersionVector::default(),
///     floor: Rank::default(),
///     wanted: Timestamp::from_unix_ms(1_000),
///     latest: Timestamp::from_unix_ms(2_000),
///     mark: 7,
/// };
/// let dot = Dot::new(ReplicaId::from_bytes([1; 16]), Seq::new(1));
/// let title = FieldKey::Attribute("title".to_owned());
/// let verdict = edit.decide(title, Value::Bytes(b"Captain".to_vec()), dot);
/// let Verdict::Written(cell) = verdict else { panic!("nothing stands against it") };
/// assert_eq!(cell.cell.rank.time().unix_ms(), 1_000);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct OutsideEdit<'a> {
    /// The entity as it is held.
    pub entity: &'a Entity,
    /// What the writer had taken in of the partition.
    pub seen: &'a VersionVector,
    /// The greatest rank of what was collected in the partition.
    pub floor: Rank,
    /// When the edit was made, by the clock of this replica.
    pub wanted: Timestamp,
    /// What no rank may exceed: the time of the write that brings it in.
    pub latest: Timestamp,
    /// A hash of the edit's name.
    pub mark: u16,
}

/// What becomes of an edit of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It is written so.
    Written(FieldCell),
    /// It is there, or what is there says the same.
    Held,
    /// This cell, which the writer had not seen, is later.
    Lost(&'a Cell),
}

impl<'a> OutsideEdit<'a> {
    /// The rank of an edit of `field`.
    #[must_use]
    pub fn rank(&self, field: &FieldKey) -> Rank {
        let seen = self.entity.field(field).into_iter();
        let seen = seen.flat_map(Field::cells);
        let greatest = seen
            .filter(|cell| self.seen.covers(cell.dot))
            .map(|cell| cell.rank)
            .fold(self.floor, Rank::max);
        let least = greatest
            .get()
            .saturating_add(u64::from(greatest > Rank::default()));
        let latest = self.latest.as_u64();
        let marked = |ms: u64| Timestamp::from_unix_ms(ms).as_u64() | u64::from(self.mark);
        let wanted = marked(self.wanted.unix_ms());
        // Later than it says if the writer had seen something later, earlier if no clock has come so far.
        let least_ms = Timestamp::from_u64(least).unix_ms();
        let first = if wanted > latest {
            marked(self.latest.unix_ms().saturating_sub(1))
        } else {
            wanted
        };
        let candidates = [first, marked(least_ms), marked(least_ms.saturating_add(1))];
        let fits = |rank: &u64| *rank >= least && *rank <= latest;
        let rank = candidates.into_iter().find(fits);
        Rank::new(rank.unwrap_or_else(|| wanted.max(least).min(latest)))
    }

    /// What becomes of setting `field`, a register or an attribute, to `value` (a tombstone deletes it) by the
    /// write `dot`.
    #[must_use]
    pub fn decide(&self, field: FieldKey, value: Value, dot: Dot) -> Verdict<'a> {
        let rank = self.rank(&field);
        let held = self.entity.field(&field);
        let Some(held) = held else {
            return match value {
                Value::Tombstone => Verdict::Held,
                Value::Bytes(_) | Value::Dots(_) | Value::Counted => {
                    Verdict::Written(self.cell(field, rank, value, dot))
                }
            };
        };
        if held.cells().any(|cell| self.is_this(cell, &value)) {
            return Verdict::Held;
        }
        let shown = held.shown();
        let removed = self.entity.removed().covers(shown.dot);
        let deleted = value == Value::Tombstone;
        if shown.value == value && (deleted || (shown.rank >= rank && !removed)) {
            return Verdict::Held;
        }
        let written = self.cell(field, rank, value, dot);
        if shown.beats(&written.cell) {
            return Verdict::Lost(shown);
        }
        Verdict::Written(written)
    }

    /// The removal of the entity as the writer had seen it, by the write `dot`; `None` if it had seen nothing of
    /// it that is still there.
    #[must_use]
    pub fn remove(&self, dot: Dot) -> Option<FieldCell> {
        let mut held = CausalContext::default();
        for (key, cell) in self.entity.cells() {
            if !self.seen.covers(cell.dot) {
                continue;
            }
            if let (FieldKey::Removal(_), Value::Dots(dots)) = (key, &cell.value) {
                held.merge(dots);
            } else if matches!(key, FieldKey::Attribute(_) | FieldKey::Register(_)) {
                held.insert(cell.dot);
            }
        }
        (!held.is_empty()).then(|| FieldCell {
            field: FieldKey::Removal(dot.replica),
            cell: Cell {
                rank: Rank::new(dot.seq.get()),
                dot,
                seen: CausalContext::default(),
                value: Value::Dots(held),
            },
        })
    }

    /// Whether the writer had seen every removal that is held, of which there is one at least.
    #[must_use]
    pub fn knew_of_removal(&self) -> bool {
        let mut removals = self.removals().peekable();
        removals.peek().is_some() && removals.all(|dot| self.seen.covers(dot))
    }

    /// Whether `cell` is this edit, brought before.
    fn is_this(&self, cell: &Cell, value: &Value) -> bool {
        let counter = cell.rank.get() & u64::from(u16::MAX);
        let ms = cell.rank.time().unix_ms();
        // One that was ranked up because of what its writer had seen lies later than it says.
        cell.value == *value
            && counter == u64::from(self.mark)
            && ms.saturating_add(SAME_EDIT_WITHIN_MS) >= self.wanted.unix_ms()
    }

    fn cell(&self, field: FieldKey, rank: Rank, value: Value, dot: Dot) -> FieldCell {
        let mut seen = CausalContext::default();
        if matches!(field, FieldKey::Attribute(_)) {
            let held = self.entity.field(&field).into_iter();
            for cell in held.flat_map(Field::cells) {
                if self.seen.covers(cell.dot) {
                    seen.merge(&cell.seen);
                    seen.insert(cell.dot);
                }
            }
            for removal in self.removals().filter(|dot| self.seen.covers(*dot)) {
                seen.insert(removal);
            }
        }
        FieldCell {
            field,
            cell: Cell {
                rank,
                dot,
                seen,
                value,
            },
        }
    }

    fn removals(&self) -> impl Iterator<Item = Dot> + use<'a> {
        self.entity
            .cells()
            .filter(|(key, _)| matches!(key, FieldKey::Removal(_)))
            .map(|(_, cell)| cell.dot)
    }
}
