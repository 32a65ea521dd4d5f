//! What each rule of collection and rejoin is there for: without it some random run fails, by an invariant or by
//! what is shown in the end. Those that take long to find run with `cargo test --test sim rules -- --ignored`.

use crate::{fault::Fault, random::run_with};

const MAX_SEEDS: u64 = 120;

fn assert_needed(fault: Fault) {
    let failed = (0..MAX_SEEDS).find_map(|seed| {
        let what = run_with(seed, Some(fault)).err()?;
        Some((seed, what))
    });
    let (seed, what) =
        failed.unwrap_or_else(|| panic!("{fault:?} does no harm in {MAX_SEEDS} seeds"));
    let what: String = what.chars().take(200).collect();
    println!("{fault:?} does harm with seed {seed}: {what}");
}

#[test]
#[ignore = "searches many seeds"]
fn without_covering_the_reports_in_full_an_edit_outlives_what_hid_it() {
    assert_needed(Fault::CollectsWhatAllHave);
}

#[test]
#[ignore = "searches many seeds"]
fn without_waiting_for_the_absent_their_edits_come_back_alone() {
    assert_needed(Fault::CollectsWithoutTheAbsent);
}

#[test]
#[ignore = "searches many seeds"]
fn without_the_floor_check_of_pulls_what_was_collected_comes_back() {
    assert_needed(Fault::PullsBelowTheFloor);
}

#[test]
fn without_dropping_a_rejoin_brings_back_what_was_collected() {
    assert_needed(Fault::RejoinsWithoutDropping);
}

#[test]
#[ignore = "searches many seeds"]
fn without_writing_anew_an_edit_of_who_was_away_is_lost() {
    assert_needed(Fault::RejoinsWithoutIssuing);
}

#[test]
fn without_clearings_what_was_collected_here_comes_back_there() {
    assert_needed(Fault::MakesWithoutClearing);
}

#[test]
fn without_fresh_times_what_is_written_anew_loses_to_a_tombstone() {
    assert_needed(Fault::IssuesWithoutFreshTimes);
}

#[test]
#[ignore = "searches many seeds"]
fn without_the_floor_check_of_pushes_what_was_collected_comes_back() {
    assert_needed(Fault::PushesBelowTheFloor);
}

#[test]
#[ignore = "searches many seeds"]
fn with_reports_that_join_what_a_rolled_back_member_lacks_is_collected() {
    assert_needed(Fault::JoinsReports);
}
