//! What clients write.

use grapevine::{
    model::{
        Collection, Counter, Direction, EntityId, MAX_CONFLICT_AGE_MS, Settlement, Tally,
        contact_conflict, trim,
    },
    store::Edit,
};
use grapevine_crdt::{
    CausalContext, Cell, CounterError, Dot, FieldCell, FieldKey, LwwMap, PnCounter, Rank,
    RequestKey, Seq, Timestamp, Value,
};
use rand::{Rng, RngExt};
use uuid::Uuid;

use crate::{
    counts::{Count, Request},
    fault::Fault,
    seen::Seen,
};

const HOT_KEYS: u32 = 2;
const COLD_KEYS: u32 = 30;
const ATTRIBUTES: [&str; 3] = ["name", "note", "phone/1"];
/// How many requests with keys there are for one counter; each comes now and then, through any node.
const REQUESTS: u32 = 12;
const WRITERS: u8 = 2;

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
    /// Deletes, also what is deleted by a write that is not taken in whole.
    Strike,
    Increment(u64),
    Decrement(u64),
    /// The request of this number, which says the same each time.
    CountOnce(u32),
    Tally(u8, u64),
    Reset,
    DeleteCounter,
    /// Settles one of the conflicts that are listed.
    Settle(usize, Settlement),
    /// Gives all conflicts up, as if they were old.
    Trim,
}

/// A local edit in a group.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) id: EntityId,
    pub(crate) count: Option<Count>,
    /// The edit from outside that it is.
    pub(crate) outside: Option<Uuid>,
    pub(crate) dot: Dot,
    pub(crate) seen: Seen,
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
    // ASCII, so that values which differ read differently.
    let value = rng.random::<u32>() & 0x7f7f_7f7f;
    let attribute = ATTRIBUTES[rng.random_range(0..ATTRIBUTES.len())];
    let by = rng.random_range(1..=9);
    match rng.random_range(0..27) {
        12 => (entity(Collection::Contacts, key), Change::Rewrite(value)),
        0..=3 | 17 | 18 => (
            entity(Collection::Contacts, key),
            Change::Set(attribute, value),
        ),
        4 => (entity(Collection::Contacts, key), Change::Unset(attribute)),
        5 | 13 => (entity(Collection::Contacts, key), Change::Remove),
        14 => (entity(Collection::Contacts, key), settle(rng)),
        6 => (entity(Collection::Kv, key), Change::Put(value)),
        7 | 15 | 16 => (entity(Collection::Kv, key), Change::Delete),
        8 | 9 => (entity(Collection::Counters, key), Change::Increment(by)),
        10 | 19 => (entity(Collection::Counters, key), Change::Decrement(by)),
        20..=23 => {
            let request = Change::CountOnce(rng.random_range(0..REQUESTS));
            (entity(Collection::Counters, key), request)
        }
        24 => {
            let tally = Change::Tally(rng.random_range(0..WRITERS), rng.random_range(0..=50));
            (entity(Collection::Counters, key), tally)
        }
        25 => (entity(Collection::Counters, key), Change::DeleteCounter),
        _ => (entity(Collection::Counters, key), Change::Reset),
    }
}

fn settle(rng: &mut dyn Rng) -> Change {
    let place = rng.random_range(0..3);
    match rng.random_range(0..3) {
        0 => Change::Trim,
        1 => Change::Settle(place, Settlement::Dismiss),
        _ => Change::Settle(place, Settlement::Choose),
    }
}

