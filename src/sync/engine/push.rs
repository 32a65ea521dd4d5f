//! What peers send as soon as they have written it.
//!
//! Whether a record fits is for the writer to say, who takes them in order: one that follows directly on
//! another that is still on its way is no gap. While the partition is pulled from the same peer, its records
//! wait for the end of the pull, which is likely to bring what they build on. Of a peer that is not known to have
//! taken in what was collected here nothing is taken: the partition is pulled, and the pull tells.

use grapevine_crdt::{ReplicaId, Timestamp};

use super::{
    core::{Engine, Step},
    peer::Want,
    tickets::Purpose,
    validate::{self, Violation},
};
use crate::model::{CommitRecord, Outcome, PartitionId};

pub(super) fn take(
    engine: &mut Engine,
    step: &mut Step<'_>,
    sender: ReplicaId,
    announced: Timestamp,
    records: Vec<CommitRecord>,
) -> Result<(), Violation> {
    validate::push(sender, announced, &records, step.now)?;
    let limit = engine.config.max_parked_records;
    for record in records {
        let Some(peer) = engine.peers.up(sender) else {
            return Ok(());
        };
        if peer.pulls.contains_key(&record.partition) {
            peer.recheck |= !peer.parked.park(announced, record, limit);
        } else {
            apply(engine, step, sender, announced, record);
        }
    }
    Ok(())
}

/// Takes in what waited for the end of a pull.
pub(super) fn unpark(
    engine: &mut Engine,
    step: &mut Step<'_>,
    sender: ReplicaId,
    parked: Vec<(Timestamp, CommitRecord)>,
) {
    for (announced, record) in parked {
        apply(engine, step, sender, announced, record);
    }
}

fn apply(
    engine: &mut Engine,
    step: &mut Step<'_>,
    sender: ReplicaId,
    announced: Timestamp,
    record: CommitRecord,
) {
    let partition = record.partition;
    if engine.rejoin_of(partition) {
        // It would be taken for ours alone, and written anew.
        if let Some(peer) = engine.peers.up(sender) {
            peer.want(partition, Want::Gap);
        }
        return;
    }
    if !engine.exchanges(sender, partition) {
        return;
    }
    let ours = step.view.partition(partition);
    if ours.vector.get(record.replica) >= record.upto {
        return;
    }
    let limit = engine.config.max_pushes_applying;
    let checks = engine.config.rules.checks_floor_of_pushes;
    let Some(peer) = engine.peers.up(sender) else {
        return;
    };
    if checks && !peer.clears(partition, &ours.floor) {
        peer.want(partition, Want::Gap);
        return;
    }
    if peer.pushes_applying >= limit {
        peer.recheck = true;
        return;
    }
    peer.pushes_applying += 1;
    let purpose = Purpose::Push(sender, partition);
    engine.apply(step, purpose, record.into_op(), announced);
}

/// The writer has decided about a record.
pub(super) fn applied(
    engine: &mut Engine,
    sender: ReplicaId,
    partition: PartitionId,
    outcome: Outcome,
) {
    failed(engine, sender);
    match outcome {
        Outcome::Applied | Outcome::Covered => {}
        Outcome::Gap => {
            if let Some(peer) = engine.peers.up(sender) {
                peer.want(partition, Want::Gap);
            }
        }
    }
}

/// The writer could not take a record in; the next probe finds what is missing.
pub(super) fn failed(engine: &mut Engine, sender: ReplicaId) {
    if let Some(peer) = engine.peers.known(sender) {
        peer.pushes_applying = peer.pushes_applying.saturating_sub(1);
    }
}
