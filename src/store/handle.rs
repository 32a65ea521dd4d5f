//! The store as the layers above use it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use grapevine_crdt::{FieldCell, ReplicaId, Timestamp};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::{
    BatchWriter, Commit, Edit, HistoryLimits, Identity, Outcome, Snapshot, StoreError,
    StoreHistograms, StoreOptions, StoreStats,
    alarm::Alarm,
    applier::Applier,
    batch::Batch,
    disk::{Disk, FileSystem},
    publication::Publication,
    recovery::{DATA, Files, JOURNAL, Opener, Recovered},
    step::{GiveUpLife, Life, LocalWrite, PeerStep, Step},
    watched_clock::WatchedClock,
    writer::{Job, OpenStorage, Storage, Writer},
};
use crate::{
    clock::WallClock,
    model::{CommitRecord, EntityId, Op, Root},
    traces::WriteSpans,
};

/// Why a local write did not happen. No state changed, but see [`StoreError::Closed`] and
/// [`StoreError::Commit`].
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    /// The edit itself refused.
    #[error("{0}")]
    Rejected(E),
    /// The store could not.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// A store that is open. Cheap to clone; all clones are one store. When the last is dropped, the store closes
/// by itself a moment later; [`Store::close`] waits for that.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    identity: Identity,
    history: HistoryLimits,
    directory: PathBuf,
    queue: mpsc::Sender<Job>,
    queue_wait: Duration,
    publication: Arc<Publication>,
    clock: Arc<WatchedClock>,
    closed: watch::Receiver<bool>,
}

impl Store {
    /// Opens the store in `options.directory`, or makes one there. Reads and writes files: not for an
    /// executor's thread.
    pub fn open(options: StoreOptions, clock: Arc<dyn WallClock>) -> Result<Self, StoreError> {
        Self::open_on(options, clock, Box::new(FileSystem))
    }

    /// How much is remembered of what contacts were.
    #[must_use]
    pub fn history_limits(&self) -> HistoryLimits {
        self.inner.history
    }

    pub(super) fn open_on(
        options: StoreOptions,
        clock: Arc<dyn WallClock>,
        disk: Box<dyn Disk>,
    ) -> Result<Self, StoreError> {
        let limits = options.batch();
        let history = options.history;
        let queue_wait = Duration::from_millis(options.queue_wait_ms);
        let directory = options.directory.clone();
        let (queue, receiver) = mpsc::channel(options.queue_length.max(1));
        let alarm = Arc::new(Alarm::new(queue.downgrade()));
        let opener = Opener {
            options,
            disk,
            alarm: alarm.clone(),
        };
        let mut files = opener.open()?;
        opener.compact_if_asked(&mut files)?;
        let Recovered { held, base } = opener.recover(&files)?;
        let Files { journal, data } = files;
        let identity = Identity {
            store_id: data.store_id()?,
            boots: data.count_boot()?,
        };
        let publication = Arc::new(Publication::new(held, limits));
        let applier = Applier::start(publication.clone(), data, base, alarm)?;
        let (closed, is_closed) = watch::channel(false);
        let clock = Arc::new(WatchedClock::new(clock));
        Writer {
            queue: receiver,
            publication: publication.clone(),
            clock: clock.clone(),
            opener,
            storage: Storage::Open(OpenStorage::new(journal, applier)),
            life: Life::default(),
            store_id: identity.store_id,
            reopened_at: None,
            closed,
        }
        .start()?;
        Ok(Self {
            inner: Arc::new(Inner {
                identity,
                history,
                directory,
                queue,
                queue_wait,
                publication,
                clock,
                closed: is_closed,
            }),
        })
    }

