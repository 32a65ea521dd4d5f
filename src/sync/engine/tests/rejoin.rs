//! Taking part in a partition anew.

use super::*;
use crate::model::{CellName, EntityState, Rejoin};

fn behind(theirs: &[(ReplicaId, u64)], collected: &[(ReplicaId, u64)]) -> Message {
    Message::Behind {
        pull: 0,
        page: 0,
        partition: partition(),
        vector: Outline::whole(&vector(theirs)),
        floor: told_floor(collected),
    }
}

fn rejoin_pull(page: u32, ours: &[(ReplicaId, u64)], cursor: Option<EntityId>) -> Message {
    Message::RejoinPull {
        pull: 1,
        page,
        partition: partition(),
        vector: Outline::whole(&vector(ours)),
        cursor,
        terms: Terms {
            seen: page > 0,
            ..Terms::default()
        },
    }
}

/// The name of the one cell of a write.
fn name(replica: ReplicaId, seq: u64) -> CellName {
    let FieldCell { field, mut cell } = written(ANN, 1).remove(0).cells.remove(0);
    cell.dot = Dot::new(replica, Seq::new(seq));
    CellName::of(&field, &cell)
}

fn held(id: &EntityId, replica: ReplicaId, seq: u64) -> EntityState {
    let cells = written(replica, seq).remove(0).cells;
    EntityState {
        id: id.clone(),
        names: vec![name(replica, seq)],
        cells,
    }
}

fn state(
    page: u32,
    entities: Vec<EntityState>,
    theirs: &[(ReplicaId, u64)],
    collected: &[(ReplicaId, u64)],
    next: Option<EntityId>,
) -> Message {
    Message::State {
        pull: 1,
        page,
        partition: partition(),
        clock: clock(),
        state: ToldState {
            entities,
            vector: Outline::whole(&vector(theirs)),
            floor: told_floor(collected),
            next,
        },
    }
}

/// Two entities of the partition, in order.
fn two() -> [EntityId; 2] {
    let mut ids = (0..)
        .map(|number| EntityId::new(Collection::Kv, format!("k{number:05}")).expect("short"))
        .filter(|id| id.partition() == partition());
    [ids.next().expect("many"), ids.next().expect("many")]
}

/// A node that was away, and heard so from a peer that has collected.
fn returned() -> Bench {
    let mut bench = Bench::with_peers(&[ANN]);
    bench.hold(&[(US, 1)]);
    bench.hear(ANN, summaries(&[(ANN, 5)]));
    assert_eq!(
        bench.hear(ANN, behind(&[(ANN, 5)], &[(ANN, 4)])),
        [Command::Send(ANN, rejoin_pull(0, &[(US, 1)], None))]
    );
    bench
}

#[test]
fn the_vector_of_the_first_page_is_claimed_with_all_that_the_pages_held() {
    let mut bench = returned();
    let [one, two] = two();
    let first = state(
        0,
        vec![held(&one, ANN, 2)],
        &[(ANN, 5)],
        &[(ANN, 4)],
        Some(one.clone()),
    );
    let cells = |id: &EntityId, seq| {
        vec![EntityCells {
            id: id.clone(),
            cells: written(ANN, seq).remove(0).cells,
        }]
    };
    assert_eq!(
        bench.hear(ANN, first),
        [
            apply(0, cells(&one, 2), Claim::Nothing),
            Command::Send(ANN, rejoin_pull(1, &[(US, 1)], Some(one.clone()))),
        ]
    );
    let last = state(1, vec![held(&two, ANN, 7)], &[(ANN, 9)], &[(ANN, 8)], None);
    assert_eq!(
        bench.hear(ANN, last),
        [apply(1, cells(&two, 7), Claim::Nothing)]
    );
    assert_eq!(bench.step(Event::Applied(Ticket(0), Outcome::Applied)), []);
    let rejoin = Rejoin {
        vector: vector(&[(ANN, 5)]),
        floor: floor(&[(ANN, 5)]),
        held: vec![(one, vec![name(ANN, 2)]), (two, vec![name(ANN, 7)])],
        refresh_theirs: false,
        returning: false,
        issue: None,
    };
    assert_eq!(
        bench.step(Event::Applied(Ticket(1), Outcome::Applied)),
        [apply(2, Vec::new(), Claim::Rejoin(Box::new(rejoin)))]
    );
    bench.now_ms += RECHECK_PERIOD_MS;
    let root = bench.held.0.root();
    assert_eq!(
        bench.step(Event::Applied(Ticket(2), Outcome::Applied)),
        [Command::Send(ANN, Message::Probe { root })]
    );
}

#[test]
fn of_two_that_lack_what_the_other_collected_the_smaller_goes_first() {
    // We are smaller than the peer: we go, and write anew what only it has, for it has lost what we collected.
    let mut bench = Bench::with_peers(&[ANN]);
    bench.hold(&[(US, 3)]);
    bench.collect(&[(US, 2)]);
    bench.hear(ANN, summaries(&[(ANN, 5)]));
    let began = bench.hear(ANN, behind(&[(ANN, 5)], &[(ANN, 4)]));
    let mut asked = rejoin_pull(0, &[(US, 3)], None);
    if let Message::RejoinPull { terms, .. } = &mut asked {
        terms.floor = hashed(&[(US, 2)]).hash();
    }
    assert_eq!(began, [Command::Send(ANN, asked)]);
    let [one, _] = two();
    let page = state(0, vec![held(&one, ANN, 5)], &[(ANN, 5)], &[(ANN, 4)], None);
    bench.hear(ANN, page);
    let claim = bench.step(Event::Applied(Ticket(0), Outcome::Applied));
    let [Command::Apply { op, .. }] = claim.as_slice() else {
        panic!("{claim:?}");
    };
    assert!(
        matches!(&op.claim, Claim::Rejoin(rejoin) if rejoin.refresh_theirs),
        "{op:?}"
    );
    // A smaller peer goes first.
    let small = ReplicaId::from_bytes([0; 16]);
    let mut bench = Bench::with_peers(&[small]);
    bench.hold(&[(US, 3)]);
    bench.collect(&[(US, 2)]);
    bench.hear(small, summaries(&[(ANN, 5)]));
    assert_eq!(bench.hear(small, behind(&[(ANN, 5)], &[(ANN, 4)])), []);
}

