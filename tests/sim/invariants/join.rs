//! Invariant 5: apply is a join: a cell whose dot is covered already is ignored, any other merges.

use grapevine::{
    model::{Claim, EntityId, Op},
    store::{Group, read_entity},
};
use grapevine_crdt::{Entity, VersionVector};

use super::Observed;
use crate::{world::World, writer::Before};

pub(crate) fn check(world: &World, observed: &Observed<'_>) -> Result<(), String> {
    let Observed::Published {
        node,
        before,
        group,
    } = observed
    else {
        return Ok(());
    };
    for (id, entity) in &before.entities {
        let only_joins = |op: &&Op| {
            op.partition != id.partition()
                || !matches!(op.claim, Claim::Collect { .. } | Claim::Rejoin(_))
        };
        if !group.ops.iter().all(|op| only_joins(&op)) {
            continue;
        }
        let joined = join(id, entity.clone(), before, group);
        let held = read_entity(&world.nodes[*node].rows, id).expect("rows in memory can be read");
        let held = held.unwrap_or_default();
        if held != joined {
            return Err(format!(
                "node {node} holds {held:?} of {id} instead of {joined:?}"
            ));
        }
    }
    Ok(())
}

fn join(id: &EntityId, mut entity: Entity, before: &Before, group: &Group) -> Entity {
    let partition = id.partition();
    let mut vector: VersionVector = before.state.partition(partition).vector.clone();
    for op in group.ops.iter().filter(|op| op.partition == partition) {
        let cells = op.entities.iter().filter(|cells| cells.id == *id);
        for cell in cells.flat_map(|cells| &cells.cells) {
            if !vector.covers(cell.cell.dot) || op.claim == Claim::Repair {
                entity.merge_cell(cell.clone());
            }
        }
        match &op.claim {
            Claim::Nothing | Claim::Repair | Claim::Recount | Claim::Collect { .. } => {}
            Claim::Advance { replica, upto, .. } => vector.advance(*replica, *upto),
            Claim::Absorb {
                vector: claimed, ..
            } => vector.join(claimed),
            Claim::Rejoin(rejoin) => vector.join(&rejoin.vector),
        }
    }
    entity
}

#[test]
fn bites_when_cells_overwrite_what_was_held() {
    super::bites::assert_bites(super::Invariant::Join, crate::fault::Fault::Overwrites);
}
