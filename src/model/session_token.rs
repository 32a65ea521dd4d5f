//! What a client has written, as a token that it carries from node to node: a node whose vectors include it shows
//! all of that.
//!
//! It names dots: per partition and replica the highest `seq` written. By incorporation, who covers that dot
//! holds the write or what replaced it; it says nothing about the writes of others.

use grapevine_crdt::{Dot, VersionVector};

use super::{
    PartitionId,
    token_text::{self, InvalidToken, Packed, Vectors},
};

const FORMAT: u8 = 1;

/// The most bytes of a session token: 8,000 characters, so that the header fits the 8 KiB that most proxies
/// allow one. Room for a few lives of nodes that were written to in every partition, or for some 200 lives
/// with a write or two.
pub const MAX_SESSION_TOKEN_BYTES: usize = 6_000;

/// What a replica takes in the table of replicas, and in its length.
const REPLICA_BYTES: usize = 16;
/// What a partition takes beside its entries.
const PARTITION_BYTES: usize = 4;
/// What an entry takes at most beside its `seq`.
const PLACE_BYTES: usize = 3;
/// Format byte and lengths.
const HEAD_BYTES: usize = 7;

/// The writes of a session.
///
/// ```
/// use grapevine::model::{PartitionId, SessionToken};
/// use grapevine_crdt::{Dot, ReplicaId, Seq, VersionVector};
///
/// let (partition, replica) = (PartitionId::new(7), ReplicaId::from_bytes([1; 16]));
/// let mut token = SessionToken::default();
/// token.insert(partition, Dot::new(replica, Seq::new(3)));
/// let read = SessionToken::from_text(&token.to_text())?;
/// assert_eq!(read, token);
/// let behind: VersionVector = [(replica, Seq::new(1))].into_iter().collect();
/// assert_eq!(read.lacking(|_| &behind), 2);
/// # Ok::<(), grapevine::model::InvalidToken>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionToken {
    writes: Vectors,
}

impl SessionToken {
    /// The token that [`Self::to_text`] told.
    pub fn from_text(text: &str) -> Result<Self, InvalidToken> {
        let packed: Packed = token_text::read(FORMAT, text, MAX_SESSION_TOKEN_BYTES)?;
        let mut writes = packed.unpack()?;
        writes.retain(|_, vector| !vector.is_empty());
        Ok(Self { writes })
    }

    /// As text, of visible ASCII that needs no escaping in a URL.
    #[must_use]
    pub fn to_text(&self) -> String {
        token_text::write(FORMAT, &Packed::pack(&self.writes))
    }

    /// Adds one write.
    pub fn insert(&mut self, partition: PartitionId, dot: Dot) {
        let vector = self.writes.entry(partition).or_default();
        vector.advance(dot.replica, dot.seq);
    }

    /// Adds the writes of another session.
    pub fn join(&mut self, other: &Self) {
        for (partition, vector) in &other.writes {
            self.writes.entry(*partition).or_default().join(vector);
        }
    }

    /// How many writes that it stands for are missing where `vector` tells what was taken in.
    pub fn lacking<'a>(&self, vector: impl Fn(PartitionId) -> &'a VersionVector) -> u64 {
        self.writes
            .keys()
            .map(|partition| self.lacking_in(*partition, vector(*partition)))
            .fold(0, u64::saturating_add)
    }

    /// How many writes to this partition that it stands for are missing where `vector` tells what was taken in.
    #[must_use]
    pub fn lacking_in(&self, partition: PartitionId, vector: &VersionVector) -> u64 {
        let wanted = self.writes.get(&partition);
        wanted.map_or(0, |wanted| vector.lag_behind(wanted))
    }

    /// Drops what `vector` covers: nobody needs to be asked for it who covers as much.
    pub fn forget<'a>(&mut self, vector: impl Fn(PartitionId) -> &'a VersionVector) {
        for (partition, writes) in &mut self.writes {
            let held = vector(*partition);
            *writes = writes
                .iter()
                .filter(|(replica, seq)| held.get(*replica) < *seq)
                .collect();
        }
        self.writes.retain(|_, vector| !vector.is_empty());
    }

    /// The most bytes that it may have, without writing it.
    #[must_use]
    pub fn weight(&self) -> usize {
        let mut replicas = std::collections::BTreeSet::new();
        let mut bytes = HEAD_BYTES;
        for vector in self.writes.values() {
            bytes += PARTITION_BYTES;
            for (replica, seq) in vector.iter() {
                bytes += PLACE_BYTES + seq_bytes(seq.get());
                replicas.insert(replica);
            }
        }
        bytes + replicas.len() * REPLICA_BYTES
    }

    /// The most bytes that one more write in each of `partitions` partitions, all of one replica, can add.
    #[must_use]
    pub const fn growth(partitions: usize) -> usize {
        REPLICA_BYTES + partitions * (PARTITION_BYTES + PLACE_BYTES + seq_bytes(u64::MAX))
    }
}

/// What a number takes in the encoding.
const fn seq_bytes(seq: u64) -> usize {
    match seq {
        0..=250 => 1,
        251..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use grapevine_crdt::{ReplicaId, Seq};

    use super::*;

    fn dot(replica: u8, seq: u64) -> Dot {
        Dot::new(ReplicaId::from_bytes([replica; 16]), Seq::new(seq))
    }

    #[test]
    fn the_text_of_a_token_is_a_promise() {
        let mut token = SessionToken::default();
        token.insert(PartitionId::new(7), dot(1, 3));
        token.insert(PartitionId::new(200), dot(2, 300));
        let text = token.to_text();
        assert_eq!(
            text,
            "AQIBAQEBAQEBAQEBAQEBAQEBAgICAgICAgICAgICAgICAgIHAQADyAEB-ywB"
        );
        assert_eq!(SessionToken::from_text(&text), Ok(token));
    }

    #[test]
    fn made_up_tokens_are_refused() {
        let long = "A".repeat(8_001);
        for text in ["", "A", "????", "AgAA", "AQABBwEAAQ", "AQAAAA", &long] {
            assert!(SessionToken::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_token_is_larger_than_its_weight_says() {
        let mut token = SessionToken::default();
        for replica in 0..4 {
            for partition in PartitionId::all() {
                let before = token.weight();
                let seq = 1 << (u64::from(partition.get()) % 50);
                token.insert(partition, dot(replica, seq));
                assert!(token.weight() <= before + SessionToken::growth(1));
            }
            let bytes = token.to_text().len() / 4 * 3;
            assert!(bytes <= token.weight(), "{bytes} of {}", token.weight());
        }
    }

    #[test]
    fn only_what_is_covered_is_forgotten() {
        let mut token = SessionToken::default();
        token.insert(PartitionId::new(7), dot(1, 3));
        token.insert(PartitionId::new(7), dot(2, 3));
        token.insert(PartitionId::new(8), dot(1, 1));
        let held: VersionVector = [(dot(1, 1).replica, Seq::new(5))].into_iter().collect();
        token.forget(|_| &held);
        let mut left = SessionToken::default();
        left.insert(PartitionId::new(7), dot(2, 3));
        assert_eq!(token, left);
    }
}
