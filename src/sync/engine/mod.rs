//! The sync engine: a pure state machine. Events in, commands out; time, randomness and a view of the local
//! store are handed in. The same engine runs under tokio and under the simulator.
//!
//! `core` takes events apart; `peer` keeps what is known of each peer, `report` what it told; `probes` decides
//! when to compare, `pulls` what to fetch, `pull` how one fetch goes on, `push` what to take of what comes unasked;
//! `collection` says when what is deleted may go for good, `floor` who has not taken that in, `rejoin` how such a
//! peer takes part again; `divergence` and `repair` deal with what should never differ; `telling` says vectors
//! shortly; `validate` and `hello` refuse. `docs/protocol.md` is the contract between two engines.
//!
//! Invariants: a message that is impossible changes nothing; whatever is lost, repeated, late or in another
//! order costs time alone; everything kept is bounded by [`EngineConfig`] or a constant here.
//!
//! It must not know sockets, tasks, redb or clocks. It holds no cells longer than a step, but for parked
//! pushes and the last pages of pulls that wait for those before, both bounded.

mod collection;
mod core;
mod divergence;
mod floor;
mod hello;
mod peer;
mod probes;
mod pull;
mod pulls;
mod push;
mod rejoin;
mod repair;
mod report;
mod request;
mod rules;
mod standing;
mod status;
mod telling;
mod tickets;
mod types;
mod validate;

#[cfg(test)]
mod tests;

pub use self::core::Engine;
pub use divergence::{MAX_REPAIR_RETRY_MS, MIN_REPAIR_RETRY_MS};
pub use hello::{MAX_CLOCK_AHEAD_MS, MAX_HELLO_TEXT_BYTES, Refusal, check_hello};
pub use peer::MAX_PEERS_REMEMBERED;
pub use probes::RECHECK_PERIOD_MS;
pub use pull::{MAX_PAGES_APPLYING, MAX_PASSES};
pub use rejoin::{MAX_HELD_BYTES, REJOIN_RETRY_MS};
pub use repair::{MAX_ENTRIES_LISTED, MAX_IDS_FETCHED};
pub use request::{Comparison, FetchRequest, ListRequest, PullRequest, Request, StateRequest};
pub use rules::Rules;
pub use standing::{Expelled, Expelling};
pub use status::{Blocked, BlockedBy, CollectionStatus, Divergence, PeerStatus};
pub use telling::{MAX_ATTEMPTS, Telling};
pub use types::{Command, EngineConfig, Event, Now, Ticket, View};
pub use validate::Violation;
