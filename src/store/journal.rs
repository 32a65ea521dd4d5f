//! `journal.redb`: one row a group commit, appended before anybody hears of the group.
//!
//! Group numbers are contiguous and never start again: rows are trimmed from the front only, and the last
//! stays. Every row carries a *chain*, a hash over the chain of the row before it and its own bytes; with
//! the chain in the mark of `data.redb` it proves that a group was written on top of what is held there.

use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, TableHandle,
};
use uuid::Uuid;

use super::{Group, StoreError};
use crate::{codec, model::short_hash};

const GROUPS_NAME: &str = "groups_v1";
const META_NAME: &str = "meta_v1";
const GROUPS: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new(GROUPS_NAME);
const META: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new(META_NAME);
const STORE_ID: &str = "store_id";
const FORMAT: u8 = 1;
const CHAIN: core::ops::Range<usize> = 1..17;

/// The most rows trimmed in one commit, so that trimming never makes one commit long.
const MAX_TRIMMED_ROWS: u64 = 64;

/// The bytes of one group's row.
#[derive(Debug)]
pub(super) struct JournalRow {
    bytes: Vec<u8>,
    chain: u128,
}

impl JournalRow {
    /// The row of `group` behind one with the chain `before`.
    pub(super) fn new(group: &Group, before: u128) -> Result<Self, StoreError> {
        let mut bytes = Vec::with_capacity(256);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&before.to_be_bytes());
        codec::encode_into(group, &mut bytes)?;
        let chain = short_hash(&bytes);
        bytes[CHAIN].copy_from_slice(&chain.to_be_bytes());
        Ok(Self { bytes, chain })
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The chain with this row.
    pub(super) const fn chain(&self) -> u128 {
        self.chain
    }

    /// Reads a row back; `None` if it does not follow a row with the chain `before`.
    fn parse(bytes: &[u8], before: u128) -> Result<Option<(Group, u128)>, StoreError> {
        let chain = chain_of(bytes)?;
        let mut unchained = bytes.to_vec();
        unchained[CHAIN].copy_from_slice(&before.to_be_bytes());
        if short_hash(&unchained) != chain {
            return Ok(None);
        }
        let group = codec::decode(&bytes[CHAIN.end..]).map_err(unreadable)?;
        Ok(Some((group, chain)))
    }
}

const fn unreadable(source: codec::CodecError) -> StoreError {
    StoreError::Row {
        table: GROUPS_NAME,
        source,
    }
}

fn chain_of(bytes: &[u8]) -> Result<u128, StoreError> {
    let format = *bytes
        .first()
        .ok_or_else(|| unreadable(codec::CodecError::Empty))?;
    if format != FORMAT {
        return Err(unreadable(codec::CodecError::Format {
            found: format,
            expected: FORMAT,
        }));
    }
    bytes
        .get(CHAIN)
        .and_then(|chain| <[u8; 16]>::try_from(chain).ok())
        .map(u128::from_be_bytes)
        .ok_or_else(|| unreadable(codec::CodecError::Empty))
}

/// The open file.
#[derive(Debug)]
pub(super) struct Journal {
    database: Database,
    /// The first row; `u64::MAX` if there is none.
    oldest: u64,
}

impl Journal {
    /// Takes an open database; makes its tables if it is new, under `new_store_id`.
    pub(super) fn new(database: Database, new_store_id: Uuid) -> Result<Self, StoreError> {
        let transaction = database.begin_write().map_err(StoreError::storage)?;
        for table in transaction.list_tables().map_err(StoreError::storage)? {
            if ![GROUPS_NAME, META_NAME].contains(&table.name()) {
                return Err(StoreError::UnknownTable {
                    file: "journal.redb",
                    table: table.name().to_owned(),
                });
            }
        }
        let oldest;
        {
            let groups = transaction
                .open_table(GROUPS)
                .map_err(StoreError::storage)?;
            oldest = groups
                .first()
                .map_err(StoreError::storage)?
                .map_or(u64::MAX, |(number, _)| number.value());
            let mut meta = transaction.open_table(META).map_err(StoreError::storage)?;
            if meta.get(STORE_ID).map_err(StoreError::storage)?.is_none() {
                let value = codec::encode_versioned(FORMAT, new_store_id.as_bytes())?;
                meta.insert(STORE_ID, value.as_slice())
                    .map_err(StoreError::storage)?;
            }
        }
        transaction.commit().map_err(StoreError::storage)?;
        Ok(Self { database, oldest })
    }

