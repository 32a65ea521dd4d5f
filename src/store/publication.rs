//! The one place where what is held is changed and published.
//!
//! The writer puts groups into the active generation; the applier freezes it, writes it to `data.redb`, and
//! puts a new view of that file in its place. Both do it under one lock and publish a snapshot before they
//! let go, so no reader sees a row in neither place, nor an older one in both. Nobody else begins a read
//! transaction.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use grapevine_crdt::ReplicaId;
use tokio::sync::{mpsc, watch};

use super::{
    Changes, Commit, Snapshot, State, data::Mark, data_view::DataView, error::Fault,
    options::BatchLimits, overlay::Generation, stats::Counters,
};
use crate::model::{CommitRecord, Root};

/// A generation that is being written to `data.redb`.
#[derive(Debug)]
pub(super) struct Frozen {
    pub(super) rows: Arc<Generation>,
    /// The state with these rows.
    pub(super) state: State,
    /// The last group in it.
    pub(super) mark: Mark,
}

/// What is held, and by which of the threads it must be changed next.
#[derive(Debug)]
pub(super) struct Held {
    active: Arc<Generation>,
    frozen: Option<Arc<Frozen>>,
    view: Arc<DataView>,
    /// The state with everything in it.
    state: State,
    /// The last group in it.
    mark: Mark,
    /// The last group that is durable in `data.redb`.
    applied: u64,
    committed_at: Instant,
    task: Task,
    /// Set by the applier when it cannot go on.
    applier_failed: Option<Fault>,
}

/// What the applier is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// Apply batches as they fill, and what there is when idle.
    Work,
    /// Apply everything, then end.
    Drain,
    /// End now.
    Stop,
}

/// What the applier finds to do.
#[derive(Debug)]
pub(super) enum Work {
    /// Write this.
    Apply(Arc<Frozen>),
    /// Nothing more, for ever.
    End,
}

impl Held {
    /// What is held at `mark`; of that, `view` holds what `applied` says.
    pub(super) fn new(
        active: Arc<Generation>,
        view: Arc<DataView>,
        state: State,
        mark: Mark,
        applied: u64,
    ) -> Self {
        Self {
            active,
            frozen: None,
            view,
            state,
            applied,
            mark,
            committed_at: Instant::now(),
            task: Task::Work,
            applier_failed: None,
        }
    }

    /// The last group in it.
    pub(super) const fn mark(&self) -> Mark {
        self.mark
    }

    /// Whether there are groups that nobody has begun to write to `data.redb`. They need not have rows: a
    /// vector may rise without any, and the journal keeps the group until the vector is written too.
    fn has_unapplied(&self) -> bool {
        let begun = self.frozen.as_ref();
        self.mark.number > begun.map_or(self.applied, |frozen| frozen.mark.number)
    }

    /// What a reader sees of it.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            group: self.mark.number,
            active: self.active.clone(),
            frozen: self.frozen.clone(),
            data: self.view.clone(),
            state: self.state.clone(),
        })
    }
}

/// What the threads of a store and its handles share.
#[derive(Debug)]
pub(super) struct Publication {
    held: Mutex<Held>,
    /// The applier waits here for work.
    work: Condvar,
    /// The writer waits here for space; never in its own queue.
    space: Condvar,
    snapshot: ArcSwap<Snapshot>,
    limits: BatchLimits,
    replica: Mutex<Option<ReplicaId>>,
    /// Why nothing can be written now.
    write_fault: Mutex<Option<String>>,
    subscribers: Mutex<Vec<mpsc::Sender<Arc<[CommitRecord]>>>>,
    watchers: Mutex<Vec<mpsc::Sender<Commit>>>,
    root: watch::Sender<Root>,
    pub(super) counters: Counters,
}

impl Publication {
    pub(super) fn new(held: Held, limits: BatchLimits) -> Self {
        Self {
            snapshot: ArcSwap::new(held.snapshot()),
            root: watch::Sender::new(held.state.root()),
            held: Mutex::new(held),
            work: Condvar::new(),
            space: Condvar::new(),
            limits,
            replica: Mutex::new(None),
            write_fault: Mutex::new(None),
            subscribers: Mutex::new(Vec::new()),
            watchers: Mutex::new(Vec::new()),
            counters: Counters::default(),
        }
    }

    /// The latest snapshot.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The last group published, and the last one durable in `data.redb`.
    pub(super) fn progress(&self) -> (Mark, u64) {
        let held = self.held();
        (held.mark, held.applied)
    }

    /// Puts everything in the place of what is held, after the files were opened again.
    pub(super) fn replace(&self, new: Held) {
        let mut held = self.held();
        *held = new;
        self.snapshot.store(held.snapshot());
        let root = held.state.root();
        drop(held);
        // What a failed commit wrote all the same is there now, and was told to nobody.
        self.watchers.lock().expect(NOT_POISONED).clear();
        self.root.send_replace(root);
    }

    /// Waits until the active generation has space for a group.
    pub(super) fn wait_for_space(&self) -> Result<(), Fault> {
        let mut held = self.held();
        if held.active.is_full(&self.limits) {
            Counters::add(&self.counters.waits_for_space, 1);
        }
        while held.active.is_full(&self.limits) && held.applier_failed.is_none() {
            self.work.notify_one();
            held = self.space.wait(held).expect(NOT_POISONED);
        }
        held.applier_failed.clone().map_or(Ok(()), Err)
    }

