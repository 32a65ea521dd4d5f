//! The bytes of rows: keys that sort as they are read, values behind a format byte.

use bytes::Bytes;
use grapevine_crdt::{Dot, Entity, ReplicaId, Seq, Timestamp};

use super::{Rows, StoreError, Table};
use crate::{
    codec,
    model::{Collection, ContactVersion, EntityId, PartitionId, short_hash},
};

const ENTITY_FORMAT: u8 = 1;
const LOG_FORMAT: u8 = 1;
const INDEX_FORMAT: u8 = 1;
const HISTORY_FORMAT: u8 = 1;
const HASH_BYTES: usize = 16;
const TIME_BYTES: usize = 8;

/// (partition, collection, key).
pub(super) fn entity_key(partition: PartitionId, id: &EntityId) -> Bytes {
    collection_key(partition, id.collection(), id.key())
}

/// The key of the first entity of `collection` whose key is not below `key`.
pub(super) fn collection_key(partition: PartitionId, collection: Collection, key: &str) -> Bytes {
    let mut bytes = Vec::with_capacity(2 + key.len());
    bytes.push(partition.get());
    bytes.push(u8::from(collection));
    bytes.extend_from_slice(key.as_bytes());
    bytes.into()
}

pub(super) fn parse_entity_key(bytes: &[u8]) -> Result<EntityId, StoreError> {
    let malformed = || StoreError::Key(Table::Entities.name());
    let (head, key) = bytes.split_at_checked(2).ok_or_else(malformed)?;
    let collection = Collection::try_from(head[1]).map_err(|_| malformed())?;
    let key = core::str::from_utf8(key).map_err(|_| malformed())?;
    EntityId::new(collection, key).map_err(|_| malformed())
}

/// (partition, replica, seq): sorts by the order of the dots.
pub(super) fn log_key(partition: PartitionId, dot: Dot) -> Bytes {
    let mut bytes = Vec::with_capacity(25);
    bytes.push(partition.get());
    bytes.extend_from_slice(dot.replica.as_bytes());
    bytes.extend_from_slice(&dot.seq.get().to_be_bytes());
    bytes.into()
}

/// The end of a partition's rows, exclusive; empty (no end) for the last.
pub(super) fn partition_end(partition: PartitionId) -> Vec<u8> {
    partition
        .get()
        .checked_add(1)
        .map(|next| vec![next])
        .unwrap_or_default()
}

pub(super) fn parse_log_key(bytes: &[u8]) -> Result<Dot, StoreError> {
    let malformed = || StoreError::Key(Table::Log.name());
    let rest = bytes.get(1..).ok_or_else(malformed)?;
    let (replica, seq) = rest.split_first_chunk::<16>().ok_or_else(malformed)?;
    let seq: [u8; 8] = seq.try_into().map_err(|_| malformed())?;
    Ok(Dot::new(
        ReplicaId::from_bytes(*replica),
        Seq::new(u64::from_be_bytes(seq)),
    ))
}

pub(super) fn log_value(id: &EntityId) -> Bytes {
    let mut bytes = Vec::with_capacity(2 + id.key().len());
    bytes.push(LOG_FORMAT);
    bytes.push(u8::from(id.collection()));
    bytes.extend_from_slice(id.key().as_bytes());
    bytes.into()
}

pub(super) fn parse_log_value(bytes: &[u8]) -> Result<EntityId, StoreError> {
    match bytes.first() {
        Some(&LOG_FORMAT) => parse_entity_key(bytes),
        Some(_) | None => Err(StoreError::Key(Table::Log.name())),
    }
}

/// (entity key, 0, number): no key has a zero byte, so the versions of a contact lie together.
pub(super) fn history_key(partition: PartitionId, id: &EntityId, number: u64) -> Bytes {
    let mut bytes = entity_key(partition, id).to_vec();
    bytes.push(0);
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.into()
}

/// Where the versions of a contact begin and end.
pub(super) fn history_range(partition: PartitionId, id: &EntityId) -> [Vec<u8>; 2] {
    let key = entity_key(partition, id);
    [0, 1].map(|last| [&key[..], &[last]].concat())
}

/// The number of a version among those of its contact.
pub(super) fn history_number(key: &[u8]) -> u64 {
    let number = key.last_chunk().copied();
    number.map_or(0, u64::from_be_bytes)
}

/// A version whose time is not known yet: a format byte, the time, the version.
pub(super) fn encode_version(version: &ContactVersion) -> Result<Bytes, StoreError> {
    let mut bytes = vec![HISTORY_FORMAT; 1 + TIME_BYTES];
    bytes[1..].fill(0);
    codec::encode_into(version, &mut bytes)?;
    Ok(bytes.into())
}

/// When a version was taken in; zero if that is not known yet.
pub(super) fn history_time(row: &[u8]) -> Timestamp {
    let time = row.get(1..).and_then(<[u8]>::first_chunk).copied();
    time.map_or(Timestamp::ZERO, |time| {
        Timestamp::from_u64(u64::from_be_bytes(time))
    })
}