    /// Who this store is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.inner.identity
    }

    /// The replica under which this life writes; `None` before its first write.
    #[must_use]
    pub fn replica(&self) -> Option<ReplicaId> {
        self.inner.publication.replica()
    }

    /// The latest committed snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.publication.snapshot()
    }

    /// What the store did since it was opened.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        self.inner.publication.counters.read()
    }

    /// How long its commits took and how large they were since it was opened.
    #[must_use]
    pub fn histograms(&self) -> &StoreHistograms {
        &self.inner.publication.counters.histograms
    }

    /// How many steps wait for the writer, and how many may.
    #[must_use]
    pub fn queue(&self) -> (usize, usize) {
        let most = self.inner.queue.max_capacity();
        (most - self.inner.queue.capacity(), most)
    }

    /// How many bytes its files have: the journal's, and those of `data.redb`. 0 for one that is not there.
    #[must_use]
    pub fn file_bytes(&self) -> (u64, u64) {
        let length = |name| {
            let file = self.inner.directory.join(name);
            file.metadata().map_or(0, |file| file.len())
        };
        (length(JOURNAL), length(DATA))
    }

    /// Whether it was closed, or its threads are gone; it will never be written again.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.inner.queue.is_closed()
    }

    /// Why nothing can be written now, if so: the disk is full, a file failed, the store is closed.
    #[must_use]
    pub fn write_fault(&self) -> Option<String> {
        if self.has_ended() {
            return Some(StoreError::Closed.to_string());
        }
        self.inner.publication.write_fault()
    }

    /// Makes one local write and waits until it is durable. `edit` decides against the current state, on
    /// the writer's thread; if it yields no cells, nothing is written. Its answer comes back.
    ///
    /// If the writer's queue has no room for too long, it is refused ([`StoreError::Overloaded`]).
    ///
    /// All cells must have the dot that `edit` is told. Once the write is in the writer's queue it happens,
    /// whether or not its future is dropped.
    pub async fn write<T, E, F>(&self, id: EntityId, edit: F) -> Result<T, WriteError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnOnce(Edit<'_>) -> Result<(Vec<FieldCell>, T), E> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let spans = WriteSpans::begin();
        self.take_in(Box::new(LocalWrite::new(id, edit, reply, spans.clone())))
            .await?;
        let made = answer.await.map_err(|_gone| StoreError::Closed)??;
        spans.durable();
        Ok(made)
    }

    /// Makes several local writes that share one group commit, and waits until it is durable: all of them are
    /// then, or none. `make` runs on the writer's thread and makes them one after another, each seeing those
    /// before it; its answer comes back.
    ///
    /// As with [`Self::write`], it happens whether or not its future is dropped.
    pub async fn write_batch<T, F>(&self, make: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut BatchWriter<'_, '_>) -> T + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let spans = WriteSpans::begin();
        let batch = Batch::new(make, reply, spans.clone());
        self.take_in(Box::new(batch)).await?;
        let told = answer.await.map_err(|_gone| StoreError::Closed)??;
        spans.durable();
        Ok(told)
    }

    /// Puts a local step into the writer's queue, as soon as there is room.
    async fn take_in(&self, step: Box<dyn Step>) -> Result<(), StoreError> {
        let place = match self.inner.queue.try_reserve() {
            Ok(place) => place,
            Err(mpsc::error::TrySendError::Closed(())) => return Err(StoreError::Closed),
            Err(mpsc::error::TrySendError::Full(())) => {
                timeout(self.inner.queue_wait, self.inner.queue.reserve())
                    .await
                    .map_err(|_full| StoreError::Overloaded)?
                    .map_err(|_closed| StoreError::Closed)?
            }
        };
        place.send(Job::Step(step));
        Ok(())
    }

    /// Hands a peer's step to the writer, in the order of the calls; waits only for room in its queue. The
    /// outcome comes when the step is durable. `announced` is the clock of the sender.
    pub async fn enqueue(
        &self,
        op: Op,
        announced: Timestamp,
    ) -> Result<oneshot::Receiver<Result<Outcome, StoreError>>, StoreError> {
        let (reply, outcome) = oneshot::channel();
        self.send(Box::new(PeerStep::new(op, announced, reply)))
            .await?;
        Ok(outcome)
    }

    /// Gives up the life under which this store writes; the next write begins another. Nothing happens if the
    /// last was given up a moment ago, or if the writer's queue is full: who asks will ask again.
    pub fn begin_new_life(&self) {
        let _full = self.inner.queue.try_send(Job::Step(Box::new(GiveUpLife)));
    }

    /// Looks whether the time of day leapt against the monotonic clock, as it does when the machine was put back to an
    /// earlier moment; if so, the next write begins a new life. Every write looks as well. To be called often, so that
    /// a clock that drifts is told from one that leaps.
    pub fn watch_clock(&self) {
        self.inner.clock.look();
    }

    /// What group commits write locally from now on. At most `capacity` commits wait; what exceeds that is
    /// not delivered (a peer finds it by anti-entropy).
    #[must_use]
    pub fn subscribe(&self, capacity: usize) -> mpsc::Receiver<Arc<[CommitRecord]>> {
        self.inner.publication.subscribe(capacity)
    }

    /// Every commit from now on, local or not. At most `capacity` wait; who does not keep up is told no more, and
    /// the channel closes. So it does when the files were opened again after a failure, for then something may be
    /// there of which nobody was told.
    #[must_use]
    pub fn watch(&self, capacity: usize) -> mpsc::Receiver<Commit> {
        self.inner.publication.watch(capacity)
    }

    /// The root after every commit, local or not.
    #[must_use]
    pub fn roots(&self) -> watch::Receiver<Root> {
        self.inner.publication.roots()
    }

    /// Ends the store: takes no more writes, answers those it took, writes everything to `data.redb`, closes
    /// the files. Snapshots can no longer be read then.
    pub async fn close(&self) {
        let _closing = self.inner.queue.send(Job::Close).await;
        let mut closed = self.inner.closed.clone();
        let _gone = closed.wait_for(|closed| *closed).await;
    }

    async fn send(&self, step: Box<dyn Step>) -> Result<(), StoreError> {
        self.inner
            .queue
            .send(Job::Step(step))
            .await
            .map_err(|_closed| StoreError::Closed)
    }
}
