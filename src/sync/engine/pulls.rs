//! The pulls under way, and which comes next.
//!
//! Invariants: at most one pull of a partition from a peer; at most `max_pulls_per_peer` of a peer and
//! `max_pulls` in all; what only a summary suggests is not pulled from two peers at once, so that a node
//! that lacks much is not sent it by everybody.
//!
//! A pull whose connection was cut goes on where it was if the same life of its peer comes back: its pages are compared
//! by their stamps as if an answer had been late. Nothing else may have been begun in its partition meanwhile, for
//! what that brought is not what the pull was told of.

use std::collections::BTreeMap;

use grapevine_crdt::{ReplicaId, Timestamp};

use super::{
    Now, View,
    core::{Engine, Step},
    floor::may_absorb,
    peer::{Peer, Want},
    pull::{Pull, Turn},
    push, telling,
    tickets::Purpose,
    validate::{self, Violation},
};
use crate::{
    model::{DeltaPage, PartitionId},
    sync::{Message, ToldDelta},
};

/// All pulls under way, by their ids.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    next: u64,
    under_way: BTreeMap<u64, Pull>,
    /// Those whose connection was cut, at most one of a partition.
    torn: BTreeMap<PartitionId, Pull>,
    /// The peer that last began one; the next in order goes first.
    turn: Option<ReplicaId>,
}

impl Pulls {
    /// The connection of this peer was cut.
    pub(super) fn tear_off(&mut self, peer: ReplicaId) {
        for pull in self.under_way.values().filter(|pull| pull.peer == peer) {
            let alone = self
                .under_way
                .values()
                .all(|other| other.id == pull.id || other.partition != pull.partition);
            if alone && pull.can_go_on() {
                self.torn.insert(pull.partition, pull.clone());
            }
        }
        self.under_way.retain(|_, pull| pull.peer != peer);
    }

    /// Nothing that this peer sent is gone on with.
    pub(super) fn forget_torn_of(&mut self, peer: ReplicaId) {
        self.torn.retain(|_, pull| pull.peer != peer);
    }

    /// What was torn off in this partition is begun anew.
    pub(super) fn forget_torn(&mut self, partition: PartitionId) {
        self.torn.remove(&partition);
    }

    /// A name for a transfer of any kind.
    pub(super) const fn name(&mut self) -> u64 {
        let name = self.next;
        self.next += 1;
        name
    }

    /// The pull that waits for this page.
    pub(super) fn awaited(
        &mut self,
        peer: ReplicaId,
        (id, page, partition): (u64, u32, PartitionId),
    ) -> Option<&mut Pull> {
        let pull = self.under_way.get_mut(&id);
        pull.filter(|pull| pull.awaits(peer, partition, page))
    }

    pub(super) fn of_partition(&self, partition: PartitionId) -> bool {
        self.under_way
            .values()
            .any(|pull| pull.partition == partition)
    }
}

impl Engine {
    /// Begins what is wanted as far as there is room, the peers taking turns.
    pub(super) fn fill(&mut self, step: &mut Step<'_>) {
        self.begin_rejoin(step);
        let mut order = self.peers.all_up();
        let served = self.pulls.turn;
        let first = order.partition_point(|peer| Some(*peer) <= served);
        order.rotate_left(first);
        loop {
            let mut began = false;
            for peer in &order {
                if self.pulls.under_way.len() >= self.config.max_pulls {
                    return;
                }
                if self.begin_next(step, *peer) {
                    self.pulls.turn = Some(*peer);
                    began = true;
                }
            }
            if !began {
                return;
            }
        }
    }

