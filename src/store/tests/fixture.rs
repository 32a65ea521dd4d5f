//! What the tests of the store share.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use grapevine_crdt::{
    CausalContext, Cell, Entity, FieldCell, FieldKey, Rank, Timestamp, Value, VersionVector,
};

use crate::{
    clock::WallClock,
    model::{Collection, EntityId, PartitionId},
    store::{
        Edit, Rows, Snapshot, State, Store, StoreError, StoreOptions, Table, WriteError,
        entity_hash, layout,
    },
};

/// A clock that stands until it is set.
#[derive(Debug)]
pub(super) struct SetClock(AtomicU64);

impl SetClock {
    pub(super) fn at(unix_ms: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(unix_ms)))
    }
}

impl WallClock for SetClock {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) fn options(directory: &Path) -> StoreOptions {
    StoreOptions {
        cache_bytes: 8 * 1024 * 1024,
        ..StoreOptions::new(directory)
    }
}

pub(super) fn open(options: StoreOptions) -> Store {
    Store::open(options, SetClock::at(1_000_000)).expect("the store opens")
}

pub(super) fn kv(key: &str) -> EntityId {
    EntityId::new(Collection::Kv, key).expect("a valid key")
}

/// The cells of a register set to `value`.
pub(super) fn register(edit: &Edit<'_>, value: &[u8]) -> Vec<FieldCell> {
    vec![FieldCell {
        field: FieldKey::Register("value".to_owned()),
        cell: Cell {
            rank: Rank::at(edit.time),
            dot: edit.dot,
            seen: CausalContext::default(),
            value: Value::Bytes(value.to_vec()),
        },
    }]
}

pub(super) async fn put(
    store: &Store,
    key: &str,
    value: &[u8],
) -> Result<Timestamp, WriteError<String>> {
    let value = value.to_vec();
    store
        .write(kv(key), move |edit| {
            Ok((register(&edit, &value), edit.time))
        })
        .await
}

#[expect(dead_code)]
pub(super) fn shown(entity: &Entity) -> Option<Vec<u8>> {
    entity
        .field(&FieldKey::Register("value".to_owned()))
        .and_then(|field| field.shown().bytes())
        .map(<[u8]>::to_vec)
}

#[expect(dead_code)]
pub(super) fn get(snapshot: &Snapshot, key: &str) -> Option<Vec<u8>> {
    snapshot
        .entity(&kv(key))
        .expect("the row is read")
        .as_ref()
        .and_then(shown)
}

/// Every row, in order.
pub(super) fn rows<R: Rows>(from: &R) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    for table in Table::ALL {
        from.scan(table, &[], false, &[], &mut |key, value| {
            all.push((table, key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        })
        .expect("the rows are read");
    }
    all
}

/// Recomputes from the rows what the state says, and compares: digests, vector hashes, unclaimed dots, root;
/// and that the log has a row for exactly the dots held.
pub(super) fn check_state<R: Rows>(held: &R, state: &State) -> Result<(), StoreError> {
    let mut log = std::collections::BTreeMap::new();
    let mut digests = vec![0u128; 256];
    let mut unclaimed = vec![0u64; 256];
    let mut expected = std::collections::BTreeMap::new();
    for (table, key, value) in rows(held) {
        match table {
            Table::Entities => {
                let id = layout::parse_entity_key(&key)?;
                let partition = PartitionId::new(key[0]);
                assert_eq!(id.partition(), partition);
                let stored = layout::decode_entity(&value)?;
                let hash = entity_hash(&id, &stored.entity)?;
                assert_eq!(stored.hash, hash, "the hash in the row");
                let sum = &mut digests[partition.index()];
                *sum = sum.wrapping_add(hash);
                for dot in stored.entity.dots() {
                    expected.insert(layout::log_key(partition, dot).to_vec(), id.clone());
                    let vector: &VersionVector = &state.partition(partition).vector;
                    unclaimed[partition.index()] += u64::from(!vector.covers(dot));
                }
            }
            Table::Log => {
                log.insert(key, layout::parse_log_value(&value)?);
            }
        }
    }
    assert_eq!(log, expected, "the log has exactly the dots held");
    let mut fresh = State::default();
    for (id, partition) in state.partitions() {
        assert_eq!(partition.digest, digests[id.index()], "digest of {id}");
        assert_eq!(
            partition.unclaimed,
            unclaimed[id.index()],
            "unclaimed of {id}"
        );
        let sum = partition
            .vector
            .iter()
            .map(|(replica, seq)| crate::store::vector_term(replica, seq))
            .fold(0, u128::wrapping_add);
        assert_eq!(partition.vector_hash, sum, "vector hash of {id}");
        fresh.set(id, (**partition).clone());
    }
    assert_eq!(fresh.root(), state.root(), "root");
    Ok(())
}

/// Copies both files as they are, as a crash would leave them.
pub(super) fn copy_files(from: &Path, to: &Path) {
    for name in ["journal.redb", "data.redb"] {
        std::fs::copy(from.join(name), to.join(name)).expect("the file is copied");
    }
}
