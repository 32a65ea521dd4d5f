//! Invariant 7: time rises, strictly for each node and over its restarts; and no rank is above the clock of
//! whoever holds it.

use grapevine::model::EntityCells;
use grapevine_crdt::Timestamp;

use super::Observed;
use crate::{history::is_local, world::World};

pub(crate) fn check(world: &World, observed: &Observed<'_>) -> Result<(), String> {
    let (node, group) = match observed {
        Observed::Durable { node, group } | Observed::Published { node, group, .. } => {
            (*node, *group)
        }
        Observed::Acknowledged { .. }
        | Observed::Pushed { .. }
        | Observed::Served { .. }
        | Observed::Restarted { .. }
        | Observed::Brought { .. }
        | Observed::Everything => return Ok(()),
    };
    let ranks = |entity: &EntityCells| {
        // What marks a conflict as given up has no time.
        let timed = entity
            .cells
            .iter()
            .filter(|cell| cell.field.is_timed() && !cell.cell.is_marker());
        timed.map(|cell| cell.cell.rank.time()).max()
    };
    let greatest = group
        .ops
        .iter()
        .flat_map(|op| &op.entities)
        .filter_map(ranks)
        .max();
    if greatest > Some(group.clock) {
        return Err(format!(
            "node {node}: {greatest:?} is above the clock {:?}",
            group.clock
        ));
    }
    if let Observed::Published { before, .. } = observed {
        let (was, is) = (before.state.clock(), world.nodes[node].state.clock());
        if is < was {
            return Err(format!(
                "node {node}: its clock went from {was:?} to {is:?}"
            ));
        }
        return Ok(());
    }
    let mut last = world
        .history
        .times
        .get(&node)
        .copied()
        .unwrap_or(Timestamp::ZERO);
    let life = world.nodes[node].life;
    for op in group.ops.iter().filter(|op| is_local(op, life)) {
        // Edits from outside have times of their own.
        let mut dots = op.entities.iter().flat_map(|entity| &entity.cells);
        if dots.any(|cell| {
            world
                .history
                .outside
                .contains(&(op.partition, cell.cell.dot))
        }) {
            continue;
        }
        if let Some(time) = op.entities.iter().filter_map(ranks).max() {
            if time <= last {
                return Err(format!(
                    "node {node} gave {time:?} to a write after {last:?}"
                ));
            }
            last = time;
        }
    }
    Ok(())
}

#[test]
fn bites_when_a_restarted_node_forgets_its_clock() {
    super::bites::assert_bites(super::Invariant::Time, crate::fault::Fault::ForgetsClock);
}
