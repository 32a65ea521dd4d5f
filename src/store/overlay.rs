//! A generation of the overlay: rows that the journal holds and `data.redb` does not yet.
//!
//! A snapshot sees two: the *active* one, into which groups go, over the *frozen* one, which is being
//! written to `data.redb`. Every row keeps its versions, each with the number of the group that wrote it, and
//! a reader names the group up to which it reads; so a snapshot is a pointer and a number, and nothing is
//! copied when one is taken or a group goes in. (With a persistent map, copying the path to each changed row
//! was half of the CPU time of a write.)
//!
//! Invariants: a generation holds whole groups, and the rows of all groups between two group numbers; the
//! versions of a row rise. A group's rows go in before its number is published, so who reads up to a
//! published number sees all of it. Locks are held for one row or one page of a scan, never for a group.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::{
        RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

use super::{RowChange, StoreError, Table, options::BatchLimits, rows::Order};
use crate::model::PARTITIONS;

/// What a row costs beside its key and its value: the entry of the map.
const ENTRY_BYTES: usize = 128;

/// The most rows that a scan takes at once; it begins with one.
const MAX_SCAN_PAGE_ROWS: usize = 64;

const NOT_POISONED: &str = "no holder of the lock panics";

/// A value written by a group; `None` says that the row was deleted.
#[derive(Debug)]
struct Version {
    group: u64,
    value: Option<Bytes>,
}

/// The versions of one row, of which there is at least one.
#[derive(Debug)]
struct Versions {
    newest: Version,
    older: Vec<Version>,
}

impl Versions {
    /// The newest version of the groups up to `group`.
    fn at(&self, group: u64) -> Option<&Version> {
        if self.newest.group <= group {
            return Some(&self.newest);
        }
        self.older
            .iter()
            .rev()
            .find(|version| version.group <= group)
    }
}

/// The rows of one table whose keys begin with one byte, which is their partition.
type Shard = RwLock<BTreeMap<Bytes, Versions>>;

/// What a generation says of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Nothing: ask what lies below.
    Silent,
    /// The row was deleted.
    Deleted,
    /// The row is this.
    Row(Bytes),
}

/// A row of a scan; `None` says that it was deleted.
pub(super) type Fresh = (Bytes, Option<Bytes>);

/// Rows by table and key, in versions.
#[derive(Debug)]
pub(super) struct Generation {
    tables: [Vec<Shard>; Table::ALL.len()],
    versions: AtomicUsize,
    bytes: AtomicUsize,
}

impl Default for Generation {
    fn default() -> Self {
        let shards = |_| (0..PARTITIONS).map(|_| Shard::default()).collect();
        Self {
            tables: Table::ALL.map(shards),
            versions: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }
}

impl Generation {
    /// What it says of a row, read up to `group`.
    pub(super) fn get(&self, table: Table, key: &[u8], group: u64) -> Word {
        let shard = self.shard(table, shard_of(key));
        let rows = shard.read().expect(NOT_POISONED);
        match rows.get(key).and_then(|versions| versions.at(group)) {
            None => Word::Silent,
            Some(Version { value: None, .. }) => Word::Deleted,
            Some(Version {
                value: Some(value), ..
            }) => Word::Row(value.clone()),
        }
    }

    /// The rows between the bounds in `order`, deleted ones too, read up to `group`; nothing is read before it
    /// is asked for.
    pub(super) fn range(
        &self,
        table: Table,
        (from, to): (Bound<&[u8]>, Bound<&[u8]>),
        order: Order,
        group: u64,
    ) -> RangeScan<'_> {
        RangeScan {
            generation: self,
            table,
            group,
            order,
            from: from.map(Bytes::copy_from_slice),
            to: to.map(Bytes::copy_from_slice),
            page_rows: 1,
            page: VecDeque::new(),
            ended: false,
        }
    }