pub(super) fn with_history_time(row: &[u8], time: Timestamp) -> Bytes {
    let mut row = row.to_vec();
    if let Some(place) = row.get_mut(1..=TIME_BYTES) {
        place.copy_from_slice(&time.as_u64().to_be_bytes());
    }
    row.into()
}

pub(super) fn decode_version(row: &[u8]) -> Result<(Timestamp, ContactVersion), StoreError> {
    let row_error = |source| StoreError::Row {
        table: Table::History.name(),
        source,
    };
    if row.first() != Some(&HISTORY_FORMAT) {
        return Err(StoreError::Key(Table::History.name()));
    }
    let rest = row.get(1 + TIME_BYTES..).unwrap_or_default();
    let version = codec::decode(rest).map_err(row_error)?;
    Ok((history_time(row), version))
}

/// (time, key of a version).
pub(super) fn history_time_key(time: Timestamp, version: &[u8]) -> Bytes {
    let time = time.as_u64().to_be_bytes();
    [&time[..], version].concat().into()
}

pub(super) fn parse_history_time(key: &[u8]) -> Option<(Timestamp, Bytes)> {
    let (time, version) = key.split_first_chunk::<TIME_BYTES>()?;
    let time = Timestamp::from_u64(u64::from_be_bytes(*time));
    Some((time, Bytes::copy_from_slice(version)))
}

/// What a row of an index holds whose key says it all.
pub(super) fn index_value() -> Bytes {
    Bytes::from_static(&[INDEX_FORMAT])
}

/// A stored entity: its contribution to the digest, then its cells.
#[derive(Default)]
pub(super) struct StoredEntity {
    pub(super) hash: u128,
    pub(super) entity: Entity,
}

pub(super) fn encode_entity(hash: u128, entity: &Entity) -> Result<Bytes, StoreError> {
    let mut bytes = Vec::with_capacity(128);
    bytes.push(ENTITY_FORMAT);
    bytes.extend_from_slice(&hash.to_be_bytes());
    codec::encode_into(entity, &mut bytes)?;
    Ok(bytes.into())
}

pub(super) fn decode_entity(bytes: &[u8]) -> Result<StoredEntity, StoreError> {
    let row = |source| StoreError::Row {
        table: Table::Entities.name(),
        source,
    };
    let (format, rest) = bytes
        .split_first()
        .ok_or_else(|| row(codec::CodecError::Empty))?;
    if *format != ENTITY_FORMAT {
        return Err(row(codec::CodecError::Format {
            found: *format,
            expected: ENTITY_FORMAT,
        }));
    }
    let (hash, rest) = rest
        .split_first_chunk::<HASH_BYTES>()
        .ok_or_else(|| row(codec::CodecError::Empty))?;
    Ok(StoredEntity {
        hash: u128::from_be_bytes(*hash),
        entity: codec::decode(rest).map_err(row)?,
    })
}

/// As [`decode_entity`]; `None` if the row is damaged: it cannot be read, or its cells are not those that its hash
/// was made from.
pub(super) fn decode_sound(id: &EntityId, row: &[u8]) -> Result<Option<StoredEntity>, StoreError> {
    let Ok(stored) = decode_entity(row) else {
        return Ok(None);
    };
    let hash = entity_hash(id, &stored.entity)?;
    Ok((stored.hash == hash).then_some(stored))
}

/// The hash in an entity's row, read without its cells; 0 if the row is too short to have one.
pub(super) fn stored_hash(row: &[u8]) -> u128 {
    row.get(1..=HASH_BYTES)
        .and_then(|hash| <[u8; HASH_BYTES]>::try_from(hash).ok())
        .map_or(0, u128::from_be_bytes)
}

/// The row with another hash; as it is if it is too short to have one.
pub(super) fn with_hash(row: &[u8], hash: u128) -> Bytes {
    let mut row = row.to_vec();
    if let Some(place) = row.get_mut(1..=HASH_BYTES) {
        place.copy_from_slice(&hash.to_be_bytes());
    }
    row.into()
}

/// The stored cells of an entity, if any are held; it may be hidden.
pub fn read_entity<R: Rows + ?Sized>(
    rows: &R,
    id: &EntityId,
) -> Result<Option<Entity>, StoreError> {
    let key = entity_key(id.partition(), id);
    rows.get(Table::Entities, &key)?
        .map(|bytes| decode_entity(&bytes).map(|stored| stored.entity))
        .transpose()
}

/// What an entity adds to its partition's digest: 0 if it is hidden, else the first 16 bytes of BLAKE3 over
/// its id and the cells that [`Entity::digested`] names.
pub fn entity_hash(id: &EntityId, entity: &Entity) -> Result<u128, StoreError> {
    let mut bytes = Vec::with_capacity(256);
    let mut any = false;
    codec::encode_into(id, &mut bytes)?;
    for (key, cell) in entity.digested() {
        any = true;
        codec::encode_into(&(key, cell), &mut bytes)?;
    }
    Ok(if any { short_hash(&bytes) } else { 0 })
}
