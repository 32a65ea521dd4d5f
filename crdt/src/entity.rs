//! An entity: what a key names in a collection; a map from field to cells.
//!
//! Merging entities is merging their fields, cell by cell. Removal is a field too: one slot per replica that
//! holds the dots the remover held, so an edit that the remover had not seen outlives the removal.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    CausalContext, Cell, Dot, Field, FieldKey, MAX_WRITER_BYTES, Malformed, MergeRule, Rank,
    ReplicaId, Seq, Value, VersionVector, field::CounterPart,
};

/// One cell with the field it belongs to: the unit of a delta.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FieldCell {
    /// The field.
    pub field: FieldKey,
    /// The cell.
    pub cell: Cell,
}

impl FieldCell {
    /// Whether an honest writer can have made it. What fails here came from outside and must be refused,
    /// for it could merge differently on different replicas.
    ///
    /// ```
    /// use grapevine_crdt::{Dot, Entity, LwwMap, Malformed, ReplicaId, Seq};
    ///
    /// let (a, b) = (ReplicaId::from_bytes([1; 16]), ReplicaId::from_bytes([2; 16]));
    /// let mut removal = LwwMap::new(&Entity::default()).remove(Dot::new(a, Seq::new(1)));
    /// assert_eq!(removal[0].check(), Ok(()));
    /// removal[0].cell.dot.replica = b;
    /// assert_eq!(removal[0].check(), Err(Malformed::ForeignSlot));
    /// ```
    pub fn check(&self) -> Result<(), Malformed> {
        let Self { field, cell } = self;
        if cell.dot.seq == Seq::ZERO {
            return Err(Malformed::ZeroSeq);
        }
        if field
            .only_writer()
            .is_some_and(|writer| writer != cell.dot.replica)
        {
            return Err(Malformed::ForeignSlot);
        }
        if field.writer_bytes() > MAX_WRITER_BYTES {
            return Err(Malformed::LongWriter);
        }
        if !matches!(field, FieldKey::Attribute(_)) && !cell.seen.is_empty() {
            return Err(Malformed::UnwantedMemory);
        }
        if cell.seen.covers(cell.dot) {
            return Err(Malformed::OwnWriteSeen);
        }
        match (field, &cell.value) {
            (FieldKey::Removal(_) | FieldKey::Clearing(_), Value::Dots(dots))
                if dots.covers(cell.dot) =>
            {
                Err(Malformed::OwnWriteSeen)
            }
            (FieldKey::Removal(_) | FieldKey::Clearing(_), Value::Dots(_))
                if cell.rank.get() != cell.dot.seq.get() =>
            {
                Err(Malformed::ForeignRank)
            }
            (
                FieldKey::Register(_) | FieldKey::Attribute(_),
                Value::Bytes(_) | Value::Tombstone,
            )
            | (FieldKey::Removal(_) | FieldKey::Clearing(_), Value::Dots(_))
            | (
                FieldKey::Increments(_)
                | FieldKey::Decrements(_)
                | FieldKey::IncrementsBaseline(_)
                | FieldKey::DecrementsBaseline(_)
                | FieldKey::KeyedIncrements(_)
                | FieldKey::KeyedDecrements(_)
                | FieldKey::Tally(_)
                | FieldKey::KeyedIncrementsBaseline(_)
                | FieldKey::KeyedDecrementsBaseline(_)
                | FieldKey::TallyBaseline(_),
                Value::Counted,
            ) => Ok(()),
            (_, Value::Bytes(_) | Value::Tombstone | Value::Dots(_) | Value::Counted) => {
                Err(Malformed::ForeignValue)
            }
        }
    }
}

/// The fields of one entity.
///
/// ```
/// use grapevine_crdt::{Dot, Entity, LwwMap, ReplicaId, Seq, Timestamp, VersionVector};
///
/// let (a, at) = (ReplicaId::from_bytes([1; 16]), Timestamp::from_unix_ms);
/// let mut here = Entity::default();
/// for seq in 1..=2 {
///     let dot = Dot::new(a, Seq::new(seq));
///     let name = format!("field {seq}");
///     for cell in LwwMap::new(&here).set(&name, b"", dot, at(seq)) {
///         here.merge_cell(cell);
///     }
/// }
/// // A peer that has taken in the first write lacks exactly the second.
/// let theirs: VersionVector = [(a, Seq::new(1))].into_iter().collect();
/// assert_eq!(here.delta(&theirs).len(), 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    fields: BTreeMap<FieldKey, Field>,
}

