//! What is wrong with bytes or cells from outside.
//!
//! Peers and disks cannot panic us: what would break an invariant of a type is refused where it is decoded
//! ([`VersionVector`](crate::VersionVector), [`CausalContext`](crate::CausalContext),
//! [`Field`](crate::Field)), and what no honest writer makes is told by
//! [`FieldCell::check`](crate::FieldCell::check). This module knows no encoding.

use core::fmt;

/// Why something from outside cannot be taken in. No state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// A `seq` of 0, which no write has.
    ZeroSeq,
    /// A vector whose entries are not in the order of the replicas, each once.
    UnorderedVector,
    /// A field whose cells do not strictly fall in `(rank, dot)`.
    UnorderedField,
    /// A single-writer slot written by another replica than its own.
    ForeignSlot,
    /// A value of a kind that the field never holds.
    ForeignValue,
    /// A memory of writes seen in a field that keeps none.
    UnwantedMemory,
    /// A cell that claims to have seen, removed or cleared its own write.
    OwnWriteSeen,
    /// A removal or a clearing whose rank is not its `seq`.
    ForeignRank,
    /// The name of an outside writer that is longer than any that is taken.
    LongWriter,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ZeroSeq => "a write is numbered 0",
            Self::UnorderedVector => "the entries of a vector are out of order",
            Self::UnorderedField => "the cells of a field do not fall in (rank, dot)",
            Self::ForeignSlot => "a slot was written by a replica that does not own it",
            Self::ForeignValue => "a field holds a value of the wrong kind",
            Self::UnwantedMemory => "a field without memory holds what was seen",
            Self::OwnWriteSeen => "a cell claims to have seen its own write",
            Self::ForeignRank => "the rank of a removal or a clearing is not its number",
            Self::LongWriter => "the name of an outside writer is too long",
        })
    }
}

impl core::error::Error for Malformed {}
