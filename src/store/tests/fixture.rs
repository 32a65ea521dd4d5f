//! What the tests of the store share.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use grapevine_crdt::{CausalContext, Cell, Entity, FieldCell, FieldKey, Rank, Timestamp, Value};

use crate::{
    clock::WallClock,
    model::{Collection, EntityId, PartitionId, index_rows},
    store::{
        Edit, Rows, Snapshot, State, Store, StoreError, StoreOptions, Table, WriteError,
        entity_hash, layout, vector_term,
    },
};

pub(super) type TestResult = Result<(), Box<dyn std::error::Error>>;

/// A wait that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(60);

/// A clock that stands.
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

pub(super) fn open(options: StoreOptions) -> Result<Store, StoreError> {
    Store::open(options, SetClock::at(1_000_000))
}

/// Waits until `condition` holds.
pub(super) async fn until(mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "the deadline has passed");
        tokio::task::yield_now().await;
    }
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

pub(super) fn shown(entity: &Entity) -> Option<Vec<u8>> {
    entity
        .field(&FieldKey::Register("value".to_owned()))
        .and_then(|field| field.shown().bytes())
        .map(<[u8]>::to_vec)
}

pub(super) fn get(snapshot: &Snapshot, key: &str) -> Option<Vec<u8>> {
    snapshot
        .entity(&kv(key))
        .expect("the row is read")
        .as_ref()
        .and_then(shown)
}

pub(super) type Row = (Table, Vec<u8>, Vec<u8>);

/// Every row, in order.
pub(super) fn rows<R: Rows>(from: &R) -> Vec<Row> {
    Table::ALL
        .into_iter()
        .flat_map(|table| range(from, table, &[], false, &[]))
        .collect()
}

/// The rows of a scan.
pub(super) fn range<R: Rows>(
    rows: &R,
    table: Table,
    from: &[u8],
    exclusive: bool,
    to: &[u8],
) -> Vec<Row> {
    let mut found = Vec::new();
    rows.scan(table, from, exclusive, to, &mut |key, value| {
        found.push((table, key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .expect("the rows are read");
    found
}

/// Recomputes from the rows what the state says, and compares: digests, vector hashes, unclaimed dots, root;
/// and that the log has a row for exactly the dots held.
pub(super) fn check_state<R: Rows>(held: &R, state: &State) {
    let mut log = BTreeMap::new();
    let (mut garbage, mut garbage_held) = (BTreeSet::new(), BTreeSet::new());
    let (mut conflicts, mut conflicts_held) = (BTreeSet::new(), BTreeSet::new());
    let (mut found_by, mut found_by_held) = (BTreeSet::new(), BTreeSet::new());
    let mut garbage_count = BTreeMap::<PartitionId, u64>::new();
    let mut dots = BTreeMap::new();
    let mut digests = BTreeMap::<PartitionId, u128>::new();
    let mut unclaimed = BTreeMap::<PartitionId, u64>::new();
    for (table, key, value) in rows(held) {
        let partition = PartitionId::new(key[0]);
        match table {
            Table::Entities => {
                let id = layout::parse_entity_key(&key).expect("the key is read");
                assert_eq!(id.partition(), partition);
                let stored = layout::decode_entity(&value).expect("the row is read");
                let hash = entity_hash(&id, &stored.entity).expect("it is encoded");
                assert_eq!(stored.hash, hash, "the hash in the row");
                let sum = digests.entry(partition).or_default();
                *sum = sum.wrapping_add(hash);
                assert!(!stored.entity.is_empty(), "a row without cells");
                if id.collection() != Collection::Counters && stored.entity.is_garbage() {
                    garbage_held.insert(key.clone());
                    *garbage_count.entry(partition).or_default() += 1;
                }
                found_by_held.extend(index_rows(&id, &stored.entity));
                if stored.entity.has_conflicts() {
                    conflicts_held.insert(key.clone());
                }
                for dot in stored.entity.dots() {
                    dots.insert(layout::log_key(partition, dot).to_vec(), id.clone());
                    let covered = state.partition(partition).vector.covers(dot);
                    *unclaimed.entry(partition).or_default() += u64::from(!covered);
                }
            }
            Table::Log => {
                let id = layout::parse_log_value(&value).expect("the row is read");
                log.insert(key, id);
            }
            Table::Garbage => {
                assert_eq!(value, layout::index_value());
                garbage.insert(key);
            }
            Table::Conflicts => {
                assert_eq!(value, layout::index_value());
                conflicts.insert(key);
            }
            // What is remembered follows from no entity.
            Table::History | Table::HistoryTimes => {}
            Table::Search => {
                assert_eq!(value, layout::index_value());
                found_by.insert(Bytes::from(key));
            }
        }
    }
    assert_eq!(log, dots, "the log has exactly the dots held");
    assert_eq!(garbage, garbage_held, "the index of garbage");
    assert_eq!(conflicts, conflicts_held, "the index of conflicts");
    assert_eq!(found_by, found_by_held, "what entities are found by");
    let mut fresh = State::default();
    for (id, partition) in state.partitions() {
        let digest = digests.remove(&id).unwrap_or_default();
        assert_eq!(partition.digest, digest, "digest of {id}");
        let open = unclaimed.remove(&id).unwrap_or_default();
        assert_eq!(partition.unclaimed, open, "unclaimed of {id}");
        let count = garbage_count.remove(&id).unwrap_or_default();
        assert_eq!(partition.garbage, count, "garbage of {id}");
        let floor = &partition.floor.vector;
        assert!(partition.vector.includes(floor), "the floor of {id}");
        let terms = partition.vector.iter();
        let sum = terms
            .map(|(replica, seq)| vector_term(replica, seq))
            .fold(0, u128::wrapping_add);
        assert_eq!(partition.vector_hash, sum, "vector hash of {id}");
        fresh.set(id, (**partition).clone());
    }
    assert_eq!(fresh.root(), state.root(), "root");
}

/// Copies both files as they are, as a crash would leave them.
pub(super) fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    for name in ["journal.redb", "data.redb"] {
        std::fs::copy(from.join(name), to.join(name))?;
    }
    Ok(())
}