    /// Takes the rows of `group` in, which is above every group before.
    pub(super) fn put(&self, rows: Vec<RowChange>, group: u64) {
        let (mut versions, mut bytes) = (0, 0);
        for ((table, key), value) in rows {
            versions += 1;
            bytes += ENTRY_BYTES + key.len() + value.as_ref().map_or(0, Bytes::len);
            let version = Version { group, value };
            let shard = self.shard(table, shard_of(&key));
            let mut rows = shard.write().expect(NOT_POISONED);
            match rows.entry(key) {
                std::collections::btree_map::Entry::Vacant(place) => {
                    place.insert(Versions {
                        newest: version,
                        older: Vec::new(),
                    });
                }
                std::collections::btree_map::Entry::Occupied(mut row) => {
                    let row = row.get_mut();
                    let old = core::mem::replace(&mut row.newest, version);
                    debug_assert!(old.group < group);
                    row.older.push(old);
                }
            }
        }
        self.versions.fetch_add(versions, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Calls `take` with every row of a table in order, in its newest version. Only for a generation into
    /// which no more groups go.
    pub(super) fn newest(
        &self,
        table: Table,
        mut take: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for shard in &self.tables[table.index()] {
            let rows = shard.read().expect(NOT_POISONED);
            for (key, versions) in &*rows {
                take(key, versions.newest.value.as_deref())?;
            }
        }
        Ok(())
    }

    /// How many versions of rows it has.
    pub(super) fn len(&self) -> usize {
        self.versions.load(Ordering::Relaxed)
    }

    /// Whether it is a batch.
    pub(super) fn is_full(&self, limits: &BatchLimits) -> bool {
        self.len() >= limits.rows || self.bytes.load(Ordering::Relaxed) >= limits.bytes
    }

    fn shard(&self, table: Table, number: usize) -> &Shard {
        &self.tables[table.index()][number]
    }
}

/// The first byte of a key is its partition.
fn shard_of(key: &[u8]) -> usize {
    key.first().copied().map_or(0, usize::from)
}

/// Rows of a generation in order, taken page by page.
#[derive(Debug)]
pub(super) struct RangeScan<'a> {
    generation: &'a Generation,
    table: Table,
    group: u64,
    order: Order,
    from: Bound<Bytes>,
    to: Bound<Bytes>,
    page_rows: usize,
    page: VecDeque<Fresh>,
    ended: bool,
}

impl RangeScan<'_> {
    /// Takes the next page: rows of the shard at which what is left begins, or of the next that has any.
    fn turn(&mut self) {
        let (first, last) = (first_shard(&self.from), last_shard(&self.to));
        for step in 0..=last.saturating_sub(first) {
            let number = match self.order {
                Order::Rising => first + step,
                Order::Falling => last - step,
            };
            let shard = self.generation.shard(self.table, number);
            let rows = shard.read().expect(NOT_POISONED);
            let bounds = (self.from.as_ref(), self.to.as_ref());
            let mut left = rows.range::<Bytes, _>(bounds);
            while self.page.len() < self.page_rows
                && let Some((key, versions)) = self.order.next_of(&mut left)
            {
                if let Some(version) = versions.at(self.group) {
                    self.page.push_back((key.clone(), version.value.clone()));
                }
            }
            if !self.page.is_empty() {
                break;
            }
        }
        match (self.page.back(), self.order) {
            (Some((key, _)), Order::Rising) => self.from = Bound::Excluded(key.clone()),
            (Some((key, _)), Order::Falling) => self.to = Bound::Excluded(key.clone()),
            (None, Order::Rising | Order::Falling) => self.ended = true,
        }
        self.page_rows = (self.page_rows * 2).min(MAX_SCAN_PAGE_ROWS);
    }
}

impl Iterator for RangeScan<'_> {
    type Item = Fresh;

    fn next(&mut self) -> Option<Fresh> {
        if self.page.is_empty() && !self.ended {
            self.turn();
        }
        self.page.pop_front()
    }
}

fn first_shard(bound: &Bound<Bytes>) -> usize {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => shard_of(key),
        Bound::Unbounded => 0,
    }
}

fn last_shard(bound: &Bound<Bytes>) -> usize {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => shard_of(key),
        Bound::Unbounded => PARTITIONS - 1,
    }
}
