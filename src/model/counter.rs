//! A counter as it is shown, and its edits as the cells of one write.

use grapevine_crdt::{
    CounterError, Dot, Entity, FieldCell, LwwMap, MAX_WRITER_BYTES, PnCounter, RequestKey,
    TallyCount,
};
use serde::Serialize;
use utoipa::ToSchema;

/// A counter. Serialized it is the JSON that users get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Counter {
    /// Its name.
    pub name: String,
    /// What it stands at, exactly: counts made apart may add up to more than 64 bits hold.
    pub value: i128,
}

/// Which way a counter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Up.
    Increment,
    /// Down.
    Decrement,
}

impl Counter {
    /// The counter `name`; one that nobody has touched stands at 0.
    #[must_use]
    pub fn read(name: &str, entity: &Entity) -> Self {
        Self {
            name: name.to_owned(),
            value: PnCounter::new(entity).value(),
        }
    }

    /// The counter `name` once `cells` are merged.
    #[must_use]
    pub fn after(name: &str, entity: &Entity, cells: &[FieldCell]) -> Self {
        let mut entity = entity.clone();
        for cell in cells {
            entity.merge_cell(cell.clone());
        }
        Self::read(name, &entity)
    }

    /// Counts `by` up or down.
    pub fn count(
        entity: &Entity,
        direction: Direction,
        by: u64,
        dot: Dot,
    ) -> Result<Vec<FieldCell>, CounterError> {
        let counter = PnCounter::new(entity);
        let cell = match direction {
            Direction::Increment => counter.increment(by, dot),
            Direction::Decrement => counter.decrement(by, dot),
        }?;
        Ok(vec![cell])
    }

    /// Counts `by` up or down for `request`: once, however often and through whatever replicas it comes. No
    /// cells if it is counted here already.
    pub fn count_once(
        entity: &Entity,
        direction: Direction,
        by: u64,
        request: RequestKey,
        dot: Dot,
    ) -> Result<Vec<FieldCell>, CounterError> {
        let counter = PnCounter::new(entity);
        let cell = match direction {
            Direction::Increment => counter.increment_once(request, by, dot),
            Direction::Decrement => counter.decrement_once(request, by, dot),
        }?;
        Ok(cell.into_iter().collect())
    }

    /// Forgets everything counted so far as it is seen here.
    #[must_use]
    pub fn reset(entity: &Entity, dot: Dot) -> Vec<FieldCell> {
        PnCounter::new(entity).reset(dot)
    }

    /// A reset that also hides the counter, until somebody counts on; no cells if it is not visible.
    #[must_use]
    pub fn delete(entity: &Entity, dot: Dot) -> Vec<FieldCell> {
        if !entity.is_visible() {
            return Vec::new();
        }
        let mut cells = Self::reset(entity, dot);
        cells.extend(LwwMap::new(entity).remove(dot));
        cells
    }
}

/// An outside writer's own absolute count, such as a kiosk's or a phone's. Serialized it is the JSON that users
/// get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Tally {
    /// Who counts.
    pub writer: String,
    /// The greatest count that the writer told.
    pub value: u64,
    /// What of it the counter adds up: all that was not reset away.
    pub counted: u64,
}

impl Tally {
    /// Whether a writer may have this name: 1 to [`MAX_WRITER_BYTES`] bytes without control characters.
    #[must_use]
    pub fn is_writer(name: &str) -> bool {
        (1..=MAX_WRITER_BYTES).contains(&name.len()) && !name.chars().any(char::is_control)
    }

    /// The tally of `writer`, if it ever told one.
    #[must_use]
    pub fn read(entity: &Entity, writer: &str) -> Option<Self> {
        PnCounter::new(entity).tally(writer).map(Self::from)
    }

    /// All tallies of a counter, in the order of their writers.
    #[must_use]
    pub fn read_all(entity: &Entity) -> Vec<Self> {
        PnCounter::new(entity).tallies().map(Self::from).collect()
    }

    /// Raises the tally of `writer` to `value`, and the tally after that. No cells if it stands there or
    /// higher: a count that comes late or again says nothing new.
    pub fn raise(
        entity: &Entity,
        writer: &str,
        value: u64,
        dot: Dot,
    ) -> Result<(Vec<FieldCell>, Self), CounterError> {
        let counter = PnCounter::new(entity);
        let cell = counter.raise_tally(writer, value, dot)?;
        let held = counter.tally(writer).unwrap_or(TallyCount {
            writer,
            count: 0,
            baseline: 0,
        });
        let after = TallyCount {
            count: held.count.max(value),
            ..held
        };
        Ok((cell.into_iter().collect(), Self::from(after)))
    }
}

impl From<TallyCount<'_>> for Tally {
    fn from(tally: TallyCount<'_>) -> Self {
        Self {
            writer: tally.writer.to_owned(),
            value: tally.count,
            counted: tally.counted(),
        }
    }
}
