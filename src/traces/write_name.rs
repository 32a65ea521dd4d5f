//! The ids of the trace of a write, and of the span of its commit.
//!
//! Law: they follow from the partition and the dot alone, the same on every node and in every version.

use core::fmt;

use grapevine_crdt::Dot;
use opentelemetry::trace::{SpanId, TraceId};

use crate::model::PartitionId;

/// What the hash is made for.
const PURPOSE: &str = "grapevine 2026-11-28 the trace of a write";

/// The name of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WriteName {
    pub(super) partition: PartitionId,
    pub(super) dot: Dot,
}

impl WriteName {
    /// The id of its trace, and of the span of its commit in it.
    pub(super) fn ids(self) -> (TraceId, SpanId) {
        let mut hasher = blake3::Hasher::new_derive_key(PURPOSE);
        hasher.update(&[self.partition.get()]);
        hasher.update(self.dot.replica.as_bytes());
        hasher.update(&self.dot.seq.get().to_be_bytes());
        let (mut trace, mut span) = ([0; 16], [0; 8]);
        let mut hash = hasher.finalize_xof();
        hash.fill(&mut trace);
        hash.fill(&mut span);
        (
            u128::from_be_bytes(trace).into(),
            u64::from_be_bytes(span).into(),
        )
    }
}

impl fmt::Display for WriteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (partition, dot) = (self.partition.get(), self.dot);
        write!(f, "{partition}/{}/{}", dot.replica, dot.seq.get())
    }
}

#[cfg(test)]
mod tests {
    use grapevine_crdt::{ReplicaId, Seq};

    use super::*;

    #[test]
    fn nodes_of_two_versions_look_for_a_write_in_two_traces() {
        let name = |partition, seq| WriteName {
            partition: PartitionId::new(partition),
            dot: Dot::new(ReplicaId::from_bytes([7; 16]), Seq::new(seq)),
        };
        let (trace, span) = name(3, 5).ids();
        assert_eq!(
            format!("{trace} {span}"),
            "4ebeea6cd4a13c28f7ef861840586a10 bffdde980f7e2ce8"
        );
        assert_ne!(name(3, 6).ids(), (trace, span));
        assert_ne!(name(4, 5).ids(), (trace, span));
    }
}
