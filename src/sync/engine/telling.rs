//! How vectors are told to a peer, and what is meant by its own.
//!
//! Nodes hold the same of the lives that are over. So a vector is told in outline ([`Outline`]), in three attempts:
//!
//! 1. what is likely to differ is named: what is not settled, the lives of members and of peers, what the peer last told
//!    otherwise; the rest is one hash;
//! 2. the peer answered [`Message::Unknown`], with sums over ranges of its own vector: the ranges that differ are told in
//!    full;
//! 3. it did so again, for its vector went on meanwhile: the whole.
//!
//! An answer is told by how it differs from the vector that was asked with: the asker keeps that. What else it may hold
//! already ([`Terms`]) is tried first, and if it does not understand the answer, it asks for the page again, in full.
//!
//! Invariant: what is not understood has no effect. So all that a false hash gains is another question, and there are
//! at most [`MAX_ATTEMPTS`] for a page.

use grapevine_crdt::{ReplicaId, Timestamp, VersionVector};

use super::{
    PullRequest, StateRequest, View,
    core::{Engine, Step},
    report::Report,
    validate::{self, Violation},
};
use crate::{
    model::{
        DeltaPage, Floor, HashedVector, Outline, PartitionId, PartitionState, StatePage, Table,
    },
    sync::{Message, Terms, ToldDelta, ToldFloor, ToldState},
};

/// How often a vector is told for one page: the last time it is told whole.
pub const MAX_ATTEMPTS: u8 = 3;

/// The most entries of one kind that are named for being likely to differ.
const MAX_NAMED: usize = 256;

/// How an answer's vectors are to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// The vector that the asker holds.
    pub(super) known: HashedVector,
    /// What else it says of itself.
    pub(super) terms: Terms,
    /// Whose entries are likely to differ from what it holds otherwise.
    pub(super) likely: Vec<ReplicaId>,
    /// Vectors of at most so many entries are told whole.
    pub(super) max_whole: usize,
}

impl Telling {
    fn vector(&self, ours: &HashedVector) -> Outline {
        if ours.vector().len() <= self.max_whole {
            return Outline::whole(ours.vector());
        }
        let exact = Outline::against(ours, &self.known);
        if !self.terms.seen || self.terms.whole || exact.named() <= self.likely.len() {
            return exact;
        }
        let recent = ours.vector().recent();
        Outline::naming(ours, recent.chain(self.likely.iter().copied()))
    }

    fn floor(&self, state: &PartitionState) -> ToldFloor {
        let ours = state.hashed_floor();
        let short = ours.vector().len() <= self.max_whole;
        let vector = if self.terms.floor == ours.hash() && !short && !self.terms.whole {
            Outline::naming(&ours, [])
        } else if short || self.terms.whole || self.terms.floor == 0 {
            Outline::whole(ours.vector())
        } else {
            Outline::naming(&ours, ours.vector().recent())
        };
        ToldFloor {
            vector,
            rank: state.floor.rank,
        }
    }
}

impl PullRequest {
    /// The page as it is sent; `state` is that of the snapshot it was read from.
    #[must_use]
    pub fn answer(&self, clock: Timestamp, state: &PartitionState, page: DeltaPage) -> Message {
        Message::Delta {
            pull: self.pull,
            page: self.page,
            partition: self.partition,
            clock,
            unclaimed: state.unclaimed > 0,
            delta: ToldDelta {
                vector: self.telling.vector(&state.hashed()),
                stamp: page.stamp,
                next: page.next,
                floor: page.floor.map(|_| self.telling.floor(state)),
                entities: page.entities,
            },
        }
    }

    /// Says that no page can be sent.
    pub(super) fn behind(&self, state: &PartitionState) -> Message {
        Message::Behind {
            pull: self.pull,
            page: self.page,
            partition: self.partition,
            vector: self.telling.vector(&state.hashed()),
            floor: self.telling.floor(state),
        }
    }
}

