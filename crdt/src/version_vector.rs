//! What a replica has taken in of one partition.
//!
//! Law (incorporation): if a vector covers a dot, then for every cell of that write the holder has the cell,
//! or one that replaces it, or it has been collected. So a vector only moves together with the data.
//!
//! Most entries are of lives that are over, and never change again. So a vector has two levels: a *settled*
//! block, sorted and shared by all clones, and the *recent* entries on top of it. A clone, and an entry that
//! rises, cost what is recent, however many lives there were. Nobody who compares, iterates, encodes or
//! prints a vector can tell where an entry lives.

use core::fmt;
use std::{
    collections::{BTreeMap, btree_map},
    hash::{Hash, Hasher},
    iter::Peekable,
    slice,
    sync::Arc,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor},
    ser::SerializeMap,
};

use crate::{Dot, Malformed, ReplicaId, Seq};

/// Beyond this many recent entries they are settled.
const MAX_RECENT: usize = 64;

/// What is made room for before the entries are there, whatever length the bytes name.
const MAX_RESERVED: usize = 4_096;

/// Per replica the highest `seq` below which nothing is missing. No entry is ever [`Seq::ZERO`].
///
/// ```
/// use grapevine_crdt::{Dot, ReplicaId, Seq, VersionVector};
///
/// let (a, b) = (ReplicaId::from_bytes([1; 16]), ReplicaId::from_bytes([2; 16]));
/// let mut ours: VersionVector = [(a, Seq::new(4))].into_iter().collect();
/// let theirs: VersionVector = [(a, Seq::new(6)), (b, Seq::new(1))].into_iter().collect();
/// assert_eq!(ours.lag_behind(&theirs), 3);
/// ours.join(&theirs);
/// assert!(ours.covers(Dot::new(b, Seq::new(1))));
/// assert_eq!(ours, theirs);
/// ```
#[derive(Clone, Default)]
pub struct VersionVector {
    /// In the order of the replicas, each once; never [`Seq::ZERO`].
    settled: Arc<[(ReplicaId, Seq)]>,
    /// Each above the settled entry of its replica; so over one settled block, equal vectors have equal
    /// recent entries. At most [`MAX_RECENT`].
    recent: BTreeMap<ReplicaId, Seq>,
    /// How many replicas both levels name.
    len: usize,
}

impl VersionVector {
    /// The highest `seq` of `replica` below which nothing is missing; [`Seq::ZERO`] if it is unknown.
    #[must_use]
    pub fn get(&self, replica: ReplicaId) -> Seq {
        match self.recent.get(&replica) {
            Some(seq) => *seq,
            None => self.get_settled(replica),
        }
    }

    /// Whether the write `dot` has been taken in.
    #[must_use]
    pub fn covers(&self, dot: Dot) -> bool {
        self.get(dot.replica) >= dot.seq
    }

    /// Raises the entry of `replica` to `seq`; a lower `seq` changes nothing.
    pub fn advance(&mut self, replica: ReplicaId, seq: Seq) {
        let before = self.get(replica);
        if seq > before {
            self.len += usize::from(before == Seq::ZERO);
            self.recent.insert(replica, seq);
            if self.recent.len() > MAX_RECENT {
                self.settle();
            }
        }
    }

    /// The least vector that includes both.
    pub fn join(&mut self, other: &Self) {
        if self.is_empty() {
            self.clone_from(other);
            return;
        }
        let above: Vec<_> = other.raised_above(self).collect();
        self.extend(above);
    }

