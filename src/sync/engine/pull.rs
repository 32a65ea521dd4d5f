//! One pull: the pages of what a peer holds of a partition and we do not, until all of it may be claimed.
//!
//! Every page is read from a fresh snapshot of the peer, so the pages of one pass may show different states.
//! A pass whose pages all carry one stamp is *clean*: it shows one state. Another pass follows one that is
//! not clean, against a base that includes the vector with which it began. Only a clean pass is claimed, and
//! only once every page before it is durable. `docs/protocol.md` has the proof.
//!
//! Invariant: until then its cells are applied with [`Claim::Nothing`].

use grapevine_crdt::{ReplicaId, Timestamp, VersionVector};

use super::{Now, telling::Asking};
use crate::model::{
    Claim, Cursor, DeltaPage, EntityCells, Floor, HashedVector, Op, PartitionId, PartitionState,
};

/// The most pages of one pull that are on their way through the writer; the next is asked for after one of
/// them is durable.
pub const MAX_PAGES_APPLYING: usize = 2;

/// The most passes of a pull. A pull that needs more is given up; the next probe begins anew. Each pass
/// brings only what is newer than the one before and what the peer itself may not claim yet.
pub const MAX_PASSES: u32 = 8;

/// What is to be done next about a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing until more happens.
    Wait,
    /// Ask for the next page.
    Ask,
    /// Hand this last step to the writer; its outcome is the pull's.
    Claim(Op, Timestamp),
    /// All of it was here before.
    Complete,
    /// Too many passes.
    GiveUp,
}

/// The last page of a clean pass.
#[derive(Clone, Debug)]
struct Final {
    entities: Vec<EntityCells>,
    vector: VersionVector,
    floor: Floor,
    announced: Timestamp,
}

/// A pull under way.
#[derive(Clone, Debug)]
pub(super) struct Pull {
    pub(super) id: u64,
    pub(super) peer: ReplicaId,
    pub(super) partition: PartitionId,
    /// Whether nothing was held of the partition when it began.
    pub(super) fresh: bool,
    /// When it last came forward.
    progress_ms: u64,
    /// What need not be sent in this pass.
    base: HashedVector,
    /// Vector and stamp of the first page of this pass.
    first: Option<(HashedVector, u64)>,
    /// The vector of the last page of any pass.
    newest: HashedVector,
    /// How the page it waits for was asked for.
    pub(super) asking: Asking,
    cursor: Option<Cursor>,
    /// How many pages were asked for.
    asked: u32,
    /// Whether the last of them has not come.
    awaiting: bool,
    passes: u32,
    applying: usize,
    last: Option<Final>,
    claiming: bool,
}

impl Pull {
    pub(super) fn new(
        id: u64,
        peer: ReplicaId,
        partition: PartitionId,
        fresh: bool,
        ours: &PartitionState,
        now: Now,
    ) -> Self {
        Self {
            fresh,
            id,
            peer,
            partition,
            progress_ms: now.monotonic_ms,
            base: ours.hashed(),
            first: None,
            newest: HashedVector::default(),
            asking: Asking::default(),
            cursor: None,
            asked: 0,
            awaiting: false,
            passes: 1,
            applying: 0,
            last: None,
            claiming: false,
        }
    }

    /// Whether `page` is what it waits for.
    pub(super) fn awaits(&self, peer: ReplicaId, partition: PartitionId, page: u32) -> bool {
        self.awaiting
            && self.peer == peer
            && self.partition == partition
            && self.asked.checked_sub(1) == Some(page)
    }

    /// Whether its peer keeps it waiting. What waits for our own writer is not stalled: the writer answers.
    pub(super) const fn is_stalled(&self, now_ms: u64, limit_ms: u64) -> bool {
        self.awaiting && now_ms >= self.progress_ms.saturating_add(limit_ms)
    }

    pub(super) const fn base(&self) -> &HashedVector {
        &self.base
    }

    pub(super) const fn cursor(&self) -> Option<Cursor> {
        self.cursor
    }

    pub(super) const fn newest(&self) -> &HashedVector {
        &self.newest
    }

    /// What its peer collected, once all that it is for is here and waits to be claimed.
    pub(super) const fn floor(&self) -> Option<&Floor> {
        match &self.last {
            Some(last) => Some(&last.floor),
            None => None,
        }
    }

    /// Whether it has brought something and may go on once its peer is there again: nothing of it is lost but a
    /// question or its answer.
    pub(super) const fn can_go_on(&self) -> bool {
        !self.claiming && (self.cursor.is_some() || self.passes > 1 || self.last.is_some())
    }

    /// Its peer is there again, in the same life. What was asked last is asked again.
    pub(super) const fn resume(&mut self, now: Now) {
        self.progress_ms = now.monotonic_ms;
        if self.awaiting {
            self.awaiting = false;
            self.asked = self.asked.saturating_sub(1);
        }
    }

    /// Takes in the page it waits for, whose vector has this hash; yields cells to be applied
    /// now, under [`Claim::Nothing`].
    pub(super) fn take(
        &mut self,
        page: DeltaPage,
        vector: HashedVector,
        announced: Timestamp,
        now_ms: u64,
    ) -> Option<Op> {
        self.awaiting = false;
        self.asking.answered();
        self.progress_ms = now_ms;
        self.newest = vector;
        let (vector, stamp) = self
            .first
            .get_or_insert_with(|| (self.newest.clone(), page.stamp));
        let clean = *stamp == page.stamp && *vector == self.newest;
        self.cursor = page.next;
        if page.next.is_none() && clean {
            self.last = Some(Final {
                entities: page.entities,
                vector: page.vector,
                floor: page.floor.unwrap_or_default(),
                announced,
            });
            return None;
        }
        if page.next.is_none() {
            self.base.join(vector);
            self.first = None;
            self.passes += 1;
        }
        if page.entities.is_empty() {
            return None;
        }
        self.applying += 1;
        Some(Op {
            partition: self.partition,
            entities: page.entities,
            claim: Claim::Nothing,
        })
    }

    /// A page is durable.
    pub(super) const fn applied(&mut self, now_ms: u64) {
        self.applying = self.applying.saturating_sub(1);
        self.progress_ms = now_ms;
    }

    /// What to do now; `ours` is our vector.
    pub(super) fn turn(&mut self, ours: &VersionVector) -> Turn {
        if self.awaiting || self.claiming {
            return Turn::Wait;
        }
        if self.passes > MAX_PASSES {
            return Turn::GiveUp;
        }
        if self.last.is_none() {
            return if self.applying < MAX_PAGES_APPLYING {
                Turn::Ask
            } else {
                Turn::Wait
            };
        }
        if self.applying > 0 {
            return Turn::Wait;
        }
        self.last.take().map_or(Turn::Wait, |last| {
            if last.entities.is_empty() && ours.includes(&last.vector) {
                return Turn::Complete;
            }
            self.claiming = true;
            let op = Op {
                partition: self.partition,
                entities: last.entities,
                claim: Claim::Absorb {
                    vector: last.vector,
                    floor: last.floor,
                },
            };
            Turn::Claim(op, last.announced)
        })
    }

    /// Asks for the next page, or for the one it waits for once more; yields its number.
    pub(super) const fn ask(&mut self) -> u32 {
        let page = self.asked;
        self.asked = page.saturating_add(1);
        self.awaiting = true;
        page
    }
}
