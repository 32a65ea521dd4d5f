//! Invariant 6: durable before acknowledged, to clients and to peers; and what was shown survives a crash.

use grapevine::model::PartitionState;

use super::Observed;
use crate::{held::Held, world::World};

pub(crate) fn check(world: &World, observed: &Observed<'_>) -> Result<(), String> {
    match observed {
        Observed::Acknowledged {
            node,
            partition,
            dot,
        } => {
            let (_, state) = world.nodes[*node].disk.replay();
            if !state.partition(*partition).vector.covers(*dot) {
                return Err(format!(
                    "node {node} acknowledged {dot:?}, which is not on its disk"
                ));
            }
        }
        Observed::Pushed { records } => {
            let cells = records.iter().flat_map(|record| {
                let cells = record.entities.iter().flat_map(|entity| &entity.cells);
                cells.map(|cell| (record.partition, cell.cell.dot))
            });
            for (partition, dot) in cells {
                if world.history.write(partition, dot).is_none() {
                    return Err(format!("{dot:?} was told to peers and is on no disk"));
                }
            }
        }
        Observed::Restarted { node, before } => {
            let node = &world.nodes[*node];
            if node.restored {
                return Ok(());
            }
            for (partition, shown) in before.partitions() {
                let state = node.state.partition(partition);
                survives(shown, state).map_err(|what| format!("partition {partition}: {what}"))?;
                Held::of(&node.rows, partition).adds_up_to(state)?;
            }
        }
        Observed::Brought { .. }
        | Observed::Durable { .. }
        | Observed::Published { .. }
        | Observed::Served { .. }
        | Observed::Everything => {}
    }
    Ok(())
}

/// Whether everything shown before a crash is there after it. One more group may be.
fn survives(shown: &PartitionState, restored: &PartitionState) -> Result<(), String> {
    if !restored.vector.includes(&shown.vector) {
        return Err(format!(
            "{:?} was shown, {:?} came back",
            shown.vector, restored.vector
        ));
    }
    Ok(())
}

#[test]
fn bites_when_writes_are_acknowledged_early() {
    super::bites::assert_bites(super::Invariant::Durable, crate::fault::Fault::AcksEarly);
}
