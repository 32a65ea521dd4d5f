//! Handing the steps of peers to the store, in order, without the event loop waiting for it.

use std::sync::Arc;

use grapevine_crdt::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::shared::{Room, Shared};
use crate::{
    model::{Op, Outcome},
    store::StoreError,
    sync::engine::Ticket,
    traces::ApplySpans,
};

/// The most steps that wait for the store's queue; with more the event loop takes nothing from the links.
const MAX_STEPS_WAITING: usize = 1_024;

/// The most steps in the store's queue or being committed.
const MAX_STEPS_COMMITTING: usize = 1_024;

/// A step on its way to the store.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) ticket: Ticket,
    pub(super) op: Op,
    pub(super) announced: Timestamp,
    /// Of the message it came in.
    pub(super) room: Option<Room>,
}

/// What became of a step; `None` if the store could not take it.
pub(super) type Applied = (Ticket, Option<Outcome>);

/// A step in the store's queue, or the reason why it is not.
struct Committing {
    ticket: Ticket,
    outcome: Result<oneshot::Receiver<Result<Outcome, StoreError>>, StoreError>,
    room: Option<Room>,
    spans: ApplySpans,
}

/// Starts the two tasks: one that enqueues, one that waits for the outcomes.
pub(super) fn start(
    shared: &Arc<Shared>,
    tasks: &TaskTracker,
) -> (mpsc::Sender<Step>, mpsc::Receiver<Applied>) {
    let (steps, waiting) = mpsc::channel(MAX_STEPS_WAITING);
    let (entered, committing) = mpsc::channel(MAX_STEPS_COMMITTING);
    let (applied, outcomes) = mpsc::channel(MAX_STEPS_COMMITTING);
    tasks.spawn(enqueue(Arc::clone(shared), waiting, entered));
    tasks.spawn(collect(Arc::clone(shared), committing, applied));
    (steps, outcomes)
}

async fn enqueue(
    shared: Arc<Shared>,
    mut waiting: mpsc::Receiver<Step>,
    entered: mpsc::Sender<Committing>,
) {
    while let Some(step) = waiting.recv().await {
        let committing = Committing {
            spans: ApplySpans::begin(&step.op),
            ticket: step.ticket,
            outcome: shared.store.enqueue(step.op, step.announced).await,
            room: step.room,
        };
        if entered.send(committing).await.is_err() {
            return;
        }
    }
}

async fn collect(
    shared: Arc<Shared>,
    mut committing: mpsc::Receiver<Committing>,
    applied: mpsc::Sender<Applied>,
) {
    while let Some(Committing {
        ticket,
        outcome,
        room,
        spans,
    }) = committing.recv().await
    {
        let outcome = match outcome {
            Ok(outcome) => outcome.await.unwrap_or(Err(StoreError::Closed)),
            Err(error) => Err(error),
        };
        drop(room);
        let outcome = match outcome {
            Ok(outcome) => {
                shared.counters.steps_applied.increment();
                if outcome == Outcome::Applied {
                    spans.applied();
                }
                Some(outcome)
            }
            Err(error) => {
                shared.counters.steps_failed.increment();
                let warning = format!("a step from a peer was not stored: {error}");
                if shared.warnings.is_due(&warning) {
                    tracing::warn!("{warning}");
                }
                None
            }
        };
        if applied.send((ticket, outcome)).await.is_err() {
            return;
        }
    }
}