    /// The greatest vector that both include: per replica the lower `seq`.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        let lower = |(replica, seq): (ReplicaId, Seq)| (replica, seq.min(other.get(replica)));
        if !self.shares_settled(other) {
            return self.iter().map(lower).collect();
        }
        let mut meet = self.clone();
        meet.recent.clear();
        meet.len = meet.settled.len();
        meet.extend(self.entries_recent().map(lower));
        meet
    }

    /// Whether everything that `other` covers is covered here.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        other.raised_above(self).next().is_none()
    }

    /// How many writes `other` covers that this vector does not.
    #[must_use]
    pub fn lag_behind(&self, other: &Self) -> u64 {
        other
            .raised_above(self)
            .map(|(replica, seq)| seq.get().saturating_sub(self.get(replica).get()))
            .fold(0, u64::saturating_add)
    }

    /// The entries that are above those of `other`, in the order of the replicas. Against a vector from which
    /// this one came, or the other way round, it costs what is recent.
    pub fn raised_above<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (ReplicaId, Seq)> + 'a {
        let mut entries = self.entries();
        if self.shares_settled(other) {
            entries.settled = [].iter().peekable();
        }
        entries.filter(|(replica, seq)| *seq > other.get(*replica))
    }

    /// How many replicas it names.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been taken in.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entries in the order of the replicas.
    pub fn iter(&self) -> impl Iterator<Item = (ReplicaId, Seq)> + '_ {
        self.entries()
    }

    fn entries(&self) -> Entries<'_> {
        Entries {
            settled: self.settled.iter().peekable(),
            recent: self.recent.range(..).peekable(),
        }
    }

    /// The vector of these entries, all settled. They must be in the order of the replicas, each once, and none of
    /// no write.
    pub fn from_settled(entries: Vec<(ReplicaId, Seq)>) -> Result<Self, Malformed> {
        if entries.iter().any(|(_, seq)| *seq == Seq::ZERO) {
            return Err(Malformed::ZeroSeq);
        }
        if !entries.is_sorted_by(|before, next| before.0 < next.0) {
            return Err(Malformed::UnorderedVector);
        }
        Ok(Self {
            len: entries.len(),
            settled: entries.into(),
            recent: BTreeMap::new(),
        })
    }

    /// The settled entries alone, as a vector of its own that shares them. For who keeps both levels apart
    /// at rest: it is to be written only when [`Self::shares_settled`] says that it is another.
    #[must_use]
    pub fn settled(&self) -> Self {
        Self {
            settled: self.settled.clone(),
            recent: BTreeMap::new(),
            len: self.settled.len(),
        }
    }

    /// Whether both stand on one settled block, in memory. Vectors that do not may be equal all the same.
    #[must_use]
    pub fn shares_settled(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.settled, &other.settled)
    }

    /// Stands on the settled block of `other` from now on, if it can: both then share its memory, and are compared
    /// by what is recent. For a vector that is kept beside one that it hardly differs from.
    pub fn share_settled(&mut self, other: &Self) {
        let base = other.settled();
        if self.shares_settled(&base) || !self.includes(&base) {
            return;
        }
        let recent: BTreeMap<_, _> = self.raised_above(&base).take(MAX_RECENT + 1).collect();
        if recent.len() <= MAX_RECENT {
            self.settled = base.settled;
            self.recent = recent;
        }
    }

    /// Makes all entries one settled block.
    pub fn settle(&mut self) {
        self.settled = self.iter().collect();
        self.recent.clear();
    }

    /// With each of these entries instead of its own: raised, lowered, or gone where it is [`Seq::ZERO`]. If none
    /// is below what is settled, the settled block stays shared.
    #[must_use]
    pub fn with(&self, entries: impl IntoIterator<Item = (ReplicaId, Seq)>) -> Self {
        let mut with = self.clone();
        let mut lowered = BTreeMap::new();
        for (replica, seq) in entries {
            let settled = with.get_settled(replica);
            if seq > settled {
                with.recent.insert(replica, seq);
                continue;
            }
            with.recent.remove(&replica);
            if seq < settled {
                lowered.insert(replica, seq);
            }
        }
        if !lowered.is_empty() || with.recent.len() > MAX_RECENT {
            let entries = with.iter().filter_map(|(replica, seq)| {
                let seq = *lowered.get(&replica).unwrap_or(&seq);
                (seq > Seq::ZERO).then_some((replica, seq))
            });
            with.settled = entries.collect();
            with.recent.clear();
        }
        let fresh = |replica: &&ReplicaId| with.get_settled(**replica) == Seq::ZERO;
        with.len = with.settled.len() + with.recent.keys().filter(fresh).count();
        with
    }

    /// The replicas with entries that are not settled, in order; at most 64.
    pub fn recent(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.recent.keys().copied()
    }

    /// The entries of the replicas from `from` to `upto`, both included, in order.
    pub fn within(
        &self,
        from: ReplicaId,
        upto: ReplicaId,
    ) -> impl Iterator<Item = (ReplicaId, Seq)> + '_ {
        let start = self.settled.partition_point(|(replica, _)| *replica < from);
        let end = self
            .settled
            .partition_point(|(replica, _)| *replica <= upto);
        let settled = self.settled.get(start..end).unwrap_or_default();
        let recent = if from <= upto {
            self.recent.range(from..=upto)
        } else {
            btree_map::Range::default()
        };
        Entries {
            settled: settled.iter().peekable(),
            recent: recent.peekable(),
        }
    }

    fn entries_recent(&self) -> impl Iterator<Item = (ReplicaId, Seq)> + '_ {
        self.recent.iter().map(|(replica, seq)| (*replica, *seq))
    }

    fn get_settled(&self, replica: ReplicaId) -> Seq {
        self.settled
            .binary_search_by_key(&replica, |(settled, _)| *settled)
            .map_or(Seq::ZERO, |place| self.settled[place].1)
    }
}