impl Entity {
    /// The cells of `key`, if any was ever written and kept.
    #[must_use]
    pub fn field(&self, key: &FieldKey) -> Option<&Field> {
        self.fields.get(key)
    }

    /// The fields in the order of their keys.
    pub fn fields(&self) -> impl Iterator<Item = (&FieldKey, &Field)> {
        self.fields.iter()
    }

    /// Whether it holds no cell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Every cell with its field, in the order of the fields, the shown cell of a field first.
    pub fn cells(&self) -> impl Iterator<Item = (&FieldKey, &Cell)> {
        self.fields
            .iter()
            .flat_map(|(key, field)| field.cells().map(move |cell| (key, cell)))
    }

    /// The writes of which it holds a cell.
    #[must_use]
    pub fn dots(&self) -> BTreeSet<Dot> {
        self.cells().map(|(_, cell)| cell.dot).collect()
    }

    /// Takes one cell in; says whether anything changed. A cell that a held clearing covers is not taken in,
    /// and a clearing drops the held cells that it covers.
    ///
    /// Law: the result of any set of cells is the same in whatever order, grouping or repetition they come.
    /// It holds with clearings because what one covers is closed: with a cell it covers all that this cell
    /// had seen, and with another clearing all that this one covers.
    pub fn merge_cell(&mut self, FieldCell { field: key, cell }: FieldCell) -> bool {
        if self.is_cleared(cell.dot) {
            return false;
        }
        let cleared = match (&key, &cell.value) {
            (FieldKey::Clearing(_), Value::Dots(dots)) => Some(dots.clone()),
            _ => None,
        };
        let rule = key.rule();
        let changed = match self.fields.get_mut(&key) {
            Some(field) => field.merge(rule, cell),
            None => {
                self.fields.insert(key, Field::new(cell));
                true
            }
        };
        if let (true, Some(cleared)) = (changed, cleared) {
            self.retain(|_, cell| !cleared.covers(cell.dot));
        }
        changed
    }

    /// Keeps only the cells that `keep` keeps.
    pub fn retain(&mut self, mut keep: impl FnMut(&FieldKey, &Cell) -> bool) {
        let fields = core::mem::take(&mut self.fields).into_iter();
        self.fields = fields
            .filter_map(|(key, field)| {
                let field = field.filter(|cell| keep(&key, cell))?;
                Some((key, field))
            })
            .collect();
    }

    /// Whether the cells of the write `dot` were collected somewhere before a write that is held was made:
    /// they must not come back.
    fn is_cleared(&self, dot: Dot) -> bool {
        self.clearings().any(|dots| dots.covers(dot))
    }

    /// What the held clearings cover, each.
    pub fn clearings(&self) -> impl Iterator<Item = &CausalContext> {
        let first = FieldKey::Clearing(ReplicaId::from_bytes([0; 16]));
        let held = self.fields.range(first..);
        held.filter_map(|(key, field)| match (key, &field.shown().value) {
            (FieldKey::Clearing(_), Value::Dots(dots)) => Some(dots),
            _ => None,
        })
    }

    /// Takes all cells of `other` in; says whether anything changed.
    pub fn merge(&mut self, other: Self) -> bool {
        let mut changed = false;
        for (key, field) in other.fields {
            for cell in field.cells() {
                let cell = FieldCell {
                    field: key.clone(),
                    cell: cell.clone(),
                };
                changed |= self.merge_cell(cell);
            }
        }
        changed
    }

    /// Exactly the cells whose dot `vector` does not cover.
    #[must_use]
    pub fn delta(&self, vector: &VersionVector) -> Vec<FieldCell> {
        self.cells()
            .filter(|(_, cell)| !vector.covers(cell.dot))
            .map(|(key, cell)| FieldCell {
                field: key.clone(),
                cell: cell.clone(),
            })
            .collect()
    }

    /// All dots that some removal covers.
    #[must_use]
    pub fn removed(&self) -> CausalContext {
        let mut removed = CausalContext::default();
        for (_, dots) in self.removals() {
            removed.merge(dots);
        }
        removed
    }

    /// What an edit of the attribute `key` made now must record as seen: what is held of the field, and the
    /// removals held, so that everybody can tell an edit that brought the entity back unaware from one that
    /// meant to.
    #[must_use]
    pub fn seen(&self, key: &FieldKey) -> CausalContext {
        let mut seen = self.field(key).map(Field::seen).unwrap_or_default();
        for (removal, _) in self.removals() {
            seen.insert(removal.dot);
        }
        seen
    }

