//! Invariant 1: if a vector covers a dot, every cell of that write is held, or one that replaces it, or it has been
//! collected.

use grapevine::{model::PartitionId, store::read_entity};
use grapevine_crdt::{Entity, FieldCell, FieldKey, VersionVector};

use super::{Observed, to_check};
use crate::{
    history::{Writes, seen_by},
    world::World,
};

pub(crate) fn check(world: &World, observed: &Observed<'_>) -> Result<(), String> {
    // A rejoin drops what the other side has dropped, for whatever reason; the end shows whether it was right.
    if world.disturbed {
        return Ok(());
    }
    for (node, partition) in to_check(world, observed) {
        check_partition(world, node, partition)
            .map_err(|what| format!("node {node}, partition {partition}: {what}"))?;
    }
    Ok(())
}

fn check_partition(world: &World, number: usize, partition: PartitionId) -> Result<(), String> {
    let node = &world.nodes[number];
    let state = node.state.partition(partition);
    let vector = &state.vector;
    let floor = &collected_anywhere(world, partition);
    let nothing = Writes::default();
    let writes = world.history.partitions.get(&partition).unwrap_or(&nothing);
    if !writes.vector.includes(vector) {
        return Err(format!(
            "covers {vector:?}, written was {:?}",
            writes.vector
        ));
    }
    for (id, writes) in &writes.entities {
        let held = read_entity(&node.rows, id).expect("rows in memory can be read");
        let mut held = held.unwrap_or_default();
        // A clearing refuses what was collected, also what had replaced something before that.
        let mut uncleared = held.clone();
        uncleared.retain(|field, _| !is_clearing(field));
        // What a floor covers may have been collected, after it had replaced something; and who wrote without it
        // afterwards has replaced it here as well. What may be collected is looked at when it is.
        let collected = writes.iter().filter(|(dot, _)| floor.covers(**dot));
        for cell in collected.flat_map(|(_, cells)| cells) {
            held.merge_cell(cell.clone());
            if !is_clearing(&cell.field) {
                uncleared.merge_cell(cell.clone());
            }
        }
        for (dot, cells) in writes.iter().filter(|(dot, _)| vector.covers(**dot)) {
            let replaced = |cell: &FieldCell| {
                // Whatever became of that one: it is looked at as well.
                let mut by = seen_by(writes, cell);
                by.any(|by| vector.covers(by))
            };
            let missing = |cell: &&FieldCell| {
                !holds(&held, cell) && !holds(&uncleared, cell) && !replaced(cell)
            };
            if let Some(cell) = cells.iter().find(missing) {
                return Err(format!(
                    "covers {dot:?} but not its cell {cell:?} of {id}: with all below the floor {floor:?} it is {held:?}"
                ));
            }
        }
    }
    Ok(())
}

/// What some node has collected: everybody has taken it in.
fn collected_anywhere(world: &World, partition: PartitionId) -> VersionVector {
    let mut floor = VersionVector::default();
    for node in &world.nodes {
        floor.join(&node.state.partition(partition).floor.vector);
    }
    floor
}

const fn is_clearing(field: &FieldKey) -> bool {
    matches!(field, FieldKey::Clearing(_))
}

/// Whether the cell is held, or one that replaces it: whether merging it changes nothing.
fn holds(entity: &Entity, FieldCell { field: key, cell }: &FieldCell) -> bool {
    !entity.clone().merge_cell(FieldCell {
        field: key.clone(),
        cell: cell.clone(),
    })
}

#[test]
fn bites_when_a_delta_is_claimed_before_it_is_complete() {
    super::bites::assert_bites(
        super::Invariant::Incorporation,
        crate::fault::Fault::ClaimsEarly,
    );
}
