//! What a peer says that cannot be.

use super::*;

#[test]
fn what_cannot_be_is_refused_before_anything_is_done() {
    let late = Timestamp::from_unix_ms(UNIX_MS + MAX_CLOCK_AHEAD_MS + 1);
    let foreign_partition = PartitionId::new(partition().get().wrapping_add(1));
    let wrong = [
        Message::Hello(info(ANN)),
        Message::Summaries {
            root: Root(1),
            partitions: Vec::new(),
        },
        Message::Summaries {
            root: Root(1),
            partitions: vec![PartitionSummary::default(); 256],
        },
        pull(0, &[(US, 1)], &[], None),
        push(vec![record(ANN, 0, 1), record(BOB, 0, 1)]),
        push(vec![record(ANN, 0, 1), record(ANN, 3, 3)]),
        push(vec![CommitRecord {
            partition: foreign_partition,
            ..record(ANN, 0, 1)
        }]),
        push(vec![CommitRecord {
            needs: [Dot::new(ANN, Seq::new(1))].into_iter().collect(),
            ..record(ANN, 1, 2)
        }]),
        Message::Push {
            clock: late,
            records: Vec::new(),
        },
        Message::Push {
            clock: Timestamp::ZERO,
            records: vec![record(ANN, 0, 1)],
        },
        delta(0, written(ANN, 1), &[(US, 1)], 5, None),
        delta(0, written(US, 1), &[(ANN, 1)], 5, None),
        delta(0, Vec::new(), &[(ANN, 1)], 5, Some(cursor(ANN, 1))),
        delta(
            0,
            vec![EntityCells {
                id: id(),
                cells: Vec::new(),
            }],
            &[(ANN, 1)],
            5,
            None,
        ),
    ];
    for message in wrong {
        let mut bench = Bench::with_peers(&[ANN]);
        bench.hear(ANN, summaries(&[(ANN, 1)]));
        let commands = bench.hear(ANN, message.clone());
        assert!(disconnected(&commands), "{message:?}: {commands:?}");
        let root = bench.held.0.root();
        assert_eq!(
            bench.hear(ANN, Message::Probe { root }),
            [],
            "down from here on"
        );
    }
}

#[test]
fn a_page_that_was_not_asked_for_so_is_refused() {
    let mut bench = Bench::with_peers(&[ANN]);
    bench.hold(&[(BOB, 2)]);
    bench.hear(ANN, summaries(&[(ANN, 1), (BOB, 2)]));
    let covered = delta(0, written(BOB, 1), &[(ANN, 1), (BOB, 2)], 5, None);
    assert!(disconnected(&bench.hear(ANN, covered)));

    let mut bench = Bench::with_peers(&[ANN]);
    bench.hear(ANN, summaries(&[(ANN, 3)]));
    let next = Some(cursor(ANN, 1));
    bench.hear(ANN, delta(0, written(ANN, 1), &[(ANN, 3)], 5, next));
    let back = delta(1, written(ANN, 2), &[(ANN, 2)], 6, None);
    assert!(disconnected(&bench.hear(ANN, back)), "its vector went back");

    let mut bench = Bench::with_peers(&[ANN]);
    bench.hear(ANN, summaries(&[(ANN, 3)]));
    bench.hear(ANN, delta(0, written(ANN, 1), &[(ANN, 3)], 5, next));
    let still = delta(1, written(ANN, 2), &[(ANN, 3)], 5, next);
    assert!(
        disconnected(&bench.hear(ANN, still)),
        "its cursor stands still"
    );
}

#[test]
fn writes_under_our_life_that_we_never_made_leave_it_going_on() {
    let mut bench = Bench::with_peers(&[ANN]);
    bench.hold(&[(US, 2)]);
    let commands = bench.hear(ANN, pull(0, &[(US, 9)], &[], None));
    assert!(
        matches!(
            commands.as_slice(),
            [Command::NewLife, Command::Disconnect(ANN, _)]
        ),
        "{commands:?}"
    );
}

#[test]
fn a_vector_of_a_million_replicas_is_taken_in() {
    let mut bench = Bench::with_peers(&[ANN]);
    let replicas = (0..=validate::MAX_VECTOR_ENTRIES as u128).map(u128::to_be_bytes);
    let entries: Vec<(ReplicaId, u64)> = replicas
        .map(|bytes| (ReplicaId::from_bytes(bytes), 1))
        .collect();
    assert!(disconnected(&bench.hear(ANN, pull(0, &entries, &[], None))));
}
