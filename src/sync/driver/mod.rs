//! The driver: runs the pure [`engine`](super::engine) over a transport and a store.
//!
//! One task (`event_loop`) owns the engine and takes one event after another: what links bring (`session`, one
//! task a connection, after the handshake), what the store commits, what became of applied steps (`apply`), the
//! passing of time. What the engine commands it hands on at once and never waits for: frames go into the bounded lanes of a
//! link, pages are read by a few blocking workers (`serve`), collections and comparisons run in the background (`tasks`),
//! what is stored is checked there too (`scrub`), steps go to the store in order through a task of
//! their own (`apply`), which, when it falls behind, makes the loop stop taking from the links: a peer that
//! sends faster than we can store is slowed down by its own connection.
//!
//! Whom to connect to is told from above as a set of addresses; `dialer` keeps trying them. Both sides may
//! dial: two links to a peer are tolerated, one of them is used to send.
//!
//! Invariants: a peer is up if and only if it passed the handshake on a link that is open; the engine hears of
//! nobody else. At most [`MAX_LINKS`] links, and per link [`MAX_ROOM_BYTES`] of messages between socket and
//! store; of all links [`MAX_ROOM_OF_ALL_BYTES`].
//!
//! Messages of gossip that are too large for a datagram pass through (`carried`), unread. A connection is first admitted: with a
//! cluster secret, only who has it comes as far as the handshake (`strangers`).
//!
//! It must not know gossip, the roster, HTTP, or what a message means.

mod accounts;
mod apply;
mod carried;
mod clocks;
mod config;
mod counters;
mod dialer;
mod event_loop;
mod handle;
mod listening;
mod peers;
mod probed;
mod scrub;
mod serve;
mod session;
mod shared;
mod strangers;
mod tasks;

pub use accounts::MAX_PEERS_COUNTED;
pub use carried::{Carried, MAX_CARRIED_BYTES};
pub use clocks::{MAX_REFUSED, RefusedPeer};
pub use config::{DriverConfig, LocalPeer};
pub use counters::DriverTotals;
pub use event_loop::RosterRead;
pub use handle::{Driver, Health, PeerReport};
pub use listening::MAX_LINKS;
pub use probed::Probed;
pub use scrub::MAX_SCRUBBED_A_STEP;
pub use session::{MAX_ROOM_BYTES, MAX_ROOM_OF_ALL_BYTES};
pub use strangers::{MAX_HANDSHAKES, MAX_HANDSHAKES_OF_ONE};
pub use tasks::MAX_IDS_A_STEP;
