//! Who was expelled, and therefore takes part anew, whatever it meets first.
//!
//! While a member was away the others may have stopped waiting for it and collected what it never took in. It may meet
//! one of them that has not collected yet. An ordinary exchange of deltas would then bring back there what is gone
//! elsewhere. So nobody exchanges deltas or pushes of anything but the roster with who was expelled. It takes in every
//! partition whole ([`super::rejoin`]) from a member in good standing, as if that one had collected all that it hides;
//! when all partitions are done it says so ([`Command::Returned`]), and its name is cleared in the roster.
//!
//! Stores are told apart here, and not lives: a member that was expelled comes back in another life.
//!
//! Nothing but the roster remembers who was expelled, so a crash on the way back loses no more than the way.
//!
//! *Why it is enough.* Whoever collects without the one that was expelled waits until every member has told what it
//! holds after it knew of the expulsion ([`super::collection`]). From then on none of them takes in a delta of the
//! one that was expelled, and what each covered at that moment includes all that is collected so. Whatever is
//! collected after that, the one that came back is waited for, because it takes partitions in only from who knows
//! that it is a member again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use grapevine_crdt::ReplicaId;
use uuid::Uuid;

use super::{
    Command, View,
    core::{Engine, Step},
    peer::Want,
};
use crate::model::{Floor, PARTITIONS, PartitionId, PartitionSummary};

/// That a store was expelled, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expelling {
    /// The store that expelled it.
    pub by: Uuid,
    /// Tells this time from others. Who comes back takes part anew by what is known then: if it was expelled once more
    /// by somebody who did not know of its return, it comes back once more.
    pub mark: u64,
}

/// The stores that were expelled and have not come back yet, each with who expelled it.
pub type Expelled = BTreeMap<Uuid, BTreeSet<Expelling>>;

/// How a peer stands to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Deltas and pushes are exchanged.
    Even,
    /// We take part anew, by what it holds.
    WeReturn,
    /// It takes part anew, by what we hold.
    ItReturns,
    /// Both take part anew, by what others hold.
    Apart,
}

/// What is known of who was expelled, and how far our own way back is.
#[derive(Debug, Default)]
pub(super) struct Standings {
    expelled: Arc<Expelled>,
    /// Whether the roster names our present life.
    entered: bool,
    /// The partitions taken in whole since we know that we were expelled.
    done: BTreeSet<PartitionId>,
}

impl Standings {
    /// Whether somebody in good standing expelled it: others went on without it. Else only others that were expelled
    /// themselves did.
    fn is_outside(&self, by: &BTreeSet<Expelling>) -> bool {
        by.iter()
            .any(|expelling| !self.expelled.contains_key(&expelling.by))
    }

    fn is_expelled(&self, store: Uuid) -> bool {
        self.expelled.contains_key(&store)
    }

    /// Whether it was expelled, and by nobody in good standing.
    fn is_inside(&self, store: Uuid) -> bool {
        let by = self.expelled.get(&store);
        by.is_some_and(|by| !self.is_outside(by))
    }

    /// Whether two halves expelled each other, one with us and one with the peer.
    fn are_halves(&self, us: Uuid, peer: Uuid) -> bool {
        let outside = |store| {
            self.expelled
                .get(&store)
                .is_none_or(|by| self.is_outside(by))
        };
        !outside(us) && !outside(peer)
    }

    /// Whether nobody is expelled of whom it is not known.
    pub(super) fn knows_all(&self, expelled: &Expelled) -> bool {
        expelled.iter().all(|(store, by)| {
            let known = self.expelled.get(store);
            known.is_some_and(|known| known.is_superset(by))
        })
    }

    /// How a peer stands to us; `first`: whether we go first where nobody is in good standing.
    fn between(&self, us: Uuid, peer: Uuid, first: bool) -> Standing {
        let (ours, theirs) = match (self.expelled.get(&us), self.expelled.get(&peer)) {
            (None, None) => return Standing::Even,
            (Some(_), None) => return Standing::WeReturn,
            (None, Some(_)) => return Standing::ItReturns,
            (Some(ours), Some(theirs)) => (ours, theirs),
        };
        if us == peer {
            return Standing::Even;
        }
        // Also if the same expelled both: one of them may have gone on without the other before that.
        match (self.is_outside(ours), self.is_outside(theirs)) {
            (true, true) => Standing::Apart,
            (true, false) => Standing::WeReturn,
            (false, false) if first => Standing::WeReturn,
            (false, true | false) => Standing::ItReturns,
        }
    }
}

