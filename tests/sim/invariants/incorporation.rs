//! Invariant 1: if a vector covers a dot, every cell of that write is held, or one that replaces it.

use grapevine::{model::PartitionId, store::read_entity};
use grapevine_crdt::{Entity, FieldCell};

use super::{Observed, to_check};
use crate::{history::Writes, world::World};

pub(crate) fn check(world: &World, observed: &Observed<'_>) -> Result<(), String> {
    for (node, partition) in to_check(world, observed) {
        check_partition(world, node, partition)
            .map_err(|what| format!("node {node}, partition {partition}: {what}"))?;
    }
    Ok(())
}

fn check_partition(world: &World, number: usize, partition: PartitionId) -> Result<(), String> {
    let node = &world.nodes[number];
    let vector = &node.state.partition(partition).vector;
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
        let held = held.unwrap_or_default();
        for (dot, cells) in writes.iter().filter(|(dot, _)| vector.covers(**dot)) {
            if let Some(cell) = cells.iter().find(|cell| !holds(&held, cell)) {
                return Err(format!("covers {dot:?} but not its cell {cell:?} of {id}"));
            }
        }
    }
    Ok(())
}

/// Whether the cell is held, or one that replaces it: whether merging it changes nothing.
fn holds(entity: &Entity, FieldCell { field: key, cell }: &FieldCell) -> bool {
    entity
        .field(key)
        .is_some_and(|field| !field.clone().merge(key.rule(), cell.clone()))
}

#[test]
fn bites_when_a_delta_is_claimed_before_it_is_complete() {
    super::bites::assert_bites(
        super::Invariant::Incorporation,
        crate::fault::Fault::ClaimsEarly,
    );
}
