//! `data.redb` as it is read: its rows at one mark, whatever is written meanwhile.

use std::{ops::Bound, sync::Arc};

use bytes::Bytes;
use redb::{AccessGuard, ReadOnlyTable, ReadableTable};

use super::{
    StoreError, Table,
    alarm::{Alarm, FileNumber},
    rows::Order,
};

type OpenTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The rows of `data.redb` at one mark: the open tables of one read transaction.
pub(super) struct DataView {
    /// In the order of [`Table::ALL`].
    pub(super) tables: [OpenTable; Table::ALL.len()],
    pub(super) alarm: Arc<Alarm>,
    pub(super) number: FileNumber,
}

impl core::fmt::Debug for DataView {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("DataView").finish_non_exhaustive()
    }
}

impl DataView {
    const fn table(&self, table: Table) -> &OpenTable {
        &self.tables[table.index()]
    }

    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let row = ReadableTable::get(self.table(table), key).map_err(|error| self.failed(error))?;
        Ok(row.map(|value| Bytes::copy_from_slice(value.value())))
    }

    pub(super) fn range(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        order: Order,
    ) -> Result<StoredRange<'_>, StoreError> {
        ReadableTable::range::<&[u8]>(self.table(table), bounds)
            .map(|rows| StoredRange {
                rows,
                order,
                view: self,
            })
            .map_err(|error| self.failed(error))
    }

    fn failed(&self, error: redb::StorageError) -> StoreError {
        // Also if the file is closed: it may be that it could not be opened again yet.
        self.alarm.raise_of(self.number);
        StoreError::storage(error)
    }
}

/// Rows of `data.redb` in their order, or the last first.
pub(super) struct StoredRange<'a> {
    rows: redb::Range<'a, &'static [u8], &'static [u8]>,
    order: Order,
    view: &'a DataView,
}

impl<'a> StoredRange<'a> {
    pub(super) fn next(&mut self) -> Result<Option<StoredRow<'a>>, StoreError> {
        let row = self.order.next_of(&mut self.rows).transpose();
        let row = row.map_err(|error| self.view.failed(error))?;
        Ok(row.map(|(key, value)| StoredRow { key, value }))
    }
}

/// One row of `data.redb`.
pub(super) struct StoredRow<'a> {
    key: AccessGuard<'a, &'static [u8]>,
    value: AccessGuard<'a, &'static [u8]>,
}

impl StoredRow<'_> {
    pub(super) fn key(&self) -> &[u8] {
        self.key.value()
    }

    pub(super) fn value(&self) -> &[u8] {
        self.value.value()
    }
}
