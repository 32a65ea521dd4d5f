//! The store: what a node holds, kept so that a crash loses nothing acknowledged.
//!
//! The *kernel* (`kernel`, `layout`, `delta`, `changes`, `whole`, `index`, `census`, `check`, `listing`, `within`, `clock_watch`) is pure: it decides what
//! a write changes in rows,
//! log, vectors and digests, over anything that can be read as [`Rows`]. The shell around it keeps the rows
//! in redb (`writer`, `journal`, `overlay`, `applier`, `data`), publishes snapshots (`publication`, the only
//! place that does) and reads everything back (`recovery`). The simulation runs the same
//! kernel over rows in memory.
//!
//! Invariants: data and vector move together; what a group commits follows from its journal row alone; the
//! index `log` has a row for exactly the dots of which some cell is held.
//!
//! It must not know peers, HTTP, or what the bytes in a cell mean.

mod alarm;
mod applier;
mod batch;
mod blocks;
mod census;
mod changes;
mod check;
mod clock_watch;
mod commit;
mod data;
mod data_view;
mod delta;
mod disk;
mod error;
mod handle;
mod history;
mod index;
mod journal;
mod kernel;
mod layout;
mod listing;
mod offline;
mod options;
mod overlay;
mod publication;
mod recovery;
mod rows;
mod snapshot;
mod state;
mod stats;
mod step;
mod watched_clock;
mod whole;
mod within;
mod writer;

pub use crate::model::{Outcome, PartitionState, root_term, vector_term};
pub use batch::BatchWriter;
pub use census::{CensusPage, Held, count_held};
pub use changes::{ChangesError, ChangesPage, covers_floors, read_changes};
pub use check::{Finding, Scrubbed, check_partition, check_search, scrub};
pub use clock_watch::{CLOCK_LEAP_MS, ClockWatch, LEAPS_COUNTED_FOR_MS, MAX_LEAPS};
pub use commit::Commit;
pub use delta::{DeltaBudget, read_delta, read_sound_delta};
pub use error::{StoreError, is_no_space};
pub use handle::{Store, WriteError};
pub use history::read_history;
pub use index::{expired, indexed};
pub use kernel::{
    Changes, Collected, Edit, Group, HistoryLimits, MAX_ENTITY_BYTES, MAX_MERGED_BYTES, Workspace,
};
pub use layout::{entity_hash, read_entity};
pub use listing::{Listing, list_conflicting, list_entities};
pub use offline::{Compacted, Mended, compact, mend_clock, verify};
pub use options::{Identity, StoreOptions};
pub use recovery::STORE_FILES;
pub use rows::{MemoryRows, RowChange, Rows, Table, Visit};
pub use snapshot::Snapshot;
pub use state::State;
pub use stats::{StoreHistograms, StoreStats};
pub use whole::{compare_listing, read_entities, read_listing, read_state};
pub use within::{HeldRow, Range, list_groups, list_within, list_within_back};

#[cfg(test)]
mod tests;