    /// The removals held, each with the dots that its remover held.
    fn removals(&self) -> impl Iterator<Item = (&Cell, &CausalContext)> {
        self.fields
            .iter()
            .filter_map(|(key, field)| match (key, &field.shown().value) {
                (FieldKey::Removal(_), Value::Dots(dots)) => Some((field.shown(), dots)),
                _ => None,
            })
    }

    /// What a removal made now must hold: the dots held and those in held removals, never those in `seen`.
    #[must_use]
    pub fn removal(&self) -> CausalContext {
        let mut held = self.removed();
        for (key, cell) in self.cells() {
            if is_content(key) {
                held.insert(cell.dot);
            }
        }
        held
    }

    /// Whether it is shown: it has content that no removal covers. What was deleted is no content: its
    /// tombstones are collected by each replica in its own time, and must not decide what is shown. Nor is a
    /// count that says again, through another replica, what a reset has already forgotten.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        let removed = self.removed();
        self.cells().any(|(key, cell)| {
            is_content(key)
                && cell.value != Value::Tombstone
                && !removed.covers(cell.dot)
                && (removed.is_empty() || !self.repeats_what_was_reset(key, cell))
        })
    }

    /// Whether `cell` is a count that any replica may write and that a reset has forgotten whole: once the
    /// entity was removed, a retry of what the remover knew must not bring it back.
    fn repeats_what_was_reset(&self, key: &FieldKey, cell: &Cell) -> bool {
        let baseline = match (key.rule(), key.counter_part()) {
            (MergeRule::Maximum, Some(CounterPart::Up(baseline) | CounterPart::Down(baseline))) => {
                self.field(&baseline)
            }
            (
                MergeRule::Latest
                | MergeRule::LatestWithMemory
                | MergeRule::SingleWriterSlot
                | MergeRule::Maximum,
                _,
            ) => return false,
        };
        let forgotten = baseline.map_or(Rank::default(), |field| field.shown().rank);
        cell.rank <= forgotten
    }

    /// Whether it is visible although somebody removed it: an edit that the remover had not seen brought the
    /// whole entity back. It stays so until a writer that knew of the removal has settled what is shown.
    #[must_use]
    pub fn is_revived(&self) -> bool {
        let removed = self.removed();
        !removed.is_empty()
            && self.is_visible()
            && (self.shows_removed(&removed) || self.outlives_unaware(&removed))
    }

    /// Whether part of what is shown was removed.
    fn shows_removed(&self, removed: &CausalContext) -> bool {
        self.fields.iter().any(|(key, field)| {
            let shown = field.shown();
            is_content(key) && shown.value != Value::Tombstone && removed.covers(shown.dot)
        })
    }

    /// Whether there is a removal of something of which none of the edits that outlive it knew.
    fn outlives_unaware(&self, removed: &CausalContext) -> bool {
        let outliving: Vec<&Cell> = self
            .cells()
            .filter(|(key, cell)| {
                matches!(key, FieldKey::Attribute(_)) && !removed.covers(cell.dot)
            })
            .map(|(_, cell)| cell)
            .collect();
        let is_unknown =
            |removal: &Cell| outliving.iter().all(|cell| !cell.seen.covers(removal.dot));
        !outliving.is_empty()
            && self
                .removals()
                .any(|(removal, dots)| !dots.is_empty() && is_unknown(removal))
    }

    /// The cells that the digest counts: none if hidden, else all but removals, clearings and tombstones, for
    /// those are collected by each replica in its own time. A tombstone that is shown over a value counts: it
    /// is not collected, and who lacked it would show that value.
    pub fn digested(&self) -> impl Iterator<Item = (&FieldKey, &Cell)> {
        let visible = self.is_visible();
        self.fields
            .iter()
            .filter(move |(key, _)| {
                visible && !matches!(key, FieldKey::Removal(_) | FieldKey::Clearing(_))
            })
            .flat_map(|(key, field)| {
                let digested = field.cells().enumerate().filter(|(place, cell)| {
                    cell.value != Value::Tombstone || (*place == 0 && field.hides_a_value())
                });
                digested.map(move |(_, cell)| (key, cell))
            })
    }

    /// Whether it holds what can be collected some day: all of a hidden entity; a removal, a clearing, a
    /// tombstone.
    #[must_use]
    pub fn is_garbage(&self) -> bool {
        let passing = self.cells().any(|(key, cell)| {
            cell.value == Value::Tombstone
                || matches!(key, FieldKey::Removal(_) | FieldKey::Clearing(_))
        });
        passing || (!self.is_empty() && !self.is_visible())
    }

    /// Whether some attribute remembers a value that lost unseen. Lost tombstones do not count: they are
    /// collected by each replica in its own time.
    #[must_use]
    pub fn has_conflicts(&self) -> bool {
        self.fields.iter().any(|(key, field)| {
            matches!(key, FieldKey::Attribute(_))
                && field
                    .conflicts()
                    .iter()
                    .any(|cell| cell.value != Value::Tombstone)
        })
    }

    /// Takes away what everybody has taken in and nobody needs, and says what went. `stable` is what every
    /// member of the cluster has taken in.
    ///
    /// A hidden entity goes whole or not at all. Of a visible one clearings go, and removals that cover no
    /// value held (else the entity could be hidden again by who still holds the removal, and by nobody else);
    /// tombstones only if no removal is left, and not one that is shown over a value. What goes is covered by
    /// `stable` with all that it had seen, removed or cleared.
    ///
    /// Laws: what [`Self::digested`] yields stays; so does whether the entity is visible, as long as anything
    /// is held.
    pub fn collect(&mut self, stable: &VersionVector) -> Vec<FieldCell> {
        let mut gone = Vec::new();
        let mut retain = |entity: &mut Self, goes: &dyn Fn(&FieldKey, &Cell) -> bool| {
            entity.retain(|field, cell| {
                let goes = goes(field, cell) && is_stable(cell, stable);
                if goes {
                    gone.push(FieldCell {
                        field: field.clone(),
                        cell: cell.clone(),
                    });
                }
                !goes
            });
        };
        if !self.is_visible() {
            if self.cells().all(|(_, cell)| is_stable(cell, stable)) {
                retain(self, &|_, _| true);
            }
            return gone;
        }
        let values: Vec<Dot> = self
            .cells()
            .filter(|(key, cell)| is_content(key) && cell.value != Value::Tombstone)
            .map(|(_, cell)| cell.dot)
            .collect();
        retain(self, &|key, cell| match (key, &cell.value) {
            (FieldKey::Clearing(_), _) => true,
            (FieldKey::Removal(_), Value::Dots(dots)) => {
                !values.iter().any(|value| dots.covers(*value))
            }
            _ => false,
        });
        if self.removals().next().is_none() {
            let needed = self
                .fields
                .iter()
                .filter(|(_, field)| field.hides_a_value());
            let needed: BTreeSet<(FieldKey, Dot)> = needed
                .map(|(key, field)| (key.clone(), field.shown().dot))
                .collect();
            retain(self, &|key, cell| {
                cell.value == Value::Tombstone && !needed.contains(&(key.clone(), cell.dot))
            });
        }
        gone
    }
}

