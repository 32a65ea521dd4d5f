//! Every message between peers.
//!
//! On the wire a frame is a length (4 bytes, big-endian, at most [`MAX_FRAME_BYTES`]) and a
//! [`codec`](crate::codec)-encoded [`Message`]. The first message of each side of a connection is
//! [`Message::Hello`], and only the first.

use bytes::Bytes;
use grapevine_crdt::{Rank, ReplicaId, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::{
    CommitRecord, Cursor, EntityCells, EntityId, EntityState, ListingPage, Outline, PartitionId,
    PartitionSummary, Root, Table,
};

/// The version of this protocol; peers of another are refused.
pub const PROTOCOL_VERSION: u16 = 2;

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
    /// Which store it is, through all its lives.
    pub store: Uuid,
    /// Where it serves HTTP (`host:port`).
    pub http: String,
    /// Where it listens for peers (`host:port`).
    pub peer: String,
    /// Its wall clock (milliseconds since 1970-01-01T00:00:00Z).
    pub unix_ms: u64,
    /// Its hybrid logical clock.
    pub clock: Timestamp,
}

/// What an asker says of itself, so that the answer can be short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The hash of what it has collected of the partition.
    pub floor: u128,
    /// Whether it holds the vector of an earlier page of the same transfer.
    pub seen: bool,
    /// Whether it did not understand an answer: the next is to differ only from the vector asked with, and to tell
    /// the floor whole.
    pub whole: bool,
}

/// What the speaker has collected ([`Floor`](crate::model::Floor)), its vector in outline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldFloor {
    /// The writes of which cells were collected, with those before them.
    pub vector: Outline,
    /// The greatest time among the collected cells.
    pub rank: Rank,
}

/// A page of a delta ([`DeltaPage`](crate::model::DeltaPage)), its vectors in outline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldDelta {
    /// Each with every cell that the base does not cover.
    pub entities: Vec<EntityCells>,
    /// The vector of the snapshot that this page was read from.
    pub vector: Outline,
    /// The content of the partition in that snapshot.
    pub stamp: u64,
    /// Where the next page starts; `None` if this was the last.
    pub next: Option<Cursor>,
    /// What the speaker has collected of the partition; only on the last page.
    pub floor: Option<ToldFloor>,
}

/// A page of all that is held ([`StatePage`](crate::model::StatePage)), its vectors in outline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldState {
    /// In the order of their keys in the store.
    pub entities: Vec<EntityState>,
    /// The vector of the snapshot that this page was read from.
    pub vector: Outline,
    /// What the speaker has collected of the partition.
    pub floor: ToldFloor,
    /// Behind which entity the next page starts; `None` if this was the last.
    pub next: Option<EntityId>,
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
    /// Send me a page of what `base` does not cover. Answered by [`Self::Delta`], [`Self::Behind`] or
    /// [`Self::Unknown`]. It also tells what the speaker has: `vector`.
    Pull {
        /// Names the pull in its answers; the speaker's own.
        pull: u64,
        /// How many pages were asked for before in this pull.
        page: u32,
        /// Of which partition.
        partition: PartitionId,
        /// The speaker's own vector.
        vector: Outline,
        /// Whether the speaker held cells, when the pull began, that its vector does not cover and that no
        /// pull of its own is about to complete.
        open: bool,
        /// Whether the speaker holds cells now that its vector does not cover.
        unclaimed: bool,
        /// Whether the speaker held nothing of the partition when the pull began, and has taken in nothing but
        /// this pull since: whatever was collected, it can miss nothing of it.
        fresh: bool,
        /// What need not be sent.
        base: Outline,
        /// Behind which place of the log.
        cursor: Option<Cursor>,
        /// How the answer may be told.
        terms: Terms,
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
        /// Whether the speaker holds cells of the partition that its vector does not cover.
        unclaimed: bool,
        /// The page.
        delta: ToldDelta,
    },
    /// Your vector does not include what I have collected of the partition: no delta could tell you what is gone.
    Behind {
        /// The pull it answers.
        pull: u64,
        /// The page it answers.
        page: u32,
        /// Of which partition.
        partition: PartitionId,
        /// The speaker's own vector.
        vector: Outline,
        /// What the speaker has collected.
        floor: ToldFloor,
    },
    /// Send me a page of all that you hold of the partition. Answered by [`Self::State`] or [`Self::Unknown`].
    RejoinPull {
        /// Names the transfer in its answers; the speaker's own.
        pull: u64,
        /// How many pages were asked for before in this transfer.
        page: u32,
        /// Of which partition.
        partition: PartitionId,
        /// The speaker's own vector: of what it covers the dots are told, and not the cells.
        vector: Outline,
        /// Behind which entity.
        cursor: Option<EntityId>,
        /// How the answer may be told.
        terms: Terms,
    },
    /// I cannot tell which vector you mean: no vector that I know has that hash. Ask again, beside what I hold.
    Unknown {
        /// The pull it answers.
        pull: u64,
        /// The page it answers.
        page: u32,
        /// Of which partition.
        partition: PartitionId,
        /// Whether the speaker holds cells of the partition that its vector does not cover.
        unclaimed: bool,
        /// What the speaker holds of the partition.
        table: Table,
    },
    /// A page of all that is held.
    State {
        /// The transfer it answers.
        pull: u64,
        /// The page it answers.
        page: u32,
        /// Of which partition.
        partition: PartitionId,
        /// The clock of the speaker: no time in the page is above it.
        clock: Timestamp,
        /// The page.
        state: ToldState,
    },
    /// Tell me a page of the visible entities of the partition. Answered by [`Self::Listing`].
    List {
        /// Names the repair in its answers; the speaker's own.
        pull: u64,
        /// How many questions were put before in this repair.
        page: u32,
        /// Of which partition.
        partition: PartitionId,
        /// Behind which entity.
        cursor: Option<EntityId>,
    },
    /// A page of visible entities, each with its hash.
    Listing {
        /// The repair it answers.
        pull: u64,
        /// The question it answers.
        page: u32,
        /// Of which partition.
        partition: PartitionId,
        /// The page.
        listing: ListingPage,
    },
    /// Send me all cells of these entities. Answered by [`Self::Cells`].
    Fetch {
        /// Names the repair in its answers; the speaker's own.
        pull: u64,
        /// How many questions were put before in this repair.
        page: u32,
        /// Of which partition.
        partition: PartitionId,
        /// Which, in order.
        ids: Vec<EntityId>,
    },
    /// Whole entities.
    Cells {
        /// The repair it answers.
        pull: u64,
        /// The question it answers.
        page: u32,
        /// Of which partition.
        partition: PartitionId,
        /// The clock of the speaker: no time in the cells is above it.
        clock: Timestamp,
        /// How many of the entities asked for, from the first on, this answers. What of them is not held is not
        /// sent.
        answered: u32,
        /// Those that are held, with all their cells, in order.
        entities: Vec<EntityCells>,
    },
    /// What I have just written.
    Push {
        /// The clock of the speaker: no time in the records is above it.
        clock: Timestamp,
        /// The records of one group commit, in order.
        records: Vec<CommitRecord>,
    },
    /// A message of gossip that is too large for a datagram. No business of the engine's.
    Gossip {
        /// The datagram that it would have been, not sealed.
        message: Bytes,
    },
}
