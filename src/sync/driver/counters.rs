//! What the driver counts from the start of the node.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sync::transport::TrafficTotals;

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) handshakes: Count,
    pub(super) refusals: Count,
    pub(super) disconnects: Count,
    pub(super) divergences: Count,
    pub(super) pages_served: Count,
    pub(super) pages_dropped: Count,
    pub(super) probes: Count,
    pub(super) pulls: Count,
    pub(super) steps_applied: Count,
    pub(super) steps_failed: Count,
    pub(super) collections: Count,
    pub(super) damaged: Count,
    pub(super) tasks_dropped: Count,
    pub(super) carried: Count,
}

/// One number that only rises.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What was counted, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverTotals {
    /// What went over the links.
    pub traffic: TrafficTotals,
    /// Handshakes that were passed.
    pub handshakes: u64,
    /// Connections that were refused at the handshake, of peers and of strangers.
    pub refusals: u64,
    /// Peers that broke the protocol and were disconnected.
    pub disconnects: u64,
    /// Times that two closed partitions with equal vectors had different digests.
    pub divergences: u64,
    /// Pages read for peers.
    pub pages_served: u64,
    /// Pages not read because too many waited, or that could not be sent.
    pub pages_dropped: u64,
    /// Times that a peer was asked whether it agrees.
    pub probes: u64,
    /// Pages that were asked of peers.
    pub pulls: u64,
    /// Steps of peers that the store took.
    pub steps_applied: u64,
    /// Steps of peers that the store could not take.
    pub steps_failed: u64,
    /// Steps that collected something of what was deleted.
    pub collections: u64,
    /// Entities whose rows were found damaged, by the scrub or as a peer was to be sent them.
    pub damaged: u64,
    /// Work on the store for which there was no room, and that was put off.
    pub tasks_dropped: u64,
    /// Messages of gossip too large for a datagram that were sent over links.
    pub carried: u64,
}

impl Counters {
    pub(super) fn totals(&self, traffic: TrafficTotals) -> DriverTotals {
        DriverTotals {
            traffic,
            handshakes: self.handshakes.get(),
            refusals: self.refusals.get(),
            disconnects: self.disconnects.get(),
            divergences: self.divergences.get(),
            pages_served: self.pages_served.get(),
            pages_dropped: self.pages_dropped.get(),
            probes: self.probes.get(),
            pulls: self.pulls.get(),
            steps_applied: self.steps_applied.get(),
            steps_failed: self.steps_failed.get(),
            collections: self.collections.get(),
            damaged: self.damaged.get(),
            tasks_dropped: self.tasks_dropped.get(),
            carried: self.carried.get(),
        }
    }
}
