//! How a vector is told to a peer that holds almost the same: what may differ is named, and one hash stands for
//! all else.
//!
//! Lives that are over make vectors long, and all nodes hold the same of them. So an [`Outline`] names some entries
//! and gives the sum of the hashes of the rest ([`vector_term`]). Who hears it takes a vector that it knows, leaves out
//! what is named, and compares the sums: if they are equal, the rest is what it knows. No block needs to be agreed
//! upon, nothing is remembered, and a vector that cannot be understood is asked for in another way.
//!
//! Law: what [`Outline::resolve`] yields is the vector that was meant, or nothing. It never guesses: but for a collision
//! of 128-bit sums, equal sums are equal entries.
//!
//! If nothing known fits, the listener tells a [`Table`]: sums of ranges of the vector it holds. The ranges in which
//! the speaker holds the same stay in the rest, the others are told in full (*spans*). One span over everything is
//! the whole vector, and is understood by everybody.

use std::collections::{BTreeMap, BTreeSet};

use grapevine_crdt::{ReplicaId, Seq, VersionVector};
use serde::{Deserialize, Serialize};

use super::{PartitionState, vector_term};

const LEAST: ReplicaId = ReplicaId::from_bytes([0; 16]);
const GREATEST: ReplicaId = ReplicaId::from_bytes([0xFF; 16]);

/// The most ranges of a table, and the most spans of an outline.
pub const MAX_RANGES: usize = 1_024;

/// The most replicas that a table names as likely to differ.
pub const MAX_LIKELY: usize = 1_024;

/// The fewest entries of a range. Longer vectors have ranges of the square root of their length.
const MIN_RANGE: usize = 32;

/// A vector, and the sum of the hashes of its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HashedVector {
    vector: VersionVector,
    /// The wrapping sum of [`vector_term`] over the entries.
    hash: u128,
}

impl HashedVector {
    /// Hashes every entry.
    #[must_use]
    pub fn of(vector: VersionVector) -> Self {
        let hash = sum(vector.iter());
        Self { vector, hash }
    }

    /// The vector.
    #[must_use]
    pub const fn vector(&self) -> &VersionVector {
        &self.vector
    }

    /// The sum over its entries; 0 for none.
    #[must_use]
    pub const fn hash(&self) -> u128 {
        self.hash
    }

    /// The vector alone.
    #[must_use]
    pub fn into_vector(self) -> VersionVector {
        self.vector
    }

    /// The least that includes both; hashes what it raises.
    pub fn join(&mut self, other: &Self) {
        if self.vector.is_empty() {
            self.clone_from(other);
            return;
        }
        let ours = &self.vector;
        let raised = other.vector.raised_above(ours);
        let terms = raised.map(|(replica, seq)| {
            vector_term(replica, seq).wrapping_sub(vector_term(replica, ours.get(replica)))
        });
        self.hash = terms.fold(self.hash, u128::wrapping_add);
        self.vector.join(&other.vector);
    }

    /// Shares memory with a vector that is kept beside it.
    pub fn share_settled(&mut self, other: &VersionVector) {
        self.vector.share_settled(other);
    }
}

impl PartitionState {
    /// The vector with its hash.
    #[must_use]
    pub fn hashed(&self) -> HashedVector {
        HashedVector {
            vector: self.vector.clone(),
            hash: self.vector_hash,
        }
    }

    /// What was collected, with its hash.
    #[must_use]
    pub fn hashed_floor(&self) -> HashedVector {
        HashedVector {
            vector: self.floor.vector.clone(),
            hash: self.floor_hash,
        }
    }
}

/// Replicas from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Span {
    from: ReplicaId,
    upto: ReplicaId,
}

impl Span {
    const ALL: Self = Self {
        from: LEAST,
        upto: GREATEST,
    };

    fn contains(self, replica: ReplicaId) -> bool {
        self.from <= replica && replica <= self.upto
    }
}

/// A vector as it is told: some entries, and one hash for all others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// The sum over the entries that are neither named nor within a span.
    rest: u128,
    /// Within these every entry is named; in order, apart.
    spans: Vec<Span>,
    /// In order, each replica once. [`Seq::ZERO`] says that there is no entry; within a span there is no need to.
    named: Vec<(ReplicaId, Seq)>,
}

