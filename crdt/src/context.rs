//! A causal context: the dots of one field, or of one entity, that somebody had held.
//!
//! It keeps, per replica, the highest `seq` held. That is exact because the cells of one entity always
//! travel together: who holds a replica's write to a field has held its earlier writes to that field, or
//! what replaced them. It must not be read as a [`VersionVector`](crate::VersionVector): it says nothing
//! about other entities of the partition.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Dot, Malformed, ReplicaId, Seq};

/// The dots that a writer had seen of one field, or held of one entity: per replica the highest. No
/// entry is ever [`Seq::ZERO`].
///
/// ```
/// use grapevine_crdt::{CausalContext, Dot, ReplicaId, Seq};
///
/// let replica = ReplicaId::from_bytes([7; 16]);
/// let mut seen = CausalContext::default();
/// seen.insert(Dot::new(replica, Seq::new(3)));
/// assert!(seen.covers(Dot::new(replica, Seq::new(2))));
/// assert!(!seen.covers(Dot::new(replica, Seq::new(4))));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<ReplicaId, Seq>")]
pub struct CausalContext(BTreeMap<ReplicaId, Seq>);

impl CausalContext {
    /// Whether the write `dot` is among those seen.
    #[must_use]
    pub fn covers(&self, dot: Dot) -> bool {
        self.0.get(&dot.replica).is_some_and(|seq| *seq >= dot.seq)
    }

    /// Adds one dot. A `seq` of zero names no write and changes nothing.
    pub fn insert(&mut self, dot: Dot) {
        if dot.seq > Seq::ZERO {
            let seq = self.0.entry(dot.replica).or_default();
            *seq = (*seq).max(dot.seq);
        }
    }

    /// Adds all that `other` has seen.
    pub fn merge(&mut self, other: &Self) {
        for (replica, seq) in &other.0 {
            self.insert(Dot::new(*replica, *seq));
        }
    }

    /// Whether nothing was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many replicas it names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The highest dot seen of each replica, in the order of the replicas.
    pub fn iter(&self) -> impl Iterator<Item = Dot> + '_ {
        self.0.iter().map(|(replica, seq)| Dot::new(*replica, *seq))
    }
}

impl FromIterator<Dot> for CausalContext {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut context = Self::default();
        for dot in dots {
            context.insert(dot);
        }
        context
    }
}

impl TryFrom<BTreeMap<ReplicaId, Seq>> for CausalContext {
    type Error = Malformed;

    fn try_from(entries: BTreeMap<ReplicaId, Seq>) -> Result<Self, Malformed> {
        if entries.values().any(|seq| *seq == Seq::ZERO) {
            return Err(Malformed::ZeroSeq);
        }
        Ok(Self(entries))
    }
}
