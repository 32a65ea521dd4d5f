//! When to ask a peer whether we agree: at a connection, at random intervals, when gossip says otherwise,
//! and once everything that was wanted of it has come.

use grapevine_crdt::ReplicaId;
use rand::{Rng, RngExt};

use super::{
    Now,
    core::{Engine, Step},
};
use crate::{model::Root, sync::Message};

/// The least time between two probes of one peer that follow pulls, in milliseconds.
pub const RECHECK_PERIOD_MS: u64 = 100;

/// When the next random peer is probed.
#[derive(Debug, Default)]
pub(super) struct Probes {
    next_ms: Option<u64>,
}

impl Engine {
    pub(super) fn probe(&mut self, step: &mut Step<'_>, peer: ReplicaId) {
        if let Some(known) = self.peers.up(peer) {
            known.probed_ms = Some(step.now.monotonic_ms);
            known.recheck = false;
            let root = step.view.root();
            step.send(peer, Message::Probe { root });
        }
    }

    /// Gossip may be stale, so a peer that was just probed is left alone.
    pub(super) fn gossiped(&mut self, step: &mut Step<'_>, peer: ReplicaId, root: Root) {
        let period_ms = self.config.probe_period_ms;
        let Some(known) = self.peers.known(peer) else {
            return;
        };
        let differs = !known.told_root(root, step.view, step.now);
        if differs && known.up && !probed_within(known.probed_ms, period_ms, step.now) {
            self.probe(step, peer);
        }
    }

    /// Asks those again from which all that was wanted has come, so that both sides learn that they agree.
    pub(super) fn recheck(&mut self, step: &mut Step<'_>) {
        for replica in self.peers.all_up() {
            let due = self.peers.up(replica).is_some_and(|peer| {
                peer.recheck
                    && peer.wanted.is_empty()
                    && peer.pulls.is_empty()
                    && !probed_within(peer.probed_ms, RECHECK_PERIOD_MS, step.now)
            });
            if due {
                self.probe(step, replica);
            }
        }
    }

    /// Probes a random peer about every `probe_period_ms`: between three and five quarters of it.
    pub(super) fn probe_random(&mut self, step: &mut Step<'_>, rng: &mut dyn Rng) {
        let now_ms = step.now.monotonic_ms;
        if self.probes.next_ms.is_some_and(|next_ms| now_ms < next_ms) {
            return;
        }
        let period_ms = self.config.probe_period_ms;
        let jitter_ms = rng.random_range(0..=period_ms / 2);
        let first = self.probes.next_ms.is_none();
        self.probes.next_ms = Some(now_ms + period_ms - period_ms / 4 + jitter_ms);
        let peers = self.peers.all_up();
        if !first && !peers.is_empty() {
            self.probe(step, peers[rng.random_range(0..peers.len())]);
        }
    }
}

fn probed_within(probed_ms: Option<u64>, period_ms: u64, now: Now) -> bool {
    probed_ms.is_some_and(|probed_ms| now.monotonic_ms < probed_ms.saturating_add(period_ms))
}
