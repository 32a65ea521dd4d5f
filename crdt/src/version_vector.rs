//! What a replica has taken in of one partition.
//!
//! Law (incorporation): if a vector covers a dot, then for every cell of that write the holder has the cell,
//! or one that replaces it, or it has been collected. So a vector only moves together with the data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Dot, Malformed, ReplicaId, Seq};

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
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<ReplicaId, Seq>")]
pub struct VersionVector(BTreeMap<ReplicaId, Seq>);

impl VersionVector {
    /// The highest `seq` of `replica` below which nothing is missing; [`Seq::ZERO`] if it is unknown.
    #[must_use]
    pub fn get(&self, replica: ReplicaId) -> Seq {
        self.0.get(&replica).copied().unwrap_or_default()
    }

    /// Whether the write `dot` has been taken in.
    #[must_use]
    pub fn covers(&self, dot: Dot) -> bool {
        self.get(dot.replica) >= dot.seq
    }

    /// Raises the entry of `replica` to `seq`; a lower `seq` changes nothing.
    pub fn advance(&mut self, replica: ReplicaId, seq: Seq) {
        if seq > Seq::ZERO {
            let entry = self.0.entry(replica).or_default();
            *entry = (*entry).max(seq);
        }
    }

    /// The least vector that includes both.
    pub fn join(&mut self, other: &Self) {
        for (replica, seq) in other.iter() {
            self.advance(replica, seq);
        }
    }

    /// The greatest vector that both include: per replica the lower `seq`.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        self.iter()
            .map(|(replica, seq)| (replica, seq.min(other.get(replica))))
            .collect()
    }

    /// Whether everything that `other` covers is covered here.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        other.iter().all(|(replica, seq)| self.get(replica) >= seq)
    }

    /// How many writes `other` covers that this vector does not.
    #[must_use]
    pub fn lag_behind(&self, other: &Self) -> u64 {
        other
            .iter()
            .map(|(replica, seq)| seq.get().saturating_sub(self.get(replica).get()))
            .fold(0, u64::saturating_add)
    }

    /// How many replicas it names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing has been taken in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries in the order of the replicas.
    pub fn iter(&self) -> impl Iterator<Item = (ReplicaId, Seq)> + '_ {
        self.0.iter().map(|(replica, seq)| (*replica, *seq))
    }
}

impl FromIterator<(ReplicaId, Seq)> for VersionVector {
    fn from_iter<I: IntoIterator<Item = (ReplicaId, Seq)>>(entries: I) -> Self {
        let mut vector = Self::default();
        for (replica, seq) in entries {
            vector.advance(replica, seq);
        }
        vector
    }
}

impl TryFrom<BTreeMap<ReplicaId, Seq>> for VersionVector {
    type Error = Malformed;

    fn try_from(entries: BTreeMap<ReplicaId, Seq>) -> Result<Self, Malformed> {
        if entries.values().any(|seq| *seq == Seq::ZERO) {
            return Err(Malformed::ZeroSeq);
        }
        Ok(Self(entries))
    }
}
