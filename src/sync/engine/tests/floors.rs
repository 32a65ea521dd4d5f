//! Who has not taken in what was collected.

use super::*;

/// A node that has collected four writes of its own, with one peer.
fn collected() -> Bench {
    let mut bench = Bench::with_peers(&[ANN]);
    bench.hold(&[(US, 5)]);
    bench.collect(&[(US, 4)]);
    bench
}

fn behind(ours: &[(ReplicaId, u64)], collected: &[(ReplicaId, u64)]) -> Message {
    Message::Behind {
        pull: 0,
        page: 0,
        partition: partition(),
        vector: Outline::whole(&vector(ours)),
        floor: told_floor(collected),
    }
}

#[test]
fn who_asks_for_a_page_and_lacks_what_was_collected_is_told_so() {
    let mut bench = collected();
    let answer = behind(&[(US, 5)], &[(US, 4)]);
    assert_eq!(
        bench.hear(ANN, pull(0, &[(US, 3)], &[(US, 3)], None)),
        [Command::Send(ANN, answer.clone())]
    );
    assert_eq!(
        bench.hear(ANN, not_fresh(pull(0, &[], &[], None))),
        [Command::Send(ANN, answer)],
        "it holds cells of it already"
    );
    let served = bench.hear(ANN, pull(0, &[(US, 4)], &[(US, 4)], None));
    assert!(matches!(
        served[..],
        [Command::Serve(ANN, Request::Page(_))]
    ));
}

#[test]
fn who_holds_nothing_at_all_can_miss_nothing() {
    let mut bench = collected();
    let served = bench.hear(ANN, pull(0, &[], &[], None));
    assert!(matches!(
        served[..],
        [Command::Serve(ANN, Request::Page(_))]
    ));
}

#[test]
fn a_page_of_a_peer_that_lacks_what_was_collected_is_not_taken() {
    let mut bench = collected();
    bench.hear(ANN, summaries(&[(ANN, 1)]));
    let page = delta(0, written(ANN, 1), &[(ANN, 1), (US, 3)], 5, None);
    assert_eq!(bench.hear(ANN, page), []);
    let mut bench = collected();
    bench.hear(ANN, summaries(&[(ANN, 1)]));
    let page = delta(0, written(ANN, 1), &[(ANN, 1), (US, 4)], 5, None);
    assert_eq!(bench.hear(ANN, page).len(), 1);
}

#[test]
fn a_push_is_taken_only_from_who_is_known_to_have_taken_in_what_was_collected() {
    let mut bench = collected();
    let pulled = bench.hear(ANN, push(vec![record(ANN, 0, 1)]));
    assert!(
        matches!(pulled[..], [Command::Send(ANN, Message::Pull { .. })]),
        "{pulled:?}"
    );
    let mut bench = collected();
    bench.hear(ANN, pull(0, &[(US, 4)], &[(US, 4)], None));
    let taken = bench.hear(ANN, push(vec![record(ANN, 0, 1)]));
    assert!(matches!(taken[..], [Command::Apply { .. }]), "{taken:?}");
    // What it told before it came up anew may be true no more.
    bench.step(Event::PeerUp(info(ANN)));
    let pulled = bench.hear(ANN, push(vec![record(ANN, 0, 1)]));
    assert!(matches!(pulled[..], [Command::Send(..)]), "{pulled:?}");
}

#[test]
fn what_was_collected_during_a_pull_is_not_claimed_by_it() {
    let mut bench = Bench::with_peers(&[ANN]);
    bench.hold(&[(BOB, 2)]);
    bench.hear(ANN, summaries(&[(ANN, 1), (BOB, 3)]));
    let mut last = delta(0, written(ANN, 1), &[(ANN, 1), (BOB, 3)], 5, None);
    if let Message::Delta { delta, .. } = &mut last {
        delta.floor = Some(told_floor(&[(BOB, 3)]));
    }
    assert_eq!(bench.hear(ANN, last), []);
    let mut bench = Bench::with_peers(&[ANN]);
    bench.hold(&[(BOB, 2)]);
    bench.hear(ANN, summaries(&[(ANN, 1), (BOB, 3)]));
    let mut last = delta(0, written(ANN, 1), &[(ANN, 1), (BOB, 3)], 5, None);
    if let Message::Delta { delta, .. } = &mut last {
        delta.floor = Some(told_floor(&[(BOB, 2)]));
    }
    let claim = Claim::Absorb {
        vector: vector(&[(ANN, 1), (BOB, 3)]),
        floor: floor(&[(BOB, 2)]),
    };
    assert_eq!(bench.hear(ANN, last), [apply(0, written(ANN, 1), claim)]);
}

#[test]
fn who_holds_nothing_takes_in_what_was_collected_with_the_rest() {
    let mut bench = Bench::with_peers(&[ANN]);
    assert_eq!(
        bench.hear(ANN, summaries(&[(ANN, 3)])),
        [Command::Send(ANN, pull(0, &[], &[], None))]
    );
    let mut last = delta(0, written(ANN, 3), &[(ANN, 3)], 5, None);
    if let Message::Delta { delta, .. } = &mut last {
        delta.floor = Some(told_floor(&[(ANN, 2)]));
    }
    let claim = Claim::Absorb {
        vector: vector(&[(ANN, 3)]),
        floor: floor(&[(ANN, 2)]),
    };
    assert_eq!(bench.hear(ANN, last), [apply(0, written(ANN, 3), claim)]);
}

#[test]
fn what_is_not_held_at_all_is_pulled_from_one_peer_alone() {
    let mut bench = Bench::with_peers(&[ANN, BOB]);
    bench.hear(ANN, summaries(&[(ANN, 1)]));
    assert_eq!(
        bench.hear(BOB, push(vec![record(BOB, 4, 5)])),
        [apply(
            0,
            written(BOB, 5),
            Claim::Advance {
                replica: BOB,
                after: Seq::new(4),
                upto: Seq::new(5),
                needs: CausalContext::default(),
            }
        )]
    );
    let commands = bench.step(Event::Applied(Ticket(0), Outcome::Gap));
    let pulls = |command: &Command| matches!(command, Command::Send(BOB, Message::Pull { .. }));
    assert!(!commands.iter().any(pulls), "{commands:?}");
}
