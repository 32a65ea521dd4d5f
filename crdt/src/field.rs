//! A field: the cells of one key of an entity, and the four rules by which they merge.

use serde::{Deserialize, Serialize};

use crate::{CausalContext, Cell, Malformed, ReplicaId, RequestKey, Value};

/// How the cells of a field merge. Each rule is commutative, associative and idempotent.
///
/// ```
/// use grapevine_crdt::{FieldKey, MergeRule};
///
/// assert_eq!(FieldKey::Register("ttl".into()).rule(), MergeRule::Latest);
/// assert_eq!(FieldKey::Attribute("name".into()).rule(), MergeRule::LatestWithMemory);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MergeRule {
    /// The greatest `(rank, dot)` stays; `rank` is the hybrid logical time of the edit.
    Latest,
    /// Every cell stays whose dot is in no other cell's `seen`; the greatest `(rank, dot)` is shown, the
    /// others are the conflicts.
    LatestWithMemory,
    /// The greatest `(rank, dot)` stays; one replica alone writes it; `rank` is a count or a `seq`.
    SingleWriterSlot,
    /// The greatest `(rank, dot)` stays; any replica may write it; `rank` is a count.
    Maximum,
}

/// The name of a field within its entity. The variant decides the merge rule, so that two replicas can
/// never merge one field by different rules. The order of the variants is part of the encoding at rest.
///
/// ```
/// use grapevine_crdt::{FieldKey, ReplicaId};
///
/// let replica = ReplicaId::from_bytes([7; 16]);
/// assert_eq!(FieldKey::Increments(replica).only_writer(), Some(replica));
/// assert_eq!(FieldKey::IncrementsBaseline(replica).only_writer(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FieldKey {
    /// A value of which only the latest counts (key-values, settings).
    Register(String),
    /// A value whose unseen losers are remembered (fields of contacts).
    Attribute(String),
    /// The removal of the entity by one replica: the dots it held then.
    Removal(ReplicaId),
    /// All that one replica has added to a counter.
    Increments(ReplicaId),
    /// All that one replica has taken from a counter.
    Decrements(ReplicaId),
    /// How much of a replica's increments was reset away.
    IncrementsBaseline(ReplicaId),
    /// How much of a replica's decrements was reset away.
    DecrementsBaseline(ReplicaId),
    /// What one request added to a counter, through whatever replica it came.
    KeyedIncrements(RequestKey),
    /// What one request took from a counter, through whatever replica it came.
    KeyedDecrements(RequestKey),
    /// The absolute count of a writer that is no replica.
    Tally(String),
    /// How much of a request's increment was reset away.
    KeyedIncrementsBaseline(RequestKey),
    /// How much of a request's decrement was reset away.
    KeyedDecrementsBaseline(RequestKey),
    /// How much of a writer's tally was reset away.
    TallyBaseline(String),
    /// What was collected, as one replica knew it when it wrote to an entity of which it held nothing: the
    /// dots whose cells are not to come back.
    Clearing(ReplicaId),
}

/// What a field says about a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CounterPart {
    /// A slot that counts up, with the baseline of what was reset away of it.
    Up(FieldKey),
    /// A slot that counts down, with the baseline of what was reset away of it.
    Down(FieldKey),
    /// A baseline.
    Baseline,
}

impl FieldKey {
    /// The rule by which the cells of this field merge.
    #[must_use]
    pub const fn rule(&self) -> MergeRule {
        match self {
            Self::Register(_) => MergeRule::Latest,
            Self::Attribute(_) => MergeRule::LatestWithMemory,
            Self::Removal(_) | Self::Increments(_) | Self::Decrements(_) | Self::Clearing(_) => {
                MergeRule::SingleWriterSlot
            }
            Self::IncrementsBaseline(_)
            | Self::DecrementsBaseline(_)
            | Self::KeyedIncrements(_)
            | Self::KeyedDecrements(_)
            | Self::Tally(_)
            | Self::KeyedIncrementsBaseline(_)
            | Self::KeyedDecrementsBaseline(_)
            | Self::TallyBaseline(_) => MergeRule::Maximum,
        }
    }

    /// Whether the ranks of this field are hybrid logical times.
    #[must_use]
    pub const fn is_timed(&self) -> bool {
        matches!(self.rule(), MergeRule::Latest | MergeRule::LatestWithMemory)
    }

