//! The index of what entities are found by: which rows it has for an entity, whatever the entity is.
//!
//! A row is its key alone; its first byte says which list it belongs to. Contacts are found by words, groups and
//! numbers ([`IndexRow`]), key-values that expire by when they do ([`ExpiryRow`]).
//!
//! Law: the rows follow from what the entity shows, and from nothing else. A hidden entity has none.

use std::collections::BTreeSet;

use bytes::Bytes;
use grapevine_crdt::Entity;

use super::{
    Collection, EntityId,
    contact_index::{IndexRow, contact_rows},
    expiry_index::ExpiryRow,
    fold, kv,
};

/// Which rows an entity has follows from this number and [`index_version`]; it rises with each change of the rules.
const RULES: u8 = 4;

/// What the row tables of other versions were made by: they must be made anew.
#[must_use]
pub fn index_version() -> Vec<u8> {
    let tables = fold::TABLES.map(|(major, minor, patch)| [major, minor, patch]);
    [RULES].into_iter().chain(tables.concat()).collect()
}

/// Whether an entity may have rows in the index.
#[must_use]
pub fn is_indexed(id: &EntityId) -> bool {
    match id.collection() {
        Collection::Contacts | Collection::Kv => true,
        Collection::Counters | Collection::Topics | Collection::Roster | Collection::Tokens => {
            false
        }
    }
}

/// The rows that the index has for an entity: none if it is hidden.
#[must_use]
pub fn index_rows(id: &EntityId, entity: &Entity) -> BTreeSet<Bytes> {
    match id.collection() {
        Collection::Contacts => contact_rows(id.key(), entity),
        Collection::Kv => kv::expires_ms(entity)
            .map(|expires_ms| {
                let key = id.key();
                ExpiryRow { expires_ms, key }.encode()
            })
            .into_iter()
            .collect(),
        Collection::Counters | Collection::Topics | Collection::Roster | Collection::Tokens => {
            BTreeSet::new()
        }
    }
}

/// Whose row of the index it is; `None` if it is none.
#[must_use]
pub fn indexed_entity(key: &[u8]) -> Option<EntityId> {
    if let Some(row) = ExpiryRow::read(key) {
        return EntityId::new(Collection::Kv, row.key).ok();
    }
    let row = IndexRow::read(key)?;
    EntityId::new(Collection::Contacts, row.id).ok()
}
