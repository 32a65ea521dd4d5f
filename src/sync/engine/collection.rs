//! When what is deleted may go for good, and who is in the way.
//!
//! A removal, a tombstone or a hidden entity may be collected once nobody can come any more with an edit that
//! was made without having seen it. That is so when the newest report of *every* member covers it (then what
//! they write from now on has seen it) and our vector includes *every one of those reports in full* (then what
//! they wrote before is here). "All have it" is not enough: a member may hold an older edit of a third that
//! we do not.
//!
//! Who the members are is known only as far as the roster was taken in; so our vector must include what every
//! member told of the roster's partition as well, or one of them may listen to somebody we never heard of. And the
//! roster is read some time after it was taken in: a round collects only what we held when it began, once the roster
//! has been read as it was then.
//!
//! Who was expelled is not waited for, so everybody else must keep away from it what it may bring. A report counts only
//! if its speaker told it some time after it had taken in all that we know of expulsions: as long as a pull may stand
//! still, within which all that was under way has come, and its engine has heard of what its store has taken in.
//!
//! A report counts only if its speaker held nothing that its vector does not cover: of such cells the report
//! says nothing.
//!
//! Invariants: one partition at a time; nothing before this node has agreed with a peer in this run, or
//! completed a pull from one, unless it was told that there is nobody to ask.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use grapevine_crdt::{ReplicaId, VersionVector};

use super::{
    Blocked, BlockedBy, CollectionStatus, Command, Expelled, Now, View,
    core::{Engine, Step},
    report::Report,
};
use crate::model::{PARTITIONS, PartitionId, PartitionState};

/// What is known of collection.
#[derive(Debug)]
pub(super) struct Collecting {
    /// Where the roster is.
    roster: PartitionId,
    /// What of it had been taken in when it was read.
    read: VersionVector,
    /// What of it had been taken in when somebody was first seen to be expelled, the last that was.
    expulsions: VersionVector,
    /// Since when each member is known to have taken that in.
    warned: BTreeMap<ReplicaId, u64>,
    /// The members of the roster; nobody is known before the first word from above.
    members: Option<Arc<BTreeSet<ReplicaId>>>,
    /// Whether there is nobody to agree with before the first round.
    alone: bool,
    /// Whether this node has agreed with a peer in this run.
    met: bool,
    /// The partition that is being collected.
    under_way: Option<PartitionId>,
    /// The partitions as they were when the round under way began, or the one that waits for the roster; nothing else is
    /// collected in it. What came later may be of somebody whose entry in the roster came with it, and is not read yet.
    began: Option<Vec<Arc<PartitionState>>>,
    /// Where the round goes on.
    next: usize,
    /// When the next round begins.
    due_ms: u64,
    /// What each partition was last collected at, and its steps after that.
    done: BTreeMap<PartitionId, (VersionVector, u64)>,
    /// Who was in the way in the last complete round, and since when.
    blocked: BTreeMap<ReplicaId, (Blocked, u64)>,
    /// Who was found to be in the way in the round under way.
    found: BTreeMap<ReplicaId, Blocked>,
}

impl Default for Collecting {
    fn default() -> Self {
        Self {
            roster: PartitionId::of_roster(),
            read: VersionVector::default(),
            expulsions: VersionVector::default(),
            warned: BTreeMap::new(),
            members: None,
            alone: false,
            met: false,
            under_way: None,
            began: None,
            next: 0,
            due_ms: 0,
            done: BTreeMap::new(),
            blocked: BTreeMap::new(),
            found: BTreeMap::new(),
        }
    }
}

impl Collecting {
    /// The members of the roster, as far as they are known.
    pub(super) fn members(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.members
            .iter()
            .flat_map(|members| members.iter().copied())
    }
}

impl Engine {
    /// Who belongs to the cluster, as the roster says, and whether this node is its only seed.
    pub(super) fn roster(
        &mut self,
        members: Arc<BTreeSet<ReplicaId>>,
        read: VersionVector,
        alone: bool,
    ) {
        self.collecting.members = Some(members);
        self.collecting.read = read;
        self.collecting.alone = alone;
    }