    /// The one replica that may write this field, if it is a single-writer slot.
    #[must_use]
    pub const fn only_writer(&self) -> Option<ReplicaId> {
        match self {
            Self::Removal(replica)
            | Self::Increments(replica)
            | Self::Decrements(replica)
            | Self::Clearing(replica) => Some(*replica),
            Self::Register(_)
            | Self::Attribute(_)
            | Self::IncrementsBaseline(_)
            | Self::DecrementsBaseline(_)
            | Self::KeyedIncrements(_)
            | Self::KeyedDecrements(_)
            | Self::Tally(_)
            | Self::KeyedIncrementsBaseline(_)
            | Self::KeyedDecrementsBaseline(_)
            | Self::TallyBaseline(_) => None,
        }
    }

    /// The name of the attribute, if it is one.
    #[must_use]
    pub fn attribute(&self) -> Option<&str> {
        match self {
            Self::Attribute(name) => Some(name),
            Self::Register(_)
            | Self::Removal(_)
            | Self::Increments(_)
            | Self::Decrements(_)
            | Self::IncrementsBaseline(_)
            | Self::DecrementsBaseline(_)
            | Self::KeyedIncrements(_)
            | Self::KeyedDecrements(_)
            | Self::Tally(_)
            | Self::KeyedIncrementsBaseline(_)
            | Self::KeyedDecrementsBaseline(_)
            | Self::TallyBaseline(_)
            | Self::Clearing(_) => None,
        }
    }

    /// How long the name of the outside writer is that it carries; 0 if none.
    pub(crate) const fn writer_bytes(&self) -> usize {
        match self {
            Self::Tally(writer) | Self::TallyBaseline(writer) => writer.len(),
            Self::Register(_)
            | Self::Attribute(_)
            | Self::Removal(_)
            | Self::Increments(_)
            | Self::Decrements(_)
            | Self::IncrementsBaseline(_)
            | Self::DecrementsBaseline(_)
            | Self::KeyedIncrements(_)
            | Self::KeyedDecrements(_)
            | Self::KeyedIncrementsBaseline(_)
            | Self::KeyedDecrementsBaseline(_)
            | Self::Clearing(_) => 0,
        }
    }

    /// What it says about a counter, if anything.
    pub(crate) fn counter_part(&self) -> Option<CounterPart> {
        let part = match self {
            Self::Increments(replica) => CounterPart::Up(Self::IncrementsBaseline(*replica)),
            Self::Decrements(replica) => CounterPart::Down(Self::DecrementsBaseline(*replica)),
            Self::KeyedIncrements(key) => CounterPart::Up(Self::KeyedIncrementsBaseline(*key)),
            Self::KeyedDecrements(key) => CounterPart::Down(Self::KeyedDecrementsBaseline(*key)),
            Self::Tally(writer) => CounterPart::Up(Self::TallyBaseline(writer.clone())),
            Self::IncrementsBaseline(_)
            | Self::DecrementsBaseline(_)
            | Self::KeyedIncrementsBaseline(_)
            | Self::KeyedDecrementsBaseline(_)
            | Self::TallyBaseline(_) => CounterPart::Baseline,
            Self::Register(_) | Self::Attribute(_) | Self::Removal(_) | Self::Clearing(_) => {
                return None;
            }
        };
        Some(part)
    }
}

/// The cells of one field: the shown one, and what lost to it unseen in falling `(rank, dot)`.
///
/// ```
/// use grapevine_crdt::{
///     CausalContext, Cell, Dot, Field, MergeRule, Rank, ReplicaId, Seq, Value,
/// };
///
/// let cell = |replica, rank, seen| Cell {
///     rank: Rank::new(rank),
///     dot: Dot::new(ReplicaId::from_bytes([replica; 16]), Seq::new(1)),
///     seen,
///     value: Value::Tombstone,
/// };
/// let mut field = Field::new(cell(1, 10, CausalContext::default()));
/// field.merge(MergeRule::LatestWithMemory, cell(2, 20, CausalContext::default()));
/// assert_eq!(field.conflicts().len(), 1);
/// // A writer that has seen both settles the conflict.
/// let settled = cell(3, 30, field.seen());
/// field.merge(MergeRule::LatestWithMemory, settled);
/// assert!(field.conflicts().is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "EncodedField")]
pub struct Field {
    shown: Cell,
    conflicts: Vec<Cell>,
}

