//! The laws of the CRDTs as properties, checked on histories that replicas could really have had.
//!
//! `world` makes such histories; `truth` knows, from explicit sets of dots, what each replica must show. The
//! other files are named after the danger that they guard against.

mod clock_falls_back;
mod collection_is_seen;
mod context_forgets;
mod counter_miscounts;
mod entity_diverges;
mod field_diverges;
mod map_loses_an_unseen_edit;
mod outside_breaks_an_invariant;
mod removal_hides_too_much;
mod truth;
mod vector_overclaims;
mod world;

use proptest::test_runner::Config;

/// How many histories a property is checked on. A failure prints the least history that shows it, which
/// becomes a named test; so no file of seeds is kept.
fn cases(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    }
}