    /// Notes whether somebody was expelled of whom it was not known.
    pub(super) fn note_expulsions(
        &mut self,
        step: &Step<'_>,
        expelled: &Expelled,
        read: &VersionVector,
    ) {
        if !self.standings.knows_all(expelled) {
            self.collecting.expulsions.clone_from(read);
            self.collecting.warned.clear();
        }
        self.note_warned(step.now);
    }

    /// Notes who has taken in all that we know of expulsions.
    pub(super) fn note_warned(&mut self, now: Now) {
        let Some(members) = self.collecting.members.clone() else {
            return;
        };
        let up = self.peers.all_up();
        for member in members.iter().chain(&up) {
            let report = self.peers.report(*member, self.collecting.roster);
            let told = report.vector();
            let knows = told.is_some_and(|told| told.includes(&self.collecting.expulsions));
            if !knows {
                self.collecting.warned.remove(member);
            } else if !self.collecting.warned.contains_key(member) {
                self.collecting.warned.insert(*member, now.monotonic_ms);
            }
        }
    }

    /// Whether a member told this after it had kept away for a while from who was expelled.
    fn keeps_away(&self, member: ReplicaId, report: &Report) -> bool {
        if self.collecting.expulsions.is_empty() || !self.config.rules.rejoins_expelled {
            return true;
        }
        let since = self.collecting.warned.get(&member);
        since.is_some_and(|since_ms| {
            report.told_ms >= since_ms.saturating_add(self.config.pull_abandoned_after_ms)
        })
    }

    /// A partition was taken in whole. That of the roster tells who there is.
    pub(super) fn met_by(&mut self, partition: PartitionId) {
        self.collecting.met |= partition == self.collecting.roster;
    }

    /// We hold what somebody else holds.
    pub(super) const fn met(&mut self) {
        self.collecting.met = true;
    }

    /// What was commanded is done. What the store refused is tried again in the next round.
    pub(super) fn collected(&mut self, step: &mut Step<'_>, partition: PartitionId, whole: bool) {
        if self.collecting.under_way == Some(partition) {
            self.collecting.under_way = None;
            if !whole {
                self.collecting.done.remove(&partition);
            } else if let Some((_, steps)) = self.collecting.done.get_mut(&partition) {
                *steps = step.view.partition(partition).steps;
            }
            self.collect(step);
        }
    }

    /// Goes on with the round, or begins one when it is due.
    pub(super) fn collect(&mut self, step: &mut Step<'_>) {
        let now_ms = step.now.monotonic_ms;
        if self.collecting.under_way.is_some() {
            return;
        }
        if self.collecting.next == 0 && now_ms < self.collecting.due_ms {
            return;
        }
        self.note_warned(step.now);
        let Some(members) = self.collecting.members.clone() else {
            return;
        };
        if !self.collecting.met && !self.collecting.alone && self.config.rules.waits_for_absent {
            return;
        }
        let began = self.collecting.began.take();
        let began = began.unwrap_or_else(|| {
            let partitions = PartitionId::all().map(|partition| step.view.partition(partition));
            partitions.collect()
        });
        let roster = &began[usize::from(self.collecting.roster.get())];
        let is_read = self.collecting.read.includes(&roster.vector);
        if !is_read && self.config.rules.reads_the_roster {
            self.collecting.began = Some(began);
            return;
        }
        if self.collecting.next == 0 {
            self.collecting.due_ms = now_ms + self.config.collect_period_ms;
        }
        while self.collecting.next < PARTITIONS {
            let number = u8::try_from(self.collecting.next).expect("there are 256 partitions");
            self.collecting.next += 1;
            let partition = PartitionId::new(number);
            let state = step.view.partition(partition);
            if state.garbage == 0 {
                continue;
            }
            let held = &began[usize::from(number)];
            let Some(stable) = self.stable(step.view, &members, partition, &state, held) else {
                continue;
            };
            if self.is_busy(partition) {
                continue;
            }
            let done = self.collecting.done.get(&partition);
            if done.is_some_and(|(at, steps)| *at == stable && *steps == state.steps) {
                continue;
            }
            let before = (stable.clone(), state.steps);
            self.collecting.done.insert(partition, before);
            self.collecting.under_way = Some(partition);
            self.pulls.forget_torn(partition);
            step.commands.push(Command::Collect { partition, stable });
            self.collecting.began = Some(began);
            return;
        }
        self.collecting.next = 0;
        self.end_round(now_ms);
    }