    /// Why the applier ended, if it failed.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.held().applier_failed.clone()
    }

    /// Publishes a group that is durable in the journal.
    pub(super) fn publish(&self, changes: Changes, mark: Mark) {
        let mut held = self.held();
        let was_idle = !held.has_unapplied();
        held.active.put(changes.rows, mark.number);
        held.state = changes.state;
        held.mark = mark;
        held.committed_at = Instant::now();
        self.snapshot.store(held.snapshot());
        if was_idle || held.active.is_full(&self.limits) {
            self.work.notify_one();
        }
    }

    /// Waits until there is something to apply; freezes it.
    pub(super) fn next_work(&self) -> Work {
        let mut held = self.held();
        loop {
            let idle = held.committed_at.elapsed();
            let due = match held.task {
                Task::Stop => return Work::End,
                Task::Drain => held.has_unapplied(),
                Task::Work => {
                    held.active.is_full(&self.limits)
                        || (held.has_unapplied() && idle >= self.limits.idle_apply_after)
                }
            };
            if due {
                let frozen = Arc::new(Frozen {
                    rows: core::mem::take(&mut held.active),
                    state: held.state.clone(),
                    mark: held.mark,
                });
                held.frozen = Some(frozen.clone());
                self.space.notify_one();
                return Work::Apply(frozen);
            }
            if held.task == Task::Drain {
                return Work::End;
            }
            held = if held.has_unapplied() {
                let rest = self.limits.idle_apply_after.saturating_sub(idle);
                let rest = rest.max(SHORTEST_WAIT);
                self.work.wait_timeout(held, rest).expect(NOT_POISONED).0
            } else {
                self.work.wait(held).expect(NOT_POISONED)
            };
        }
    }

    /// Puts `view`, which holds what was frozen, in its place.
    pub(super) fn applied(&self, view: Arc<DataView>) {
        let mut held = self.held();
        if let Some(frozen) = held.frozen.take() {
            Counters::add(&self.counters.applied_batches, 1);
            Counters::add(&self.counters.applied_rows, frozen.rows.len() as u64);
            held.applied = frozen.mark.number;
        }
        held.view = view;
        self.snapshot.store(held.snapshot());
    }

    /// Puts `view` in the place of one whose file failed: it holds as much, or more of what the overlay holds.
    pub(super) fn replace_view(&self, view: Arc<DataView>) {
        let mut held = self.held();
        held.view = view;
        self.snapshot.store(held.snapshot());
    }

    /// The applier ends without having applied what was frozen.
    pub(super) fn applier_failed(&self, fault: Fault) {
        self.held().applier_failed = Some(fault);
        self.space.notify_one();
    }

    /// Tells the applier to end, with everything applied or at once.
    pub(super) fn end_applier(&self, drain: bool) {
        self.held().task = if drain { Task::Drain } else { Task::Stop };
        self.work.notify_one();
    }

    /// The replica of this life, once it has written.
    pub(super) fn replica(&self) -> Option<ReplicaId> {
        *self.replica.lock().expect(NOT_POISONED)
    }

    pub(super) fn set_replica(&self, replica: Option<ReplicaId>) {
        *self.replica.lock().expect(NOT_POISONED) = replica;
    }

    /// Why nothing can be written now, if so.
    pub(super) fn write_fault(&self) -> Option<String> {
        self.write_fault.lock().expect(NOT_POISONED).clone()
    }

    pub(super) fn set_write_fault(&self, fault: Option<String>) {
        *self.write_fault.lock().expect(NOT_POISONED) = fault;
    }

    /// Tells the root after a commit.
    pub(super) fn roots(&self) -> watch::Receiver<Root> {
        self.root.subscribe()
    }

    pub(super) fn tell_root(&self, root: Root) {
        self.root.send_replace(root);
    }

    /// Hears of local commits, of which at most `capacity` wait.
    pub(super) fn subscribe(&self, capacity: usize) -> mpsc::Receiver<Arc<[CommitRecord]>> {
        let (sender, receiver) = mpsc::channel(capacity);
        let mut subscribers = self.subscribers.lock().expect(NOT_POISONED);
        subscribers.push(sender);
        receiver
    }

    /// Hands local commits to who subscribed; never waits for them.
    pub(super) fn hand_on(&self, records: &Arc<[CommitRecord]>) {
        let mut subscribers = self.subscribers.lock().expect(NOT_POISONED);
        subscribers.retain(|subscriber| match subscriber.try_send(records.clone()) {
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        });
    }

    /// Hears of every commit, of which at most `capacity` wait. Who does not keep up, or cannot be told of all, is
    /// told no more: the channel closes.
    pub(super) fn watch(&self, capacity: usize) -> mpsc::Receiver<Commit> {
        let (sender, receiver) = mpsc::channel(capacity);
        self.watchers.lock().expect(NOT_POISONED).push(sender);
        receiver
    }

    /// Tells who watches of a commit; never waits for them.
    pub(super) fn tell_watchers(&self, commit: &Commit) {
        let mut watchers = self.watchers.lock().expect(NOT_POISONED);
        watchers.retain(|watcher| watcher.try_send(commit.clone()).is_ok());
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect(NOT_POISONED)
    }
}

const NOT_POISONED: &str = "no holder of the lock panics";

/// The applier never waits for less, so that it cannot spin.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