/// The entries of a vector in the order of the replicas.
struct Entries<'a> {
    settled: Peekable<slice::Iter<'a, (ReplicaId, Seq)>>,
    recent: Peekable<btree_map::Range<'a, ReplicaId, Seq>>,
}

impl Iterator for Entries<'_> {
    type Item = (ReplicaId, Seq);

    fn next(&mut self) -> Option<Self::Item> {
        let settled = self.settled.peek().map(|(replica, _)| *replica);
        let recent = self.recent.peek().map(|(replica, _)| **replica);
        match (settled, recent) {
            (Some(settled), Some(recent)) if recent <= settled => {
                if recent == settled {
                    self.settled.next();
                }
            }
            (Some(_), _) => return self.settled.next().copied(),
            (None, _) => {}
        }
        self.recent.next().map(|(replica, seq)| (*replica, *seq))
    }
}

impl Extend<(ReplicaId, Seq)> for VersionVector {
    /// Raises each entry, as [`Self::advance`] does; many at once settle once.
    fn extend<I: IntoIterator<Item = (ReplicaId, Seq)>>(&mut self, entries: I) {
        for (replica, seq) in entries {
            let before = self.get(replica);
            if seq > before {
                self.len += usize::from(before == Seq::ZERO);
                self.recent.insert(replica, seq);
            }
        }
        if self.recent.len() > MAX_RECENT {
            self.settle();
        }
    }
}

impl FromIterator<(ReplicaId, Seq)> for VersionVector {
    fn from_iter<I: IntoIterator<Item = (ReplicaId, Seq)>>(entries: I) -> Self {
        let mut vector = Self::default();
        vector.extend(entries);
        vector
    }
}

impl TryFrom<BTreeMap<ReplicaId, Seq>> for VersionVector {
    type Error = Malformed;

    fn try_from(entries: BTreeMap<ReplicaId, Seq>) -> Result<Self, Malformed> {
        if entries.values().any(|seq| *seq == Seq::ZERO) {
            return Err(Malformed::ZeroSeq);
        }
        let mut vector = Self {
            settled: Arc::default(),
            len: entries.len(),
            recent: entries,
        };
        if vector.len > MAX_RECENT {
            vector.settle();
        }
        Ok(vector)
    }
}

impl Serialize for VersionVector {
    /// A map, in the order of the replicas.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len))?;
        for (replica, seq) in self.iter() {
            map.serialize_entry(&replica, &seq)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for VersionVector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = VersionVector;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of replicas to the numbers of writes")
    }

    /// In order they are a block already; in any other order, or twice, they are taken as any map takes them.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<VersionVector, A::Error> {
        let reserved = map.size_hint().unwrap_or_default().min(MAX_RESERVED);
        let mut entries: Vec<(ReplicaId, Seq)> = Vec::with_capacity(reserved);
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        let ordered = entries.is_sorted_by(|before, next| before.0 < next.0);
        if !ordered || entries.len() <= MAX_RECENT {
            let entries: BTreeMap<_, _> = entries.into_iter().collect();
            return entries.try_into().map_err(A::Error::custom);
        }
        if entries.iter().any(|(_, seq)| *seq == Seq::ZERO) {
            return Err(A::Error::custom(Malformed::ZeroSeq));
        }
        Ok(VersionVector {
            len: entries.len(),
            settled: entries.into(),
            recent: BTreeMap::new(),
        })
    }
}

impl PartialEq for VersionVector {
    fn eq(&self, other: &Self) -> bool {
        if self.shares_settled(other) {
            return self.recent == other.recent;
        }
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl Eq for VersionVector {}

impl Hash for VersionVector {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.len);
        for entry in self.iter() {
            entry.hash(state);
        }
    }
}

impl fmt::Debug for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