    /// The store id.
    pub(super) fn store_id(&self) -> Result<Uuid, StoreError> {
        let transaction = self.database.begin_read().map_err(StoreError::storage)?;
        let meta = transaction.open_table(META).map_err(StoreError::storage)?;
        let row = meta.get(STORE_ID).map_err(StoreError::storage)?;
        let bytes = row
            .as_ref()
            .map(redb::AccessGuard::value)
            .unwrap_or_default();
        codec::decode_versioned(FORMAT, bytes)
            .map(Uuid::from_bytes)
            .map_err(|source| StoreError::Row {
                table: META_NAME,
                source,
            })
    }

    /// Makes the file as small as it can be. Nobody may read it meanwhile.
    pub(super) fn compact(&mut self) -> Result<(), StoreError> {
        self.database
            .compact()
            .map(drop)
            .map_err(StoreError::storage)
    }

    /// Whether no group was ever written.
    pub(super) fn is_empty(&self) -> Result<bool, StoreError> {
        let transaction = self.database.begin_read().map_err(StoreError::storage)?;
        let groups = transaction
            .open_table(GROUPS)
            .map_err(StoreError::storage)?;
        groups.is_empty().map_err(StoreError::storage)
    }

    /// Appends the row of group `number`, durably. Rows up to `applied`, which `data.redb` holds, are
    /// trimmed by the way.
    pub(super) fn append(
        &mut self,
        number: u64,
        row: &JournalRow,
        applied: u64,
    ) -> Result<(), StoreError> {
        let transaction = self.database.begin_write().map_err(StoreError::storage)?;
        let mut oldest = self.oldest.min(number);
        {
            let mut groups = transaction
                .open_table(GROUPS)
                .map_err(StoreError::storage)?;
            groups
                .insert(number, row.bytes.as_slice())
                .map_err(StoreError::storage)?;
            let until = applied.min(oldest.saturating_add(MAX_TRIMMED_ROWS - 1));
            while oldest <= until {
                groups.remove(oldest).map_err(StoreError::storage)?;
                oldest += 1;
            }
        }
        transaction.commit().map_err(StoreError::storage)?;
        self.oldest = oldest;
        Ok(())
    }

    /// Calls `take` for every group above `mark`, in order, with the chain after it. Refuses a gap, and a
    /// group that does not follow from the chain `chain` at the mark.
    pub(super) fn replay(
        &self,
        mark: u64,
        mut chain: u128,
        mut take: impl FnMut(Group, u128) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let transaction = self.database.begin_read().map_err(StoreError::storage)?;
        let groups = transaction
            .open_table(GROUPS)
            .map_err(StoreError::storage)?;
        if let Some(row) = groups.get(mark).map_err(StoreError::storage)?
            && chain_of(row.value())? != chain
        {
            return Err(StoreError::Diverged { group: mark });
        }
        let mut expected = mark.saturating_add(1);
        for row in groups.range(expected..).map_err(StoreError::storage)? {
            let (found, value) = row.map_err(StoreError::storage)?;
            let found = found.value();
            if found != expected {
                return Err(StoreError::JournalGap { expected, found });
            }
            let (group, after) = JournalRow::parse(value.value(), chain)?
                .filter(|(group, _)| group.number == found)
                .ok_or(StoreError::Diverged { group: found })?;
            chain = after;
            take(group, chain)?;
            expected = found.saturating_add(1);
        }
        Ok(())
    }
}
