//! What the store holds, as types: collections, partitions, and what travels between replicas.
//!
//! `contacts`, `counters` and `kv` are typed views over [`grapevine_crdt::Entity`]; they know nothing
//! of storage, the network or HTTP, and are told the time.

mod address;
mod partition;
mod replication;

pub use address::{Collection, EntityId, InvalidKey, MAX_KEY_BYTES, PARTITIONS, PartitionId};
pub(crate) use partition::short_hash;
pub use partition::{PartitionState, root_term, vector_term};
pub use replication::{
    Claim, CommitRecord, Cursor, DeltaPage, EntityCells, Invalid, Op, Outcome, PartitionSummary,
    Root,
};
