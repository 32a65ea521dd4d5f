//! The sync engine: a pure state machine. Events in, commands out; time, randomness and a view of the local
//! store are handed in. The same engine runs under tokio and under the simulator.
//!
//! `core` takes events apart; `peer` keeps what is known of each peer; `probes` decides when to compare,
//! `pulls` what to fetch, `pull` how one fetch goes on, `push` what to take of what comes unasked; `validate`
//! and `hello` refuse. `docs/protocol.md` is the contract between two engines.
//!
//! Invariants: a message that is impossible changes nothing; whatever is lost, repeated, late or in another
//! order costs time alone; everything kept is bounded by [`EngineConfig`] or a constant here.
//!
//! It must not know sockets, tasks, redb or clocks. It holds no cells longer than a step, but for parked
//! pushes and the last pages of pulls that wait for those before, both bounded.

mod core;
mod hello;
mod peer;
mod probes;
mod pull;
mod pulls;
mod push;
mod types;
mod validate;

#[cfg(test)]
mod tests;

pub use self::core::Engine;
pub use hello::{MAX_CLOCK_AHEAD_MS, MAX_HELLO_TEXT_BYTES, Refusal, check_hello};
pub use peer::MAX_PEERS_REMEMBERED;
pub use probes::RECHECK_PERIOD_MS;
pub use pull::{MAX_PAGES_APPLYING, MAX_PASSES};
pub use types::{Command, EngineConfig, Event, Now, PeerStatus, PullRequest, Ticket, View};
pub use validate::Violation;
