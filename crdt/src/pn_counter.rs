//! The PN-counter with baselines; a G-counter is one that is never decremented.
//!
//! Each replica owns a slot of increments and a slot of decrements, which only grow. A baseline, which any
//! replica may raise, says how much of a slot was reset away, so that a reset forgets what was seen and
//! keeps what was not.

use crate::{CausalContext, Cell, Dot, Entity, FieldCell, FieldKey, Rank, Value};

/// Why a counter could not be changed. No state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CounterError {
    /// The slot of this replica cannot hold that much more (2^64 - 1 in all).
    Overflow,
}

impl core::fmt::Display for CounterError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Overflow => f.write_str("the counter cannot hold that much more"),
        }
    }
}

impl core::error::Error for CounterError {}

/// A view of an entity as a counter.
///
/// ```
/// use grapevine_crdt::{Dot, Entity, PnCounter, ReplicaId, Seq};
///
/// let (a, b) = (ReplicaId::from_bytes([1; 16]), ReplicaId::from_bytes([2; 16]));
/// let (mut here, mut there) = (Entity::default(), Entity::default());
/// here.merge_cell(PnCounter::new(&here).increment(5, Dot::new(a, Seq::new(1)))?);
/// there.merge_cell(PnCounter::new(&there).decrement(2, Dot::new(b, Seq::new(1)))?);
/// here.merge(there);
/// assert_eq!(PnCounter::new(&here).value(), 3);
/// # Ok::<(), grapevine_crdt::CounterError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PnCounter<'a> {
    entity: &'a Entity,
}

impl<'a> PnCounter<'a> {
    /// A view of `entity`.
    #[must_use]
    pub const fn new(entity: &'a Entity) -> Self {
        Self { entity }
    }

    /// The sum of `max(slot - baseline, 0)` over the increments, less the same over the decrements.
    #[must_use]
    pub fn value(self) -> i128 {
        self.entity
            .fields()
            .map(|(key, field)| {
                let slot = field.shown().rank.get();
                match key {
                    FieldKey::Increments(replica) => {
                        let baseline = self.count(&FieldKey::IncrementsBaseline(*replica));
                        i128::from(slot.saturating_sub(baseline))
                    }
                    FieldKey::Decrements(replica) => {
                        let baseline = self.count(&FieldKey::DecrementsBaseline(*replica));
                        -i128::from(slot.saturating_sub(baseline))
                    }
                    FieldKey::Register(_)
                    | FieldKey::Attribute(_)
                    | FieldKey::Removal(_)
                    | FieldKey::IncrementsBaseline(_)
                    | FieldKey::DecrementsBaseline(_)
                    | FieldKey::Clearing(_) => 0,
                }
            })
            .sum()
    }

    /// The cell of the write `dot` that adds `by`.
    pub fn increment(self, by: u64, dot: Dot) -> Result<FieldCell, CounterError> {
        self.raise(FieldKey::Increments(dot.replica), by, dot)
    }

    /// The cell of the write `dot` that takes `by` away.
    pub fn decrement(self, by: u64, dot: Dot) -> Result<FieldCell, CounterError> {
        self.raise(FieldKey::Decrements(dot.replica), by, dot)
    }

    /// The cells of the write `dot` that forgets everything counted so far as it is seen here.
    #[must_use]
    pub fn reset(self, dot: Dot) -> Vec<FieldCell> {
        self.entity
            .fields()
            .filter_map(|(key, field)| {
                let baseline = baseline_of(key)?;
                let slot = field.shown().rank.get();
                (slot > self.count(&baseline)).then(|| counted(baseline, slot, dot))
            })
            .collect()
    }

    fn raise(self, slot: FieldKey, by: u64, dot: Dot) -> Result<FieldCell, CounterError> {
        let count = self
            .count(&slot)
            .checked_add(by)
            .ok_or(CounterError::Overflow)?;
        Ok(counted(slot, count, dot))
    }

    fn count(self, key: &FieldKey) -> u64 {
        self.entity
            .field(key)
            .map_or(0, |field| field.shown().rank.get())
    }
}

fn baseline_of(slot: &FieldKey) -> Option<FieldKey> {
    match slot {
        FieldKey::Increments(replica) => Some(FieldKey::IncrementsBaseline(*replica)),
        FieldKey::Decrements(replica) => Some(FieldKey::DecrementsBaseline(*replica)),
        FieldKey::Register(_)
        | FieldKey::Attribute(_)
        | FieldKey::Removal(_)
        | FieldKey::IncrementsBaseline(_)
        | FieldKey::DecrementsBaseline(_)
        | FieldKey::Clearing(_) => None,
    }
}

fn counted(field: FieldKey, count: u64, dot: Dot) -> FieldCell {
    FieldCell {
        field,
        cell: Cell {
            rank: Rank::new(count),
            dot,
            seen: CausalContext::default(),
            value: Value::Counted,
        },
    }
}
