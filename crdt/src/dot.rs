//! Names of writes: which replica made it, and as which of its writes to the partition.
//!
//! A dot names one immutable write to one entity for ever; `seq` is contiguous from 1 for each replica in
//! each partition. The partition is not part of the type: a dot is only ever compared with dots of its own
//! partition.

use core::fmt;

use serde::{Deserialize, Serialize};

/// One life of a node: 16 bytes of a UUID v7, minted at the first write after each start.
///
/// Only the process that minted it ever writes under it.
///
/// ```
/// use grapevine_crdt::ReplicaId;
///
/// let replica = ReplicaId::from_bytes([0xab; 16]);
/// assert_eq!(replica.to_string(), "abababab-abab-abab-abab-abababababab");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaId([u8; 16]);

impl ReplicaId {
    /// The replica whose UUID has these bytes (big-endian, RFC 9562 section 4).
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes of the UUID (big-endian, RFC 9562 section 4).
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ReplicaId {
    /// The hyphenated lower-case form of RFC 9562 section 4.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The number of a write among the writes of one replica to one partition; the first is 1.
///
/// ```
/// use grapevine_crdt::Seq;
///
/// assert_eq!(Seq::ZERO.next(), Some(Seq::new(1)));
/// assert_eq!(Seq::new(u64::MAX).next(), None);
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Seq(u64);

impl Seq {
    /// Before the first write.
    pub const ZERO: Self = Self(0);

    /// The `number`-th write; 0 stands before the first.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of the next write, or `None` after 2^64 - 1 writes.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

/// The name of one write in one partition. All cells of one write share it.
///
/// The order (replica first, then `seq`) breaks ties between equal ranks; it says nothing about time.
///
/// ```
/// use grapevine_crdt::{Dot, ReplicaId, Seq};
///
/// let (a, b) = (ReplicaId::from_bytes([1; 16]), ReplicaId::from_bytes([2; 16]));
/// assert!(Dot::new(a, Seq::new(9)) < Dot::new(b, Seq::new(1)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// Who wrote.
    pub replica: ReplicaId,
    /// As which of its writes to the partition.
    pub seq: Seq,
}

impl Dot {
    /// The `seq`-th write of `replica`.
    #[must_use]
    pub const fn new(replica: ReplicaId, seq: Seq) -> Self {
        Self { replica, seq }
    }
}
