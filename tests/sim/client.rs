//! What clients write.

use std::collections::BTreeMap;

use grapevine::{
    model::{Collection, EntityId},
    store::Edit,
};
use grapevine_crdt::{
    CausalContext, Cell, CounterError, FieldCell, FieldKey, LwwMap, PnCounter, Rank, Value,
};
use rand::{Rng, RngExt};

use crate::fault::Fault;

const HOT_KEYS: u32 = 2;
const COLD_KEYS: u32 = 30;
const ATTRIBUTES: [&str; 3] = ["name", "note", "phone/1"];

/// One edit of one entity.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Set(&'static str, u32),
    /// As a PUT of a whole contact: one field, and no other.
    Rewrite(u32),
    Unset(&'static str),
    Remove,
    Put(u32),
    Delete,
    Increment(u64),
    Decrement(u64),
    Reset,
}

pub(crate) fn entity(collection: Collection, number: u32) -> EntityId {
    EntityId::new(collection, format!("key-{number}")).expect("a short key")
}

/// A random edit: half of them on a few keys that everybody edits.
pub(crate) fn draw(rng: &mut dyn Rng) -> (EntityId, Change) {
    let key = if rng.random_bool(0.5) {
        rng.random_range(0..HOT_KEYS)
    } else {
        rng.random_range(0..COLD_KEYS)
    };
    let value = rng.random();
    let attribute = ATTRIBUTES[rng.random_range(0..ATTRIBUTES.len())];
    match rng.random_range(0..17) {
        12 => (entity(Collection::Contacts, key), Change::Rewrite(value)),
        0..=3 => (
            entity(Collection::Contacts, key),
            Change::Set(attribute, value),
        ),
        4 => (entity(Collection::Contacts, key), Change::Unset(attribute)),
        5 | 13 | 14 => (entity(Collection::Contacts, key), Change::Remove),
        6 => (entity(Collection::Kv, key), Change::Put(value)),
        7 | 15 | 16 => (entity(Collection::Kv, key), Change::Delete),
        8 | 9 => (
            entity(Collection::Counters, key),
            Change::Increment(rng.random_range(1..=9)),
        ),
        10 => (
            entity(Collection::Counters, key),
            Change::Decrement(rng.random_range(1..=9)),
        ),
        // Odd counters are never reset, so that their value is the plain sum of what was counted.
        _ => (entity(Collection::Counters, key & !1), Change::Reset),
    }
}

impl Change {
    /// The cells of this edit; none if there is nothing to do.
    pub(crate) fn decide(
        &self,
        edit: &Edit<'_>,
        fault: Option<Fault>,
    ) -> Result<Vec<FieldCell>, CounterError> {
        let clears = fault != Some(Fault::MakesWithoutClearing) && !edit.entity.is_visible();
        let map = LwwMap::new(edit.entity);
        let counter = PnCounter::new(edit.entity);
        // Whoever sees nothing of an entity cannot tell what others hold of it that was collected here.
        let mut cells = match self {
            Self::Set(..) | Self::Rewrite(_) | Self::Put(_) if clears => {
                map.clear(&edit.floor.vector, edit.dot)
            }
            Self::Set(..)
            | Self::Rewrite(_)
            | Self::Unset(_)
            | Self::Remove
            | Self::Put(_)
            | Self::Delete
            | Self::Increment(_)
            | Self::Decrement(_)
            | Self::Reset => Vec::new(),
        };
        cells.extend(match self {
            // What was removed does not come back with what is made under its name.
            Self::Set(name, value) if !edit.entity.is_visible() => rewrite(edit, name, *value),
            Self::Set(name, value) => map.set(name, &value.to_be_bytes(), edit.dot, edit.time),
            Self::Rewrite(value) => rewrite(edit, ATTRIBUTES[0], *value),
            Self::Unset(_) if !edit.entity.is_visible() => Vec::new(),
            Self::Unset(name) => map.unset(name, edit.dot, edit.time),
            Self::Remove if edit.entity.is_visible() => map.remove(edit.dot),
            Self::Put(value) => vec![register(edit, Value::Bytes(value.to_be_bytes().to_vec()))],
            Self::Delete if edit.entity.is_visible() => vec![register(edit, Value::Tombstone)],
            Self::Remove | Self::Delete => Vec::new(),
            Self::Increment(by) => vec![counter.increment(*by, edit.dot)?],
            Self::Decrement(by) => vec![counter.decrement(*by, edit.dot)?],
            Self::Reset => counter.reset(edit.dot),
        });
        Ok(cells)
    }
}

/// One attribute, and no other.
fn rewrite(edit: &Edit<'_>, name: &str, value: u32) -> Vec<FieldCell> {
    let map = LwwMap::new(edit.entity);
    let mut cells = map.set(name, &value.to_be_bytes(), edit.dot, edit.time);
    for (key, _) in edit.entity.fields() {
        if let FieldKey::Attribute(other) = key
            && other != name
        {
            cells.extend(map.unset(other, edit.dot, edit.time));
        }
    }
    cells
}

fn register(edit: &Edit<'_>, value: Value) -> FieldCell {
    FieldCell {
        field: FieldKey::Register("value".to_owned()),
        cell: Cell {
            rank: Rank::at(edit.time),
            dot: edit.dot,
            seen: CausalContext::default(),
            value,
        },
    }
}

/// The plain sums of everything that was counted durably, for counters that were never reset.
#[derive(Debug, Default)]
pub(crate) struct Sums(BTreeMap<EntityId, Option<i128>>);

impl Sums {
    pub(crate) fn add(&mut self, id: &EntityId, change: &Change) {
        let by = match change {
            Change::Increment(by) => i128::from(*by),
            Change::Decrement(by) => -i128::from(*by),
            Change::Reset => {
                self.0.insert(id.clone(), None);
                return;
            }
            Change::Set(..)
            | Change::Rewrite(_)
            | Change::Unset(_)
            | Change::Remove
            | Change::Put(_)
            | Change::Delete => return,
        };
        let sum = self.0.entry(id.clone()).or_insert(Some(0));
        *sum = sum.map(|sum| sum + by);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&EntityId, i128)> {
        self.0.iter().filter_map(|(id, sum)| Some((id, (*sum)?)))
    }
}
