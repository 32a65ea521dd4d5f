//! Invariant 10: closed partitions with equal vectors have equal digests.

use super::{Observed, to_check};
use crate::{held::Held, world::World};

pub(crate) fn check(world: &World, observed: &Observed<'_>) -> Result<(), String> {
    // A member that lost a part of its past may meet one that has not collected yet what others have; then repair
    // follows, and the end shows whether it did.
    if world.disturbed {
        return Ok(());
    }
    for (number, partition) in to_check(world, observed) {
        let ours = world.nodes[number].state.partition(partition).summary();
        for (other, node) in world.nodes.iter().enumerate() {
            let theirs = node.state.partition(partition).summary();
            let comparable = !ours.open && !theirs.open && ours.vector_hash == theirs.vector_hash;
            if comparable && ours.digest != theirs.digest {
                let ours = Held::of(&world.nodes[number].rows, partition).entities;
                let theirs = Held::of(&node.rows, partition).entities;
                return Err(format!(
                    "nodes {number} and {other} differ in partition {partition}: {ours:?} and {theirs:?}"
                ));
            }
        }
    }
    Ok(())
}

#[test]
fn bites_when_an_entity_is_lost_on_the_way_to_the_writer() {
    super::bites::assert_bites(
        super::Invariant::Digests,
        crate::fault::Fault::LosesEntities,
    );
}
