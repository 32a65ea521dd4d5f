//! What is told of a partition beside deltas: all that is held, for who rejoins, and the hashes of what is
//! visible, for who repairs.

use grapevine_crdt::{Dot, FieldCell, VersionVector};
use serde::{Deserialize, Serialize};

use super::{EntityId, Floor};

/// What a peer holds of one entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityState {
    /// Which entity.
    pub id: EntityId,
    /// The dots of all its cells, in order, each once.
    pub dots: Vec<Dot>,
    /// Those of its cells that the asker's vector does not cover.
    pub cells: Vec<FieldCell>,
}

/// A page of all that is held of a partition, read from one snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatePage {
    /// In the order of their keys in the store: by collection, then by key.
    pub entities: Vec<EntityState>,
    /// The vector of that snapshot.
    pub vector: VersionVector,
    /// What has been collected in that snapshot.
    pub floor: Floor,
    /// Behind which entity the next page starts; `None` if this was the last.
    pub next: Option<EntityId>,
}

/// A page of the visible entities of a partition, read from one snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListingPage {
    /// Each with the hash that the digest counts for it, in the order of their keys in the store.
    pub entries: Vec<(EntityId, u128)>,
    /// Behind which entity the next page starts; `None` if this was the last.
    pub next: Option<EntityId>,
}
