//! What waits in the writer's queue: local writes and peers' steps, each with somebody who waits for the
//! outcome.
//!
//! A step is decided on the writer's thread and answered only once the commit of its group is durable: it may
//! have seen what the group wrote before it, and that must not be told before it is true.

use std::time::{Duration, Instant};

use grapevine_crdt::{FieldCell, ReplicaId, Timestamp};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Edit, Outcome, Snapshot, StoreError, Workspace, batch::decide, handle::WriteError};
use crate::{
    model::{Claim, EntityId, Op},
    traces::WriteSpans,
};

/// The life under which local writes are made; its replica id is minted at the first.
#[derive(Debug, Default)]
pub(super) struct Life {
    replica: Option<ReplicaId>,
    /// Whether nothing more may be written under it.
    ends: bool,
    /// When the life before this one was given up because of a peer's claim.
    given_up_at: Option<Instant>,
}

/// A peer can make us give up a life no more often than this.
const SHORTEST_LIFE: Duration = Duration::from_secs(10);

impl Life {
    /// The replica of this life, which begins now if it has not yet.
    pub(super) fn begin(&mut self) -> ReplicaId {
        if self.ends {
            self.ends = false;
            self.replica = None;
        }
        *self
            .replica
            .get_or_insert_with(|| ReplicaId::from_bytes(*Uuid::now_v7().as_bytes()))
    }

    /// Lets the next write begin another life. Until then this one is told to peers: who has nothing to write, or
    /// must not because of its clock, still has to introduce itself.
    pub(super) const fn end_at_next_write(&mut self) {
        self.ends = self.replica.is_some();
    }

    /// Ends this life because a peer claims writes of it that it did not make; not if the last was ended so
    /// a moment ago.
    fn give_up(&mut self) -> bool {
        let now = Instant::now();
        let too_soon = self
            .given_up_at
            .is_some_and(|before| now.duration_since(before) < SHORTEST_LIFE);
        if !too_soon {
            self.replica = None;
            self.ends = false;
            self.given_up_at = Some(now);
        }
        !too_soon
    }

    /// The replica of this life, if it has begun.
    pub(super) const fn replica(&self) -> Option<ReplicaId> {
        self.replica
    }
}

/// How a group ended, for one of its steps: the error that a failed commit is told with.
pub(super) type Ended<'a> = Result<(), &'a dyn Fn() -> StoreError>;

/// One member of a group.
pub(super) trait Step: Send {
    /// Decides, with the group so far.
    fn decide(&mut self, workspace: &mut Workspace<'_, Snapshot>, life: &mut Life, now: u64);

    /// Whether it is a write of this node.
    fn is_local(&self) -> bool;

    /// Answers who waits.
    fn complete(self: Box<Self>, ended: Ended<'_>);
}

/// A local write.
pub(super) struct LocalWrite<T, E, F> {
    id: EntityId,
    edit: Option<F>,
    decided: Result<T, WriteError<E>>,
    reply: oneshot::Sender<Result<T, WriteError<E>>>,
    spans: WriteSpans,
}

impl<T, E, F> LocalWrite<T, E, F> {
    pub(super) const fn new(
        id: EntityId,
        edit: F,
        reply: oneshot::Sender<Result<T, WriteError<E>>>,
        spans: WriteSpans,
    ) -> Self {
        Self {
            id,
            edit: Some(edit),
            decided: Err(WriteError::Store(StoreError::Closed)),
            reply,
            spans,
        }
    }
}

impl<T, E, F> Step for LocalWrite<T, E, F>
where
    T: Send,
    E: Send,
    F: FnOnce(Edit<'_>) -> Result<(Vec<FieldCell>, T), E> + Send,
{
    fn decide(&mut self, workspace: &mut Workspace<'_, Snapshot>, life: &mut Life, now: u64) {
        let Some(edit) = self.edit.take() else {
            return;
        };
        self.decided = decide(workspace, life, now, &self.id, edit, &self.spans);
    }

    fn is_local(&self) -> bool {
        true
    }

    fn complete(self: Box<Self>, ended: Ended<'_>) {
        let answer = match ended {
            Ok(()) => self.decided,
            Err(error) => Err(WriteError::Store(error())),
        };
        let _gone = self.reply.send(answer);
    }
}

/// The end of the current life: somebody else has written under it.
pub(super) struct GiveUpLife;

impl Step for GiveUpLife {
    fn decide(&mut self, _workspace: &mut Workspace<'_, Snapshot>, life: &mut Life, _now: u64) {
        let _too_soon = life.give_up();
    }

    fn is_local(&self) -> bool {
        false
    }

    fn complete(self: Box<Self>, _ended: Ended<'_>) {}
}

/// A step of a peer.
pub(super) struct PeerStep {
    op: Option<Op>,
    announced: Timestamp,
    decided: Result<Outcome, StoreError>,
    reply: oneshot::Sender<Result<Outcome, StoreError>>,
}

impl PeerStep {
    pub(super) const fn new(
        op: Op,
        announced: Timestamp,
        reply: oneshot::Sender<Result<Outcome, StoreError>>,
    ) -> Self {
        Self {
            op: Some(op),
            announced,
            decided: Err(StoreError::Closed),
            reply,
        }
    }
}

/// Whether `op` claims writes of the current life that it did not make.
fn overclaims(op: &Op, workspace: &Workspace<'_, Snapshot>, life: &Life) -> bool {
    let Some(replica) = life.replica() else {
        return false;
    };
    let partition = workspace.state().partition(op.partition);
    let ours = partition.vector.get(replica);
    match &op.claim {
        Claim::Nothing | Claim::Repair | Claim::Recount => false,
        Claim::Advance {
            replica: claimed,
            upto,
            ..
        } => *claimed == replica && *upto > ours,
        Claim::Absorb { vector, .. } => vector.get(replica) > ours,
        Claim::Collect { stable, .. } => stable.get(replica) > ours,
        Claim::Rejoin(rejoin) => rejoin.vector.get(replica) > ours,
    }
}

impl Step for PeerStep {
    fn decide(&mut self, workspace: &mut Workspace<'_, Snapshot>, life: &mut Life, _now: u64) {
        let Some(op) = self.op.take() else {
            return;
        };
        if overclaims(&op, workspace, life) {
            tracing::error!(
                partition = op.partition.get(),
                "a peer claims writes of this life that it did not make"
            );
            if !life.give_up() {
                self.decided = Err(StoreError::Overclaim);
                return;
            }
        }
        self.decided = workspace.apply_as(op, self.announced, || life.begin());
    }

    fn is_local(&self) -> bool {
        false
    }

    fn complete(self: Box<Self>, ended: Ended<'_>) {
        let answer = match ended {
            Ok(()) => self.decided,
            Err(error) => Err(error()),
        };
        let _gone = self.reply.send(answer);
    }
}
