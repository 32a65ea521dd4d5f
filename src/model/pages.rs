//! What is told of a partition beside deltas: all that is held, for who rejoins, and the hashes of what is
//! visible, for who repairs.

use grapevine_crdt::{Cell, Dot, Entity, FieldCell, FieldKey, VersionVector};
use serde::{Deserialize, Serialize};

use super::{EntityId, Floor, short_hash};

/// The name of a cell within its entity. A write may set several fields, and one of them may be collected while
/// another stands, so the name of the write is not enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CellName {
    /// The write.
    pub dot: Dot,
    /// 8 bytes of a hash of the field.
    field: u64,
}

/// 8 bytes of a hash of a field.
fn hash_of(field: &FieldKey) -> u64 {
    let bytes = crate::codec::encode(field).unwrap_or_default();
    u64::try_from(short_hash(&bytes) >> 64).unwrap_or_default()
}

impl CellName {
    /// The name of `cell` of `field`.
    #[must_use]
    pub fn of(field: &FieldKey, cell: &Cell) -> Self {
        Self {
            dot: cell.dot,
            field: hash_of(field),
        }
    }

    /// Whether it names a cell of `field`.
    #[must_use]
    pub fn is_of(&self, field: &FieldKey) -> bool {
        self.field == hash_of(field)
    }

    /// The names of all cells of `entity`, in order, each once.
    #[must_use]
    pub fn all(entity: &Entity) -> Vec<Self> {
        let mut names: Vec<Self> = entity
            .cells()
            .map(|(key, cell)| Self::of(key, cell))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// What a peer holds of one entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityState {
    /// Which entity.
    pub id: EntityId,
    /// The names of all its cells, in order, each once.
    pub names: Vec<CellName>,
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
