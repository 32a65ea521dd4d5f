//! The writer: the one thread that decides and commits writes.
//!
//! It drains its queue into a group, decides each step against the state with the steps before it, appends
//! the group as one row to the journal, and only when that is durable publishes what it changed, answers
//! everyone, and hands the local commits on. Everybody in a group shares one commit.
//!
//! If a commit fails, nobody of the group is acknowledged, and a new life begins. Whatever failed is opened
//! again and replayed as after a crash: at once, or where that would only fail again (the disk is full)
//! after a while, and until then writes are refused and reads go on.

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use grapevine_crdt::ReplicaId;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::{
    Commit, Group, StoreError, Workspace,
    applier::Applier,
    commit,
    data::{Data, Mark},
    error::Fault,
    journal::{Journal, JournalRow},
    publication::Publication,
    recovery::{Files, Opener, Recovered},
    stats::Counters,
    step::{Life, Step},
    watched_clock::WatchedClock,
};
use crate::model::{Claim, CommitRecord, EntityId, PartitionId, Root};

/// The most steps of one group.
const MAX_GROUP_STEPS: usize = 4_096;

/// A group takes no further step once its steps and their rows have about this many bytes; one step may go
/// over it, but never more than a frame or a request body has.
const MAX_GROUP_BYTES: usize = 4 * 1024 * 1024;

/// Files that failed are not tried more often than this, whatever the options say.
const SHORTEST_RETRY: Duration = Duration::from_millis(1);

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
    pub(super) clock: Arc<WatchedClock>,
    pub(super) opener: Opener,
    pub(super) storage: Storage,
    pub(super) life: Life,
    pub(super) store_id: Uuid,
    /// When the files were opened again the last time.
    pub(super) reopened_at: Option<Instant>,
    /// Says `true` once the files are closed.
    pub(super) closed: watch::Sender<bool>,
}

