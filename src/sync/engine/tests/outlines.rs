//! Vectors that are told in outline, by peers that hold something else than was thought, and by peers that lie.

use super::*;
use crate::model::Table;

const LIVES: u64 = 100;

/// Lives that are over, before those of the tests.
fn past() -> Vec<(ReplicaId, u64)> {
    let life = |number: u64| ReplicaId::from_bytes(u128::from(number).to_be_bytes());
    (1..=LIVES).map(|number| (life(number), 7)).collect()
}

fn and(past: &[(ReplicaId, u64)], more: &[(ReplicaId, u64)]) -> Vec<(ReplicaId, u64)> {
    [past, more].concat()
}

/// A node that holds so much, with one peer; what is settled is not named for being recent.
fn holding(entries: &[(ReplicaId, u64)]) -> Bench {
    let mut bench = Bench::with_peers(&[ANN]);
    let mut state = PartitionState::default();
    state.join(&vector(entries));
    state.vector.settle();
    bench.held.0.set(partition(), state);
    bench
}

/// A first page asked for by a peer that holds `theirs`, told as `vector`.
fn asked(vector: Outline, theirs: &[(ReplicaId, u64)]) -> Message {
    let mut pull = pull(0, theirs, theirs, None);
    if let Message::Pull { vector: told, .. } = &mut pull {
        *told = vector;
    }
    pull
}

fn unknown(page: u32, holds: &[(ReplicaId, u64)]) -> Message {
    Message::Unknown {
        pull: 0,
        page,
        partition: partition(),
        unclaimed: false,
        table: Table::of(&vector(holds), [US, ANN]),
    }
}

