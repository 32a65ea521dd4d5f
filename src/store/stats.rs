//! Counters of what the store's threads did since it was opened, and how long it took them.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use super::kernel::Collected;

/// Counters since the store was opened, each rising on its own.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) steps: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) failed_commits: AtomicU64,
    pub(super) applied_batches: AtomicU64,
    pub(super) applied_rows: AtomicU64,
    pub(super) waits_for_space: AtomicU64,
    pub(super) recoveries: AtomicU64,
    pub(super) clashes: AtomicU64,
    pub(super) tombstones_collected: AtomicU64,
    pub(super) removals_collected: AtomicU64,
    pub(super) values_collected: AtomicU64,
    pub(super) histograms: StoreHistograms,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    pub(super) fn collected(&self, more: Collected) {
        Self::add(&self.tombstones_collected, more.tombstones);
        Self::add(&self.removals_collected, more.removals);
        Self::add(&self.values_collected, more.values);
    }

    pub(super) fn read(&self) -> StoreStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreStats {
            steps: read(&self.steps),
            commits: read(&self.commits),
            failed_commits: read(&self.failed_commits),
            applied_batches: read(&self.applied_batches),
            applied_rows: read(&self.applied_rows),
            waits_for_space: read(&self.waits_for_space),
            recoveries: read(&self.recoveries),
            clashes: read(&self.clashes),
            collected: Collected {
                tombstones: read(&self.tombstones_collected),
                removals: read(&self.removals_collected),
                values: read(&self.values_collected),
            },
        }
    }
}

/// What the store did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Local writes and peers' steps decided, whatever came of them.
    pub steps: u64,
    /// Group commits that are durable: rows appended to the journal.
    pub commits: u64,
    /// Group commits that failed.
    pub failed_commits: u64,
    /// Transactions that wrote a batch to `data.redb`.
    pub applied_batches: u64,
    /// Rows in those batches.
    pub applied_rows: u64,
    /// How often the writer waited for the overlay to have space.
    pub waits_for_space: u64,
    /// How often the files were reopened after an error.
    pub recoveries: u64,
    /// Cells of peers that differ from a held one of the same name. More than 0 is an alarm: a bug, a damaged
    /// file or two processes that wrote under one replica id.
    pub clashes: u64,
    /// What was collected of what was deleted.
    pub collected: Collected,
}

/// Distributions since the store was opened. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct StoreHistograms {
    /// How long it took to append a group to the journal, durably (seconds).
    pub commit_seconds: Histogram,
    /// How many steps a group had that was committed.
    pub commit_steps: Histogram,
    /// How long it took to write a batch to `data.redb`, durably (seconds).
    pub batch_seconds: Histogram,
}

impl Default for StoreHistograms {
    fn default() -> Self {
        Self {
            // 0.1 ms to 3.3 s.
            commit_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            commit_steps: Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            // 1 ms to 33 s.
            batch_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
        }
    }
}
