//! What the engine has done with the store for itself, in the background: collecting what may go, comparing a
//! peer's listing with what is held.
//!
//! Invariants: one piece of work at a time; of a collection at most [`MAX_IDS_A_STEP`] entities a step, and a step
//! is durable before the next is read, so that clients and peers get their turn.

use std::sync::Arc;

use grapevine_crdt::VersionVector;
use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_util::task::TaskTracker;

use super::shared::Shared;
use crate::{
    model::{Claim, EntityId, Op, Outcome, PartitionId},
    store::{StoreError, Table, compare_listing, indexed},
    sync::engine::{Comparison, Event},
};

/// The most entities that one step of a collection looks at.
pub const MAX_IDS_A_STEP: usize = 1_000;

/// The engine commands one of each kind at a time, and may begin a repair before one that was given up is done.
const MAX_TASKS_WAITING: usize = 64;

/// Something to do.
#[derive(Debug)]
pub(super) enum Task {
    Collect {
        partition: PartitionId,
        stable: VersionVector,
    },
    Compare(Comparison),
}

/// Where work is handed on, and what becomes of that for which there was no room.
#[derive(Debug)]
pub(super) struct Desk {
    tasks: mpsc::Sender<Task>,
    put_off: Vec<Done>,
}

impl Desk {
    /// Hands `task` on; says whether there was room. If not, [`Self::take_put_off`] tells the engine that it is
    /// over and has not helped, which begins it again when it is due.
    pub(super) fn hand_on(&mut self, task: Task) -> bool {
        let Err(refused) = self.tasks.try_send(task) else {
            return true;
        };
        self.put_off.push(match refused.into_inner() {
            Task::Collect { partition, .. } => Done::Collected(partition, false),
            Task::Compare(comparison) => Done::Compared(comparison.repair, Vec::new()),
        });
        false
    }

    /// What was put off since this was last asked.
    pub(super) fn take_put_off(&mut self) -> Vec<Done> {
        std::mem::take(&mut self.put_off)
    }
}

/// What was done.
#[derive(Debug)]
pub(super) enum Done {
    Collected(PartitionId, bool),
    Compared(u64, Vec<EntityId>),
}

impl Done {
    pub(super) fn into_event(self) -> Event {
        match self {
            Self::Collected(partition, whole) => Event::Collected(partition, whole),
            Self::Compared(repair, ids) => Event::Compared(repair, ids),
        }
    }
}

/// Starts the task that does it.
pub(super) fn start(shared: &Arc<Shared>, tracker: &TaskTracker) -> (Desk, mpsc::Receiver<Done>) {
    let (tasks, waiting) = mpsc::channel(MAX_TASKS_WAITING);
    let (done, results) = mpsc::channel(MAX_TASKS_WAITING);
    tracker.spawn(run(Arc::clone(shared), waiting, done));
    let put_off = Vec::new();
    (Desk { tasks, put_off }, results)
}

async fn run(shared: Arc<Shared>, mut waiting: mpsc::Receiver<Task>, done: mpsc::Sender<Done>) {
    loop {
        let task = tokio::select! {
            () = shared.stopping.cancelled() => return,
            task = waiting.recv() => task,
        };
        let result = match task {
            None => return,
            Some(Task::Collect { partition, stable }) => {
                let collected = collect(&shared, partition, &stable).await;
                if let Err(error) = &collected {
                    warn(
                        &shared,
                        &format!("partition {partition} was not collected: {error}"),
                    );
                }
                Done::Collected(partition, collected.is_ok())
            }
            Some(Task::Compare(comparison)) => match compare(&shared, comparison).await {
                Ok(done) => done,
                Err((repair, error)) => {
                    warn(&shared, &format!("a partition was not repaired: {error}"));
                    Done::Compared(repair, Vec::new())
                }
            },
        };
        if done.send(result).await.is_err() {
            return;
        }
    }
}

async fn collect(
    shared: &Arc<Shared>,
    partition: PartitionId,
    stable: &VersionVector,
) -> Result<(), StoreError> {
    let mut after = None;
    while !shared.stopping.is_cancelled() {
        let store = shared.store.clone();
        let cursor = after.clone();
        let read = spawn_blocking(move || {
            let snapshot = store.snapshot();
            indexed(
                &*snapshot,
                Table::Garbage,
                partition,
                cursor.as_ref(),
                MAX_IDS_A_STEP,
            )
        });
        let ids = read.await.unwrap_or(Err(StoreError::Closed))?;
        let Some(last) = ids.last().cloned() else {
            return Ok(());
        };
        after = Some(last);
        let op = Op {
            partition,
            entities: Vec::new(),
            claim: Claim::Collect {
                stable: stable.clone(),
                ids,
            },
        };
        // Nothing in it is later than what is held.
        let announced = shared.store.snapshot().state().clock();
        let outcome = shared.store.enqueue(op, announced).await?;
        match outcome.await.unwrap_or(Err(StoreError::Closed))? {
            Outcome::Applied => shared.counters.collections.increment(),
            Outcome::Covered | Outcome::Gap => {}
        }
    }
    Ok(())
}

async fn compare(shared: &Arc<Shared>, comparison: Comparison) -> Result<Done, (u64, StoreError)> {
    let store = shared.store.clone();
    let repair = comparison.repair;
    let compared = spawn_blocking(move || {
        let snapshot = store.snapshot();
        let (after, upto) = (comparison.after.as_ref(), comparison.upto.as_ref());
        compare_listing(
            &*snapshot,
            comparison.partition,
            after,
            upto,
            &comparison.theirs,
        )
    });
    match compared.await.unwrap_or(Err(StoreError::Closed)) {
        Ok(ids) => Ok(Done::Compared(repair, ids)),
        Err(error) => Err((repair, error)),
    }
}

fn warn(shared: &Shared, warning: &str) {
    if shared.warnings.is_due(warning) {
        tracing::warn!("{warning}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_for_which_there_is_no_room_is_told_to_be_over_and_not_lost_in_silence() {
        let (tasks, mut waiting) = mpsc::channel(1);
        let put_off = Vec::new();
        let mut desk = Desk { tasks, put_off };
        let partition = PartitionId::new(3);
        let collect = || Task::Collect {
            partition,
            stable: VersionVector::default(),
        };
        let compare = || {
            Task::Compare(Comparison {
                repair: 7,
                partition,
                after: None,
                upto: None,
                theirs: Vec::new(),
            })
        };
        assert!(desk.hand_on(collect()));
        assert!(!desk.hand_on(collect()));
        assert!(!desk.hand_on(compare()));
        let put_off = desk.take_put_off();
        assert!(matches!(put_off[0], Done::Collected(of, false) if of == partition));
        assert!(matches!(&put_off[1], Done::Compared(7, ids) if ids.is_empty()));
        assert!(desk.take_put_off().is_empty());
        waiting.try_recv().expect("the first was handed on");
        assert!(desk.hand_on(compare()));
    }
}