/// What the request of a number asks for, the same each time.
fn request(number: u32) -> (Direction, u64, RequestKey) {
    let direction = if number.is_multiple_of(3) {
        Direction::Decrement
    } else {
        Direction::Increment
    };
    let mut key = [0; 16];
    key[..4].copy_from_slice(&number.to_be_bytes());
    (
        direction,
        u64::from(number % 9) + 1,
        RequestKey::from_bytes(key),
    )
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
            | Self::Strike
            | Self::Increment(_)
            | Self::Decrement(_)
            | Self::CountOnce(_)
            | Self::Tally(..)
            | Self::Reset
            | Self::DeleteCounter
            | Self::Settle(..)
            | Self::Trim => Vec::new(),
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
            Self::Strike if !edit.entity.is_empty() => vec![register(edit, Value::Tombstone)],
            Self::Remove | Self::Delete | Self::Strike => Vec::new(),
            Self::Increment(by) => vec![counter.increment(*by, edit.dot)?],
            Self::Decrement(by) => vec![counter.decrement(*by, edit.dot)?],
            Self::CountOnce(number) => {
                let (direction, by, key) = request(*number);
                if fault == Some(Fault::CountsRetries) {
                    Counter::count(edit.entity, direction, by, edit.dot)?
                } else {
                    Counter::count_once(edit.entity, direction, by, key, edit.dot)?
                }
            }
            Self::Tally(writer, count) => {
                let writer = format!("writer-{writer}");
                Tally::raise(edit.entity, &writer, *count, edit.dot)?.0
            }
            Self::Reset => counter.reset(edit.dot),
            Self::DeleteCounter => Counter::delete(edit.entity, edit.dot),
            Self::Settle(place, settlement) => settled(edit, *place, *settlement),
            Self::Trim => {
                let long_after = edit.time.unix_ms() + 2 * MAX_CONFLICT_AGE_MS;
                trim(edit.entity, edit.dot, Timestamp::from_unix_ms(long_after))
            }
        });
        match fault {
            Some(Fault::ForgetsTooMuch) => forget_too_much(&mut cells),
            Some(Fault::ClaimsToHaveSeen) => claim_to_have_seen(&mut cells),
            _ => {}
        }
        Ok(cells)
    }

    /// What it does to a counter, if it is one.
    pub(crate) fn count(&self) -> Option<Count> {
        match self {
            Self::Increment(by) => Some(Count::Up(*by)),
            Self::Decrement(by) => Some(Count::Down(*by)),
            Self::CountOnce(number) => {
                let (direction, by, _) = request(*number);
                let by = match direction {
                    Direction::Increment => i128::from(by),
                    Direction::Decrement => -i128::from(by),
                };
                Some(Count::Once(Request::Key(*number), by))
            }
            Self::Tally(writer, count) => Some(Count::Tally(*writer, *count)),
            Self::Reset => Some(Count::Reset),
            Self::DeleteCounter => Some(Count::Delete),
            Self::Set(..)
            | Self::Rewrite(_)
            | Self::Unset(_)
            | Self::Remove
            | Self::Put(_)
            | Self::Delete
            | Self::Strike
            | Self::Settle(..)
            | Self::Trim => None,
        }
    }
}

/// Settles the conflict at `place` of those listed, counted round.
fn settled(edit: &Edit<'_>, place: usize, settlement: Settlement) -> Vec<FieldCell> {
    let listed = contact_conflict::conflicts(edit.entity);
    let Some(conflict) = listed.get(place % listed.len().max(1)) else {
        return Vec::new();
    };
    let (dot, time) = (edit.dot, edit.time);
    let cells = contact_conflict::settle(edit.entity, &conflict.id, settlement, dot, time);
    cells.expect("it is listed")
}

/// A reset that does not ask what it has seen.
fn forget_too_much(cells: &mut [FieldCell]) {
    for FieldCell { field, cell } in cells {
        if matches!(field, FieldKey::IncrementsBaseline(_)) {
            cell.rank = Rank::new(cell.rank.get() + 100);
        }
    }
}

/// An edit that claims to have seen a little more than it has.
fn claim_to_have_seen(cells: &mut [FieldCell]) {
    for FieldCell { cell, .. } in cells {
        for dot in cell.seen.clone().iter() {
            let later = Dot::new(dot.replica, Seq::new(dot.seq.get() + 3));
            if dot.replica != cell.dot.replica {
                cell.seen.insert(later);
            }
        }
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
