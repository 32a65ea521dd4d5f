//! A counter as it is shown, and its edits as the cells of one write.

use grapevine_crdt::{CounterError, Dot, Entity, FieldCell, LwwMap, PnCounter};
use serde::Serialize;

/// A counter. Serialized it is the JSON that users get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counter {
    /// Its name.
    pub name: String,
    /// What it stands at; it may exceed 64 bits.
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