impl Engine {
    /// Who was expelled, as the roster says, and whether it names us.
    pub(super) fn learn_standings(
        &mut self,
        view: &dyn View,
        members: &BTreeSet<ReplicaId>,
        expelled: Arc<Expelled>,
    ) {
        let us = self.config.store;
        let before = self.standings.expelled.get(&us);
        let now = expelled.get(&us);
        let goes_on = match (before, now) {
            (Some(before), Some(now)) => before.is_superset(now),
            (None, _) | (_, None) => false,
        };
        if !goes_on {
            self.standings.done.clear();
        }
        self.standings.entered = view.replica().is_some_and(|us| members.contains(&us));
        self.standings.expelled = expelled;
    }

    pub(super) fn standing(&mut self, replica: ReplicaId) -> Standing {
        if !self.config.rules.rejoins_expelled {
            return Standing::Even;
        }
        let Some(store) = self.peers.up(replica).map(|peer| peer.store) else {
            return Standing::Even;
        };
        if !self.config.rules.keeps_expelled_apart
            && self.standings.is_expelled(self.config.store)
            && self.standings.is_expelled(store)
        {
            return Standing::Even;
        }
        let first = self.goes_first();
        self.standings.between(self.config.store, store, first)
    }

    /// Whether of all that are here, and were expelled by nobody in good standing, we go first. One alone may: two that
    /// return to different peers at once are in good standing then, and have not met what the other brings.
    fn goes_first(&mut self) -> bool {
        let us = self.config.store;
        if !self.standings.is_inside(us) {
            return false;
        }
        self.peers.all_up().into_iter().all(|replica| {
            let store = self.peers.up(replica).map(|peer| peer.store);
            store.is_none_or(|store| us <= store || !self.standings.is_inside(store))
        })
    }

    /// Whether a peer is of a half that expelled ours, as ours did with that.
    pub(super) fn of_another_half(&mut self, replica: ReplicaId) -> bool {
        let store = self.peers.up(replica).map(|peer| peer.store);
        store.is_some_and(|store| self.standings.are_halves(self.config.store, store))
    }

    /// Whether deltas and pushes of a partition are exchanged with a peer.
    pub(super) fn exchanges(&mut self, replica: ReplicaId, partition: PartitionId) -> bool {
        partition == PartitionId::of_roster() || self.standing(replica) == Standing::Even
    }

    /// Whether a pull from a peer may begin, or go on. Who holds nothing of a partition has nothing to bring back.
    pub(super) fn may_pull(
        &mut self,
        replica: ReplicaId,
        partition: PartitionId,
        holds_nothing: bool,
    ) -> bool {
        partition == PartitionId::of_roster()
            || match self.standing(replica) {
                Standing::Even => true,
                Standing::WeReturn => holds_nothing,
                Standing::ItReturns | Standing::Apart => false,
            }
    }

    /// A peer that is not even with us tells what it holds.
    pub(super) fn summaries_apart(
        &mut self,
        step: &mut Step<'_>,
        sender: ReplicaId,
        standing: Standing,
        partitions: &[PartitionSummary],
    ) {
        let roster = PartitionId::of_roster();
        let Some(theirs) = partitions.get(roster.index()) else {
            return;
        };
        let ours = step.view.summary(roster);
        // It may be open for ever, by the remains of a life that nobody has whole; what it shows must be alike.
        let knows_us = ours.vector_hash == theirs.vector_hash && ours.digest == theirs.digest;
        if ours != *theirs
            && let Some(peer) = self.peers.up(sender)
        {
            peer.want(roster, Want::Differs(*theirs));
        }
        // What it collects after this it collects with us; so it must know that we are a member.
        if standing != Standing::WeReturn || !knows_us || !self.standings.entered {
            return;
        }
        for (partition, theirs) in PartitionId::all().zip(partitions) {
            let ours = step.view.summary(partition);
            if partition == roster || (ours == *theirs && !ours.open) {
                self.standings.done.insert(partition);
                continue;
            }
            let holds_nothing = self.holds_nothing(step.view, partition);
            let is_done = self.standings.done.contains(&partition);
            let Some(peer) = self.peers.up(sender) else {
                return;
            };
            if holds_nothing {
                peer.want(partition, Want::Differs(*theirs));
            } else if !is_done {
                peer.rejoins.insert(partition, Floor::default());
            }
        }
        self.tell_return(step);
    }