fn vector_of(command: &Command) -> &Outline {
    match command {
        Command::Send(ANN, Message::Pull { vector, .. }) => vector,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_peer_names_lives_by_a_hash_that_we_lack() {
    let mut bench = holding(&past());
    let theirs = and(&past(), &[(ANN, 3), (BOB, 4)]);
    let told = Outline::naming(&hashed(&theirs), [ANN]);
    let answer = bench.hear(ANN, asked(told, &theirs));
    // It is told what is held here, nothing is served, and nothing is believed of it.
    assert_eq!(answer, [Command::Send(ANN, unknown(0, &past()))]);
    assert_eq!(bench.statuses()[0].lag, None);
    // Beside that it is understood, and pulled from.
    let told = Outline::beside(&hashed(&theirs), &Table::of(&vector(&past()), []), []);
    let answer = bench.hear(ANN, asked(told, &theirs));
    let [Command::Serve(ANN, Request::Page(request)), pulled] = answer.as_slice() else {
        panic!("{answer:?}");
    };
    assert_eq!(request.base, vector(&theirs));
    assert!(vector_of(pulled).resolve(&hashed(&theirs)).is_some());
}

#[test]
fn lives_that_a_peer_holds_otherwise_are_asked_for_without_end() {
    let ours = and(&past(), &[(US, 1)]);
    let mut bench = holding(&ours);
    let first = bench.hear(ANN, summaries(&and(&past(), &[(BOB, 4)])));
    let [first] = first.as_slice() else {
        panic!("{first:?}");
    };
    let theirs = and(&past()[..40], &[(BOB, 4)]);
    assert_eq!(vector_of(first).resolve(&hashed(&theirs)), None);
    // Its table makes the second try understood, unless it goes on meanwhile.
    let second = bench.hear(ANN, unknown(0, &theirs));
    let [second] = second.as_slice() else {
        panic!("{second:?}");
    };
    let meant = vector_of(second).resolve(&hashed(&theirs));
    assert_eq!(meant, Some(hashed(&ours)));
    // The third is whole: whoever does not understand that lies.
    assert_eq!(bench.hear(ANN, unknown(0, &theirs)), [], "late");
    let third = bench.hear(ANN, unknown(1, &theirs));
    let [third] = third.as_slice() else {
        panic!("{third:?}");
    };
    assert_eq!(*vector_of(third), Outline::whole(&vector(&ours)));
    assert!(disconnected(&bench.hear(ANN, unknown(2, &theirs))));
}

#[test]
fn a_first_page_that_was_asked_for_twice_tells_nothing() {
    // What a peer holds more than we is pulled, also if it had to tell it twice.
    let mut bench = holding(&past());
    let theirs = and(&past(), &[(BOB, 4)]);
    bench.hear(ANN, asked(Outline::naming(&hashed(&theirs), []), &theirs));
    let mut again = asked(Outline::whole(&vector(&theirs)), &theirs);
    if let Message::Pull { page, .. } = &mut again {
        *page = 1;
    }
    let answer = bench.hear(ANN, again);
    assert!(
        matches!(answer[..], [Command::Serve(..), Command::Send(..)]),
        "{answer:?}"
    );
}

#[test]
fn a_base_that_is_told_with_a_false_hash_hides_what_we_hold() {
    let mut bench = holding(&past());
    let theirs = &past()[..50];
    let mut pull = pull(0, theirs, theirs, None);
    if let Message::Pull { base, .. } = &mut pull {
        // It would be understood as all that we hold, if it were guessed.
        *base = Outline::naming(&hashed(&past()[..99]), []);
    }
    let answer = bench.hear(ANN, pull);
    assert!(
        matches!(answer[..], [Command::Send(ANN, Message::Unknown { .. })]),
        "{answer:?}"
    );
}

#[test]
fn an_answer_that_names_lives_by_a_false_hash_is_claimed() {
    let mut bench = holding(&past());
    let theirs = and(&past(), &[(ANN, 1)]);
    bench.hear(ANN, summaries(&theirs));
    let page = |page, outline: Outline| {
        let mut delta = delta(page, written(ANN, 1), &[], 5, None);
        if let Message::Delta { delta, .. } = &mut delta {
            delta.vector = outline;
        }
        delta
    };
    let lie = Outline::naming(&hashed(&and(&theirs, &[(BOB, 9)])), [ANN]);
    // It is asked again, in full, and only once.
    let again = bench.hear(ANN, page(0, lie.clone()));
    assert!(
        matches!(
            again[..],
            [Command::Send(
                ANN,
                Message::Pull {
                    page: 1,
                    terms: Terms { whole: true, .. },
                    ..
                }
            )]
        ),
        "{again:?}"
    );
    let mut other = holding(&past());
    other.hear(ANN, summaries(&theirs));
    other.hear(ANN, page(0, lie.clone()));
    assert!(disconnected(&other.hear(ANN, page(1, lie))));
    let truth = Outline::against(&hashed(&theirs), &hashed(&past()));
    let claim = Claim::Absorb {
        vector: vector(&theirs),
        floor: Floor::default(),
    };
    assert_eq!(
        bench.hear(ANN, page(1, truth)),
        [apply(0, written(ANN, 1), claim)]
    );
}

#[test]
fn who_holds_nothing_is_told_all_lives_for_nothing() {
    let mut bench = holding(&past());
    bench.hear(ANN, summaries(&[(ANN, 1)]));
    assert_eq!(bench.hear(ANN, unknown(0, &[])), []);
    // And who is asked without holding anything wants all.
    let mut bench = holding(&[]);
    let told = Outline::naming(&hashed(&past()), []);
    let answer = bench.hear(ANN, asked(told, &past()));
    assert!(
        matches!(
            answer[..],
            [
                Command::Send(ANN, Message::Unknown { .. }),
                Command::Send(ANN, Message::Pull { .. })
            ]
        ),
        "{answer:?}"
    );
}

#[test]
fn what_was_collected_cannot_be_told_shortly_to_who_collected_something_else() {
    let mut bench = holding(&past());
    bench.collect(&past()[..60]);
    bench.hear(ANN, summaries(&and(&past(), &[(ANN, 1)])));
    let theirs = HashedVector::of(vector(&past()[..61]));
    let page = |page, floor: Outline| {
        let mut delta = delta(page, Vec::new(), &past(), 5, None);
        if let Message::Delta { delta, .. } = &mut delta {
            delta.floor = Some(ToldFloor {
                vector: floor,
                rank: Rank::at(clock()),
            });
        }
        delta
    };
    let again = bench.hear(ANN, page(0, Outline::naming(&theirs, [])));
    assert!(
        matches!(
            again[..],
            [Command::Send(ANN, Message::Pull { page: 1, .. })]
        ),
        "{again:?}"
    );
    // Told whole it is understood: all is held, so the pull is complete.
    bench.now_ms += RECHECK_PERIOD_MS;
    let done = bench.hear(ANN, page(1, Outline::whole(theirs.vector())));
    assert!(
        matches!(done[..], [Command::Send(ANN, Message::Probe { .. })]),
        "{done:?}"
    );
}
