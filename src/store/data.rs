//! `data.redb`: everything up to a group number, the *mark*, in tables sorted by key.
//!
//! Invariant: rows, vectors, digests, clock and mark of one batch are written in one transaction, so the
//! mark is never ahead of the rows nor behind them.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use bytes::Bytes;
use grapevine_crdt::{ReplicaId, Seq, Timestamp, VersionVector};
use redb::{
    AccessGuard, Database, ReadableDatabase, ReadableTable, TableDefinition, TableHandle,
    WriteTransaction,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{
    PartitionState, State, StoreError, Table,
    alarm::{Alarm, FileNumber},
    blocks::{REPLICAS_NAME, Replicas},
    data_view::DataView,
    layout,
    overlay::Generation,
};
use crate::{
    codec,
    model::{PartitionId, index_rows, index_version, is_indexed},
};

type Bytewise = TableDefinition<'static, &'static [u8], &'static [u8]>;
type OpenForWrite<'a> = redb::Table<'a, &'static [u8], &'static [u8]>;

const VECTORS: Bytewise = TableDefinition::new("vectors_v1");
const SETTLED: Bytewise = TableDefinition::new("settled_v1");
const PARTITIONS: Bytewise = TableDefinition::new("partitions_v1");
const FLOORS: Bytewise = TableDefinition::new("floors_v1");
const REPLICAS: Bytewise = TableDefinition::new(REPLICAS_NAME);
const META: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("meta_v1");
/// Between them is every replica.
const LEAST: ReplicaId = ReplicaId::from_bytes([0; 16]);
const GREATEST: ReplicaId = ReplicaId::from_bytes([0xFF; 16]);
const IDENTITY: &str = "identity";
const MARK: &str = "mark";
/// What the rows of the index were made by; not there while it is being made.
const SEARCH: &str = "search";
/// How many rows of the index are made in one transaction.
const SEARCH_BATCH_ROWS: usize = 64_000;
const FORMAT: u8 = 1;

/// How far `data.redb` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// The last group of which it holds the rows; 0 before the first.
    pub(super) number: u64,
    /// The journal's chain after that group.
    pub(super) chain: u128,
    /// The high-water mark of the clock after that group.
    pub(super) clock: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct StoredIdentity {
    store_id: [u8; 16],
    boots: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredPartition {
    vector_hash: u128,
    floor_hash: u128,
    digest: u128,
    unclaimed: u64,
    steps: u64,
    garbage: u64,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Data {
    database: Database,
    alarm: Arc<Alarm>,
    number: FileNumber,
}

impl Data {
    /// Takes an open database; makes its tables if it is new, under `new_store_id`. Readers who see it fail
    /// raise `alarm`.
    pub(super) fn new(
        database: Database,
        new_store_id: Uuid,
        alarm: Arc<Alarm>,
    ) -> Result<Self, StoreError> {
        let number = alarm.next_file();
        let data = Self {
            database,
            alarm,
            number,
        };
        let transaction = data.begin()?;
        let (mut lacks_search, mut lacks_history) = (true, true);
        for table in transaction.list_tables().map_err(StoreError::storage)? {
            lacks_search &= table.name() != Table::Search.name();
            lacks_history &= table.name() != Table::HistoryTimes.name();
            let known = Table::ALL.iter().any(|known| known.name() == table.name())
                || [
                    VECTORS.name(),
                    SETTLED.name(),
                    PARTITIONS.name(),
                    FLOORS.name(),
                    REPLICAS.name(),
                    META.name(),
                ]
                .contains(&table.name());
            if !known {
                return Err(StoreError::UnknownTable {
                    file: "data.redb",
                    table: table.name().to_owned(),
                });
            }
        }
        let is_new = {
            let meta = transaction.open_table(META).map_err(StoreError::storage)?;
            meta.get(IDENTITY).map_err(StoreError::storage)?.is_none()
        };
        if is_new {
            for table in Table::ALL {
                transaction
                    .open_table(definition(table))
                    .map_err(StoreError::storage)?;
            }
            for table in [VECTORS, SETTLED, PARTITIONS, FLOORS, REPLICAS] {
                transaction.open_table(table).map_err(StoreError::storage)?;
            }
            let identity = StoredIdentity {
                store_id: *new_store_id.as_bytes(),
                boots: 0,
            };
            let mark = Mark {
                number: 0,
                chain: new_store_id.as_u128(),
                clock: Timestamp::ZERO,
            };
            put_meta(&transaction, IDENTITY, &identity)?;
            put_meta(&transaction, MARK, &mark)?;
            put_meta(&transaction, SEARCH, &index_version())?;
            transaction.commit().map_err(StoreError::storage)?;
        } else if lacks_search || lacks_history {
            // It was made before there were these.
            for table in [Table::Search, Table::History, Table::HistoryTimes] {
                transaction
                    .open_table(definition(table))
                    .map_err(StoreError::storage)?;
            }
            transaction.commit().map_err(StoreError::storage)?;
        } else {
            transaction.abort().map_err(StoreError::storage)?;
        }
        Ok(data)
    }

    /// The store id.
    pub(super) fn store_id(&self) -> Result<Uuid, StoreError> {
        let identity: StoredIdentity = self.meta(IDENTITY)?;
        Ok(Uuid::from_bytes(identity.store_id))
    }

    /// Counts one more start, durably; says the how-manieth it is.
    pub(super) fn count_boot(&self) -> Result<u64, StoreError> {
        let mut identity: StoredIdentity = self.meta(IDENTITY)?;
        identity.boots += 1;
        let transaction = self.begin()?;
        put_meta(&transaction, IDENTITY, &identity)?;
        transaction.commit().map_err(StoreError::storage)?;
        Ok(identity.boots)
    }

    /// Writes the mark again, durably: if the commit before failed, reads may show it without the disk having
    /// it, and the journal must not be trimmed for it. Its rows are not in doubt: quick repair makes a commit
    /// sync them before what names them.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        let mark: Mark = self.meta(MARK)?;
        let transaction = self.begin()?;
        put_meta(&transaction, MARK, &mark)?;
        transaction.commit().map_err(StoreError::storage)
    }

    /// Whether the index of what entities are found by is there as this version makes it.
    pub(super) fn has_current_search(&self) -> Result<bool, StoreError> {
        let transaction = self.database.begin_read().map_err(StoreError::storage)?;
        let meta = transaction.open_table(META).map_err(StoreError::storage)?;
        let row = meta.get(SEARCH).map_err(StoreError::storage)?;
        let found: Option<Vec<u8>> = row.map(|row| decode(META_NAME, row.value())).transpose()?;
        Ok(found == Some(index_version()))
    }

    /// Makes the index of what entities are found by anew from the entities, unless it is there. Many transactions,
    /// so that it takes bounded memory; cut short, the next start begins again.
    pub(super) fn make_search(&self) -> Result<(), StoreError> {
        if self.has_current_search()? {
            return Ok(());
        }
        tracing::info!("making the index of what is found by words, numbers and times");
        let transaction = self.begin()?;
        transaction
            .delete_table(definition(Table::Search))
            .map_err(StoreError::storage)?;
        transaction
            .open_table(definition(Table::Search))
            .map_err(StoreError::storage)?;
        {
            let mut meta = transaction.open_table(META).map_err(StoreError::storage)?;
            meta.remove(SEARCH).map_err(StoreError::storage)?;
        }
        transaction.commit().map_err(StoreError::storage)?;
        let transaction = self.database.begin_read().map_err(StoreError::storage)?;
        let entities = transaction
            .open_table(definition(Table::Entities))
            .map_err(StoreError::storage)?;
        let mut batch = BTreeSet::new();
        let mut entities_read: u64 = 0;
        for row in entities.iter().map_err(StoreError::storage)? {
            let (key, value) = row.map_err(StoreError::storage)?;
            // What cannot be read is found by nothing until it is repaired.
            let Ok(id) = layout::parse_entity_key(key.value()) else {
                continue;
            };
            if !is_indexed(&id) {
                continue;
            }
            if let Ok(stored) = layout::decode_entity(value.value()) {
                batch.extend(index_rows(&id, &stored.entity));
                entities_read += 1;
            }
            if batch.len() >= SEARCH_BATCH_ROWS {
                self.put_search(core::mem::take(&mut batch), false)?;
                tracing::info!(
                    entities_read,
                    "making the index of what is found by words, numbers and times"
                );
            }
        }
        self.put_search(batch, true)?;
        tracing::info!(entities_read, "made the index");
        Ok(())
    }

    fn put_search(&self, rows: BTreeSet<Bytes>, is_whole: bool) -> Result<(), StoreError> {
        let transaction = self.begin()?;
        {
            let mut table = transaction
                .open_table(definition(Table::Search))
                .map_err(StoreError::storage)?;
            for key in rows {
                table
                    .insert(key.as_ref(), layout::index_value().as_ref())
                    .map_err(StoreError::storage)?;
            }
        }
        if is_whole {
            put_meta(&transaction, SEARCH, &index_version())?;
        }
        transaction.commit().map_err(StoreError::storage)
    }

    /// How far it is, and the state there.
    pub(super) fn load(&self) -> Result<(Mark, State), StoreError> {
        let mark: Mark = self.meta(MARK)?;
        let transaction = self.database.begin_read().map_err(StoreError::storage)?;
        let mut partitions: Vec<PartitionState> = PartitionId::all()
            .map(|_| PartitionState::default())
            .collect();
        let table = transaction
            .open_table(REPLICAS)
            .map_err(StoreError::storage)?;
        let replicas = Replicas::read(&table)?;
        let table = transaction
            .open_table(PARTITIONS)
            .map_err(StoreError::storage)?;
        for row in table.iter().map_err(StoreError::storage)? {
            let (key, value) = row.map_err(StoreError::storage)?;
            let partition = parse_partition_key(PARTITIONS_NAME, key.value())?;
            let stored: StoredPartition = decode(PARTITIONS_NAME, value.value())?;
            let state = &mut partitions[partition.index()];
            // Not hashed anew: that would take a start as long as there are lives. `verify` does it.
            state.vector_hash = stored.vector_hash;
            state.floor_hash = stored.floor_hash;
            state.digest = stored.digest;
            state.unclaimed = stored.unclaimed;
            state.steps = stored.steps;
            state.garbage = stored.garbage;
        }
        let table = transaction
            .open_table(FLOORS)
            .map_err(StoreError::storage)?;
        for row in table.iter().map_err(StoreError::storage)? {
            let (key, value) = row.map_err(StoreError::storage)?;
            let partition = parse_partition_key(FLOORS_NAME, key.value())?;
            partitions[partition.index()].floor =
                Arc::new(replicas.decode_floor(FLOORS_NAME, value.value())?);
        }
        let table = transaction
            .open_table(SETTLED)
            .map_err(StoreError::storage)?;
        for row in table.iter().map_err(StoreError::storage)? {
            let (key, value) = row.map_err(StoreError::storage)?;
            let partition = parse_partition_key(SETTLED_NAME, key.value())?;
            partitions[partition.index()].vector =
                replicas.decode_vector(SETTLED_NAME, value.value())?;
        }
        let table = transaction
            .open_table(VECTORS)
            .map_err(StoreError::storage)?;
        for row in table.iter().map_err(StoreError::storage)? {
            let (key, value) = row.map_err(StoreError::storage)?;
            let (partition, replica) = parse_vector_key(key.value())?;
            let seq: u64 = decode(VECTORS_NAME, value.value())?;
            let vector = &mut partitions[partition.index()].vector;
            vector.advance(replica, Seq::new(seq));
        }
        let mut state = State::default();
        for (partition, held) in PartitionId::all().zip(partitions) {
            state.set(partition, held);
        }
        state.observe(mark.clock);
        Ok((mark, state))
    }

    /// Writes `rows`, and the state that goes from `before` to `after`, with `mark`: all in one transaction,
    /// durably.
    pub(super) fn apply(
        &self,
        rows: &Generation,
        before: &State,
        after: &State,
        mark: &Mark,
    ) -> Result<(), StoreError> {
        let transaction = self.begin()?;
        for table in Table::ALL {
            let mut stored = transaction
                .open_table(definition(table))
                .map_err(StoreError::storage)?;
            rows.newest(table, |key, value| {
                let result = match value {
                    Some(value) => stored.insert(key, value),
                    None => stored.remove(key),
                };
                result.map(drop).map_err(StoreError::storage)
            })?;
        }
        put_state(&transaction, before, after)?;
        put_meta(&transaction, MARK, mark)?;
        transaction.commit().map_err(StoreError::storage)
    }

    /// The rows as they are now. Only who publishes snapshots may ask.
    pub(super) fn view(&self) -> Result<Arc<DataView>, StoreError> {
        let transaction = self.database.begin_read().map_err(StoreError::storage)?;
        let open = |table| {
            transaction
                .open_table(definition(table))
                .map_err(StoreError::storage)
        };
        Ok(Arc::new(DataView {
            tables: [
                open(Table::Entities)?,
                open(Table::Log)?,
                open(Table::Garbage)?,
                open(Table::Conflicts)?,
                open(Table::Search)?,
                open(Table::History)?,
                open(Table::HistoryTimes)?,
            ],
            alarm: self.alarm.clone(),
            number: self.number,
        }))
    }

    /// Makes the file as small as it can be. Nobody may read it meanwhile.
    pub(super) fn compact(&mut self) -> Result<(), StoreError> {
        self.database
            .compact()
            .map(drop)
            .map_err(StoreError::storage)
    }

    /// The share of the file that holds nothing, in percent.
    pub(super) fn free_percent(&self, path: &Path) -> Result<u64, StoreError> {
        let transaction = self.begin()?;
        let stats = transaction.stats().map_err(StoreError::storage)?;
        transaction.abort().map_err(StoreError::storage)?;
        let used = stats.allocated_pages() * stats.page_size() as u64;
        let size = std::fs::metadata(path).map_or(0, |file| file.len());
        Ok(size.saturating_sub(used) * 100 / size.max(1))
    }

    /// Whether it can still be written to: after an error redb refuses until the file is opened again.
    pub(super) fn is_good(&self) -> bool {
        self.begin()
            .and_then(|transaction| transaction.abort().map_err(StoreError::storage))
            .is_ok()
    }

    /// A write transaction: durable, and with the state of the allocator, so that opening the file after a
    /// crash does not read all of it.
    fn begin(&self) -> Result<WriteTransaction, StoreError> {
        let mut transaction = self.database.begin_write().map_err(StoreError::storage)?;
        transaction.set_quick_repair(true);
        Ok(transaction)
    }

    fn meta<T: DeserializeOwned>(&self, key: &str) -> Result<T, StoreError> {
        let transaction = self.database.begin_read().map_err(StoreError::storage)?;
        let meta = transaction.open_table(META).map_err(StoreError::storage)?;
        let row = meta.get(key).map_err(StoreError::storage)?;
        let bytes = row.as_ref().map(AccessGuard::value).unwrap_or_default();
        decode(META_NAME, bytes)
    }
}

const META_NAME: &str = "meta_v1";
const PARTITIONS_NAME: &str = "partitions_v1";
const FLOORS_NAME: &str = "floors_v1";
const VECTORS_NAME: &str = "vectors_v1";
const SETTLED_NAME: &str = "settled_v1";

const fn definition(table: Table) -> Bytewise {
    TableDefinition::new(table.name())
}

fn decode<T: DeserializeOwned>(table: &'static str, bytes: &[u8]) -> Result<T, StoreError> {
    codec::decode_versioned(FORMAT, bytes).map_err(|source| StoreError::Row { table, source })
}

fn put_meta<T: Serialize>(
    transaction: &WriteTransaction,
    key: &str,
    value: &T,
) -> Result<(), StoreError> {
    let mut meta = transaction.open_table(META).map_err(StoreError::storage)?;
    let bytes = codec::encode_versioned(FORMAT, value)?;
    meta.insert(key, bytes.as_slice())
        .map_err(StoreError::storage)?;
    Ok(())
}

/// Writes what differs: partitions are shared between states until they change.
fn put_state(
    transaction: &WriteTransaction,
    before: &State,
    after: &State,
) -> Result<(), StoreError> {
    let mut partitions = transaction
        .open_table(PARTITIONS)
        .map_err(StoreError::storage)?;
    let mut vectors = transaction
        .open_table(VECTORS)
        .map_err(StoreError::storage)?;
    let mut settled = transaction
        .open_table(SETTLED)
        .map_err(StoreError::storage)?;
    let mut floors = transaction
        .open_table(FLOORS)
        .map_err(StoreError::storage)?;
    let mut replicas = transaction
        .open_table(REPLICAS)
        .map_err(StoreError::storage)?;
    let mut numbers = None;
    for (id, state) in after.partitions() {
        let old = before.partition(id);
        if Arc::ptr_eq(old, state) {
            continue;
        }
        let stored = StoredPartition {
            vector_hash: state.vector_hash,
            floor_hash: state.floor_hash,
            digest: state.digest,
            unclaimed: state.unclaimed,
            steps: state.steps,
            garbage: state.garbage,
        };
        let bytes = codec::encode_versioned(FORMAT, &stored)?;
        partitions
            .insert([id.get()].as_slice(), bytes.as_slice())
            .map_err(StoreError::storage)?;
        if old.floor != state.floor {
            let bytes = numbers_in(&mut numbers, &replicas)?.encode_floor(&state.floor)?;
            floors
                .insert([id.get()].as_slice(), bytes.as_slice())
                .map_err(StoreError::storage)?;
        }
        if !state.vector.shares_settled(&old.vector) {
            let block = state.vector.settled();
            let bytes = numbers_in(&mut numbers, &replicas)?.encode_vector(&block)?;
            settled
                .insert([id.get()].as_slice(), bytes.as_slice())
                .map_err(StoreError::storage)?;
        }
        put_recent(&mut vectors, id, &old.vector, &state.vector)?;
    }
    if let Some(numbers) = &numbers {
        numbers.write(&mut replicas)?;
    }
    Ok(())
}

/// The numbers of the lives, read when the first is needed: few batches write a long vector.
fn numbers_in<'a>(
    numbers: &'a mut Option<Replicas>,
    table: &OpenForWrite<'_>,
) -> Result<&'a mut Replicas, StoreError> {
    if numbers.is_none() {
        *numbers = Some(Replicas::read(table)?);
    }
    Ok(numbers.get_or_insert_default())
}