    /// We hold what a member in good standing holds.
    pub(super) fn agrees_apart(&mut self, step: &mut Step<'_>, sender: ReplicaId) {
        let returns = self.standing(sender) == Standing::WeReturn;
        if returns && self.standings.entered {
            self.standings.done.extend(PartitionId::all());
            self.tell_return(step);
        }
    }

    /// Whether a partition was taken in whole since we know that we were expelled.
    pub(super) fn has_returned(&self, partition: PartitionId) -> bool {
        self.standings.done.contains(&partition)
    }

    /// A partition was taken in whole by what a member in good standing holds.
    pub(super) fn returned(&mut self, step: &mut Step<'_>, partition: PartitionId) {
        self.standings.done.insert(partition);
        self.tell_return(step);
    }

    fn tell_return(&self, step: &mut Step<'_>) {
        let us = self.standings.expelled.get(&self.config.store);
        if let Some(by) = us
            && self.standings.done.len() == PARTITIONS
        {
            step.commands.push(Command::Returned(by.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn store(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn standings(entries: &[(u128, &[u128])]) -> Standings {
        let expelling = |by: &u128| Expelling {
            by: store(*by),
            mark: 0,
        };
        let entry = |(who, by): &(u128, &[u128])| (store(*who), by.iter().map(expelling).collect());
        Standings {
            expelled: Arc::new(entries.iter().map(entry).collect()),
            ..Standings::default()
        }
    }

    /// How the two stand to each other, as each says.
    fn both(standings: &Standings, one: u128, other: u128) -> (Standing, Standing) {
        let (a, b) = (store(one), store(other));
        let first = one < other;
        (
            standings.between(a, b, first),
            standings.between(b, a, !first),
        )
    }

    const EVEN: (Standing, Standing) = (Standing::Even, Standing::Even);
    const APART: (Standing, Standing) = (Standing::Apart, Standing::Apart);
    const FIRST: (Standing, Standing) = (Standing::WeReturn, Standing::ItReturns);
    const SECOND: (Standing, Standing) = (Standing::ItReturns, Standing::WeReturn);

    #[test]
    fn who_was_expelled_returns_and_nobody_waits_for_ever() {
        let one = standings(&[(3, &[1])]);
        assert_eq!(both(&one, 1, 2), EVEN);
        assert_eq!(both(&one, 2, 3), SECOND);
        // It expelled one of those that expelled it.
        let one = standings(&[(3, &[1]), (2, &[3])]);
        assert_eq!(both(&one, 2, 3), SECOND);
        assert_eq!(both(&one, 1, 2), SECOND);
        // Two that were away, together or each alone.
        for by in [1, 2] {
            let one = standings(&[(3, &[1]), (4, &[by])]);
            assert_eq!(both(&one, 3, 4), APART);
        }
    }

    #[test]
    fn of_two_halves_one_returns_to_the_other() {
        let halves = standings(&[(1, &[3]), (2, &[3]), (3, &[1]), (4, &[1])]);
        for (one, other) in [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)] {
            assert_eq!(both(&halves, one, other), FIRST);
        }
        // Then the first is back, and all others return to it.
        let halves = standings(&[(2, &[3]), (3, &[1]), (4, &[1])]);
        assert_eq!(both(&halves, 1, 2), SECOND);
        assert_eq!(both(&halves, 1, 3), SECOND);
    }
}
