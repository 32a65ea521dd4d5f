//! Peers that come, go, lag and are many.

use super::*;

#[test]
fn a_lost_connection_ends_its_pulls() {
    let mut bench = Bench::with_peers(&[ANN]);
    bench.hear(ANN, summaries(&[(ANN, 1)]));
    bench.step(Event::PeerDown(ANN));
    let page = delta(0, written(ANN, 1), &[(ANN, 1)], 5, None);
    assert_eq!(bench.hear(ANN, page.clone()), []);
    bench.step(Event::PeerUp(info(ANN)));
    assert_eq!(bench.hear(ANN, page), []);
}

#[test]
fn a_random_peer_is_probed_about_once_a_period() {
    let mut bench = Bench::with_peers(&[ANN, BOB]);
    let mut probes = 0;
    for _ in 0..200 {
        bench.now_ms += 100;
        probes += bench.step(Event::Tick).len();
    }
    assert!((16..=24).contains(&probes), "{probes} in 20 periods");
}

#[test]
fn gossip_of_another_root_is_followed_up_once_a_period() {
    let mut bench = Bench::with_peers(&[ANN]);
    assert_eq!(bench.step(Event::Gossiped(ANN, Root(9))), [], "just probed");
    bench.now_ms += EngineConfig::default().probe_period_ms;
    let root = bench.held.0.root();
    assert_eq!(
        bench.step(Event::Gossiped(ANN, Root(9))),
        [Command::Send(ANN, Message::Probe { root })]
    );
}

#[test]
fn pulls_are_bounded_and_the_rest_waits_its_turn() {
    let mut bench = Bench::new(EngineConfig {
        max_pulls_per_peer: 1,
        ..EngineConfig::default()
    });
    bench.step(Event::PeerUp(info(ANN)));
    let mut state = State::default();
    for partition in [4, 5].map(PartitionId::new) {
        let mut held = PartitionState::default();
        held.advance(ANN, Seq::new(1));
        state.set(partition, held);
    }
    let summary = |(_, state): (_, &Arc<PartitionState>)| state.summary();
    let commands = bench.hear(
        ANN,
        Message::Summaries {
            root: state.root(),
            partitions: state.partitions().map(summary).collect(),
        },
    );
    assert_eq!(commands.len(), 1);
    bench.now_ms = EngineConfig::default().pull_abandoned_after_ms;
    let next = bench.step(Event::Tick);
    assert!(next.iter().any(|command| matches!(
        command,
        Command::Send(ANN, Message::Pull { partition, .. }) if partition.get() == 5
    )));
}

#[test]
fn lag_is_what_a_peer_lacks_of_ours() {
    let mut bench = Bench::with_peers(&[ANN]);
    assert_eq!(bench.statuses()[0].lag, None);
    bench.hold(&[(US, 5), (BOB, 1)]);
    bench.hear(ANN, summaries(&[(ANN, 1)]));
    assert_eq!(
        bench.statuses()[0].lag,
        None,
        "of one partition only the hash is known"
    );
    bench.hear(
        ANN,
        delta(0, written(ANN, 1), &[(ANN, 1), (US, 2)], 5, None),
    );
    assert_eq!(bench.statuses()[0].lag, Some(4));
    bench.now_ms += 50;
    bench.step(Event::PeerDown(ANN));
    let status = &bench.statuses()[0];
    assert!(!status.up && !status.agrees);
    assert_eq!((status.lag, status.last_heard_ms), (Some(4), 50));
}

#[test]
fn peers_that_went_down_are_remembered_within_a_bound() {
    let mut bench = Bench::new(EngineConfig::default());
    for number in 0..=u128::try_from(MAX_PEERS_REMEMBERED).expect("it fits") {
        bench.now_ms += 1;
        let peer = ReplicaId::from_bytes((number + 1_000_000).to_be_bytes());
        bench.step(Event::PeerUp(info(peer)));
        bench.step(Event::PeerDown(peer));
    }
    let statuses = bench.statuses();
    assert_eq!(statuses.len(), MAX_PEERS_REMEMBERED);
    let first = ReplicaId::from_bytes(1_000_000_u128.to_be_bytes());
    assert!(statuses.iter().all(|status| status.replica != first));
}

/// A pull of ours from Ann of which the first of two pages came before her connection was cut.
fn torn() -> (Bench, [(ReplicaId, u64); 2], Cursor) {
    let mut bench = Bench::with_peers(&[ANN, BOB]);
    bench.hold(&[(BOB, 1)]);
    let told = [(ANN, 2), (BOB, 1)];
    bench.hear(ANN, summaries(&told));
    let next = cursor(ANN, 1);
    let commands = bench.hear(ANN, delta(0, written(ANN, 1), &told, 5, Some(next)));
    let second = pull(1, &[(BOB, 1)], &[(BOB, 1)], Some(next));
    assert_eq!(
        commands,
        [
            apply(0, written(ANN, 1), Claim::Nothing),
            Command::Send(ANN, not_fresh(second)),
        ]
    );
    bench.step(Event::PeerDown(ANN));
    (bench, told, next)
}

#[test]
fn a_pull_that_was_torn_off_begins_anew_for_ever() {
    let (mut bench, told, next) = torn();
    bench.step(Event::Applied(Ticket(0), Outcome::Applied));
    bench.step(Event::PeerUp(info(ANN)));
    let second = not_fresh(pull(1, &[(BOB, 1)], &[(BOB, 1)], Some(next)));
    assert_eq!(
        bench.hear(ANN, summaries(&told)),
        [Command::Send(ANN, second)]
    );
    assert_eq!(
        bench.hear(ANN, delta(1, written(ANN, 2), &told, 5, None)),
        [apply(1, written(ANN, 2), absorb(vector(&told)))]
    );
}

#[test]
fn a_torn_pull_goes_on_over_what_it_was_not_told_of() {
    let begins_anew = |bench: &mut Bench, told: &[(ReplicaId, u64)]| {
        bench.step(Event::PeerUp(info(ANN)));
        let commands = bench.hear(ANN, summaries(told));
        assert!(
            matches!(
                &commands[..],
                [Command::Send(
                    ANN,
                    Message::Pull {
                        page: 0,
                        cursor: None,
                        ..
                    }
                )]
            ),
            "{commands:?}"
        );
    };
    // A page of it could not be stored.
    let (mut bench, told, _) = torn();
    bench.step(Event::ApplyFailed(Ticket(0)));
    begins_anew(&mut bench, &told);
    // Another pull of the partition was begun.
    let (mut bench, told, _) = torn();
    bench.hear(BOB, summaries(&told));
    bench.step(Event::PeerDown(BOB));
    begins_anew(&mut bench, &told);
    // She broke the protocol.
    let (mut bench, told, _) = torn();
    bench.step(Event::PeerUp(info(ANN)));
    bench.hear(ANN, Message::Hello(info(ANN)));
    bench.step(Event::PeerDown(ANN));
    begins_anew(&mut bench, &told);
}
