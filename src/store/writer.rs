//! The writer: the one thread that decides and commits writes.
//!
//! It drains its queue into a group, decides each step against the state with the steps before it, appends
//! the group as one row to the journal, and only when that is durable publishes what it changed, answers
//! everyone, and hands the local commits on. Everybody in a group shares one commit.
//!
//! If the storage fails, nobody of the group is acknowledged; the files are opened again, replayed as after
//! a crash, and a new life begins.

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use grapevine_crdt::ReplicaId;
use tokio::sync::{mpsc, watch};

use super::{
    Group, StoreError, Workspace,
    applier::Applier,
    data::{Data, Mark},
    journal::{Journal, JournalRow},
    publication::Publication,
    recovery::{Files, Opener, Recovered},
    stats::Counters,
    step::{Life, Step},
};
use crate::{
    clock::WallClock,
    model::{Claim, CommitRecord, PartitionId, Root},
};

/// The most steps of one group.
const MAX_GROUP_STEPS: usize = 4_096;

/// A group takes no further step once its steps and their rows have about this many bytes; one step may go
/// over it, but never more than a frame or a request body has.
const MAX_GROUP_BYTES: usize = 4 * 1024 * 1024;

/// After opening the files again has failed, the next try waits this long.
const REOPEN_PERIOD: Duration = Duration::from_secs(1);

/// What waits in the queue.
pub(super) enum Job {
    /// A member for the next group.
    Step(Box<dyn Step>),
    /// Look at the alarm.
    Wake,
    /// Take no more; end when the queue is empty.
    Close,
}

/// The writer's thread, from inside.
pub(super) struct Writer {
    pub(super) queue: mpsc::Receiver<Job>,
    pub(super) publication: Arc<Publication>,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) opener: Opener,
    pub(super) storage: Storage,
    pub(super) life: Life,
    /// Says `true` once the files are closed.
    pub(super) closed: watch::Sender<bool>,
}

/// Whether there are files to write to.
pub(super) enum Storage {
    /// There are.
    Open(OpenStorage),
    /// They failed and could not be opened again. `data.redb` may still serve reads.
    Failed {
        reason: String,
        data: Option<Data>,
        tried_at: Instant,
    },
}

/// The journal, and the applier, which owns `data.redb`.
pub(super) struct OpenStorage {
    journal: Journal,
    applier: Applier,
}

impl OpenStorage {
    pub(super) const fn new(journal: Journal, applier: Applier) -> Self {
        Self { journal, applier }
    }
}

