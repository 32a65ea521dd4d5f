//! Everything held at one moment, wherever its rows live.
//!
//! A row is looked up in the active generation of the overlay, then in the frozen one, then in `data.redb`;
//! scans merge the three. A reader cannot tell which of them answered.

use std::{
    cmp::Ordering,
    iter::Peekable,
    ops::{Bound, ControlFlow},
    sync::Arc,
};

use bytes::Bytes;
use grapevine_crdt::{Entity, Timestamp, VersionVector};

use super::{
    DeltaBudget, Listing, Rows, State, StoreError, Table, Visit,
    data_view::DataView,
    list_conflicting, list_entities,
    overlay::{Fresh, Generation, Word},
    publication::Frozen,
    read_delta, read_entity, read_history, read_sound_delta,
    rows::Order,
};
use crate::model::{Collection, ContactVersion, Cursor, DeltaPage, EntityId, PartitionId};

/// Everything held at one moment. Reads of a snapshot never wait for writes.
///
/// A snapshot that is kept pins pages of `data.redb`; renew it every few seconds. One that outlives the
/// store, or its reopening after an error of the storage, answers with [`StoreError::Closed`].
#[derive(Debug)]
pub struct Snapshot {
    /// The last group that this snapshot sees.
    pub(super) group: u64,
    pub(super) active: Arc<Generation>,
    pub(super) frozen: Option<Arc<Frozen>>,
    pub(super) data: Arc<DataView>,
    pub(super) state: State,
}

impl Snapshot {
    /// Vectors, digests, root and clock at that moment.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The number of the last group that it sees: of two snapshots of one open store the later has the greater.
    #[must_use]
    pub const fn group(&self) -> u64 {
        self.group
    }

    /// How many rows of it wait to be written to `data.redb`, about: each version of a row counts.
    #[must_use]
    pub fn overlay_rows(&self) -> usize {
        let frozen = self.frozen.as_ref();
        self.active.len() + frozen.map_or(0, |frozen| frozen.rows.len())
    }

    /// What is held of an entity, hidden or not; `None` if nothing is.
    pub fn entity(&self, id: &EntityId) -> Result<Option<Entity>, StoreError> {
        read_entity(self, id)
    }

    /// What this node remembers of a contact, the newest change first; [`read_history`].
    pub fn history(&self, id: &EntityId) -> Result<Vec<(Timestamp, ContactVersion)>, StoreError> {
        read_history(self, id)
    }

    /// Entities in the order of their keys, hidden ones too, until `visit` breaks.
    pub fn list(
        &self,
        listing: &Listing<'_>,
        visit: &mut dyn FnMut(EntityId, Entity) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        list_entities(self, listing, visit)
    }

    /// The contacts that may have conflicts, above the key `after`, in the order of their keys, until `visit`
    /// breaks. Whether one has any is for the reader of contacts to say.
    pub fn list_conflicting(
        &self,
        after: Option<&str>,
        visit: &mut dyn FnMut(EntityId, Entity) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let listing = Listing {
            collection: Collection::Contacts,
            prefix: "",
            after,
        };
        list_conflicting(self, &listing, visit)
    }

    /// One page of what `base` does not cover of `partition`.
    pub fn delta(
        &self,
        partition: PartitionId,
        base: &VersionVector,
        cursor: Option<Cursor>,
        budget: DeltaBudget,
    ) -> Result<DeltaPage, StoreError> {
        let state = self.state.partition(partition);
        read_delta(self, partition, state, base, cursor, budget)
    }

    /// As [`Self::delta`], without what is damaged, which is added to `damaged`.
    pub fn sound_delta(
        &self,
        partition: PartitionId,
        base: &VersionVector,
        cursor: Option<Cursor>,
        budget: DeltaBudget,
        damaged: &mut Vec<EntityId>,
    ) -> Result<DeltaPage, StoreError> {
        let state = self.state.partition(partition);
        read_sound_delta(self, partition, state, base, cursor, budget, damaged)
    }

    /// As [`Rows::scan`], but the last first.
    pub(super) fn scan_back(
        &self,
        table: Table,
        from: &[u8],
        exclusive: bool,
        to: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        self.walk(table, (from, exclusive, to), Order::Falling, visit)
    }

    /// The rows with `from <= key` (`from < key` if `exclusive`) and `key < to` in `order`, until `visit` breaks.
    fn walk(
        &self,
        table: Table,
        (from, exclusive, to): (&[u8], bool, &[u8]),
        order: Order,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        if !to.is_empty() && from >= to {
            return Ok(());
        }
        let lower = if exclusive {
            Bound::Excluded(from)
        } else {
            Bound::Included(from)
        };
        let upper = if to.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(to)
        };
        let bounds = (lower, upper);
        let active = self.active.range(table, bounds, order, self.group);
        let frozen = self
            .frozen
            .iter()
            .flat_map(|frozen| frozen.rows.range(table, bounds, order, self.group));
        let mut fresh = Layered {
            order,
            over: active.peekable(),
            under: frozen.peekable(),
        };
        let mut stored = self.data.range(table, bounds, order)?;
        let mut above = fresh.next();
        let mut below = stored.next()?;
        loop {
            let below_first = match (&above, &below) {
                (None, None) => return Ok(()),
                (None, Some(_)) => true,
                (Some(_), None) => false,
                (Some((key, _)), Some(row)) => order.of(row.key(), key.as_ref()).is_lt(),
            };
            if below_first {
                if let Some(row) = &below
                    && visit(row.key(), row.value()).is_break()
                {
                    return Ok(());
                }
                below = stored.next()?;
            } else if let Some((key, value)) = above {
                if below.as_ref().is_some_and(|row| row.key() == key.as_ref()) {
                    below = stored.next()?;
                }
                if let Some(value) = value
                    && visit(&key, &value).is_break()
                {
                    return Ok(());
                }
                above = fresh.next();
            }
        }
    }

    /// The newest word of the overlay on a row.
    fn fresh(&self, table: Table, key: &[u8]) -> Word {
        match (self.active.get(table, key, self.group), &self.frozen) {
            (Word::Silent, Some(frozen)) => frozen.rows.get(table, key, self.group),
            (word, _) => word,
        }
    }
}

impl Rows for Snapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.fresh(table, key) {
            Word::Row(value) => Ok(Some(value)),
            Word::Deleted => Ok(None),
            Word::Silent => self.data.get(table, key),
        }
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        exclusive: bool,
        to: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        self.walk(table, (from, exclusive, to), Order::Rising, visit)
    }
}

/// Two sequences of rows in the same order as one: of equal keys the row of `over` is taken. Takes no row before it is
/// asked for.
struct Layered<A: Iterator<Item = Fresh>, B: Iterator<Item = Fresh>> {
    order: Order,
    over: Peekable<A>,
    under: Peekable<B>,
}

impl<A: Iterator<Item = Fresh>, B: Iterator<Item = Fresh>> Layered<A, B> {
    fn next(&mut self) -> Option<Fresh> {
        let order = match (self.over.peek(), self.under.peek()) {
            (Some((over, _)), Some((under, _))) => self.order.of(over, under),
            (Some(_), None) => Ordering::Less,
            (None, Some(_) | None) => Ordering::Greater,
        };
        match order {
            Ordering::Less => self.over.next(),
            Ordering::Greater => self.under.next(),
            Ordering::Equal => {
                self.under.next();
                self.over.next()
            }
        }
    }
}
