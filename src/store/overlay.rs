//! A generation of the overlay: rows that the journal holds and `data.redb` does not yet.
//!
//! A snapshot sees two: the *active* one, into which groups go, over the *frozen* one, which is being
//! written to `data.redb`. Both are persistent ordered maps, so a snapshot is a clone that costs nothing.
//!
//! Invariant: a generation holds whole groups, and the rows of all groups between two group numbers.

use std::ops::Bound;

use bytes::Bytes;
use imbl::OrdMap;

use super::{RowChange, Table, options::BatchLimits};

/// What a row costs beside its key and its value: the entry of the map.
const ENTRY_BYTES: usize = 96;

type Map = OrdMap<Bytes, Option<Bytes>>;

/// Rows by table and key; `None` says that the row is deleted. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Generation {
    tables: [Map; Table::ALL.len()],
    bytes: usize,
}

impl Generation {
    /// What this generation says of a row; the outer `None` if it says nothing.
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Option<&Option<Bytes>> {
        self.tables[table.index()].get(key)
    }

    /// The rows between the bounds, in order, deleted ones too.
    pub(super) fn range<'a>(
        &'a self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        self.tables[table.index()]
            .range::<_, [u8]>((from, to))
            .map(|(key, value)| (key.as_ref(), value.as_deref()))
    }

    /// All rows of a table in order, deleted ones too.
    pub(super) fn rows(&self, table: Table) -> impl Iterator<Item = (&Bytes, &Option<Bytes>)> {
        self.tables[table.index()].iter()
    }

    /// Takes the rows of one group in.
    pub(super) fn put(&mut self, rows: Vec<RowChange>) {
        for ((table, key), value) in rows {
            let key_bytes = key.len();
            self.bytes += value.as_ref().map_or(0, Bytes::len);
            match self.tables[table.index()].insert(key, value) {
                Some(old) => self.bytes -= old.map_or(0, |old| old.len()),
                None => self.bytes += key_bytes + ENTRY_BYTES,
            }
        }
    }

    /// How many rows it has.
    pub(super) fn len(&self) -> usize {
        self.tables.iter().map(OrdMap::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tables.iter().all(OrdMap::is_empty)
    }

    /// Whether it is a batch.
    pub(super) fn is_full(&self, limits: &BatchLimits) -> bool {
        self.len() >= limits.rows || self.bytes >= limits.bytes
    }
}
