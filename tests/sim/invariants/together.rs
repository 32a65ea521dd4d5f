//! Invariant 3: data and vector move together, in one row of the journal, and index, digest and count of
//! what is not claimed follow from it.

use grapevine::{
    model::{Claim, PartitionId},
    store::Group,
};
use grapevine_crdt::{ReplicaId, VersionVector};

use super::{Observed, to_check};
use crate::{held::Held, world::World};

pub(crate) fn check(world: &World, observed: &Observed<'_>) -> Result<(), String> {
    for (number, partition) in to_check(world, observed) {
        let node = &world.nodes[number];
        let at = |what: String| format!("node {number}, partition {partition}: {what}");
        let state = node.state.partition(partition);
        let held = Held::of(&node.rows, partition);
        held.adds_up_to(state).map_err(at)?;
        if let Observed::Published { before, group, .. } = observed {
            let vector = &before.state.partition(partition).vector;
            let mut claimed = claim(partition, vector.clone(), group);
            // What a rejoin writes anew follows from what was held.
            for replica in issuers(group) {
                claimed.advance(replica, state.vector.get(replica));
            }
            if claimed != state.vector {
                return Err(at(format!("{:?} instead of {claimed:?}", state.vector)));
            }
        }
    }
    Ok(())
}

fn issuers(group: &Group) -> impl Iterator<Item = ReplicaId> {
    group.ops.iter().filter_map(|op| match &op.claim {
        Claim::Rejoin(rejoin) => rejoin.issue.map(|issue| issue.replica),
        Claim::Nothing
        | Claim::Advance { .. }
        | Claim::Absorb { .. }
        | Claim::Repair
        | Claim::Recount
        | Claim::Collect { .. } => None,
    })
}

/// What the vector is after a group, by the claims of the group alone.
fn claim(partition: PartitionId, mut vector: VersionVector, group: &Group) -> VersionVector {
    for op in group.ops.iter().filter(|op| op.partition == partition) {
        match &op.claim {
            Claim::Nothing | Claim::Repair | Claim::Recount | Claim::Collect { .. } => {}
            Claim::Advance { replica, upto, .. } => vector.advance(*replica, *upto),
            Claim::Absorb {
                vector: claimed, ..
            } => vector.join(claimed),
            Claim::Rejoin(rejoin) => vector.join(&rejoin.vector),
        }
    }
    vector
}

#[test]
fn bites_when_a_commit_is_torn() {
    super::bites::assert_bites(
        super::Invariant::Together,
        crate::fault::Fault::TearsCommits,
    );
}
