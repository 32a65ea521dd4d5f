//! What is known of a partition as a whole: its vector, its digest, whether it is open; and the hashes by
//! which peers compare them.

use std::sync::Arc;

use grapevine_crdt::{ReplicaId, Seq, VersionVector};

use super::{Floor, PartitionId, PartitionSummary};

const HASH_BYTES: usize = 16;

/// One partition: how far it is taken in, and what it adds up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionState {
    /// What has been taken in without a gap.
    pub vector: VersionVector,
    /// The wrapping sum of [`vector_term`] over the vector's entries.
    pub vector_hash: u128,
    /// The wrapping sum of the hashes of the partition's entities.
    pub digest: u128,
    /// How many dots are held (have a row in `log`) that the vector does not cover.
    pub unclaimed: u64,
    /// How many steps that changed something have been taken. Equal counts of one open store mean equal
    /// content: the pages of a delta are told apart by it. It is compared with no other store's.
    pub steps: u64,
    /// What has been collected. No part of what is compared with a peer: each collects in its own time.
    pub floor: Arc<Floor>,
    /// The wrapping sum of [`vector_term`] over the entries of the floor's vector.
    pub floor_hash: u128,
    /// How many entities have a row in `garbage`: they hold something that may be collected some day.
    pub garbage: u64,
}

impl PartitionState {
    /// What is compared with a peer.
    #[must_use]
    pub const fn summary(&self) -> PartitionSummary {
        PartitionSummary {
            vector_hash: self.vector_hash,
            digest: self.digest,
            open: self.unclaimed > 0,
        }
    }

    /// Raises the vector's entry of `replica`, and the hash with it.
    pub fn advance(&mut self, replica: ReplicaId, seq: Seq) {
        let before = self.vector.get(replica);
        if seq > before {
            self.vector_hash = rehash(self.vector_hash, replica, before, seq);
            self.vector.advance(replica, seq);
        }
    }

    /// Raises the vector to include `vector`, and the hash with it.
    pub fn join(&mut self, vector: &VersionVector) {
        self.vector_hash = joined(self.vector_hash, &self.vector, vector);
        self.vector.join(vector);
    }

    /// Raises the floor to include `by`, and the hash with it.
    pub fn raise_floor(&mut self, by: &Floor) {
        self.floor_hash = joined(self.floor_hash, &self.floor.vector, &by.vector);
        let mut floor = Floor::clone(&self.floor);
        floor.join(by);
        self.floor = Arc::new(floor);
    }
}

/// The hash of the least vector that includes `ours`, with this hash, and `theirs`.
fn joined(hash: u128, ours: &VersionVector, theirs: &VersionVector) -> u128 {
    theirs
        .raised_above(ours)
        .fold(hash, |hash, (replica, seq)| {
            rehash(hash, replica, ours.get(replica), seq)
        })
}

/// The hash of a vector of which the entry of `replica` goes from `before` to `after`.
fn rehash(hash: u128, replica: ReplicaId, before: Seq, after: Seq) -> u128 {
    hash.wrapping_sub(vector_term(replica, before))
        .wrapping_add(vector_term(replica, after))
}

/// What one entry of a vector adds to the vector's hash; 0 for [`Seq::ZERO`], which is no entry.
#[must_use]
pub fn vector_term(replica: ReplicaId, seq: Seq) -> u128 {
    if seq == Seq::ZERO {
        return 0;
    }
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(replica.as_bytes());
    bytes[16..].copy_from_slice(&seq.get().to_be_bytes());
    short_hash(&bytes)
}

/// What one partition adds to the root; 0 for a partition in which nothing was ever written.
#[must_use]
pub fn root_term(partition: PartitionId, summary: PartitionSummary) -> u128 {
    if summary == PartitionSummary::default() {
        return 0;
    }
    let mut bytes = [0; 34];
    bytes[0] = partition.get();
    bytes[1] = u8::from(summary.open);
    bytes[2..18].copy_from_slice(&summary.vector_hash.to_be_bytes());
    bytes[18..].copy_from_slice(&summary.digest.to_be_bytes());
    short_hash(&bytes)
}

/// The first 16 bytes of BLAKE3, as a number.
#[must_use]
pub(crate) fn short_hash(bytes: &[u8]) -> u128 {
    let hash = blake3::hash(bytes);
    let (head, _) = hash
        .as_bytes()
        .split_first_chunk::<HASH_BYTES>()
        .expect("a BLAKE3 hash has 32 bytes");
    u128::from_be_bytes(*head)
}