/// A field as it was encoded, before it is known to keep the order of [`Field`].
#[derive(Deserialize)]
#[serde(rename = "Field")]
struct EncodedField {
    shown: Cell,
    conflicts: Vec<Cell>,
}

impl TryFrom<EncodedField> for Field {
    type Error = Malformed;

    fn try_from(EncodedField { shown, conflicts }: EncodedField) -> Result<Self, Malformed> {
        let field = Self { shown, conflicts };
        if field
            .cells()
            .is_sorted_by(|first, second| first.beats(second))
        {
            Ok(field)
        } else {
            Err(Malformed::UnorderedField)
        }
    }
}

impl Field {
    /// A field that holds one cell.
    #[must_use]
    pub const fn new(cell: Cell) -> Self {
        Self {
            shown: cell,
            conflicts: Vec::new(),
        }
    }

    /// The cell that is shown: the greatest `(rank, dot)`.
    #[must_use]
    pub const fn shown(&self) -> &Cell {
        &self.shown
    }

    /// What lost without having been seen by what is shown, greatest first.
    #[must_use]
    pub fn conflicts(&self) -> &[Cell] {
        &self.conflicts
    }

    /// All cells, the shown one first.
    pub fn cells(&self) -> impl Iterator<Item = &Cell> {
        core::iter::once(&self.shown).chain(&self.conflicts)
    }

    /// Whether it shows that it was deleted although a value is held that lost to the deletion unseen.
    pub(crate) fn hides_a_value(&self) -> bool {
        let is_value = |cell: &Cell| cell.value != Value::Tombstone;
        !is_value(&self.shown) && self.conflicts.iter().any(is_value)
    }

    /// What a writer that holds this field has seen of it. An edit records
    /// [`Entity::seen`](crate::Entity::seen), which also tells which removals it knew of.
    #[must_use]
    pub fn seen(&self) -> CausalContext {
        let mut seen = CausalContext::default();
        for cell in self.cells() {
            seen.merge(&cell.seen);
            seen.insert(cell.dot);
        }
        seen
    }

    /// The field with only the cells that `keep` keeps; `None` if that is none.
    pub(crate) fn filter(self, mut keep: impl FnMut(&Cell) -> bool) -> Option<Self> {
        let Self {
            shown,
            mut conflicts,
        } = self;
        let shown = Some(shown).filter(&mut keep);
        conflicts.retain(keep);
        let shown = match shown {
            Some(shown) => shown,
            None if conflicts.is_empty() => return None,
            None => conflicts.remove(0),
        };
        Some(Self { shown, conflicts })
    }

    /// Takes `cell` in by `rule`; says whether the field changed.
    pub fn merge(&mut self, rule: MergeRule, cell: Cell) -> bool {
        match rule {
            MergeRule::Latest | MergeRule::SingleWriterSlot | MergeRule::Maximum => {
                let wins = cell.beats(&self.shown);
                if wins {
                    self.shown = cell;
                }
                wins
            }
            MergeRule::LatestWithMemory => self.remember(cell),
        }
    }

    fn remember(&mut self, cell: Cell) -> bool {
        let known = self
            .cells()
            .any(|held| held.dot == cell.dot || held.seen.covers(cell.dot));
        if known {
            return false;
        }
        self.conflicts.retain(|held| !cell.seen.covers(held.dot));
        if cell.seen.covers(self.shown.dot) {
            self.replace_shown(cell);
        } else if cell.beats(&self.shown) {
            let lost = core::mem::replace(&mut self.shown, cell);
            self.conflicts.insert(0, lost);
        } else {
            self.insert_conflict(cell);
        }
        true
    }

    /// The shown cell was seen by `cell` and goes; what is now the greatest is shown.
    fn replace_shown(&mut self, cell: Cell) {
        let beaten = self
            .conflicts
            .first()
            .is_some_and(|conflict| conflict.beats(&cell));
        if beaten {
            self.shown = self.conflicts.remove(0);
            self.insert_conflict(cell);
        } else {
            self.shown = cell;
        }
    }

    fn insert_conflict(&mut self, cell: Cell) {
        let place = self.conflicts.partition_point(|held| held.beats(&cell));
        self.conflicts.insert(place, cell);
    }
}