    fn end_round(&mut self, now_ms: u64) {
        let found = std::mem::take(&mut self.collecting.found);
        let since = |replica: &ReplicaId| {
            let before = self.collecting.blocked.get(replica);
            before.map_or(now_ms, |(_, since_ms)| *since_ms)
        };
        let blocked = found
            .into_iter()
            .map(|(replica, why)| (replica, (why, since(&replica))))
            .collect();
        self.collecting.blocked = blocked;
    }

    /// Whether cells of the partition are on their way to the writer that were read before what is stable now: the
    /// driver hands a collection to the writer by another way than what peers sent, and may overtake it.
    fn is_busy(&self, partition: PartitionId) -> bool {
        self.pulls.of_partition(partition)
            || self.rejoin_of(partition)
            || self.repair_of(partition)
            || self.is_bringing_older(partition)
    }

    /// What every member has taken in, and we had when the round began; `None` if somebody is in the way.
    fn stable(
        &mut self,
        view: &dyn View,
        members: &BTreeSet<ReplicaId>,
        partition: PartitionId,
        state: &Arc<PartitionState>,
        held: &Arc<PartitionState>,
    ) -> Option<VersionVector> {
        let rules = self.config.rules;
        let mut stable = held.vector.clone();
        let mut clear = true;
        // Who is connected and not in the roster yet is waited for as well.
        let up = self.peers.all_up();
        let others: BTreeSet<&ReplicaId> = members.iter().chain(&up).collect();
        for member in others {
            if Some(*member) == view.replica() {
                continue;
            }
            let report = self.peers.report(*member, partition);
            let knows_more = !self.knows_roster_of(*member);
            let why = match report.vector() {
                None if !rules.waits_for_absent => continue,
                None => Some(Blocked::Silent),
                Some(_) if report.unclaimed => Some(Blocked::Open),
                Some(_) if rules.covers_reports && knows_more => Some(Blocked::Ahead),
                Some(_) if !self.keeps_away(*member, report) => Some(Blocked::Unwarned),
                Some(vector) if rules.covers_reports && !state.vector.includes(vector) => {
                    Some(Blocked::Ahead)
                }
                Some(vector) => {
                    stable = stable.meet(vector);
                    None
                }
            };
            if let Some(why) = why {
                clear = false;
                let found = self.collecting.found.entry(*member).or_insert(why);
                *found = (*found).min(why);
            }
        }
        clear.then_some(stable)
    }

    /// Whether we have read all of the roster that a member told of.
    fn knows_roster_of(&self, member: ReplicaId) -> bool {
        let report = self.peers.report(member, self.collecting.roster);
        let told = report.vector();
        told.is_some_and(|told| self.collecting.read.includes(told))
    }

    /// What has been collected, what could be, and who is in the way.
    #[must_use]
    pub fn collection(&self, view: &dyn View, now: Now) -> CollectionStatus {
        let mut status = CollectionStatus::default();
        for partition in PartitionId::all() {
            let state = view.partition(partition);
            status.partitions_collected += u64::from(!state.floor.is_empty());
            status.garbage += state.garbage;
        }
        if status.garbage > 0 {
            let by = |(replica, (why, since_ms)): (&ReplicaId, &(Blocked, u64))| BlockedBy {
                replica: *replica,
                why: *why,
                blocked_ms: now.monotonic_ms.saturating_sub(*since_ms),
            };
            status.blocked_by = self.collecting.blocked.iter().map(by).collect();
        }
        status
    }
}
