//! The sync engine: a pure state machine. Events in, commands out; time, randomness and a view of the local
//! store are handed in. The same engine runs under tokio and under the simulator.
//!
//! It must not know sockets, tasks, redb or clocks. It holds no cells longer than a step, but for parked
//! pushes, which are bounded.

mod types;

pub use types::{Command, EngineConfig, Event, Now, PeerStatus, PullRequest, Ticket, View};

use rand::Rng;

/// The state of sync between this node and its peers.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
}

impl Engine {
    /// An engine without peers.
    #[must_use]
    pub const fn new(config: EngineConfig) -> Self {
        Self { config }
    }

    /// Takes one event in and appends what is to be done to `commands`, in the order in which it must be
    /// done.
    pub fn step(
        &mut self,
        now: Now,
        event: Event,
        view: &dyn View,
        rng: &mut dyn Rng,
        commands: &mut Vec<Command>,
    ) {
        let _ = (now, event, view, rng, commands, &self.config);
    }

    /// What is known of each peer ever up since the start, in the order of their replica ids.
    pub fn peers(&self, view: &dyn View, now: Now) -> Vec<PeerStatus> {
        let _ = (view, now);
        Vec::new()
    }
}
