//! Invariant 11: an edit with a time of its own is ranked above what was collected and above all that its client had
//! seen, else by its own time; if something later stands, nothing is written. Brought again where the first time has
//! been heard of, it changes nothing.

use grapevine::model::Fate;
use grapevine_crdt::{Cell, FieldCell, FieldKey, Rank};

use super::Observed;
use crate::{outsider::Brought, world::World};

/// Attributes that say how a contact came to be, with times of the same edit.
const BOOKKEEPING: [&str; 3] = ["created", "touched", "request"];

pub(crate) fn check(world: &World, observed: &Observed<'_>) -> Result<(), String> {
    let Observed::Brought { node, brought } = observed else {
        return Ok(());
    };
    let edit = &brought.bringing.edit;
    check_ranks(brought)
        .and_then(|()| check_outcome(brought))
        .and_then(|()| check_once(world, brought))
        .map_err(|what| format!("node {node}: {what}; {edit:?} met {brought:?}"))
}

/// The cells written that have a time.
fn timed(brought: &Brought) -> impl Iterator<Item = &FieldCell> {
    brought.cells.iter().filter(|cell| {
        let own = matches!(&cell.field, FieldKey::Attribute(name) if BOOKKEEPING.contains(&name.as_str()));
        // What comes back with it says what it said.
        let held = brought.entity.field(&cell.field);
        let again = held.is_some_and(|held| {
            let shown = held.shown();
            shown.value == cell.cell.value && shown.rank == cell.cell.rank
        });
        cell.field.is_timed() && !cell.cell.is_marker() && !own && !again
    })
}

/// The greatest rank that it must be above.
fn least(brought: &Brought, field: &FieldKey) -> Rank {
    let held = brought.entity.field(field).into_iter();
    let held = held.flat_map(grapevine_crdt::Field::cells);
    held.filter(|cell| brought.bringing.seen.covers(cell.dot))
        .map(|cell| cell.rank)
        .fold(brought.floor.rank, Rank::max)
}

fn check_ranks(brought: &Brought) -> Result<(), String> {
    for FieldCell { field, cell } in timed(brought) {
        let least = least(brought, field);
        if cell.rank <= least && least > Rank::default() {
            return Err(format!("{cell:?} is not above {least:?}"));
        }
        if cell.rank.time() > brought.time {
            return Err(format!("{cell:?} is later than its write"));
        }
        let wanted_ms = brought.bringing.wanted.unix_ms();
        let free = least.time().unix_ms() + 1 < wanted_ms && wanted_ms < brought.time.unix_ms();
        if free && cell.rank.time().unix_ms() != wanted_ms {
            return Err(format!("{cell:?} does not tell its own time {wanted_ms}"));
        }
    }
    Ok(())
}

fn check_outcome(brought: &Brought) -> Result<(), String> {
    let applied = matches!(brought.fate, Fate::Applied(_));
    if applied == brought.cells.is_empty() {
        return Err("it is not as it says".to_owned());
    }
    let mut after = brought.entity.clone();
    for cell in &brought.cells {
        after.merge_cell(cell.clone());
    }
    for FieldCell { field, cell } in timed(brought) {
        let shown = after.field(field).map(grapevine_crdt::Field::shown);
        if shown.is_none_or(|shown| shown.dot != cell.dot) {
            return Err(format!("{cell:?} is written and not shown"));
        }
    }
    let value = FieldKey::Register("value".to_owned());
    let shown: Option<&Cell> = brought
        .entity
        .field(&value)
        .map(grapevine_crdt::Field::shown);
    let wanted = brought.bringing.wanted;
    if let (Fate::Lost(_), Some(shown)) = (&brought.fate, shown) {
        let later = shown.rank.time().unix_ms() + 1 >= wanted.unix_ms();
        if brought.bringing.seen.covers(shown.dot) || !later {
            return Err(format!("it does not lose to {shown:?}"));
        }
    }
    Ok(())
}

fn check_once(world: &World, brought: &Brought) -> Result<(), String> {
    let Some(dots) = world.history.brought.get(&brought.bringing.edit.id) else {
        return Ok(());
    };
    let known = dots.iter().find(|dot| brought.vector.covers(**dot));
    match known {
        Some(dot) if !brought.cells.is_empty() => Err(format!(
            "it was brought before as {dot:?}, which is known here"
        )),
        _ => Ok(()),
    }
}

#[test]
fn bites_when_edits_are_ranked_by_when_they_arrive() {
    super::bites::assert_bites(
        super::Invariant::Outside,
        crate::fault::Fault::RanksByArrival,
    );
}
