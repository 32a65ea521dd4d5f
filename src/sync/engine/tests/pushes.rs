//! What is pushed, and what is done with what comes unasked.

use super::*;

#[test]
fn a_commit_is_pushed_to_all_peers_that_are_up() {
    let mut bench = Bench::with_peers(&[ANN, BOB]);
    bench.step(Event::PeerDown(BOB));
    let records: Arc<[_]> = vec![record(US, 0, 1)].into();
    assert_eq!(
        bench.step(Event::Committed(records.clone())),
        [Command::Push(vec![ANN], records)]
    );
}

#[test]
fn a_push_goes_to_the_writer_and_a_gap_is_pulled() {
    let mut bench = Bench::with_peers(&[ANN]);
    let advance = |after, upto| Claim::Advance {
        replica: ANN,
        after: Seq::new(after),
        upto: Seq::new(upto),
        needs: CausalContext::default(),
    };
    assert_eq!(
        bench.hear(ANN, push(vec![record(ANN, 0, 1), record(ANN, 1, 2)])),
        [
            apply(0, written(ANN, 1), advance(0, 1)),
            apply(1, written(ANN, 2), advance(1, 2)),
        ],
        "the second builds on the first, which is not applied yet"
    );
    assert_eq!(
        bench.step(Event::Applied(Ticket(1), Outcome::Gap)),
        [Command::Send(ANN, not_fresh(pull(0, &[], &[], None)))],
        "the first is still on its way"
    );
    assert_eq!(
        bench.hear(ANN, push(vec![record(ANN, 2, 3)])),
        [],
        "it is parked while its partition is pulled"
    );
    let told = [(ANN, 2)];
    bench.hear(ANN, delta(0, written(ANN, 2), &told, 1, None));
    bench.hold(&told);
    assert_eq!(
        bench.step(Event::Applied(Ticket(2), Outcome::Applied)),
        [apply(3, written(ANN, 3), advance(2, 3))]
    );
}

#[test]
fn a_push_that_is_covered_costs_nothing() {
    let mut bench = Bench::with_peers(&[ANN]);
    bench.hold(&[(ANN, 2)]);
    assert_eq!(bench.hear(ANN, push(vec![record(ANN, 1, 2)])), []);
}
