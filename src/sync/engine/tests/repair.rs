//! What should never differ, and how it is repaired.

use super::*;
use crate::model::ListingPage;

fn diverged() -> Bench {
    let mut bench = Bench::with_peers(&[ANN]);
    bench.hold(&[(BOB, 1)]);
    let mut damaged = PartitionState::clone(bench.held.0.partition(partition()));
    damaged.digest = 77;
    bench.held.0.set(partition(), damaged);
    bench
}

fn list(pull: u64, page: u32, cursor: Option<EntityId>) -> Message {
    Message::List {
        pull,
        page,
        partition: partition(),
        cursor,
    }
}

fn listing(page: u32, entries: Vec<(EntityId, u128)>, next: Option<EntityId>) -> Message {
    Message::Listing {
        pull: 0,
        page,
        partition: partition(),
        listing: ListingPage { entries, next },
    }
}

fn cells(page: u32, answered: u32, entities: Vec<EntityCells>) -> Message {
    Message::Cells {
        pull: 0,
        page,
        partition: partition(),
        clock: clock(),
        answered,
        entities,
    }
}

fn fetch(page: u32, ids: Vec<EntityId>) -> Message {
    Message::Fetch {
        pull: 0,
        page,
        partition: partition(),
        ids,
    }
}

#[test]
fn what_differs_is_listed_compared_fetched_and_merged() {
    let mut bench = diverged();
    assert_eq!(
        bench.hear(ANN, summaries(&[(BOB, 1)])),
        [
            Command::Diverged(ANN, partition()),
            Command::Send(ANN, list(0, 0, None)),
        ]
    );
    let alarm = bench.engine.divergences(bench.now());
    assert_eq!(alarm.len(), 1);
    assert_eq!((alarm[0].peer, alarm[0].partition), (ANN, partition()));
    let entries = vec![(id(), 5)];
    assert_eq!(
        bench.hear(ANN, listing(0, entries.clone(), None)),
        [Command::Compare(Comparison {
            repair: 0,
            partition: partition(),
            after: None,
            upto: None,
            theirs: entries,
        })]
    );
    assert_eq!(
        bench.step(Event::Compared(0, vec![id()])),
        [Command::Send(ANN, fetch(1, vec![id()]))]
    );
    assert_eq!(
        bench.hear(ANN, cells(1, 1, written(BOB, 1))),
        [apply(0, written(BOB, 1), Claim::Repair)],
        "its dot is covered, and it is merged all the same"
    );
    bench.now_ms += RECHECK_PERIOD_MS;
    let mut whole = PartitionState::clone(bench.held.0.partition(partition()));
    whole.digest = 0;
    bench.held.0.set(partition(), whole);
    let root = bench.held.0.root();
    assert_eq!(
        bench.step(Event::Applied(Ticket(0), Outcome::Applied)),
        [Command::Send(ANN, Message::Probe { root })]
    );
    bench.hear(ANN, Message::InStep { root });
    assert_eq!(bench.engine.divergences(bench.now()), []);
}

#[test]
fn a_repair_that_did_not_help_is_tried_again_later_and_later() {
    let mut bench = diverged();
    assert_eq!(bench.hear(ANN, summaries(&[(BOB, 1)])).len(), 2);
    bench.hear(ANN, listing(0, Vec::new(), None));
    bench.step(Event::Compared(0, Vec::new()));
    assert_eq!(bench.hear(ANN, summaries(&[(BOB, 1)])), [], "not yet");
    bench.now_ms = MIN_REPAIR_RETRY_MS;
    assert_eq!(
        bench.hear(ANN, summaries(&[(BOB, 1)])),
        [
            Command::Diverged(ANN, partition()),
            Command::Send(ANN, list(1, 0, None)),
        ]
    );
    bench.now_ms += MIN_REPAIR_RETRY_MS;
    assert_eq!(bench.hear(ANN, summaries(&[(BOB, 1)])), []);
}

#[test]
fn a_listing_goes_on_after_its_page_is_repaired() {
    let mut bench = diverged();
    bench.hear(ANN, summaries(&[(BOB, 1)]));
    bench.hear(ANN, listing(0, vec![(id(), 5)], Some(id())));
    assert_eq!(
        bench.step(Event::Compared(0, Vec::new())),
        [Command::Send(ANN, list(0, 1, Some(id())))]
    );
}

#[test]
fn what_was_not_asked_for_is_refused() {
    let other = EntityId::new(Collection::Kv, "other").expect("short");
    for entries in [vec![(id(), 1), (id(), 2)], vec![(other.clone(), 1)]] {
        let mut bench = diverged();
        bench.hear(ANN, summaries(&[(BOB, 1)]));
        let commands = bench.hear(ANN, listing(0, entries, None));
        assert!(disconnected(&commands), "{commands:?}");
    }
    let foreign = vec![EntityCells {
        id: other,
        ..written(BOB, 1).remove(0)
    }];
    for (answered, entities) in [
        (0, Vec::new()),
        (2, Vec::new()),
        (1, foreign),
        (1, written(US, 9)),
        (1, [written(BOB, 1), written(BOB, 1)].concat()),
    ] {
        let mut bench = diverged();
        bench.hear(ANN, summaries(&[(BOB, 1)]));
        bench.hear(ANN, listing(0, vec![(id(), 5)], None));
        bench.step(Event::Compared(0, vec![id()]));
        let commands = bench.hear(ANN, cells(1, answered, entities));
        assert!(disconnected(&commands), "{commands:?}");
    }
    let mut bench = diverged();
    assert!(disconnected(&bench.hear(ANN, fetch(0, Vec::new()))));
    let mut bench = diverged();
    assert!(disconnected(&bench.hear(ANN, fetch(0, vec![id(), id()]))));
}

#[test]
fn what_is_asked_for_is_served() {
    let mut bench = diverged();
    let commands = bench.hear(ANN, fetch(3, vec![id()]));
    let request = FetchRequest {
        pull: 0,
        page: 3,
        partition: partition(),
        ids: vec![id()],
    };
    assert_eq!(commands, [Command::Serve(ANN, Request::Cells(request))]);
    let commands = bench.hear(ANN, list(0, 0, Some(id())));
    assert!(matches!(
        commands[..],
        [Command::Serve(ANN, Request::List(_))]
    ));
}