/// What a group has become once it is durable.
struct Committed {
    group: Group,
    /// For each of its steps whether it is a write of this node.
    local: Vec<bool>,
    root: Root,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(self) -> Result<(), StoreError> {
        thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || self.run())
            .map(drop)
            .map_err(StoreError::Thread)
    }

    fn run(mut self) {
        while let Some(job) = self.queue.blocking_recv() {
            match job {
                Job::Step(step) => self.take_group(step),
                Job::Wake => {}
                Job::Close => self.queue.close(),
            }
            if self.opener.alarm.is_raised() {
                self.answer_alarm();
            }
        }
        self.end();
    }

    fn take_group(&mut self, first: Box<dyn Step>) {
        if let Err(reason) = self.be_ready() {
            first.complete(Err(&|| StoreError::Failed(reason.clone())));
            return;
        }
        let snapshot = self.publication.snapshot();
        let mut workspace = Workspace::new(&*snapshot, snapshot.state().clone());
        let now = self.clock.unix_ms();
        let mut steps: Vec<Box<dyn Step>> = Vec::new();
        let mut local = Vec::new();
        let mut next = Some(first);
        while let Some(mut step) = next.take() {
            let before = workspace.steps();
            step.decide(&mut workspace, &mut self.life, now);
            if workspace.steps() > before {
                local.push(step.is_local());
            }
            steps.push(step);
            if steps.len() < MAX_GROUP_STEPS && workspace.bytes() < MAX_GROUP_BYTES {
                next = self.next_step();
            }
        }
        Counters::add(&self.publication.counters.steps, steps.len() as u64);
        if workspace.clashes() > 0 {
            let clashes = workspace.clashes();
            Counters::add(&self.publication.counters.clashes, clashes);
            tracing::error!(
                clashes,
                "a peer holds other cells under the names of held ones"
            );
        }
        let result = if workspace.is_empty() {
            Ok(None)
        } else {
            self.commit(workspace, local).map(Some)
        };
        match result {
            Ok(committed) => {
                self.publication.set_replica(self.life.replica());
                for step in steps {
                    step.complete(Ok(()));
                }
                if let Some(committed) = committed {
                    self.hand_on(committed);
                }
            }
            Err(error) => {
                Counters::add(&self.publication.counters.failed_commits, 1);
                let reason = error.to_string();
                for step in steps {
                    step.complete(Err(&|| StoreError::Commit(reason.clone())));
                }
                if !matches!(error, StoreError::Codec(_)) {
                    self.recover(&reason);
                }
            }
        }
    }

    /// The next step in the queue, if one waits.
    fn next_step(&mut self) -> Option<Box<dyn Step>> {
        loop {
            match self.queue.try_recv() {
                Ok(Job::Step(step)) => return Some(step),
                Ok(Job::Wake) => {}
                Ok(Job::Close) => self.queue.close(),
                Err(_empty) => return None,
            }
        }
    }

    /// Makes the group durable and visible; on error it is neither, as far as can be known.
    fn commit<R: super::Rows + ?Sized>(
        &mut self,
        workspace: Workspace<'_, R>,
        local: Vec<bool>,
    ) -> Result<Committed, StoreError> {
        let Storage::Open(storage) = &mut self.storage else {
            return Err(StoreError::Closed);
        };
        let (mark, applied) = self.publication.progress();
        let number = mark.number + 1;
        let (group, changes) = workspace.finish(number);
        let row = JournalRow::new(&group, mark.chain)?;
        storage.journal.append(number, &row, applied)?;
        let mark = Mark {
            number,
            chain: row.chain(),
            clock: group.clock,
        };
        let root = changes.state.root();
        self.publication.publish(changes, mark);
        Counters::add(&self.publication.counters.commits, 1);
        Ok(Committed { group, local, root })
    }

    /// Hands what was written locally to the subscribers, and the root to everyone.
    fn hand_on(&self, committed: Committed) {
        let records = records(committed.group, &committed.local);
        if !records.is_empty() {
            self.publication.hand_on(&records);
        }
        self.publication.tell_root(committed.root);
    }

    /// Sees to it that a group can be committed, or says why not.
    fn be_ready(&mut self) -> Result<(), String> {
        let retry = match &self.storage {
            Storage::Open(_) => false,
            Storage::Failed {
                reason, tried_at, ..
            } if tried_at.elapsed() < REOPEN_PERIOD => return Err(reason.clone()),
            Storage::Failed { .. } => true,
        };
        if retry {
            self.reopen();
        } else if self.publication.wait_for_space().is_err() {
            self.recover("a batch could not be written");
        }
        match &self.storage {
            Storage::Open(_) => Ok(()),
            Storage::Failed { reason, .. } => Err(reason.clone()),
        }
    }

    fn answer_alarm(&mut self) {
        self.opener.alarm.lower();
        match &self.storage {
            Storage::Open(_) => self.recover("the storage failed beside a commit"),
            Storage::Failed { tried_at, .. } if tried_at.elapsed() >= REOPEN_PERIOD => {
                self.reopen();
            }
            Storage::Failed { .. } => {}
        }
    }

    /// Closes what failed and opens it again.
    fn recover(&mut self, reason: &str) {
        tracing::error!(reason, "the storage failed; opening it again");
        let failed = Storage::Failed {
            reason: reason.to_owned(),
            data: None,
            tried_at: Instant::now(),
        };
        if let Storage::Open(OpenStorage { journal, applier }) =
            core::mem::replace(&mut self.storage, failed)
        {
            let kept = applier.end(false).and_then(|ended| {
                let good = !ended.failed && ended.data.is_good();
                good.then_some(ended.data)
            });
            drop(journal);
            if let Storage::Failed { data, .. } = &mut self.storage {
                *data = kept;
            }
        }
        self.reopen();
    }

    fn reopen(&mut self) {
        self.opener.alarm.lower();
        let Storage::Failed { data, .. } = &mut self.storage else {
            return;
        };
        let kept = data.take().filter(Data::is_good);
        match self.try_reopen(kept) {
            Ok(storage) => {
                self.life = Life::default();
                self.publication.set_replica(None);
                self.storage = Storage::Open(storage);
                Counters::add(&self.publication.counters.recoveries, 1);
                tracing::info!("the storage is open again; a new life begins");
            }
            Err((error, data)) => {
                tracing::error!(%error, "the storage could not be opened again");
                self.storage = Storage::Failed {
                    reason: error.to_string(),
                    data,
                    tried_at: Instant::now(),
                };
            }
        }
    }

    fn try_reopen(&self, kept: Option<Data>) -> Result<OpenStorage, (StoreError, Option<Data>)> {
        let files = self.opener.reopen(kept)?;
        let recovered = match self.opener.recover(&files) {
            Ok(recovered) => recovered,
            Err(error) => return Err((error, Some(files.data))),
        };
        let Recovered { held, base } = recovered;
        let Files { journal, data } = files;
        self.publication.replace(held);
        let applier = Applier::start(
            self.publication.clone(),
            data,
            base,
            self.opener.alarm.clone(),
        )
        .map_err(|error| (error, None))?;
        Ok(OpenStorage::new(journal, applier))
    }

    /// Applies what there is and closes the files.
    fn end(self) {
        if let Storage::Open(OpenStorage { journal, applier }) = self.storage {
            drop(applier.end(true));
            drop(journal);
        }
        tracing::debug!("the store is closed");
        self.closed.send_replace(true);
    }
}

/// What a group wrote locally: one record a partition and replica, its writes in order.
fn records(group: Group, local: &[bool]) -> Arc<[CommitRecord]> {
    let mut records: BTreeMap<(PartitionId, ReplicaId), CommitRecord> = BTreeMap::new();
    let local_ops = group
        .ops
        .into_iter()
        .zip(local)
        .filter_map(|(op, local)| local.then_some(op));
    for op in local_ops {
        let Claim::Advance {
            replica,
            after,
            upto,
        } = op.claim
        else {
            continue;
        };
        match records.entry((op.partition, replica)) {
            std::collections::btree_map::Entry::Occupied(mut record) => {
                let record = record.get_mut();
                debug_assert_eq!(record.upto, after);
                record.upto = upto;
                record.entities.extend(op.entities);
            }
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(CommitRecord {
                    partition: op.partition,
                    replica,
                    after,
                    upto,
                    entities: op.entities,
                });
            }
        }
    }
    records.into_values().collect()
}
