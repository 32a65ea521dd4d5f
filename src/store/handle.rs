//! The store as the layers above use it.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use grapevine_crdt::{Entity, FieldCell, ReplicaId, Timestamp, VersionVector};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::{
    DeltaBudget, Edit, Listing, MemoryRows, Outcome, Rows, State, StoreError, Table, Visit,
    Workspace, list_entities, read_delta, read_entity,
};
use crate::{
    clock::WallClock,
    model::{Claim, CommitRecord, Cursor, DeltaPage, EntityId, Op, PartitionId, Root},
};

/// How a store is opened. Everything has a default but the directory.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The data directory; made if it is not there.
    pub directory: PathBuf,
}

/// Who a store is, for as long as its directory lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Made with the directory.
    pub store_id: Uuid,
    /// How often it was opened, this time included.
    pub boots: u64,
}

/// Why a local write did not happen. No state changed, but see [`StoreError::Closed`].
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    /// The edit itself refused.
    #[error("{0}")]
    Rejected(E),
    /// The store could not.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// Everything held at one moment. Reads of a snapshot never wait for writes.
#[derive(Debug)]
pub struct Snapshot {
    rows: MemoryRows,
    state: State,
}

impl Snapshot {
    /// Vectors, digests, root and clock at that moment.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// What is held of an entity, hidden or not; `None` if nothing is.
    pub fn entity(&self, id: &EntityId) -> Result<Option<Entity>, StoreError> {
        read_entity(self, id)
    }

    /// Entities in the order of their keys, hidden ones too, until `visit` breaks.
    pub fn list(
        &self,
        listing: &Listing<'_>,
        visit: &mut dyn FnMut(EntityId, Entity) -> std::ops::ControlFlow<()>,
    ) -> Result<(), StoreError> {
        list_entities(self, listing, visit)
    }

    /// One page of what `base` does not cover of `partition`.
    pub fn delta(
        &self,
        partition: PartitionId,
        base: &VersionVector,
        cursor: Option<Cursor>,
        budget: DeltaBudget,
    ) -> Result<DeltaPage, StoreError> {
        let state = self.state.partition(partition);
        read_delta(self, partition, state, base, cursor, budget)
    }
}

impl Rows for Snapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.rows.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        exclusive: bool,
        to: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        self.rows.scan(table, from, exclusive, to, visit)
    }
}

/// A store that is open. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<dyn WallClock>,
    identity: Identity,
    held: Mutex<Held>,
    root: watch::Sender<Root>,
}

struct Held {
    snapshot: Arc<Snapshot>,
    replica: Option<ReplicaId>,
    number: u64,
    subscribers: Vec<mpsc::Sender<Arc<[CommitRecord]>>>,
}

impl Store {
    /// Opens the store in `options.directory`, or makes one there.
    pub fn open(_options: StoreOptions, clock: Arc<dyn WallClock>) -> Result<Self, StoreError> {
        let snapshot = Snapshot {
            rows: MemoryRows::default(),
            state: State::default(),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                clock,
                identity: Identity {
                    store_id: Uuid::now_v7(),
                    boots: 1,
                },
                held: Mutex::new(Held {
                    snapshot: Arc::new(snapshot),
                    replica: None,
                    number: 0,
                    subscribers: Vec::new(),
                }),
                root: watch::Sender::new(Root::default()),
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
        self.held().replica
    }

    /// The latest committed snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.held().snapshot.clone()
    }

    /// Makes one local write and waits until it is durable. `edit` decides against the current state, on
    /// the writer's thread; if it yields no cells, nothing is written. Its answer comes back.
    pub async fn write<T, E, F>(&self, id: EntityId, edit: F) -> Result<T, WriteError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnOnce(Edit<'_>) -> Result<(Vec<FieldCell>, T), E> + Send + 'static,
    {
        let mut held = self.held();
        let snapshot = held.snapshot.clone();
        let replica = *held
            .replica
            .get_or_insert_with(|| ReplicaId::from_bytes(*Uuid::now_v7().as_bytes()));
        let mut workspace = Workspace::new(&*snapshot, snapshot.state.clone());
        let mut answer = None;
        let now = self.inner.clock.unix_ms();
        workspace
            .write(&id, replica, now, |edit_context| {
                let (cells, value) = edit(edit_context)?;
                answer = Some(value);
                Ok(cells)
            })
            .map_err(WriteError::Store)?
            .map_err(WriteError::Rejected)?;
        self.commit(&mut held, &snapshot, workspace);
        answer.ok_or(WriteError::Store(StoreError::Closed))
    }

    /// Hands a peer's step to the writer, in the order of the calls; waits only for room in its queue. The
    /// outcome comes when the step is durable. `announced` is the clock of the sender.
    pub async fn enqueue(
        &self,
        op: Op,
        announced: Timestamp,
    ) -> Result<oneshot::Receiver<Result<Outcome, StoreError>>, StoreError> {
        let (reply, outcome) = oneshot::channel();
        let mut held = self.held();
        let snapshot = held.snapshot.clone();
        let mut workspace = Workspace::new(&*snapshot, snapshot.state.clone());
        let result = workspace.apply(op, announced);
        self.commit(&mut held, &snapshot, workspace);
        let _gone = reply.send(result);
        Ok(outcome)
    }

    /// What group commits write locally from now on. At most `capacity` commits wait; what exceeds that is
    /// not delivered (a peer finds it by anti-entropy).
    #[must_use]
    pub fn subscribe(&self, capacity: usize) -> mpsc::Receiver<Arc<[CommitRecord]>> {
        let (sender, receiver) = mpsc::channel(capacity);
        self.held().subscribers.push(sender);
        receiver
    }

    /// The root after every commit, local or not.
    #[must_use]
    pub fn roots(&self) -> watch::Receiver<Root> {
        self.inner.root.subscribe()
    }

    /// Ends the store: takes no more writes, answers those it took, closes the files.
    pub async fn close(&self) {}

    fn held(&self) -> MutexGuard<'_, Held> {
        self.inner
            .held
            .lock()
            .expect("no holder of the lock panics")
    }

    fn commit(&self, held: &mut Held, snapshot: &Snapshot, workspace: Workspace<'_, Snapshot>) {
        if workspace.is_empty() {
            return;
        }
        held.number += 1;
        let (group, changes) = workspace.finish(held.number);
        let mut rows = snapshot.rows.clone();
        rows.apply(changes.rows);
        let root = changes.state.root();
        held.snapshot = Arc::new(Snapshot {
            rows,
            state: changes.state,
        });
        let records: Arc<[CommitRecord]> = group
            .ops
            .into_iter()
            .filter_map(|op| match op.claim {
                Claim::Advance {
                    replica,
                    after,
                    upto,
                } if Some(replica) == held.replica => Some(CommitRecord {
                    partition: op.partition,
                    replica,
                    after,
                    upto,
                    entities: op.entities,
                }),
                Claim::Advance { .. } | Claim::Nothing | Claim::Absorb(_) => None,
            })
            .collect();
        if !records.is_empty() {
            held.subscribers
                .retain(|subscriber| match subscriber.try_send(records.clone()) {
                    Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => true,
                    Err(mpsc::error::TrySendError::Closed(_)) => false,
                });
        }
        self.inner.root.send_replace(root);
    }
}
