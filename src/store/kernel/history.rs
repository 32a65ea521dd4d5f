//! What contacts were before they changed: rows of this node alone, put with the row that changes.
//!
//! They follow from the steps and from the limits, as indexes do: a replay makes the same. They are in no digest and are
//! told to nobody, so nodes may remember differently. Two bounds hold: so many versions of a contact, and an age; each
//! new version takes at most [`SWEPT_AT_ONCE`] others away that are too old, so they go faster than they come.

use std::{collections::BTreeMap, ops::ControlFlow};

use bytes::Bytes;
use grapevine_crdt::{Entity, Timestamp};

use super::Workspace;
use crate::{
    model::{ContactVersion, EntityId, PartitionId},
    store::{Rows, StoreError, Table, layout},
};

/// How many versions that are too old go with each new one.
const SWEPT_AT_ONCE: usize = 2;

/// How much is remembered of what contacts were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// The most versions of a contact; 0 remembers nothing.
    pub versions: usize,
    /// How long a version is remembered, in milliseconds.
    pub age_ms: u64,
}

impl Default for HistoryLimits {
    /// 20 versions, 30 days.
    fn default() -> Self {
        Self {
            versions: 20,
            age_ms: 30 * 24 * 60 * 60 * 1_000,
        }
    }
}

impl HistoryLimits {
    /// What was taken in before this is too old at `now`.
    #[must_use]
    pub fn forgotten_before(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_unix_ms(now.unix_ms().saturating_sub(self.age_ms))
    }
}

impl<R: Rows + ?Sized> Workspace<'_, R> {
    /// Remembers what `before` was, if `after` shows something else.
    pub(super) fn remember(
        &mut self,
        partition: PartitionId,
        id: &EntityId,
        before: &Entity,
        after: &Entity,
    ) -> Result<(), StoreError> {
        if self.history.versions == 0 {
            return Ok(());
        }
        let Some(version) = ContactVersion::between(id, before, after) else {
            return Ok(());
        };
        let [from, end] = layout::history_range(partition, id);
        let mut held = BTreeMap::new();
        self.for_each_between(Table::History, &from, &end, &mut |key, value| {
            held.insert(Bytes::copy_from_slice(key), layout::history_time(value));
        })?;
        let last = held.last_key_value();
        let number = last.map_or(0, |(key, _)| layout::history_number(key)) + 1;
        let surplus = (held.len() + 1).saturating_sub(self.history.versions);
        for (key, time) in held.into_iter().take(surplus) {
            self.forget_version(key, time);
        }
        let key = layout::history_key(partition, id, number);
        self.put(Table::History, key, Some(layout::encode_version(&version)?));
        self.sweep_history()
    }

    fn forget_version(&mut self, key: Bytes, time: Timestamp) {
        self.put(
            Table::HistoryTimes,
            layout::history_time_key(time, &key),
            None,
        );
        self.put(Table::History, key, None);
    }

    /// Takes some versions away that were too old when this group began.
    fn sweep_history(&mut self) -> Result<(), StoreError> {
        let cutoff = self.history.forgotten_before(self.began);
        let end = cutoff.as_u64().to_be_bytes();
        let mut old = Vec::new();
        let from = self.swept.clone();
        self.rows
            .scan(Table::HistoryTimes, &from, true, &end, &mut |key, _| {
                old.push(Bytes::copy_from_slice(key));
                if old.len() == SWEPT_AT_ONCE {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
        for key in old {
            if let Some((time, version)) = layout::parse_history_time(&key) {
                self.forget_version(version, time);
            }
            self.swept = key;
        }
        Ok(())
    }

    /// Writes into the versions of this group when it took them in: at its end, for a replay knows no other time.
    pub(super) fn stamp_history(&mut self) {
        let now = self.state().clock();
        let mut times = Vec::new();
        for (key, row) in &mut self.dirty[Table::History.index()] {
            if let Some(row) = row
                && layout::history_time(row) == Timestamp::ZERO
            {
                *row = layout::with_history_time(row, now);
                times.push(layout::history_time_key(now, key));
            }
        }
        for key in times {
            self.put(Table::HistoryTimes, key, Some(layout::index_value()));
        }
    }
}