/// Whether everybody has taken in the write of `cell` and all writes that it names.
fn is_stable(cell: &Cell, stable: &VersionVector) -> bool {
    let named: Option<&CausalContext> = match &cell.value {
        Value::Dots(dots) => Some(dots),
        Value::Bytes(_) | Value::Tombstone | Value::Counted => None,
    };
    stable.covers(cell.dot)
        && cell
            .seen
            .iter()
            .chain(named.into_iter().flat_map(CausalContext::iter))
            .all(|dot| stable.covers(dot))
}

/// Whether cells of this field are what a user wrote, and not bookkeeping about it.
const fn is_content(key: &FieldKey) -> bool {
    match key {
        FieldKey::Register(_)
        | FieldKey::Attribute(_)
        | FieldKey::Increments(_)
        | FieldKey::Decrements(_)
        | FieldKey::KeyedIncrements(_)
        | FieldKey::KeyedDecrements(_)
        | FieldKey::Tally(_) => true,
        FieldKey::Removal(_)
        | FieldKey::IncrementsBaseline(_)
        | FieldKey::DecrementsBaseline(_)
        | FieldKey::KeyedIncrementsBaseline(_)
        | FieldKey::KeyedDecrementsBaseline(_)
        | FieldKey::TallyBaseline(_)
        | FieldKey::Clearing(_) => false,
    }
}
