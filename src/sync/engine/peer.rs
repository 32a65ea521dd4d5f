//! What is known of each peer: whether it is up, what it last told, what is wanted of it.
//!
//! Invariants: a report never says more than the peer said itself since it came up the last time; it stays while
//! the peer is down, for a life holds what it held; of a peer that is down nothing is wanted, pulled or parked;
//! the peers remembered after they went down are bounded.

use std::{collections::BTreeMap, sync::Arc};

use grapevine_crdt::{ReplicaId, Timestamp};
use uuid::Uuid;

use super::{
    Now, PeerStatus, View,
    report::{Report, Told},
};
use crate::model::{
    CommitRecord, Floor, HashedVector, PARTITIONS, PartitionId, PartitionSummary, Root,
};

/// How many peers are remembered after they went down; the one not heard of for longest goes first.
pub const MAX_PEERS_REMEMBERED: usize = 1_024;

/// Why a partition is to be pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Its summary was another than ours.
    Differs(PartitionSummary),
    /// The peer holds cells that its vector does not cover.
    Open,
    /// The vector it told covers what ours does not.
    Told,
    /// A push of it came after one that never came.
    Gap,
}

impl Want {
    /// The stronger reason stays.
    const fn weight(self) -> u8 {
        match self {
            Self::Differs(_) => 0,
            Self::Open => 1,
            Self::Told => 2,
            Self::Gap => 3,
        }
    }
}

/// One peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) up: bool,
    /// Which store it is, through all its lives.
    pub(super) store: Uuid,
    pub(super) root: Option<Root>,
    pub(super) last_heard_ms: u64,
    /// When it was probed last since it came up.
    pub(super) probed_ms: Option<u64>,
    /// Probe it once nothing is pulled from it any more.
    pub(super) recheck: bool,
    /// What is to be pulled once there is room; at most one entry for each partition.
    pub(super) wanted: BTreeMap<PartitionId, Want>,
    /// The pulls under way.
    pub(super) pulls: BTreeMap<PartitionId, u64>,
    pub(super) parked: Parked,
    /// How many of its push records are on their way through the writer.
    pub(super) pushes_applying: usize,
    /// The partitions that it must take part in whole before deltas can be exchanged with it, each with what it
    /// had collected.
    pub(super) rejoins: BTreeMap<PartitionId, Floor>,
    reports: Vec<Report>,
    /// Per partition the floor of ours that it was last seen to have taken in since it came up.
    cleared: BTreeMap<PartitionId, Arc<Floor>>,
}

impl Peer {
    fn new() -> Self {
        Self {
            up: false,
            store: Uuid::nil(),
            root: None,
            last_heard_ms: 0,
            probed_ms: None,
            recheck: false,
            wanted: BTreeMap::new(),
            pulls: BTreeMap::new(),
            parked: Parked::default(),
            pushes_applying: 0,
            rejoins: BTreeMap::new(),
            reports: vec![Report::NOTHING; PARTITIONS],
            cleared: BTreeMap::new(),
        }
    }

    pub(super) fn report(&self, partition: PartitionId) -> &Report {
        &self.reports[partition.index()]
    }

    /// It holds what we hold of `partition` now.
    pub(super) fn told_ours(
        &mut self,
        partition: PartitionId,
        view: &dyn View,
        now: Now,
        unclaimed: bool,
    ) {
        self.reports[partition.index()] = Report {
            told: Told::Ours(view.partition(partition)),
            unclaimed,
            told_ms: now.monotonic_ms,
        };
    }

    /// It holds what `vector` covers.
    pub(super) fn told_vector(
        &mut self,
        partition: PartitionId,
        mut vector: HashedVector,
        view: &dyn View,
        now: Now,
        unclaimed: bool,
    ) {
        let ours = view.partition(partition);
        let told = if ours.vector == *vector.vector() {
            Told::Ours(ours)
        } else {
            // It is kept for each peer and partition, and compared again and again.
            vector.share_settled(&ours.vector);
            Told::Vector(vector)
        };
        self.reports[partition.index()] = Report {
            told,
            unclaimed,
            told_ms: now.monotonic_ms,
        };
    }

    /// As [`Self::told_vector`], but for a peer that never forgets what it once told: wrong, and there to show it.
    pub(super) fn told_as_well(
        &mut self,
        partition: PartitionId,
        mut vector: HashedVector,
        view: &dyn View,
        now: Now,
        unclaimed: bool,
    ) {
        if let Some(before) = self.report(partition).hashed() {
            vector.join(&before);
        }
        self.told_vector(partition, vector, view, now, unclaimed);
    }

    /// It tells its root. If that is ours now, it holds what we hold.
    pub(super) fn told_root(&mut self, root: Root, view: &dyn View, now: Now) -> bool {
        self.root = Some(root);
        let agrees = root == view.root();
        if agrees {
            for partition in PartitionId::all() {
                self.told_ours(partition, view, now, view.summary(partition).open);
            }
        }
        agrees
    }