impl StateRequest {
    /// Of what it covers the cells need not be sent.
    #[must_use]
    pub const fn vector(&self) -> &VersionVector {
        self.telling.known.vector()
    }

    /// The page as it is sent; `state` is that of the snapshot it was read from.
    #[must_use]
    pub fn answer(&self, clock: Timestamp, state: &PartitionState, page: StatePage) -> Message {
        Message::State {
            pull: self.pull,
            page: self.page,
            partition: self.partition,
            clock,
            state: ToldState {
                vector: self.telling.vector(&state.hashed()),
                floor: self.telling.floor(state),
                next: page.next,
                entities: page.entities,
            },
        }
    }
}

/// How an asker has tried to make itself understood for the page it waits for.
#[derive(Clone, Debug, Default)]
pub(super) struct Asking {
    /// Whether the first page is asked for with cells held that our vector does not cover.
    pub(super) open: bool,
    /// The vector it asked with.
    sent: HashedVector,
    /// How often the peer did not understand it.
    attempts: u8,
    /// What the peer said that it holds.
    table: Option<Table>,
    /// Whether an answer was not understood.
    whole: bool,
}

impl Asking {
    /// The page came.
    pub(super) fn answered(&mut self) {
        *self = Self {
            sent: std::mem::take(&mut self.sent),
            ..Self::default()
        };
    }

    /// The peer did not understand the vector.
    fn misunderstood(&mut self, partition: PartitionId, table: Table) -> Result<(), Violation> {
        self.attempts += 1;
        self.table = Some(table);
        if self.attempts >= MAX_ATTEMPTS {
            return Err(Violation::Misunderstood(partition));
        }
        Ok(())
    }

    /// What the peer's vector is: it differs so from what we asked with, or from what it told before.
    pub(super) fn vector(&self, told: &Outline, before: &HashedVector) -> Option<HashedVector> {
        told.resolve(&self.sent).or_else(|| told.resolve(before))
    }

    /// The answer was not understood: it is asked for in full. That everybody understands.
    pub(super) const fn ask_whole(&mut self, partition: PartitionId) -> Result<(), Violation> {
        if self.whole {
            return Err(Violation::Misunderstood(partition));
        }
        self.whole = true;
        Ok(())
    }

    const fn terms(&self, ours: &PartitionState, seen: bool) -> Terms {
        Terms {
            floor: ours.floor_hash,
            seen,
            whole: self.whole,
        }
    }
}

/// What a peer's floor is; `None` if it is not understood.
pub(super) fn floor(view: &dyn View, partition: PartitionId, told: &ToldFloor) -> Option<Floor> {
    let ours = view.partition(partition).hashed_floor();
    let vector = told.vector.resolve(&ours)?;
    Some(Floor {
        vector: vector.into_vector(),
        rank: told.rank,
    })
}

impl Engine {
    /// Whose entries are likely to differ between us and a peer.
    pub(super) fn likely(
        &self,
        view: &dyn View,
        peer: ReplicaId,
        partition: PartitionId,
    ) -> Vec<ReplicaId> {
        let ours = view.partition(partition);
        let mut likely: Vec<ReplicaId> = ours.vector.recent().collect();
        likely.extend(view.replica());
        likely.extend(self.peers.all_up().into_iter().take(MAX_NAMED));
        likely.extend(self.collecting.members().take(MAX_NAMED));
        if let Some(report) = self.peers.report(peer, partition).vector() {
            let above = ours.vector.raised_above(report);
            let differing = above.chain(report.raised_above(&ours.vector));
            let differing: Vec<_> = differing.take(MAX_NAMED + 1).collect();
            if differing.len() <= MAX_NAMED {
                likely.extend(differing.into_iter().map(|(replica, _)| replica));
            }
        }
        likely.sort_unstable();
        likely.dedup();
        likely
    }