/// Whether there are files to write to.
pub(super) enum Storage {
    /// There are.
    Open(OpenStorage),
    /// They failed and could not be opened again. `data.redb` may still serve reads.
    Failed {
        fault: Fault,
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
    /// The entities that it changed. Told apart even if nobody watches yet: who begins to while it is published must
    /// hear of it.
    ids: Vec<EntityId>,
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
        if let Err(fault) = self.be_ready() {
            first.complete(Err(&|| fault.lasting()));
            return;
        }
        let snapshot = self.publication.snapshot();
        let mut workspace = Workspace::new(&*snapshot, snapshot.state().clone())
            .remembering(self.opener.options.history);
        let (now, leapt) = self.clock.unix_ms();
        if leapt {
            tracing::warn!(
                "the time of day leapt: this machine slept, its clock was set, or it was put back to a snapshot; \
                 the next write begins a new life"
            );
            self.life.end_at_next_write();
        }
        let mut steps: Vec<Box<dyn Step>> = Vec::new();
        let mut local = Vec::new();
        let mut next = Some(first);
        while let Some(mut step) = next.take() {
            let before = workspace.steps();
            step.decide(&mut workspace, &mut self.life, now);
            local.resize(local.len() + workspace.steps() - before, step.is_local());
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
        let collected = workspace.collected();
        let result = if workspace.is_empty() {
            Ok(None)
        } else {
            self.commit(workspace, local).map(Some)
        };
        match result {
            Ok(committed) => {
                self.publication.counters.collected(collected);
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
                let fault = Fault::from(&error);
                for step in steps {
                    step.complete(Err(&|| fault.of_commit()));
                }
                if !matches!(error, StoreError::Codec(_)) {
                    self.end_life();
                    self.recover(fault);
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
        let steps = u32::try_from(local.len()).unwrap_or(u32::MAX);
        let began = Instant::now();
        storage.journal.append(number, &row, applied)?;
        let histograms = &self.publication.counters.histograms;
        histograms
            .commit_seconds
            .observe(began.elapsed().as_secs_f64());
        histograms.commit_steps.observe(f64::from(steps));
        let mark = Mark {
            number,
            chain: row.chain(),
            clock: group.clock,
        };
        let root = changes.state.root();
        let ids = commit::changed_ids(&changes);
        self.publication.publish(changes, mark);
        Counters::add(&self.publication.counters.commits, 1);
        Ok(Committed {
            group,
            local,
            root,
            ids,
        })
    }

    /// Hands what was written locally to the subscribers, and the root to everyone.
    fn hand_on(&self, committed: Committed) {
        self.publication.tell_watchers(&Commit {
            ids: committed.ids.into(),
            snapshot: self.publication.snapshot(),
        });
        let records = records(committed.group, &committed.local);
        if !records.is_empty() {
            self.publication.hand_on(&records);
        }
        self.publication.tell_root(committed.root);
    }

    /// Sees to it that a group can be committed, or says why not.
    fn be_ready(&mut self) -> Result<(), Fault> {
        match &self.storage {
            Storage::Open(_) => {
                if let Err(fault) = self.publication.wait_for_space() {
                    self.recover(fault);
                }
            }
            Storage::Failed { tried_at, .. } if self.is_due(*tried_at) => self.reopen(),
            Storage::Failed { .. } => {}
        }
        match &self.storage {
            Storage::Open(_) => Ok(()),
            Storage::Failed { fault, .. } => Err(fault.clone()),
        }
    }

    fn answer_alarm(&mut self) {
        let failed = self.opener.alarm.lower();
        match &self.storage {
            Storage::Open(_) if failed => {
                let fault = self.publication.fault();
                self.recover(fault.unwrap_or_else(|| Fault::new("a read failed")));
            }
            Storage::Failed { tried_at, .. } if self.is_due(*tried_at) => self.reopen(),
            // It is open since, or it is too early.
            Storage::Open(_) | Storage::Failed { .. } => {}
        }
    }

    fn reopen_period(&self) -> Duration {
        Duration::from_millis(self.opener.options.reopen_period_ms)
    }

    /// Whether files that were tried at `tried_at` may be tried again.
    fn is_due(&self, tried_at: Instant) -> bool {
        tried_at.elapsed() >= self.reopen_period()
    }

    /// The next write begins another life: a commit failed, and it is unknown what the journal holds of it.
    fn end_life(&mut self) {
        self.life = Life::default();
        self.publication.set_replica(None);
    }

    /// Closes what failed and opens it again: at once, unless that would only fail again.
    fn recover(&mut self, fault: Fault) {
        tracing::error!(%fault, "the storage failed");
        let at_once =
            !fault.is_no_space() && self.reopened_at.is_none_or(|before| self.is_due(before));
        let failed = Storage::Failed {
            fault: fault.clone(),
            data: None,
            tried_at: Instant::now(),
        };
        let before = core::mem::replace(&mut self.storage, failed);
        let kept = match before {
            Storage::Open(OpenStorage { journal, applier }) => {
                let kept = applier.end(false).and_then(|ended| {
                    let good = !ended.failed && ended.data.is_good();
                    good.then_some(ended.data)
                });
                drop(journal);
                kept
            }
            Storage::Failed { data, .. } => data,
        };
        if at_once {
            if let Storage::Failed { data, .. } = &mut self.storage {
                *data = kept;
            }
            self.reopen();
        } else {
            self.wait_for_better(fault, kept);
        }
    }

    /// Refuses writes because of `fault` until the next try, with reads going on from `kept`, or from
    /// `data.redb` opened again: what was acknowledged and is not in there is in the overlay.
    fn wait_for_better(&mut self, fault: Fault, kept: Option<Data>) {
        let tried_at = Instant::now();
        let data = kept
            .filter(Data::is_good)
            .or_else(|| match self.serve_reads() {
                Ok(data) => Some(data),
                Err(error) => {
                    tracing::error!(%error, "data.redb cannot be opened for reads");
                    None
                }
            });
        self.opener.alarm.lower();
        self.publication.set_write_fault(Some(fault.to_string()));
        self.storage = Storage::Failed {
            fault,
            data,
            tried_at,
        };
        self.opener
            .alarm
            .retry_after(self.reopen_period().max(SHORTEST_RETRY));
    }

    fn serve_reads(&self) -> Result<Data, StoreError> {
        let data = self.opener.open_for_reads(self.store_id)?;
        self.publication.replace_view(data.view()?);
        Ok(data)
    }

    fn reopen(&mut self) {
        self.opener.alarm.lower();
        let Storage::Failed { data, fault, .. } = &mut self.storage else {
            return;
        };
        let (kept, before) = (data.take(), fault.clone());
        let opened = match self.prepare(&before) {
            Ok(()) => self.try_reopen(kept.filter(Data::is_good)),
            Err(error) => Err((error, kept)),
        };
        match opened {
            Ok(storage) => {
                self.storage = Storage::Open(storage);
                self.publication.set_write_fault(None);
                self.reopened_at = Some(Instant::now());
                Counters::add(&self.publication.counters.recoveries, 1);
                tracing::info!("the storage is open again");
            }
            Err((error, kept)) => {
                let fault = Fault::from(&error);
                if fault == before {
                    tracing::debug!(%fault, "the storage cannot be used yet");
                } else {
                    tracing::error!(%fault, "the storage could not be opened again");
                }
                self.wait_for_better(fault, kept);
            }
        }
    }

    /// What must be true of the files before they are opened again.
    fn prepare(&self, fault: &Fault) -> Result<(), StoreError> {
        if fault.is_no_space() {
            self.opener.check_space()?;
        }
        self.opener.renew_journal()
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

/// What a group wrote locally: one record for each unbroken run of a replica's writes to a partition, in order.
/// A rejoin among them writes under the same names, and is no part of what is pushed.
fn records(group: Group, local: &[bool]) -> Arc<[CommitRecord]> {
    let mut records: BTreeMap<(PartitionId, ReplicaId), Vec<CommitRecord>> = BTreeMap::new();
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
            needs,
        } = op.claim
        else {
            continue;
        };
        let runs = records.entry((op.partition, replica)).or_default();
        match runs.last_mut().filter(|run| run.upto == after) {
            Some(run) => {
                run.upto = upto;
                run.needs.merge(&needs);
                run.entities.extend(op.entities);
            }
            None => runs.push(CommitRecord {
                partition: op.partition,
                replica,
                after,
                upto,
                needs,
                entities: op.entities,
            }),
        }
    }
    records.into_values().flatten().collect()
}
