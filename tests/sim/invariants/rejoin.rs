//! Invariant 9: after a rejoin nothing is held that the other side covers and does not hold, and of what only we
//! had nothing that is shown is left under a name from before, for a tombstone that somebody still holds could
//! win over it.

use grapevine::model::{CellName, Claim, Collection, Rejoin};
use grapevine_crdt::FieldKey;

use super::Observed;
use crate::{held::Held, world::World};

pub(crate) fn check(world: &World, observed: &Observed<'_>) -> Result<(), String> {
    let Observed::Published { node, group, .. } = observed else {
        return Ok(());
    };
    let [op] = group.ops.as_slice() else {
        return Ok(());
    };
    let Claim::Rejoin(rejoin) = &op.claim else {
        return Ok(());
    };
    let state = world.nodes[*node].state.partition(op.partition);
    if !state.vector.includes(&rejoin.vector) || !state.floor.includes(&rejoin.floor) {
        return Err(format!("node {node} has not taken in what it rejoined for"));
    }
    let held = Held::of(&world.nodes[*node].rows, op.partition);
    let told = world.nodes[*node].rejoin.clone();
    let told = told.map(|told| Rejoin {
        issue: rejoin.issue,
        ..told
    });
    check_held(&held, told.as_ref().unwrap_or(rejoin))
        .map_err(|what| format!("node {node}: {what}"))
}

fn check_held(held: &Held, rejoin: &Rejoin) -> Result<(), String> {
    let issuer = rejoin.issue.map(|issue| issue.replica);
    for (id, entity) in &held.entities {
        if id.collection() == Collection::Counters {
            continue;
        }
        let theirs = rejoin.held.iter().find(|(held, _)| held == id);
        let theirs: &[CellName] = theirs.map_or(&[], |(_, names)| names);
        for (key, cell) in entity.cells() {
            let dot = cell.dot;
            if theirs.contains(&CellName::of(key, cell)) {
                continue;
            }
            if rejoin.vector.covers(dot) {
                return Err(format!(
                    "{dot:?} of {id} is gone at the peer, and still held"
                ));
            }
            let is_content =
                matches!(key, FieldKey::Register(_) | FieldKey::Attribute(_)) && !cell.is_marker();
            // What loses to a cell that stays as it is would win over it with a new time.
            let wins = entity
                .field(key)
                .is_some_and(|field| field.shown().dot == dot);
            if is_content && wins && entity.is_visible() && Some(dot.replica) != issuer {
                return Err(format!(
                    "{dot:?} of {id} is unknown to the peer, and not written anew"
                ));
            }
        }
    }
    Ok(())
}

#[test]
fn bites_when_what_the_other_side_dropped_is_kept() {
    super::bites::assert_bites(
        super::Invariant::Rejoin,
        crate::fault::Fault::RejoinsWithoutDropping,
    );
}

#[test]
fn bites_when_what_only_we_have_is_not_written_anew() {
    super::bites::assert_bites(
        super::Invariant::Rejoin,
        crate::fault::Fault::RejoinsWithoutIssuing,
    );
}