    /// Whether it is known, since it came up, to have taken in what we collected of `partition`. A life never
    /// takes less in than it had.
    pub(super) fn clears(&mut self, partition: PartitionId, floor: &Arc<Floor>) -> bool {
        if floor.is_empty() {
            return true;
        }
        let checked = self.cleared.get(&partition);
        if checked.is_some_and(|checked| Arc::ptr_eq(checked, floor)) {
            return true;
        }
        let told = self.report(partition).vector();
        let clears = told.is_some_and(|vector| vector.includes(&floor.vector));
        if clears {
            self.cleared.insert(partition, Arc::clone(floor));
        }
        clears
    }

    pub(super) fn want(&mut self, partition: PartitionId, want: Want) {
        if self.pulls.contains_key(&partition) {
            self.recheck = true;
            return;
        }
        let held = self.wanted.entry(partition).or_insert(want);
        if want.weight() >= held.weight() {
            *held = want;
        }
    }

    fn lag(&self, view: &dyn View) -> Option<u64> {
        PartitionId::all()
            .zip(&self.reports)
            .try_fold(0_u64, |lag, (partition, report)| {
                let ours = view.partition(partition);
                let behind = report.vector()?.lag_behind(&ours.vector);
                Some(lag.saturating_add(behind))
            })
    }

    fn status(&self, replica: ReplicaId, view: &dyn View, now: Now) -> PeerStatus {
        let agrees = self.root == Some(view.root());
        PeerStatus {
            replica,
            up: self.up,
            agrees,
            lag: if agrees { Some(0) } else { self.lag(view) },
            wanted: self.wanted.len() + self.pulls.len() + self.rejoins.len(),
            last_heard_ms: now.monotonic_ms.saturating_sub(self.last_heard_ms),
        }
    }
}

/// Pushes that wait for the end of a pull, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Parked {
    records: BTreeMap<PartitionId, Vec<(Timestamp, CommitRecord)>>,
    count: usize,
    bytes: usize,
}

/// The most bytes of values that are parked for one peer.
const MAX_PARKED_BYTES: usize = 16 * 1024 * 1024;

impl Parked {
    /// Says whether there was room.
    pub(super) fn park(
        &mut self,
        announced: Timestamp,
        record: CommitRecord,
        limit: usize,
    ) -> bool {
        let bytes = record.weight();
        let room = self.count < limit && self.bytes + bytes <= MAX_PARKED_BYTES;
        if room {
            self.count += 1;
            self.bytes += bytes;
            let records = self.records.entry(record.partition).or_default();
            records.push((announced, record));
        }
        room
    }

    pub(super) fn take(&mut self, partition: PartitionId) -> Vec<(Timestamp, CommitRecord)> {
        let records = self.records.remove(&partition).unwrap_or_default();
        self.count -= records.len();
        self.bytes -= records
            .iter()
            .map(|(_, record)| record.weight())
            .sum::<usize>();
        records
    }
}

/// All peers known since the start.
#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<ReplicaId, Peer>);

impl Peers {
    /// The peer, if it is up.
    pub(super) fn up(&mut self, replica: ReplicaId) -> Option<&mut Peer> {
        self.0.get_mut(&replica).filter(|peer| peer.up)
    }

    /// The peer, up or not.
    pub(super) fn known(&mut self, replica: ReplicaId) -> Option<&mut Peer> {
        self.0.get_mut(&replica)
    }

    /// What it told before it came up anew may be true no more: its machine was put back to an earlier moment,
    /// say.
    pub(super) fn connect(&mut self, replica: ReplicaId, store: Uuid, now: Now, forgets: bool) {
        let peer = self.0.entry(replica).or_insert_with(Peer::new);
        peer.up = true;
        peer.store = store;
        if forgets {
            peer.reports.fill(Report::NOTHING);
            peer.cleared.clear();
        }
        peer.last_heard_ms = now.monotonic_ms;
    }

    /// Marks it as down, with nothing wanted of it; what it told stays.
    pub(super) fn disconnect(&mut self, replica: ReplicaId) {
        if let Some(peer) = self.0.get_mut(&replica) {
            peer.up = false;
            peer.probed_ms = None;
            peer.recheck = false;
            peer.wanted.clear();
            peer.pulls.clear();
            peer.rejoins.clear();
            peer.parked = Parked::default();
        }
        let down = self.0.iter().filter(|(_, peer)| !peer.up);
        if down.clone().count() > MAX_PEERS_REMEMBERED {
            let oldest = down.min_by_key(|(_, peer)| peer.last_heard_ms);
            if let Some(oldest) = oldest.map(|(replica, _)| *replica) {
                self.0.remove(&oldest);
            }
        }
    }

    /// The peers that are up, in the order of their ids.
    pub(super) fn all_up(&self) -> Vec<ReplicaId> {
        let up = self.0.iter().filter(|(_, peer)| peer.up);
        up.map(|(replica, _)| *replica).collect()
    }

    /// What a peer told of `partition` in this run, up or not.
    pub(super) fn report(&self, replica: ReplicaId, partition: PartitionId) -> &Report {
        let peer = self.0.get(&replica);
        peer.map_or(&Report::NOTHING, |peer| peer.report(partition))
    }

    pub(super) fn statuses(&self, view: &dyn View, now: Now) -> Vec<PeerStatus> {
        self.0
            .iter()
            .map(|(replica, peer)| peer.status(*replica, view, now))
            .collect()
    }
}