    /// Begins the next pull from this peer that can still gain something.
    fn begin_next(&mut self, step: &mut Step<'_>, replica: ReplicaId) -> bool {
        let limit = self.config.max_pulls_per_peer;
        loop {
            let Some(peer) = self.peers.up(replica) else {
                return false;
            };
            if peer.pulls.len() >= limit {
                return false;
            }
            let roster = PartitionId::of_roster();
            if peer.pulls.contains_key(&roster) {
                // It tells who the peer is.
                return false;
            }
            let next = peer.wanted.remove_entry(&roster);
            let Some((partition, want)) = next.or_else(|| peer.wanted.pop_first()) else {
                return false;
            };
            let holds_nothing = self.holds_nothing(step.view, partition);
            if !self.may_pull(replica, partition, holds_nothing) {
                continue;
            }
            let Some(peer) = self.peers.up(replica) else {
                return false;
            };
            let rejoining = self.rejoining.as_ref();
            let rejoins = peer.rejoins.contains_key(&partition)
                || rejoining.is_some_and(|rejoining| rejoining.partition == partition);
            if rejoins {
                peer.recheck = true;
                continue;
            }
            let elsewhere = self.pulls.of_partition(partition);
            let ours = step.view.partition(partition);
            // Two pulls of what is not held at all could each bring what the other's peer has collected.
            let alone = !elsewhere || !ours.vector.is_empty();
            if !gains(step.view, peer, partition, want, elsewhere) {
                continue;
            }
            if !alone {
                peer.recheck = true;
                continue;
            }
            let torn = self.pulls.torn.remove(&partition);
            if let Some(mut torn) = torn.filter(|torn| torn.peer == replica && !elsewhere) {
                let id = torn.id;
                torn.resume(step.now);
                peer.pulls.insert(partition, id);
                self.pulls.under_way.insert(id, torn);
                self.go_on(step, id);
                return true;
            }
            let fresh = self.holds_nothing(step.view, partition);
            let id = self.pulls.name();
            let mut pull = Pull::new(id, replica, partition, fresh, &ours, step.now);
            let Some(peer) = self.peers.up(replica) else {
                return false;
            };
            // A pull that answers such a pull does not say so again, or two nodes with cells that nobody
            // may claim would pull from each other without end.
            pull.asking.open = ours.unclaimed > 0 && !elsewhere && want != Want::Open;
            peer.pulls.insert(partition, id);
            self.pulls.under_way.insert(id, pull);
            self.ask(step, id);
            return true;
        }
    }

    /// A page came.
    pub(super) fn page(
        &mut self,
        step: &mut Step<'_>,
        sender: ReplicaId,
        (id, number, partition): (u64, u32, PartitionId),
        announced: Timestamp,
        unclaimed: bool,
        told: ToldDelta,
    ) -> Result<(), Violation> {
        let Some(pull) = self.pulls.awaited(sender, (id, number, partition)) else {
            return Ok(());
        };
        let holds_nothing = pull.fresh && step.view.partition(partition).vector.is_empty();
        if !self.may_pull(sender, partition, holds_nothing) {
            self.abandon(id);
            return Ok(());
        }
        let Some(pull) = self.pulls.under_way.get_mut(&id) else {
            return Ok(());
        };
        validate::outline(partition, &told.vector)?;
        if let Some(floor) = &told.floor {
            validate::outline(partition, &floor.vector)?;
        }
        let vector = pull.asking.vector(&told.vector, pull.newest());
        let floor = match &told.floor {
            Some(floor) => telling::floor(step.view, partition, floor).map(Some),
            None => Some(None),
        };
        let (Some(vector), Some(floor)) = (vector, floor) else {
            pull.asking.ask_whole(partition)?;
            self.ask(step, id);
            return Ok(());
        };
        let page = DeltaPage {
            entities: told.entities,
            vector: vector.vector().clone(),
            stamp: told.stamp,
            next: told.next,
            floor,
        };
        validate::page(pull, announced, &page, step.view, step.now)?;
        // Who has not taken in what was collected here would bring it back.
        let lacks = Self::lacks_our_floor(step.view, partition, &page.vector);
        if lacks && self.config.rules.checks_floor_of_pulls {
            self.told_vector(step, sender, partition, vector, unclaimed);
            self.give_up(id);
            return Ok(());
        }
        let op = pull.take(page, vector.clone(), announced, step.now.monotonic_ms);
        self.told_vector(step, sender, partition, vector, unclaimed);
        if let Some(op) = op {
            self.apply(step, Purpose::Page(id, partition), op, announced);
        }
        self.go_on(step, id);
        Ok(())
    }

    /// A page of a pull is durable.
    pub(super) fn page_applied(&mut self, step: &mut Step<'_>, id: u64) {
        if let Some(pull) = self.pulls.under_way.get_mut(&id) {
            pull.applied(step.now.monotonic_ms);
            self.go_on(step, id);
        } else if let Some(pull) = self.pulls.torn.values_mut().find(|pull| pull.id == id) {
            pull.applied(step.now.monotonic_ms);
        }
    }