/// An outline or a table that no sound peer makes. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOutline {
    /// Names, spans or ranges out of order, or an entry for no write within a span.
    #[error("what is named is out of order")]
    Order,
    /// More than may be.
    #[error("it names too much")]
    Long,
}

impl Outline {
    /// All of a vector: everybody understands it.
    #[must_use]
    pub fn whole(vector: &VersionVector) -> Self {
        Self {
            rest: 0,
            spans: vec![Span::ALL],
            named: vector.iter().collect(),
        }
    }

    /// The vector with the entries of `replicas` named.
    #[must_use]
    pub fn naming(vector: &HashedVector, replicas: impl IntoIterator<Item = ReplicaId>) -> Self {
        let replicas: BTreeSet<ReplicaId> = replicas.into_iter().collect();
        Self::telling(vector, Vec::new(), &replicas)
    }

    /// What differs from `known`: who holds that understands it.
    #[must_use]
    pub fn against(vector: &HashedVector, known: &HashedVector) -> Self {
        let above = vector.vector.raised_above(&known.vector);
        let below = known.vector.raised_above(&vector.vector);
        Self::naming(vector, above.chain(below).map(|(replica, _)| replica))
    }

    /// The vector to somebody who holds what `table` tells: what is likely to differ there is named as `replicas` is,
    /// and each range that sums up to something else is told in full.
    #[must_use]
    pub fn beside(
        vector: &HashedVector,
        table: &Table,
        replicas: impl IntoIterator<Item = ReplicaId>,
    ) -> Self {
        let likely: BTreeSet<ReplicaId> = table.likely.iter().copied().collect();
        let mut spans: Vec<Span> = Vec::new();
        let mut from = Some(LEAST);
        for (upto, theirs) in &table.ranges {
            let Some(start) = from else { break };
            let entries = vector.vector.within(start, *upto);
            if sum(entries.filter(|(replica, _)| !likely.contains(replica))) != *theirs {
                join_span(&mut spans, start, *upto);
            }
            from = successor(*upto);
        }
        if let Some(start) = from {
            join_span(&mut spans, start, GREATEST);
        }
        let named = replicas.into_iter().chain(likely.iter().copied()).collect();
        Self::telling(vector, spans, &named)
    }

    fn telling(vector: &HashedVector, spans: Vec<Span>, replicas: &BTreeSet<ReplicaId>) -> Self {
        let spanned = |replica: &ReplicaId| spans.iter().any(|span| span.contains(*replica));
        let mut named: BTreeMap<ReplicaId, Seq> = spans
            .iter()
            .flat_map(|span| vector.vector.within(span.from, span.upto))
            .collect();
        for replica in replicas.iter().filter(|replica| !spanned(replica)) {
            named.insert(*replica, vector.vector.get(*replica));
        }
        let rest = named.iter().fold(vector.hash, |rest, (replica, seq)| {
            rest.wrapping_sub(vector_term(*replica, *seq))
        });
        Self {
            rest,
            spans,
            named: named.into_iter().collect(),
        }
    }

    /// How many entries it names.
    #[must_use]
    pub fn named(&self) -> usize {
        self.named.len()
    }

    /// Whether it can be what a sound peer tells.
    pub fn check(&self, max_entries: usize) -> Result<(), InvalidOutline> {
        if self.named.len() > max_entries + MAX_LIKELY || self.spans.len() > MAX_RANGES {
            return Err(InvalidOutline::Long);
        }
        let rising = self.named.is_sorted_by(|before, next| before.0 < next.0);
        let apart = self
            .spans
            .is_sorted_by(|before, next| before.upto < next.from);
        let proper = self.spans.iter().all(|span| span.from <= span.upto);
        let written = |(replica, seq): &(ReplicaId, Seq)| *seq > Seq::ZERO || !self.spans(*replica);
        if rising && apart && proper && self.named.iter().all(written) {
            Ok(())
        } else {
            Err(InvalidOutline::Order)
        }
    }

    /// Whether all of `replica`'s surroundings are told in full.
    fn spans(&self, replica: ReplicaId) -> bool {
        let after = self.spans.partition_point(|span| span.upto < replica);
        self.spans
            .get(after)
            .is_some_and(|span| span.contains(replica))
    }

