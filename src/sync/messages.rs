//! Every message between peers.
//!
//! On the wire a frame is a length (4 bytes, big-endian, at most [`MAX_FRAME_BYTES`]) and a
//! [`codec`](crate::codec)-encoded [`Message`]. The first message of each side of a connection is
//! [`Message::Hello`], and only the first.

use grapevine_crdt::{ReplicaId, Timestamp, VersionVector};
use serde::{Deserialize, Serialize};

use crate::model::{CommitRecord, Cursor, DeltaPage, PartitionId, PartitionSummary, Root};

/// The version of this protocol; peers of another are refused.
pub const PROTOCOL_VERSION: u16 = 1;

/// The most bytes of a frame behind its length: 16 MiB. One entity, which is never split, must fit.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// [`PROTOCOL_VERSION`] of the speaker.
    pub version: u16,
    /// The cluster it belongs to; peers of another are refused.
    pub cluster: String,
    /// Its name.
    pub name: String,
    /// The life under which it writes.
    pub replica: ReplicaId,
    /// Where it serves HTTP (`host:port`).
    pub http: String,
    /// Where it listens for peers (`host:port`).
    pub peer: String,
    /// Its wall clock (milliseconds since 1970-01-01T00:00:00Z).
    pub unix_ms: u64,
    /// Its hybrid logical clock.
    pub clock: Timestamp,
}

/// What peers say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Who I am. Opens the connection, in both directions.
    Hello(PeerInfo),
    /// My root is this; is it yours? Answered by [`Self::InStep`] or [`Self::Summaries`].
    Probe {
        /// The root of the speaker.
        root: Root,
    },
    /// My root is the one you sent.
    InStep {
        /// That root.
        root: Root,
    },
    /// My root is another: these are my 256 partitions.
    Summaries {
        /// The root of the speaker.
        root: Root,
        /// One for each partition, in order.
        partitions: Vec<PartitionSummary>,
    },
    /// Send me a page of what `base` does not cover. Answered by [`Self::Delta`]. It also tells what the
    /// speaker has: `vector`.
    Pull {
        /// Names the pull in its answers; the speaker's own.
        pull: u64,
        /// How many pages were asked for before in this pull.
        page: u32,
        /// Of which partition.
        partition: PartitionId,
        /// The speaker's own vector.
        vector: VersionVector,
        /// Whether the speaker held cells, when the pull began, that its vector does not cover and that no
        /// pull of its own is about to complete.
        open: bool,
        /// What need not be sent.
        base: VersionVector,
        /// Behind which place of the log.
        cursor: Option<Cursor>,
    },
    /// A page of a delta.
    Delta {
        /// The pull it answers.
        pull: u64,
        /// The page it answers.
        page: u32,
        /// Of which partition.
        partition: PartitionId,
        /// The clock of the speaker: no time in the page is above it.
        clock: Timestamp,
        /// The page.
        delta: DeltaPage,
    },
    /// What I have just written.
    Push {
        /// The clock of the speaker: no time in the records is above it.
        clock: Timestamp,
        /// The records of one group commit, in order.
        records: Vec<CommitRecord>,
    },
}
