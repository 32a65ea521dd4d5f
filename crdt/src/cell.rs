//! The smallest thing that merges: one write to one field of one entity.

use serde::{Deserialize, Serialize};

use crate::{CausalContext, Dot, Timestamp};

/// What a cell is worth in its field. The field says what it measures: a hybrid logical time (registers and
/// attributes), a count (slots and baselines of counters) or a `seq` (removals).
///
/// ```
/// use grapevine_crdt::{Rank, Timestamp};
///
/// let time = Timestamp::from_unix_ms(1_000);
/// assert_eq!(Rank::at(time).time(), time);
/// assert!(Rank::new(2) > Rank::new(1));
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Rank(u64);

impl Rank {
    /// A rank from its number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The rank of an edit made at `time`.
    #[must_use]
    pub const fn at(time: Timestamp) -> Self {
        Self(time.as_u64())
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Read as a hybrid logical time. Only the ranks of registers and attributes are times.
    #[must_use]
    pub const fn time(self) -> Timestamp {
        Timestamp::from_u64(self.0)
    }
}

/// What a cell holds. The order of the variants is part of the encoding at rest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Value {
    /// The field was deleted.
    Tombstone,
    /// Opaque bytes; their meaning is the collection's.
    Bytes(#[serde(with = "raw_bytes")] Vec<u8>),
    /// Dots: those that a remover held of the entity, or those that a clearing keeps away. Only these two
    /// hold it.
    Dots(CausalContext),
    /// Nothing: the rank says it all (slots and baselines of counters).
    Counted,
}

/// One write to one field: taken whole or not at all, never blended.
///
/// ```
/// use grapevine_crdt::{CausalContext, Cell, Dot, Rank, ReplicaId, Seq, Value};
///
/// let first = Cell {
///     rank: Rank::new(1),
///     dot: Dot::new(ReplicaId::from_bytes([7; 16]), Seq::new(1)),
///     seen: CausalContext::default(),
///     value: Value::Bytes(b"Captain".to_vec()),
/// };
/// let second = Cell { rank: Rank::new(2), value: Value::Tombstone, ..first.clone() };
/// assert!(second.beats(&first));
/// assert!(!second.is_marker());
/// assert_eq!((first.bytes(), second.bytes()), (Some(&b"Captain"[..]), None));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// What it is worth; with the dot it decides which cell of a field is shown.
    pub rank: Rank,
    /// The write it belongs to.
    pub dot: Dot,
    /// The writes to this field that the writer had seen, including what those had seen, and the removals
    /// of the entity that it knew of. Empty but for attributes.
    pub seen: CausalContext,
    /// What was written.
    pub value: Value,
}

impl Cell {
    /// Whether this cell beats `other` where only one can be shown: the greater `(rank, dot)`.
    #[must_use]
    pub fn beats(&self, other: &Self) -> bool {
        (self.rank, self.dot) > (other.rank, other.dot)
    }

    /// Whether it only remembers which conflicts of an attribute were trimmed: a tombstone of rank 0, below every
    /// edit. Whoever writes cells again under other dots must leave it out, or at rank 0: with a time of its
    /// own it would delete what is shown.
    #[must_use]
    pub fn is_marker(&self) -> bool {
        self.rank == Rank::default() && self.value == Value::Tombstone
    }

    /// The bytes it holds, if it holds bytes.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.value {
            Value::Bytes(bytes) => Some(bytes),
            Value::Tombstone | Value::Dots(_) | Value::Counted => None,
        }
    }
}

/// Bytes written at once, not one by one; in encodings that prefix a length they look the same.
mod raw_bytes {
    use core::fmt;

    use serde::{Deserializer, Serializer, de::Visitor};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_byte_buf(Bytes)
    }

    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }

        fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(bytes)
        }
    }
}
