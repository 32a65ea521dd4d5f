//! What goes into a group and what comes of it.

use grapevine_crdt::{Dot, Entity, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    model::{Floor, Op},
    store::{RowChange, State},
};

/// What one journal row holds: everything that a group commit took in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its number; contiguous in the journal.
    pub number: u64,
    /// The high-water mark of the clock after it.
    pub clock: Timestamp,
    /// Its steps, in order.
    pub ops: Vec<Op>,
}

/// What a group changes.
#[derive(Debug)]
pub struct Changes {
    /// New rows, each key once, in the order of the keys.
    pub rows: Vec<RowChange>,
    /// The state after it.
    pub state: State,
}

/// What a local write is told when it decides what to write.
#[derive(Debug)]
pub struct Edit<'a> {
    /// The entity as it is; empty if nothing is held.
    pub entity: &'a Entity,
    /// The name of the write.
    pub dot: Dot,
    /// The time of the write, above every time told or observed before.
    pub time: Timestamp,
    /// What has been collected of the partition.
    pub floor: &'a Floor,
}
