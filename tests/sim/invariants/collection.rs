//! Invariant 8: what is collected is causally stable: whatever anybody wrote to the entity that the collector has
//! not taken in was written by somebody who had seen all that goes. Entities go whole: if hidden, everything
//! together. Of a visible one nothing goes that is shown.

use grapevine::{
    model::{Claim, EntityId},
    store::read_entity,
};
use grapevine_crdt::{Dot, Entity, FieldCell};

use super::Observed;
use crate::world::World;

pub(crate) fn check(world: &World, observed: &Observed<'_>) -> Result<(), String> {
    let Observed::Published {
        node,
        before,
        group,
    } = observed
    else {
        return Ok(());
    };
    let collects = |op: &&grapevine::model::Op| matches!(op.claim, Claim::Collect { .. });
    // A step beside others in one group is seen by the invariants of these.
    let [op] = group.ops.as_slice() else {
        return Ok(());
    };
    if !collects(&op) {
        return Ok(());
    }
    for (id, entity) in &before.entities {
        let held = read_entity(&world.nodes[*node].rows, id).expect("rows in memory can be read");
        check_entity(world, *node, id, entity, &held.unwrap_or_default())
            .map_err(|what| format!("node {node}, {id}: {what}"))?;
    }
    Ok(())
}

fn check_entity(
    world: &World,
    node: usize,
    id: &EntityId,
    before: &Entity,
    after: &Entity,
) -> Result<(), String> {
    let gone: Vec<FieldCell> = cells(before)
        .into_iter()
        .filter(|cell| !cells(after).contains(cell))
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    if !before.is_visible() && !after.is_empty() {
        return Err(format!(
            "{gone:?} of a hidden entity went, and not all of it"
        ));
    }
    let shown = |entity: &Entity| {
        let digested = entity.digested();
        digested
            .map(|(key, cell)| (key.clone(), cell.clone()))
            .collect::<Vec<_>>()
    };
    if shown(before) != shown(after) {
        return Err(format!("{gone:?} went, and was shown"));
    }
    if world.disturbed {
        return Ok(());
    }
    let partition = id.partition();
    let state = world.nodes[node].state.partition(partition);
    let dots: Vec<Dot> = gone.iter().map(|cell| cell.cell.dot).collect();
    if let Some(dot) = dots.iter().find(|dot| !state.floor.vector.covers(**dot)) {
        return Err(format!("{dot:?} went, and is not below the floor"));
    }
    for (dot, context) in world.history.contexts(id) {
        let unseen = dots.iter().find(|gone| !context.covers(**gone));
        if !state.vector.covers(dot)
            && let Some(unseen) = unseen
            && !world.is_expelled(node, dot.replica)
        {
            return Err(format!(
                "{unseen:?} went, which the writer of {dot:?} had not seen"
            ));
        }
    }
    Ok(())
}

fn cells(entity: &Entity) -> Vec<FieldCell> {
    entity
        .cells()
        .map(|(field, cell)| FieldCell {
            field: field.clone(),
            cell: cell.clone(),
        })
        .collect()
}

#[test]
fn bites_when_a_member_that_holds_what_we_lack_is_not_waited_for() {
    super::bites::assert_bites(
        super::Invariant::Collection,
        crate::fault::Fault::CollectsWhatAllHave,
    );
}

#[test]
fn bites_when_an_absent_member_is_not_waited_for() {
    super::bites::assert_bites(
        super::Invariant::Collection,
        crate::fault::Fault::CollectsWithoutTheAbsent,
    );
}