/// What is recent is a row for each replica, and goes when it settles. With the settled block, which is written when
/// it is another, that is the vector, wherever an entry lives in memory.
fn put_recent(
    vectors: &mut OpenForWrite<'_>,
    id: PartitionId,
    before: &VersionVector,
    after: &VersionVector,
) -> Result<(), StoreError> {
    let block = after.settled();
    let is_new = !after.shares_settled(before);
    if is_new {
        let (from, to) = (vector_key(id, LEAST), vector_key(id, GREATEST));
        vectors
            .retain_in(from.as_slice()..=to.as_slice(), |_, _| false)
            .map_err(StoreError::storage)?;
    }
    for (replica, seq) in after.raised_above(if is_new { &block } else { before }) {
        let bytes = codec::encode_versioned(FORMAT, &seq.get())?;
        vectors
            .insert(vector_key(id, replica).as_slice(), bytes.as_slice())
            .map_err(StoreError::storage)?;
    }
    Ok(())
}

fn vector_key(partition: PartitionId, replica: ReplicaId) -> [u8; 17] {
    let mut key = [0; 17];
    key[0] = partition.get();
    key[1..].copy_from_slice(replica.as_bytes());
    key
}

fn parse_partition_key(table: &'static str, key: &[u8]) -> Result<PartitionId, StoreError> {
    match key {
        [partition] => Ok(PartitionId::new(*partition)),
        _ => Err(StoreError::Key(table)),
    }
}

fn parse_vector_key(key: &[u8]) -> Result<(PartitionId, ReplicaId), StoreError> {
    let malformed = || StoreError::Key(VECTORS_NAME);
    let (partition, replica) = key.split_first().ok_or_else(malformed)?;
    let replica = replica.try_into().map_err(|_| malformed())?;
    Ok((PartitionId::new(*partition), ReplicaId::from_bytes(replica)))
}
