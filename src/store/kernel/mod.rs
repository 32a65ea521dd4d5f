//! What a group of steps changes: rows, log, indexes, vectors, digests and floors, decided over a consistent
//! view.
//!
//! A [`Workspace`] is opened over the rows and the state as they are, takes steps one after another (each
//! sees those before it), and yields the [`Group`] to be journaled and the [`Changes`] to be published.
//! Replaying the journaled group over the same rows and state yields the same changes: nothing here reads a
//! clock or draws a random number.
//!
//! One file a kind of step: `merge` (writes, deltas, pushes), `collect`, `rejoin` (and `returning`, of
//! who was expelled), `repair`. `replace` is the one
//! place where a row of an entity changes, and with it log, indexes and digest; `history` remembers what contacts were.

mod collect;
mod group;
mod history;
mod merge;
mod rejoin;
mod repair;
mod replace;
mod returning;
mod weight;
mod workspace;

pub use collect::Collected;
pub use group::{Changes, Edit, Group};
pub use history::HistoryLimits;
pub use merge::{MAX_ENTITY_BYTES, MAX_MERGED_BYTES};
pub(super) use replace::is_garbage;
pub use workspace::Workspace;
