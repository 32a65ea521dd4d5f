//! Invariant 2: a dot names one immutable write to one entity for ever; `seq` is contiguous from 1.

use std::collections::BTreeSet;

use grapevine::model::{Claim, Op, PartitionId};
use grapevine_crdt::{Dot, FieldCell, FieldKey, ReplicaId, Seq};

use super::Observed;
use crate::{history::is_local, world::World};

pub(crate) fn check(world: &World, observed: &Observed<'_>) -> Result<(), String> {
    let Observed::Durable { node, group } = observed else {
        return Ok(());
    };
    let life = world.nodes[*node].life;
    // How many names a rejoin gives follows from what was held, and is not told by the step.
    let rejoins = group
        .ops
        .iter()
        .filter(|op| matches!(op.claim, Claim::Rejoin(_)));
    let rejoined: BTreeSet<PartitionId> = rejoins.map(|op| op.partition).collect();
    let mut fresh: Vec<(PartitionId, Dot)> = Vec::new();
    for op in &group.ops {
        if is_local(op, life) {
            if rejoined.contains(&op.partition) {
                continue;
            }
            check_local(world, life, op, &mut fresh)?;
        } else {
            check_foreign(world, op)?;
        }
    }
    Ok(())
}

/// A write of the node itself: one new dot, the next of its life.
fn check_local(
    world: &World,
    life: ReplicaId,
    op: &Op,
    fresh: &mut Vec<(PartitionId, Dot)>,
) -> Result<(), String> {
    let [entity] = op.entities.as_slice() else {
        return Err(format!("a write to {} entities", op.entities.len()));
    };
    let dots: Vec<Dot> = entity.cells.iter().map(|cell| cell.cell.dot).collect();
    let before = world.history.partitions.get(&op.partition);
    let before = before.map_or(Seq::ZERO, |writes| writes.vector.get(life));
    let in_group = fresh
        .iter()
        .filter(|(partition, _)| *partition == op.partition);
    let in_group = u64::try_from(in_group.count()).expect("few writes");
    let dot = Dot::new(life, Seq::new(before.get() + in_group + 1));
    if dots.iter().any(|written| *written != dot) {
        return Err(format!("{dots:?} were written where {dot:?} was next"));
    }
    let fields: BTreeSet<&FieldKey> = entity.cells.iter().map(|cell| &cell.field).collect();
    if fields.len() != entity.cells.len() {
        return Err(format!("{dot:?} has two cells of one field"));
    }
    fresh.push((op.partition, dot));
    Ok(())
}

/// Cells of a peer: just as they were written.
fn check_foreign(world: &World, op: &Op) -> Result<(), String> {
    for entity in &op.entities {
        for FieldCell { field, cell } in &entity.cells {
            let written = world.history.write(op.partition, cell.dot);
            let same = written.is_some_and(|(id, cells)| {
                *id == entity.id
                    && cells
                        .iter()
                        .any(|written| written.field == *field && written.cell == *cell)
            });
            if !same {
                return Err(format!("{cell:?} of {} was never written", entity.id));
            }
        }
    }
    Ok(())
}

#[test]
fn bites_when_an_old_copy_goes_on_under_its_old_replica_id() {
    use grapevine::model::Collection;

    use crate::{client, fault::Fault, settings::Settings, world::World};

    let mut world = World::new(1, Some(Settings::directed(1)), Some(Fault::ReusesLife));
    world.checked = vec![super::Invariant::Dots];
    let id = client::entity(Collection::Kv, 1);
    world.write_durably(0, &id, client::Change::Put(1));
    let node = &mut world.nodes[0];
    node.copy = Some((node.disk.clone(), node.life));
    world.write_durably(0, &id, client::Change::Put(2));
    assert_eq!(world.violations, []);
    world.crash(0);
    world.restart(0);
    world.write_durably(0, &id, client::Change::Put(3));
    assert_eq!(world.violations.len(), 1);
}
