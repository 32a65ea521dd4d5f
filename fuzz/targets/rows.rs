//! What is read from the disk: rows of entities, groups of the journal, and their parts.

use grapevine::{
    codec,
    model::{Collection, CommitRecord, EntityCells, EntityId},
    store::{Group, MemoryRows, Table, entity_hash, read_entity},
};
use grapevine_crdt::{Entity, VersionVector};
use serde::{Serialize, de::DeserializeOwned};

pub(super) fn run(bytes: &[u8]) {
    comes_back::<Group>(bytes);
    comes_back::<Entity>(bytes);
    comes_back::<EntityCells>(bytes);
    comes_back::<CommitRecord>(bytes);
    comes_back::<VersionVector>(bytes);
    entity(bytes);
}

/// What is read is the same once written and read again.
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(value) = codec::decode::<T>(bytes) else {
        return;
    };
    let written = codec::encode(&value).expect("what was read can be written");
    let again: T = codec::decode(&written).expect("what was written can be read");
    assert_eq!(value, again);
}

/// A row of an entity, whatever is in it.
fn entity(row: &[u8]) {
    let id = EntityId::new(Collection::Kv, "key").expect("a good key");
    let mut key = vec![id.partition().get(), u8::from(Collection::Kv)];
    key.extend_from_slice(b"key");
    let mut rows = MemoryRows::default();
    rows.apply([((Table::Entities, key.into()), Some(row.to_vec().into()))]);
    if let Ok(Some(entity)) = read_entity(&rows, &id) {
        let _visible = entity.is_visible();
        assert!(entity.dots().len() <= row.len());
        entity_hash(&id, &entity).expect("what was read can be written");
    }
}