#[test]
fn a_rejoin_that_was_cut_claims_nothing() {
    let mut bench = returned();
    let [one, _] = two();
    let next = Some(one.clone());
    bench.hear(
        ANN,
        state(0, vec![held(&one, ANN, 2)], &[(ANN, 5)], &[], next),
    );
    bench.step(Event::PeerDown(ANN));
    assert_eq!(bench.step(Event::Applied(Ticket(0), Outcome::Applied)), []);
    bench.step(Event::PeerUp(info(ANN)));
    assert_eq!(
        bench.hear(ANN, state(1, Vec::new(), &[(ANN, 5)], &[], None)),
        []
    );
}

#[test]
fn a_word_that_answers_no_pull_begins_nothing() {
    let mut bench = Bench::with_peers(&[ANN]);
    assert_eq!(bench.hear(ANN, behind(&[(ANN, 5)], &[(ANN, 4)])), []);
}

#[test]
fn one_partition_is_rejoined_at_a_time_and_a_stalled_one_is_given_up() {
    let mut bench = returned();
    bench.hear(ANN, summaries(&[(ANN, 5)]));
    bench.now_ms = EngineConfig::default().pull_abandoned_after_ms;
    bench.step(Event::Tick);
    let [one, _] = two();
    let late = state(0, vec![held(&one, ANN, 2)], &[(ANN, 5)], &[(ANN, 4)], None);
    assert_eq!(bench.hear(ANN, late), []);
}

#[test]
fn impossible_states_are_refused() {
    let [one, two] = two();
    let elsewhere = (0..1_000)
        .map(|number| EntityId::new(Collection::Kv, format!("e{number}")).expect("short"))
        .find(|id| id.partition() != partition())
        .expect("many");
    let entity = |dots: &[(ReplicaId, u64)]| EntityState {
        id: one.clone(),
        names: dots
            .iter()
            .map(|(replica, seq)| name(*replica, *seq))
            .collect(),
        cells: Vec::new(),
    };
    let good = || held(&one, ANN, 2);
    let with_cells = |state: EntityState| EntityState {
        cells: written(ANN, 2).remove(0).cells,
        ..state
    };
    let told = [(ANN, 5)];
    let wrong = [
        state(0, vec![held(&two, ANN, 1), good()], &told, &[], None),
        state(0, vec![good(), good()], &told, &[], None),
        state(0, vec![held(&elsewhere, ANN, 1)], &told, &[], None),
        state(0, vec![entity(&[])], &told, &[], None),
        state(0, vec![entity(&[(ANN, 0)])], &told, &[], None),
        state(0, vec![entity(&[(ANN, 2), (ANN, 1)])], &told, &[], None),
        state(0, vec![entity(&[(ANN, 2), (ANN, 2)])], &told, &[], None),
        state(0, vec![entity(&[(US, 9)])], &told, &[], None),
        state(0, vec![with_cells(entity(&[(ANN, 3)]))], &told, &[], None),
        state(0, vec![good()], &[(US, 9)], &[], None),
        state(0, vec![good()], &told, &[(ANN, 6)], None),
        state(0, vec![good()], &told, &[], Some(two.clone())),
        state(0, Vec::new(), &told, &[], Some(one.clone())),
    ];
    for message in wrong {
        let mut bench = returned();
        let commands = bench.hear(ANN, message.clone());
        assert!(disconnected(&commands), "{message:?}: {commands:?}");
    }
    let mut bench = returned();
    let next = Some(one.clone());
    bench.hear(ANN, state(0, vec![good()], &told, &[], next));
    let back = bench.hear(
        ANN,
        state(1, vec![held(&two, ANN, 3)], &[(ANN, 4)], &[], None),
    );
    assert!(disconnected(&back), "its vector went back");
    let mut bench = returned();
    bench.hear(ANN, summaries(&[(ANN, 5)]));
    let above = Message::Behind {
        pull: 1,
        page: 0,
        partition: partition(),
        vector: Outline::whole(&vector(&[(ANN, 5)])),
        floor: told_floor(&[(ANN, 6)]),
    };
    assert_eq!(bench.hear(ANN, above), [], "it answers no pull");
}

#[test]
fn all_that_is_held_is_served_to_who_asks() {
    let mut bench = Bench::with_peers(&[ANN]);
    let [one, _] = two();
    let commands = bench.hear(ANN, rejoin_pull(0, &[(ANN, 1)], Some(one.clone())));
    let request = StateRequest {
        pull: 1,
        page: 0,
        partition: partition(),
        cursor: Some(one),
        telling: telling(&[(ANN, 1)]),
    };
    assert_eq!(commands, [Command::Serve(ANN, Request::State(request))]);
}
