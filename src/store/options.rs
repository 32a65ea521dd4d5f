//! How a store is opened, and who it is.

use std::{path::PathBuf, time::Duration};

use uuid::Uuid;

use super::HistoryLimits;

/// How a store is opened. Everything has a default but the directory.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The data directory; made if it is not there.
    pub directory: PathBuf,
    /// How much memory the caches of both files may take, in bytes. Default 256 MiB.
    pub cache_bytes: usize,
    /// How many rows are written to `data.redb` in one transaction; the overlay holds about twice as many.
    /// At least 1. Default 192,000.
    pub batch_rows: usize,
    /// How many bytes of rows are written to `data.redb` in one transaction, if they are reached before
    /// `batch_rows`. Default 64 MiB.
    pub batch_bytes: usize,
    /// How many writes wait in the writer's queue before callers wait for room. At least 1. Default 4,096.
    pub queue_length: usize,
    /// How long a local write waits for room in the writer's queue before it is refused, in milliseconds. Peers'
    /// steps wait as long as it takes: that slows the peers down. Default 1,000.
    pub queue_wait_ms: u64,
    /// How long nothing was committed before a smaller batch is written to `data.redb`, in milliseconds.
    /// Default 500.
    pub idle_apply_after_ms: u64,
    /// How long writes are refused before files that failed are tried again, in milliseconds. Default 1,000.
    pub reopen_period_ms: u64,
    /// Whether a start compacts `data.redb` when more than half of it is free. That copies what is held, and the
    /// node does not serve before it is done. Default false.
    pub compact_at_start: bool,
    /// How much is remembered of what contacts were. Default 20 versions of each, 30 days.
    pub history: HistoryLimits,
}

impl StoreOptions {
    /// The defaults, for a store in `directory`.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            cache_bytes: 256 * 1024 * 1024,
            batch_rows: 192_000,
            batch_bytes: 64 * 1024 * 1024,
            queue_length: 4_096,
            queue_wait_ms: 1_000,
            idle_apply_after_ms: 500,
            reopen_period_ms: 1_000,
            compact_at_start: false,
            history: HistoryLimits::default(),
        }
    }

    /// The bounds of one batch.
    pub(super) fn batch(&self) -> BatchLimits {
        BatchLimits {
            rows: self.batch_rows.max(1),
            bytes: self.batch_bytes.max(1),
            idle_apply_after: Duration::from_millis(self.idle_apply_after_ms),
        }
    }
}

/// When a generation of the overlay is written to `data.redb`.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLimits {
    pub(super) rows: usize,
    pub(super) bytes: usize,
    pub(super) idle_apply_after: Duration,
}

/// Who a store is, for as long as its directory lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Made with the directory.
    pub store_id: Uuid,
    /// How often it was opened, this time included.
    pub boots: u64,
}
