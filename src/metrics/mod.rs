//! Metrics: one scrape as it is put together, and what the operating system says of this process.
//!
//! Each layer counts for itself, in its own numbers and histograms, and adds them to an [`Exposition`] when it is asked.
//! Nothing here runs between two scrapes. What is counted on a hot path is an atomic, or a histogram behind a short lock.
//!
//! Invariant: names are given in full where they are added, so that a search for one finds where it comes from; labels
//! come from bounded sets.
//!
//! It must not know what is measured.

mod exposition;
mod process;

pub use exposition::{Exposition, Labels, METRICS_CONTENT_TYPE, real};
pub use process::measure_process;
