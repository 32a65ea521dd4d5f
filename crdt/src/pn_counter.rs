//! The PN-counter with baselines; a G-counter is one that is never decremented.
//!
//! Four kinds of slots, which only grow, make up a counter: each replica owns one of increments and one of
//! decrements; a request that carries a key has one of its own, written by whatever replicas it came through;
//! and an outside writer's tally is its absolute count. A baseline, which any replica may raise, says how much
//! of a slot was reset away, so that a reset forgets what was seen and keeps what was not.
//!
//! Slots and baselines are never dropped: a request that is repeated after a reset must still be known again.

use crate::{
    CausalContext, Cell, Dot, Entity, FieldCell, FieldKey, Rank, RequestKey, Value,
    field::CounterPart,
};

/// How far from 0 a counter may be moved, either way. Counts made apart may add up to more; they are then
/// shown in full and can only be moved back.
pub const MAX_COUNT: u64 = u64::MAX;
/// The most keyed requests that a replica takes for one counter; replicas that took others apart add up.
pub const MAX_REQUESTS: usize = 1_024;
/// The most outside writers that a replica takes for one counter; replicas that took others apart add up.
pub const MAX_TALLIES: usize = 1_024;
/// The most bytes of the name of an outside writer.
pub const MAX_WRITER_BYTES: usize = 128;

/// Why a counter could not be changed. No state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CounterError {
    /// The slot of this replica cannot hold that much more (2^64 - 1 in all).
    Overflow,
    /// The counter would pass [`MAX_COUNT`] in one direction.
    OutOfRange,
    /// The key was used for another direction or another amount.
    KeyReused,
    /// [`MAX_REQUESTS`] keyed requests are held.
    TooManyRequests,
    /// [`MAX_TALLIES`] outside writers are held.
    TooManyTallies,
}

impl core::fmt::Display for CounterError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Overflow => write!(
                f,
                "overflow: what this node counted in this direction since its start would exceed {}",
                u64::MAX
            ),
            Self::OutOfRange => write!(
                f,
                "overflow: the counter would leave the range from -{MAX_COUNT} to {MAX_COUNT}"
            ),
            Self::KeyReused => f.write_str("this key was used for another count"),
            Self::TooManyRequests => write!(
                f,
                "the counter remembers {MAX_REQUESTS} requests with keys, and takes no further ones; counts \
                 without a key and tallies are taken"
            ),
            Self::TooManyTallies => write!(
                f,
                "the counter has tallies of {MAX_TALLIES} writers, and takes no further ones"
            ),
        }
    }
}

impl core::error::Error for CounterError {}

/// What an outside writer counted, as a counter holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TallyCount<'a> {
    /// The writer's name.
    pub writer: &'a str,
    /// Its absolute count, the greatest that was told.
    pub count: u64,
    /// How much of it was reset away.
    pub baseline: u64,
}

impl TallyCount<'_> {
    /// What of it counts.
    #[must_use]
    pub const fn counted(&self) -> u64 {
        self.count.saturating_sub(self.baseline)
    }
}

