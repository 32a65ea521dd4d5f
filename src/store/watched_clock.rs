//! The clocks of a store, watched by whoever uses it: see [`ClockWatch`].

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use super::ClockWatch;
use crate::clock::WallClock;

/// The time of day beside the monotonic clock.
pub(super) struct WatchedClock {
    clock: Arc<dyn WallClock>,
    started: Instant,
    watch: Mutex<ClockWatch>,
}

impl WatchedClock {
    pub(super) fn new(clock: Arc<dyn WallClock>) -> Self {
        let watched = Self {
            clock,
            started: Instant::now(),
            watch: Mutex::default(),
        };
        watched.look();
        watched
    }

    /// The time of day (milliseconds since 1970-01-01T00:00:00Z), and whether it has leapt since this was asked last.
    pub(super) fn unix_ms(&self) -> (u64, bool) {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let unix_ms = self.clock.unix_ms();
        watch.look(unix_ms, self.monotonic_ms());
        (unix_ms, watch.take_leap())
    }

    /// Looks at both clocks.
    pub(super) fn look(&self) {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.look(self.clock.unix_ms(), self.monotonic_ms());
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl std::fmt::Debug for WatchedClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchedClock").finish_non_exhaustive()
    }
}