    /// The vector that is meant, if all that is not named is as in `known`. It must have been checked.
    #[must_use]
    pub fn resolve(&self, known: &HashedVector) -> Option<HashedVector> {
        let vector = &known.vector;
        let spanned = || {
            let within = |span: &Span| vector.within(span.from, span.upto);
            self.spans.iter().flat_map(within)
        };
        let named = self.named.iter().map(|(replica, _)| *replica);
        let named = named.filter(|replica| !self.spans(*replica));
        let left_out = sum(named.map(|replica| (replica, vector.get(replica))));
        let rest = if self.spans == [Span::ALL] {
            0
        } else {
            known
                .hash
                .wrapping_sub(left_out)
                .wrapping_sub(sum(spanned()))
        };
        if rest != self.rest {
            return None;
        }
        let vector = if self.spans == [Span::ALL] {
            VersionVector::default().with(self.named.iter().copied())
        } else {
            let gone = spanned().map(|(replica, _)| (replica, Seq::ZERO));
            let mut entries: BTreeMap<ReplicaId, Seq> = gone.collect();
            entries.extend(self.named.iter().copied());
            vector.with(entries)
        };
        Some(HashedVector {
            vector,
            hash: self.rest.wrapping_add(sum(self.named.iter().copied())),
        })
    }
}

/// What somebody holds who did not understand an outline: sums over ranges of its vector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The last replica of each range, which begins behind the one before, and the sum over its entries without those of
    /// `likely`.
    ranges: Vec<(ReplicaId, u128)>,
    /// Whose entries are likely to differ; in order, each once.
    likely: Vec<ReplicaId>,
}

impl Table {
    /// Of this vector. Nothing at all of an empty one.
    #[must_use]
    pub fn of(vector: &VersionVector, likely: impl IntoIterator<Item = ReplicaId>) -> Self {
        let likely: BTreeSet<ReplicaId> = likely.into_iter().take(MAX_LIKELY).collect();
        let size = vector
            .len()
            .isqrt()
            .max(MIN_RANGE)
            .max(vector.len() / (MAX_RANGES / 2));
        let mut ranges: Vec<(ReplicaId, u128)> = Vec::new();
        for (place, (replica, seq)) in vector.iter().enumerate() {
            if place % size == 0 {
                ranges.push((replica, 0));
            }
            let Some((upto, hash)) = ranges.last_mut() else {
                break;
            };
            *upto = replica;
            if !likely.contains(&replica) {
                *hash = hash.wrapping_add(vector_term(replica, seq));
            }
        }
        Self {
            ranges,
            likely: likely.into_iter().collect(),
        }
    }

    /// Whether it is of a vector that covers nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether it can be what a sound peer tells.
    pub fn check(&self) -> Result<(), InvalidOutline> {
        if self.ranges.len() > MAX_RANGES || self.likely.len() > MAX_LIKELY {
            return Err(InvalidOutline::Long);
        }
        let rising = self.ranges.is_sorted_by(|before, next| before.0 < next.0)
            && self.likely.is_sorted_by(|before, next| before < next);
        if rising {
            Ok(())
        } else {
            Err(InvalidOutline::Order)
        }
    }
}

/// Adds what follows on the last span to it.
fn join_span(spans: &mut Vec<Span>, from: ReplicaId, upto: ReplicaId) {
    match spans.last_mut() {
        Some(last) if successor(last.upto) == Some(from) => last.upto = upto,
        Some(_) | None => spans.push(Span { from, upto }),
    }
}

/// The next replica id; `None` behind the greatest.
fn successor(replica: ReplicaId) -> Option<ReplicaId> {
    let next = u128::from_be_bytes(*replica.as_bytes()).checked_add(1)?;
    Some(ReplicaId::from_bytes(next.to_be_bytes()))
}

fn sum(entries: impl Iterator<Item = (ReplicaId, Seq)>) -> u128 {
    entries
        .map(|(replica, seq)| vector_term(replica, seq))
        .fold(0, u128::wrapping_add)
}

#[cfg(test)]
mod tests;