    fn go_on(&mut self, step: &mut Step<'_>, id: u64) {
        let Some(pull) = self.pulls.under_way.get_mut(&id) else {
            return;
        };
        let partition = pull.partition;
        let checks = self.config.rules.checks_floor_of_pulls;
        if checks
            && let Some(floor) = pull.floor()
            && !may_absorb(step.view, pull, floor)
        {
            self.give_up(id);
            return;
        }
        match pull.turn(&step.view.partition(partition).vector) {
            Turn::Wait => {}
            Turn::Ask => self.ask(step, id),
            Turn::Claim(op, announced) => {
                self.apply(step, Purpose::Claim(id, partition), op, announced);
            }
            Turn::Complete => self.completed(step, id),
            Turn::GiveUp => self.abandon(id),
        }
    }

    /// Asks for the next page of a pull, or for the one it waits for once more.
    pub(super) fn ask(&mut self, step: &mut Step<'_>, id: u64) {
        let Some(pull) = self.pulls.under_way.get_mut(&id) else {
            return;
        };
        let page = pull.ask();
        let whom = (pull.peer, pull.partition);
        let mut asking = std::mem::take(&mut pull.asking);
        let (base, cursor, fresh) = (pull.base().clone(), pull.cursor(), pull.fresh);
        let seen = !pull.newest().vector().is_empty();
        let (vector, terms) = self.ask_with(step.view, whom, &mut asking, seen);
        let base = self.base(step.view, whom, &asking, &base);
        let ours = step.view.partition(whom.1);
        let message = Message::Pull {
            pull: id,
            page,
            partition: whom.1,
            vector,
            open: asking.open,
            unclaimed: ours.unclaimed > 0,
            fresh: fresh && ours.vector.is_empty(),
            base,
            cursor,
            terms,
        };
        if let Some(pull) = self.pulls.under_way.get_mut(&id) {
            pull.asking = asking;
        }
        step.send(whom.0, message);
    }

    /// Everything that a pull was for is claimed.
    pub(super) fn completed(&mut self, step: &mut Step<'_>, id: u64) {
        let Some(pull) = self.pulls.under_way.remove(&id) else {
            return;
        };
        let Some(peer) = self.peers.up(pull.peer) else {
            return;
        };
        peer.pulls.remove(&pull.partition);
        peer.recheck = true;
        let parked = peer.parked.take(pull.partition);
        push::unpark(self, step, pull.peer, parked);
        self.recheck(step);
    }

    /// Gives a pull up of which no more can come; the next probe, which is soon, finds another way.
    fn give_up(&mut self, id: u64) {
        let pull = self.pulls.under_way.get(&id);
        let peer = pull.map(|pull| pull.peer);
        self.abandon(id);
        if let Some(peer) = peer.and_then(|peer| self.peers.up(peer)) {
            peer.recheck = true;
        }
    }

    /// Gives a pull up. What was parked for its end goes with it; the next probe finds what is missing.
    pub(super) fn abandon(&mut self, id: u64) {
        self.pulls.torn.retain(|_, pull| pull.id != id);
        let Some(pull) = self.pulls.under_way.remove(&id) else {
            return;
        };
        if let Some(peer) = self.peers.up(pull.peer) {
            peer.pulls.remove(&pull.partition);
            peer.parked.take(pull.partition);
        }
    }

    pub(super) fn abandon_stalled(&mut self, now: Now) {
        let limit_ms = self.config.pull_abandoned_after_ms;
        let stalled: Vec<u64> = self
            .pulls
            .under_way
            .values()
            .filter(|pull| pull.is_stalled(now.monotonic_ms, limit_ms))
            .map(|pull| pull.id)
            .collect();
        for id in stalled {
            self.abandon(id);
        }
    }
}

/// Whether a pull could still bring something, now that its turn has come.
fn gains(
    view: &dyn View,
    peer: &mut Peer,
    partition: PartitionId,
    want: Want,
    elsewhere: bool,
) -> bool {
    let differs = match want {
        Want::Gap => return true,
        Want::Told => {
            let ours = view.partition(partition);
            let told = peer.report(partition).vector();
            return told.is_none_or(|told| !ours.vector.includes(told));
        }
        Want::Differs(theirs) => {
            let ours = view.summary(partition);
            let same_vector = ours.vector_hash == theirs.vector_hash;
            ours != theirs && (!same_vector || ours.open || theirs.open)
        }
        Want::Open => true,
    };
    // Somebody else is sending it already; what that leaves is found by another probe.
    peer.recheck |= differs && elsewhere;
    differs && !elsewhere
}
