//! Rows: sorted bytes in a few tables. Everything above sees rows only, wherever they live.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    ops::{Bound, ControlFlow},
};

use bytes::Bytes;

use super::StoreError;

/// The tables whose rows go through the overlay. `docs/storage.md` shows key and value of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// (partition, collection, key) -> entity.
    Entities,
    /// (partition, replica, seq) -> entity id; the index from which a delta is read in order.
    Log,
    /// (partition, collection, key): the entities, but counters, that hold what may be collected some day.
    Garbage,
    /// (partition, collection, key): the entities of which some attribute remembers a value that lost unseen.
    Conflicts,
    /// What visible entities are found and sorted by: the rows that the model tells of each ([`index_rows`]).
    ///
    /// [`index_rows`]: crate::model::index_rows
    Search,
    /// (partition, collection, key, 0, number) -> what a contact was before a change.
    History,
    /// (time, key in [`Table::History`]): what is remembered, the oldest first.
    HistoryTimes,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 7] = [
        Self::Entities,
        Self::Log,
        Self::Garbage,
        Self::Conflicts,
        Self::Search,
        Self::History,
        Self::HistoryTimes,
    ];

    /// Its place in an array with one entry a table.
    pub(super) const fn index(self) -> usize {
        match self {
            Self::Entities => 0,
            Self::Log => 1,
            Self::Garbage => 2,
            Self::Conflicts => 3,
            Self::Search => 4,
            Self::History => 5,
            Self::HistoryTimes => 6,
        }
    }

    /// The table's name in `data.redb`; it carries the version of the layout.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Entities => "entities_v1",
            Self::Log => "log_v1",
            Self::Garbage => "garbage_v1",
            Self::Conflicts => "conflicts_v1",
            Self::Search => "search_v1",
            Self::History => "history_v1",
            Self::HistoryTimes => "history_times_v1",
        }
    }
}

/// A new value for a row, or `None` to delete it.
pub type RowChange = ((Table, Bytes), Option<Bytes>);

/// Called with the key and the value of a row; breaks to end the scan.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// In which order rows are walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// That of their keys.
    Rising,
    /// The last first.
    Falling,
}

impl Order {
    /// How `left` stands to `right` on such a walk.
    pub(super) fn of<T: Ord + ?Sized>(self, left: &T, right: &T) -> Ordering {
        match self {
            Self::Rising => left.cmp(right),
            Self::Falling => right.cmp(left),
        }
    }

    /// The next of `rows`, which are in rising order.
    pub(super) fn next_of<I: DoubleEndedIterator>(self, rows: &mut I) -> Option<I::Item> {
        match self {
            Self::Rising => rows.next(),
            Self::Falling => rows.next_back(),
        }
    }
}

/// A consistent view of all rows.
pub trait Rows {
    /// The value of one row.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Calls `visit` for the rows with `from <= key` (`from < key` if `exclusive`) and `key < to`, in the
    /// order of their keys, until it breaks. An empty `to` means no upper end.
    fn scan(
        &self,
        table: Table,
        from: &[u8],
        exclusive: bool,
        to: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError>;
}

/// Calls `visit` for the keys of `rows` with `dirty` on top that lie above `from`, up to and with `last`; in
/// no particular order.
pub(super) fn scan_with<R: Rows + ?Sized>(
    rows: &R,
    dirty: &BTreeMap<Bytes, Option<Bytes>>,
    table: Table,
    from: &Bytes,
    last: &Bytes,
    visit: &mut dyn FnMut(&[u8]),
) -> Result<(), StoreError> {
    let mut end = last.to_vec();
    end.push(0);
    rows.scan(table, from, true, &end, &mut |key, _| {
        if !dirty.contains_key(key) {
            visit(key);
        }
        ControlFlow::Continue(())
    })?;
    if from < last {
        let bounds = (Bound::Excluded(from), Bound::Included(last));
        for (key, value) in dirty.range::<Bytes, _>(bounds) {
            if value.is_some() {
                visit(key);
            }
        }
    }
    Ok(())
}

/// Rows in memory: for the simulation and for tests of the kernel.
#[derive(Clone, Debug, Default)]
pub struct MemoryRows(BTreeMap<(Table, Bytes), Bytes>);

impl MemoryRows {
    /// Takes changes in.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = RowChange>) {
        for (key, value) in changes {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }

    /// Every row, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Table, &Bytes, &Bytes)> {
        self.0
            .iter()
            .map(|((table, key), value)| (*table, key, value))
    }
}

impl Rows for MemoryRows {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.get(&(table, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        exclusive: bool,
        to: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let start = (table, Bytes::copy_from_slice(from));
        for ((row_table, key), value) in self.0.range(start..) {
            let past = *row_table != table || (!to.is_empty() && key.as_ref() >= to);
            if past {
                break;
            }
            if exclusive && key.as_ref() == from {
                continue;
            }
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}
