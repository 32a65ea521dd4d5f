//! The scrub: reads what is stored, a partition at a time with a rest after each, and has recounted what is damaged, so
//! that the digest tells, and peers repair it.
//!
//! Invariants: at most [`MAX_SCRUBBED_A_STEP`] entities are read from a snapshot; a damaged one is recounted, and that is
//! durable, before the next are read.

use std::sync::Arc;

use grapevine_crdt::Timestamp;
use rand::RngExt;
use tokio::{task::spawn_blocking, time::sleep};

use super::shared::Shared;
use crate::{
    model::{Claim, EntityCells, EntityId, Op, PartitionId},
    store::{Scrubbed, StoreError, scrub},
};

/// The most entities that one step of a scrub reads.
pub const MAX_SCRUBBED_A_STEP: usize = 1_000;

/// Scrubs partition after partition until the driver stops, if that is wanted at all. Begins with any of them, so that a
/// node which never runs for a whole round reads all of them in the end.
pub(super) async fn run(shared: Arc<Shared>) {
    let Some(pause) = shared.config.scrub_pause else {
        return;
    };
    let mut next: u8 = rand::rng().random();
    loop {
        let partition = PartitionId::new(next);
        next = next.wrapping_add(1);
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            () = sleep(pause) => {}
        }
        if let Err(error) = scrub_partition(&shared, partition).await {
            warn(
                &shared,
                &format!("partition {partition} was not checked: {error}"),
            );
        }
    }
}

async fn scrub_partition(shared: &Arc<Shared>, partition: PartitionId) -> Result<(), StoreError> {
    let mut after: Option<EntityId> = None;
    while !shared.stopping.is_cancelled() {
        let store = shared.store.clone();
        let read = spawn_blocking(move || {
            let snapshot = store.snapshot();
            scrub(&*snapshot, partition, after.as_ref(), MAX_SCRUBBED_A_STEP)
        });
        let Scrubbed { damaged, next } = read.await.unwrap_or(Err(StoreError::Closed))?;
        if !damaged.is_empty() {
            recount(shared, partition, damaged).await?;
        }
        if next.is_none() {
            return Ok(());
        }
        after = next;
    }
    Ok(())
}

/// Counts what is damaged, and has it recounted: from then on the digest lacks it.
pub(super) async fn recount(
    shared: &Arc<Shared>,
    partition: PartitionId,
    damaged: Vec<EntityId>,
) -> Result<(), StoreError> {
    for id in &damaged {
        shared.counters.damaged.increment();
        warn(
            shared,
            &format!("what is stored of {id} is damaged; a peer is needed to repair it"),
        );
    }
    let entities = damaged.into_iter().map(|id| EntityCells {
        id,
        cells: Vec::new(),
    });
    let op = Op {
        partition,
        entities: entities.collect(),
        claim: Claim::Recount,
    };
    let outcome = shared.store.enqueue(op, Timestamp::ZERO).await?;
    outcome.await.unwrap_or(Err(StoreError::Closed))?;
    Ok(())
}

fn warn(shared: &Shared, warning: &str) {
    if shared.warnings.is_due(warning) {
        tracing::warn!("{warning}");
    }
}