/// A view of an entity as a counter.
///
/// ```
/// use grapevine_crdt::{Dot, Entity, PnCounter, ReplicaId, RequestKey, Seq};
///
/// let (a, b) = (ReplicaId::from_bytes([1; 16]), ReplicaId::from_bytes([2; 16]));
/// let (mut here, mut there) = (Entity::default(), Entity::default());
/// here.merge_cell(PnCounter::new(&here).increment(5, Dot::new(a, Seq::new(1)))?);
/// there.merge_cell(PnCounter::new(&there).decrement(2, Dot::new(b, Seq::new(1)))?);
/// // One request, through both.
/// let key = RequestKey::from_bytes([7; 16]);
/// let first = PnCounter::new(&here).increment_once(key, 10, Dot::new(a, Seq::new(2)))?;
/// let retry = PnCounter::new(&there).increment_once(key, 10, Dot::new(b, Seq::new(2)))?;
/// for (entity, cell) in [(&mut here, first), (&mut there, retry)] {
///     entity.merge_cell(cell.expect("neither knew of the other"));
/// }
/// here.merge(there);
/// assert_eq!(PnCounter::new(&here).value(), 13);
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

    /// The sum of `max(slot - baseline, 0)` over the slots that count up, less the same over those that count
    /// down. It cannot overflow: a sum of 2^63 slots of 64 bits fits.
    #[must_use]
    pub fn value(self) -> i128 {
        self.entity
            .fields()
            .map(|(key, field)| {
                let slot = field.shown().rank.get();
                match key.counter_part() {
                    Some(CounterPart::Up(baseline)) => {
                        i128::from(slot.saturating_sub(self.count(&baseline)))
                    }
                    Some(CounterPart::Down(baseline)) => {
                        -i128::from(slot.saturating_sub(self.count(&baseline)))
                    }
                    Some(CounterPart::Baseline) | None => 0,
                }
            })
            .sum()
    }

    /// The tallies of outside writers, in the order of their names.
    pub fn tallies(self) -> impl Iterator<Item = TallyCount<'a>> {
        self.entity.fields().filter_map(move |(key, field)| {
            let writer = tally_writer(key)?;
            Some(TallyCount {
                writer,
                count: field.shown().rank.get(),
                baseline: self.count(&FieldKey::TallyBaseline(writer.to_owned())),
            })
        })
    }

    /// The tally of `writer`, if it ever told one.
    #[must_use]
    pub fn tally(self, writer: &str) -> Option<TallyCount<'_>> {
        let field = self.entity.field(&FieldKey::Tally(writer.to_owned()))?;
        Some(TallyCount {
            writer,
            count: field.shown().rank.get(),
            baseline: self.count(&FieldKey::TallyBaseline(writer.to_owned())),
        })
    }

    /// The cell of the write `dot` that adds `by`.
    pub fn increment(self, by: u64, dot: Dot) -> Result<FieldCell, CounterError> {
        self.raise(FieldKey::Increments(dot.replica), by, dot)
    }

    /// The cell of the write `dot` that takes `by` away.
    pub fn decrement(self, by: u64, dot: Dot) -> Result<FieldCell, CounterError> {
        self.raise(FieldKey::Decrements(dot.replica), by, dot)
    }

    /// The cell of the write `dot` that adds `by` for the request `request`; `None` if it is here already.
    pub fn increment_once(
        self,
        request: RequestKey,
        by: u64,
        dot: Dot,
    ) -> Result<Option<FieldCell>, CounterError> {
        let other = FieldKey::KeyedDecrements(request);
        self.once(FieldKey::KeyedIncrements(request), &other, by, dot)
    }

    /// The cell of the write `dot` that takes `by` away for the request `request`; `None` if that is known
    /// already.
    pub fn decrement_once(
        self,
        request: RequestKey,
        by: u64,
        dot: Dot,
    ) -> Result<Option<FieldCell>, CounterError> {
        let other = FieldKey::KeyedIncrements(request);
        self.once(FieldKey::KeyedDecrements(request), &other, by, dot)
    }

    /// The cell of the write `dot` by which the tally of `writer` stands at `count`; `None` if it does, or
    /// stands higher: what comes late says nothing new.
    ///
    /// `writer` has at most [`MAX_WRITER_BYTES`] bytes; replicas refuse the cells of longer ones.
    pub fn raise_tally(
        self,
        writer: &str,
        count: u64,
        dot: Dot,
    ) -> Result<Option<FieldCell>, CounterError> {
        let key = FieldKey::Tally(writer.to_owned());
        if self.entity.field(&key).is_some() {
            if count <= self.count(&key) {
                return Ok(None);
            }
        } else if self.tallies().count() >= MAX_TALLIES {
            return Err(CounterError::TooManyTallies);
        }
        self.change(key, count, dot).map(Some)
    }

    /// The cells of the write `dot` that forgets everything counted so far as it is seen here.
    #[must_use]
    pub fn reset(self, dot: Dot) -> Vec<FieldCell> {
        self.entity
            .fields()
            .filter_map(|(key, field)| {
                let baseline = match key.counter_part() {
                    Some(CounterPart::Up(baseline) | CounterPart::Down(baseline)) => baseline,
                    Some(CounterPart::Baseline) | None => return None,
                };
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
        self.change(slot, count, dot)
    }

    fn once(
        self,
        slot: FieldKey,
        other: &FieldKey,
        by: u64,
        dot: Dot,
    ) -> Result<Option<FieldCell>, CounterError> {
        if self.entity.field(other).is_some() {
            return Err(CounterError::KeyReused);
        }
        if self.entity.field(&slot).is_some() {
            return if self.count(&slot) == by {
                Ok(None)
            } else {
                Err(CounterError::KeyReused)
            };
        }
        if self.requests() >= MAX_REQUESTS {
            return Err(CounterError::TooManyRequests);
        }
        self.change(slot, by, dot).map(Some)
    }

    /// The cell by which `slot` stands at `count`, unless the counter would leave its range by that.
    fn change(self, slot: FieldKey, count: u64, dot: Dot) -> Result<FieldCell, CounterError> {
        let counts = |baseline: &FieldKey| {
            let baseline = self.count(baseline);
            let before = self.count(&slot).saturating_sub(baseline);
            i128::from(count.saturating_sub(baseline)) - i128::from(before)
        };
        let by = match slot.counter_part() {
            Some(CounterPart::Up(baseline)) => counts(&baseline),
            Some(CounterPart::Down(baseline)) => -counts(&baseline),
            Some(CounterPart::Baseline) | None => 0,
        };
        let after = self.value() + by;
        let outwards = after.signum() == by.signum();
        if outwards && after.unsigned_abs() > u128::from(MAX_COUNT) {
            return Err(CounterError::OutOfRange);
        }
        Ok(counted(slot, count, dot))
    }

    fn requests(self) -> usize {
        self.entity
            .fields()
            .filter(|(key, _)| {
                matches!(
                    key,
                    FieldKey::KeyedIncrements(_) | FieldKey::KeyedDecrements(_)
                )
            })
            .count()
    }

    fn count(self, key: &FieldKey) -> u64 {
        self.entity
            .field(key)
            .map_or(0, |field| field.shown().rank.get())
    }
}

fn tally_writer(key: &FieldKey) -> Option<&str> {
    if let FieldKey::Tally(writer) = key {
        Some(writer)
    } else {
        None
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
