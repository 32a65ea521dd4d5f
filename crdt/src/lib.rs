//! The CRDTs of Grapevine, pure: no I/O, no async, no clock, no randomness.
//!
//! A write is named by a [`Dot`] and carries [`Cell`]s, the smallest things that merge. Cells live in the
//! [`Field`]s of an [`Entity`]; the [`FieldKey`] decides by which of four rules its cells merge
//! ([`MergeRule`]). Two typed views give entities their meaning: [`LwwMap`] (contacts, key-values) and
//! [`PnCounter`] (counters; a G-counter is one that is never decremented). What a replica has taken in is
//! told by a [`VersionVector`]; what another lacks is an exact delta, [`Entity::delta`].
//!
//! The laws, each tested as a property:
//! - merging is commutative, associative and idempotent, whatever way the cells came;
//! - merging the delta against a version vector equals merging the whole state;
//! - a cell is taken whole or not at all.
//!
//! Time is handed in: [`HybridClock::tick`] takes `now`. What this crate must not know: storage, the
//! network, which collections exist, how anything is encoded.
//!
//! Sources: Shapiro et al., "Conflict-free Replicated Data Types" (2011); Almeida, Shoker, Baquero, "Delta
//! State Replicated Data Types" (2018); Kulkarni et al., "Logical Physical Clocks" (2014).

mod cell;
mod context;
mod dot;
mod entity;
mod field;
mod hlc;
mod lww_map;
mod malformed;
mod outside;
mod pn_counter;
mod request_key;
mod version_vector;

pub use cell::{Cell, Rank, Value};
pub use context::CausalContext;
pub use dot::{Dot, ReplicaId, Seq};
pub use entity::{Entity, FieldCell};
pub use field::{Field, FieldKey, MergeRule};
pub use hlc::{ClockError, HybridClock, Timestamp};
pub use lww_map::LwwMap;
pub use malformed::Malformed;
pub use outside::{OutsideEdit, Verdict};
pub use pn_counter::{
    CounterError, MAX_COUNT, MAX_REQUESTS, MAX_TALLIES, MAX_WRITER_BYTES, PnCounter, TallyCount,
};
pub use request_key::RequestKey;
pub use version_vector::VersionVector;
