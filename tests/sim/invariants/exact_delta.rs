//! Invariant 4: a delta is exact: every cell of one snapshot whose dot the base does not cover.
//!
//! Each page is checked for the part of the log that it is for, against the entities themselves.

use std::collections::BTreeMap;

use grapevine::{
    model::{Cursor, EntityId},
    sync::engine::PullRequest,
};
use grapevine_crdt::{Dot, FieldCell};

use super::Observed;
use crate::{held::Held, world::World};

pub(crate) fn check(world: &World, observed: &Observed<'_>) -> Result<(), String> {
    let Observed::Served {
        node,
        request,
        page,
    } = observed
    else {
        return Ok(());
    };
    let held = Held::of(&world.nodes[*node].rows, request.partition);
    let mut sent = BTreeMap::new();
    for entity in &page.entities {
        let mut cells = entity.cells.clone();
        cells.sort();
        if sent.insert(entity.id.clone(), cells).is_some() {
            return Err(format!("{} comes twice in a page", entity.id));
        }
    }
    let expected = exact(&held, request, page.next);
    if sent != expected {
        return Err(format!(
            "node {node} sends {sent:?} instead of {expected:?}"
        ));
    }
    let vector = &world.nodes[*node].state.partition(request.partition).vector;
    if page.vector != *vector {
        return Err(format!("node {node} has not the vector it tells"));
    }
    Ok(())
}

/// The entities of which some dot lies in this part of the log uncovered, each with every cell that is not
/// covered.
fn exact(
    held: &Held,
    request: &PullRequest,
    next: Option<Cursor>,
) -> BTreeMap<EntityId, Vec<FieldCell>> {
    let inside = |dot: Dot| {
        !request.base.covers(dot)
            && request.cursor.is_none_or(|Cursor(after)| dot > after)
            && next.is_none_or(|Cursor(last)| dot <= last)
    };
    let entities = held.entities.iter();
    entities
        .filter(|(_, entity)| entity.dots().into_iter().any(inside))
        .map(|(id, entity)| {
            let uncovered = entity
                .cells()
                .filter(|(_, cell)| !request.base.covers(cell.dot));
            let mut cells: Vec<FieldCell> = uncovered
                .map(|(field, cell)| FieldCell {
                    field: field.clone(),
                    cell: cell.clone(),
                })
                .collect();
            cells.sort();
            (id.clone(), cells)
        })
        .collect()
}

#[test]
fn bites_when_unclaimed_cells_are_left_out() {
    super::bites::assert_bites(
        super::Invariant::ExactDelta,
        crate::fault::Fault::OmitsUnclaimed,
    );
}
