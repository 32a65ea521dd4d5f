//! A model check of push, pull, claim and collection: every interleaving of a few writes on three replicas.
//!
//! The model is small and written apart from the code, so it finds mistakes of the design where the
//! simulation finds those of the code as well. Each rule is switched off once, and the check must then fail.
//!
//! `cargo test --test model_check -- --ignored` searches further, for some minutes.

#![allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "vectors read like those of the product, which are not small"
)]

mod protocol;
mod state;

use protocol::{Action, Protocol, Pulls, Rule};
use stateright::{Checker, HasDiscoveries, Model};

const THREADS: usize = 2;

/// Edits of two entities while the partition is pulled page by page; nothing is collected.
fn pulling() -> Protocol {
    Protocol {
        broken: None,
        prelude: Vec::new(),
        writes: 2,
        entities: 2,
        collectors: 0,
        edits_only: true,
        pulls: Pulls::Paged,
    }
}

/// Edits, deletions, removals and re-creations of one entity while two replicas collect.
fn collecting() -> Protocol {
    Protocol {
        broken: None,
        prelude: Vec::new(),
        writes: 2,
        entities: 1,
        collectors: 2,
        edits_only: false,
        pulls: Pulls::Whole,
    }
}

/// Searches everything; what must be seen once for the search to mean anything is `seen`.
fn holds(protocol: Protocol, seen: &[&'static str]) {
    let checker = protocol.checker().threads(THREADS).spawn_bfs().join();
    for name in [
        "equal vectors, equal digests",
        "what is covered is held, replaced or collected",
        "every replica covers every floor",
    ] {
        checker.assert_no_discovery(name);
    }
    for name in seen {
        checker.assert_any_discovery(name);
    }
}

/// Searches until something that must always hold does not.
fn fails(protocol: Protocol) {
    let checker = protocol
        .checker()
        .threads(THREADS)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let discoveries = checker.discoveries();
    let broken = discoveries.keys().any(|name| !name.starts_with("seen: "));
    assert!(
        broken,
        "{} states, and nothing fails",
        checker.unique_state_count()
    );
}

const SEEN: [&str; 2] = [
    "seen: something was collected",
    "seen: an entity comes back where it was collected",
];

#[test]
fn a_pull_claims_what_it_brought_and_nothing_else() {
    holds(pulling(), &[]);
}

#[test]
fn collection_changes_nothing_that_is_shown() {
    holds(collecting(), &SEEN);
}

#[test]
fn pages_that_arrive_late_meet_what_was_collected() {
    holds(
        Protocol {
            writes: 1,
            entities: 2,
            collectors: 1,
            pulls: Pulls::Slow,
            ..collecting()
        },
        &SEEN[..1],
    );
}

#[test]
#[ignore = "takes minutes"]
fn three_edits_while_pages_arrive() {
    holds(
        Protocol {
            writes: 3,
            ..pulling()
        },
        &[],
    );
}

#[test]
#[ignore = "takes minutes"]
fn three_writes_while_one_replica_collects() {
    holds(
        Protocol {
            writes: 3,
            collectors: 1,
            ..collecting()
        },
        &SEEN,
    );
}

#[test]
fn a_vector_claimed_before_the_delta_is_complete_is_found() {
    let mut protocol = pulling();
    protocol.broken = Some(Rule::ClaimWhenComplete);
    fails(protocol);
}

#[test]
fn a_claim_of_pages_that_show_different_contents_is_found() {
    let mut protocol = pulling();
    protocol.broken = Some(Rule::ClaimCleanPassesOnly);
    protocol.prelude = vec![
        Action::Edit(1, 0, 1),
        Action::Push(0, 2),
        Action::Edit(1, 1, 1),
        Action::Push(0, 3),
    ];
    protocol.writes = 3;
    fails(protocol);
}

#[test]
fn collecting_what_somebody_lacks_is_found() {
    let mut protocol = collecting();
    protocol.broken = Some(Rule::CollectWhenAllReport);
    fails(protocol);
}

/// All have the removal, but one of them has written something that the collector lacks.
#[test]
fn collecting_because_all_have_it_is_found() {
    let mut protocol = collecting();
    protocol.broken = Some(Rule::CollectWhenReportsAreIncluded);
    protocol.collectors = 1;
    protocol.prelude = vec![
        Action::Remove(1, 0),
        Action::Push(0, 1),
        Action::Report(0, 1),
        Action::Delete(2, 0, 1),
    ];
    protocol.writes = 3;
    fails(protocol);
}

/// Made again where everything was collected, while another still holds what was removed.
#[test]
fn making_an_entity_again_without_clearing_is_found() {
    let mut protocol = collecting();
    protocol.broken = Some(Rule::ClearWhenMadeAgain);
    protocol.collectors = 1;
    fails(protocol);
}

/// The edit that brought an entity back is undone: what is shown then hangs on the removal.
#[test]
fn collecting_the_removal_of_what_is_held_is_found() {
    let mut protocol = collecting();
    protocol.broken = Some(Rule::KeepRemovalsOfWhatIsHeld);
    protocol.collectors = 1;
    protocol.prelude = vec![
        Action::Remove(1, 0),
        Action::Edit(0, 0, 1),
        Action::Push(0, 1),
        Action::Push(1, 2),
    ];
    protocol.writes = 3;
    fails(protocol);
}