    /// Our vector for a peer, and on which terms it is to answer; `seen`: whether we hold a vector of an earlier page.
    pub(super) fn ask_with(
        &self,
        view: &dyn View,
        (peer, partition): (ReplicaId, PartitionId),
        asking: &mut Asking,
        seen: bool,
    ) -> (Outline, Terms) {
        let ours = view.partition(partition);
        asking.sent = ours.hashed();
        let likely = self.likely(view, peer, partition);
        let vector = match &asking.table {
            Some(table) if asking.attempts + 1 < MAX_ATTEMPTS => {
                Outline::beside(&asking.sent, table, likely)
            }
            Some(_) => Outline::whole(&ours.vector),
            None => self.guess(&asking.sent, likely),
        };
        (vector, asking.terms(&ours, seen))
    }

    /// What a pull need not be sent, told with the vector of the same message.
    pub(super) fn base(
        &self,
        view: &dyn View,
        (peer, partition): (ReplicaId, PartitionId),
        asking: &Asking,
        base: &HashedVector,
    ) -> Outline {
        let exact = Outline::against(base, &asking.sent);
        if exact.named() <= MAX_NAMED || asking.attempts > 0 {
            return exact;
        }
        self.guess(base, self.likely(view, peer, partition))
    }

    fn guess(&self, vector: &HashedVector, likely: Vec<ReplicaId>) -> Outline {
        if vector.vector().len() <= self.config.max_told_whole.max(likely.len()) {
            return Outline::whole(vector.vector());
        }
        Outline::naming(vector, likely)
    }

    /// What a peer means; `None` if nothing that we know fits.
    pub(super) fn understand(
        &self,
        view: &dyn View,
        (peer, partition): (ReplicaId, PartitionId),
        told: &Outline,
    ) -> Result<Option<HashedVector>, Violation> {
        validate::outline(partition, told)?;
        let ours = || told.resolve(&view.partition(partition).hashed());
        let before = || {
            let report = self.peers.report(peer, partition);
            told.resolve(&Report::hashed(report)?)
        };
        Ok(ours().or_else(before))
    }

    /// How the vectors of an answer are to be told.
    pub(super) fn telling(
        &self,
        view: &dyn View,
        (peer, partition): (ReplicaId, PartitionId),
        known: HashedVector,
        terms: Terms,
    ) -> Telling {
        Telling {
            known,
            terms,
            likely: self.likely(view, peer, partition),
            max_whole: self.config.max_told_whole,
        }
    }

    /// Says that a peer's vector was not understood, and what is held here.
    pub(super) fn tell_unknown(
        &self,
        step: &mut Step<'_>,
        peer: ReplicaId,
        (pull, page, partition): (u64, u32, PartitionId),
    ) {
        let ours = step.view.partition(partition);
        let message = Message::Unknown {
            pull,
            page,
            partition,
            unclaimed: ours.unclaimed > 0,
            table: Table::of(&ours.vector, self.likely(step.view, peer, partition)),
        };
        step.send(peer, message);
    }

    /// A peer did not understand which vector we hold.
    pub(super) fn unknown(
        &mut self,
        step: &mut Step<'_>,
        sender: ReplicaId,
        name: (u64, u32, PartitionId),
        unclaimed: bool,
        table: Table,
    ) -> Result<(), Violation> {
        let partition = name.2;
        if table.check().is_err() {
            return Err(Violation::Outline(partition));
        }
        if let Some(pull) = self.pulls.awaited(sender, name) {
            if table.is_empty() && !unclaimed {
                // It holds nothing that we could want, and will ask us.
                self.abandon(name.0);
                self.told_vector(step, sender, partition, HashedVector::default(), false);
                return Ok(());
            }
            pull.asking.misunderstood(partition, table)?;
            self.ask(step, name.0);
        } else if let Some(asking) = self.awaited_state(sender, name) {
            asking.misunderstood(partition, table)?;
            self.ask_for_state(step);
        }
        Ok(())
    }
}
