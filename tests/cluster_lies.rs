//! The danger: a peer sends frames that are valid and say what cannot be, or the same ones again, late and in
//! another order. The first kind is dropped, counted, and ends its link; neither changes what is held.

mod nodes;

use grapevine::{
    model::{
        Collection, CommitRecord, EntityCells, EntityId, MAX_KEY_BYTES, Outline, PARTITIONS,
        PartitionSummary, Root,
    },
    node::Node,
    sync::{
        MAX_FRAME_BYTES, Message, PROTOCOL_VERSION, Terms, ToldDelta, ToldFloor,
        engine::MAX_CLOCK_AHEAD_MS, transport::PREFACE_BYTES,
    },
};
use grapevine_crdt::{
    CausalContext, Cell, Dot, FieldCell, FieldKey, Rank, ReplicaId, Seq, Timestamp, Value,
    VersionVector,
};
use nodes::{
    DEADLINE, Site, eventually, get, put, root, sees_alive,
    stranger::{Stranger, replica},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const KEY: &str = "lie";

fn id() -> EntityId {
    EntityId::new(Collection::Kv, KEY).expect("a good key")
}

fn cells(writer: ReplicaId, seq: u64, time: Timestamp, value: &[u8]) -> EntityCells {
    let cell = Cell {
        rank: Rank::at(time),
        dot: Dot::new(writer, Seq::new(seq)),
        seen: CausalContext::default(),
        value: Value::Bytes(value.to_vec()),
    };
    EntityCells {
        id: id(),
        cells: vec![FieldCell {
            field: FieldKey::Register("value".to_owned()),
            cell,
        }],
    }
}

fn record(writer: ReplicaId, after: u64, upto: u64, entities: Vec<EntityCells>) -> CommitRecord {
    CommitRecord {
        partition: id().partition(),
        replica: writer,
        after: Seq::new(after),
        upto: Seq::new(upto),
        needs: CausalContext::default(),
        entities,
    }
}

fn push(clock: Timestamp, record: CommitRecord) -> Message {
    Message::Push {
        clock,
        records: vec![record],
    }
}

fn vector(entries: &[(ReplicaId, u64)]) -> VersionVector {
    let entries = entries.iter().map(|(of, seq)| (*of, Seq::new(*seq)));
    entries.collect()
}

fn told_nothing() -> ToldFloor {
    ToldFloor {
        vector: Outline::default(),
        rank: Rank::default(),
    }
}

fn pull(vector: &VersionVector) -> Message {
    Message::Pull {
        pull: 1,
        page: 0,
        partition: id().partition(),
        unclaimed: false,
        fresh: false,
        base: Outline::whole(vector),
        vector: Outline::whole(vector),
        terms: Terms::default(),
        open: false,
        cursor: None,
    }
}

/// What can never rightly be said, by a peer that writes as `eve` to a node that writes as `ours`.
fn lies(eve: ReplicaId, ours: ReplicaId, now: Timestamp) -> Vec<(&'static str, Message)> {
    let far = Timestamp::from_unix_ms(now.unix_ms() + 2 * MAX_CLOCK_AHEAD_MS);
    let ahead = Timestamp::from_unix_ms(now.unix_ms() + 1_000);
    let one = |writer, time| vec![cells(writer, 1, time, b"lie")];
    let two = Root(2);
    vec![
        (
            "a write of ours that we never made",
            push(now, record(ours, 0, 1, one(ours, now))),
        ),
        (
            "a write of a third",
            push(now, record(replica(9), 0, 1, one(replica(9), now))),
        ),
        (
            "a cell of another than the record",
            push(now, record(eve, 0, 1, one(replica(9), now))),
        ),
        (
            "a cell outside its range",
            push(now, record(eve, 4, 5, one(eve, now))),
        ),
        (
            "a range that goes back",
            push(now, record(eve, 5, 4, one(eve, now))),
        ),
        (
            "an entity without cells",
            push(
                now,
                record(
                    eve,
                    0,
                    1,
                    vec![EntityCells {
                        id: id(),
                        cells: Vec::new(),
                    }],
                ),
            ),
        ),
        (
            "a clock far ahead",
            push(far, record(eve, 0, 1, one(eve, far))),
        ),
        (
            "a time above its clock",
            push(now, record(eve, 0, 1, one(eve, ahead))),
        ),
        (
            "an entity of another partition",
            push(
                now,
                CommitRecord {
                    partition: other_partition(),
                    ..record(eve, 0, 1, one(eve, now))
                },
            ),
        ),
        (
            "a record that needs a write of its own replica",
            push(
                now,
                CommitRecord {
                    needs: [Dot::new(eve, Seq::new(1))].into_iter().collect(),
                    ..record(eve, 1, 2, Vec::new())
                },
            ),
        ),
        (
            "too few summaries",
            Message::Summaries {
                root: two,
                partitions: vec![PartitionSummary::default(); 3],
            },
        ),
        (
            "summaries that do not add up",
            Message::Summaries {
                root: two,
                partitions: vec![PartitionSummary::default(); PARTITIONS],
            },
        ),
        // Somebody else may have our life: a new one begins, so this comes last.
        ("a vector from nowhere", pull(&vector(&[(ours, 1_000_000)]))),
    ]
}

fn other_partition() -> grapevine::model::PartitionId {
    let others = (0..MAX_KEY_BYTES).map(|number| {
        let other = EntityId::new(Collection::Kv, format!("other-{number}"));
        other.expect("a good key").partition()
    });
    let mut others = others.filter(|partition| *partition != id().partition());
    others.next().expect("there are 256")
}

async fn is_disconnected(node: &Node, times: u64, lie: &str) {
    eventually(lie, async || {
        (node.sync_totals().disconnects == times).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn valid_frames_with_impossible_contents_change_something() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    put(ann.store(), "kept", b"value").await;
    let now = ann.store().snapshot().state().clock();
    let count = lies(replica(7), replica(1), now).len();
    for index in 0..count {
        let mut eve = Stranger::connect(&ann, "eve", 7).await;
        let (what, lie) = lies(replica(7), eve.replica_of_node, now).swap_remove(index);
        let before = root(&ann);
        eve.say(&lie);
        let closed = async { while eve.next().await.is_some() {} };
        let closed = timeout(DEADLINE, closed).await;
        closed.unwrap_or_else(|_| panic!("{what} is believed"));
        is_disconnected(&ann, index as u64 + 1, what).await;
        assert_eq!(get(ann.store(), KEY), None, "{what}");
        if index + 1 < count {
            assert_eq!(root(&ann), before, "{what}");
        }
        let clock = ann.store().snapshot().state().clock();
        assert!(
            clock.unix_ms() < now.unix_ms() + MAX_CLOCK_AHEAD_MS,
            "{what}"
        );
    }
    let bob = site.start("bob", &[&ann]).await;
    sees_alive(&ann, &["ann", "bob"]).await;
    put(bob.store(), "after", b"value").await;
    eventually("sync goes on", async || get(ann.store(), "after")).await;
    ann.shutdown().await;
    bob.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_over_the_limit_is_read_from_a_peer_that_is_known() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let before = root(&ann);
    // The greeting of a node, said back to it as another replica.
    let mut hello = TcpStream::connect(ann.peer_addr())
        .await
        .expect("it listens");
    // Neither seals.
    hello.write_all(b"GRPV").await.expect("it reads");
    hello.write_u16(PROTOCOL_VERSION).await.expect("it reads");
    hello.write_all(&[0, 0]).await.expect("it reads");
    let mut preface = [0; PREFACE_BYTES];
    hello.read_exact(&mut preface).await.expect("a preface");
    let length = hello.read_u32().await.expect("a greeting");
    let mut body = vec![0; length as usize];
    hello.read_exact(&mut body).await.expect("a greeting");
    let Ok(Message::Hello(mut info)) = grapevine::codec::decode(&body) else {
        panic!("a node greets first");
    };
    info.replica = replica(7);
    info.name = "eve".to_owned();
    let greeting = grapevine::sync::transport::Frame::encode(&Message::Hello(info));
    let greeting = greeting.expect("it is small");
    hello.write_all(greeting.bytes()).await.expect("it reads");
    eventually("eve is known", async || {
        (ann.sync_totals().handshakes == 1).then_some(())
    })
    .await;
    let over = u32::try_from(MAX_FRAME_BYTES + 1).expect("it fits");
    hello.write_u32(over).await.expect("it reads");
    let mut rest = Vec::new();
    let ended = timeout(DEADLINE, hello.read_to_end(&mut rest)).await;
    let _reset_or_end = ended.expect("the node closes in time");
    is_disconnected(&ann, 1, "it is counted").await;
    assert_eq!(root(&ann), before);
    ann.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_come_twice_late_or_in_another_order_count_twice_or_are_lost() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let mut eve = Stranger::connect(&ann, "eve", 7).await;
    let writer = replica(7);
    let now = ann.store().snapshot().state().clock();
    let at = |more| Timestamp::from_unix_ms(now.unix_ms() + more);
    let first = push(
        at(1),
        record(writer, 0, 1, vec![cells(writer, 1, at(1), b"first")]),
    );
    let second = push(
        at(2),
        record(writer, 1, 2, vec![cells(writer, 2, at(2), b"second")]),
    );
    // The second overtakes the first: a gap, for which the partition is pulled.
    eve.say(&second);
    let (asked, page) = loop {
        match eve.next().await {
            Some(Message::Pull { pull, page, .. }) => break (pull, page),
            Some(_) => {}
            None => panic!("a gap is no lie"),
        }
    };
    let delta = Message::Delta {
        pull: asked,
        page,
        partition: id().partition(),
        clock: at(2),
        unclaimed: false,
        delta: ToldDelta {
            entities: vec![cells(writer, 2, at(2), b"second")],
            vector: Outline::whole(&vector(&[(writer, 2)])),
            stamp: 1,
            floor: Some(told_nothing()),
            next: None,
        },
    };
    for message in [
        &first, &second, &second, &first, &delta, &delta, &first, &delta, &second,
    ] {
        eve.say(message);
    }
    eventually("the second write", async || {
        (get(ann.store(), KEY)? == b"second").then_some(())
    })
    .await;
    // Whatever comes again changes nothing, and nobody is blamed for it.
    let settled = root(&ann);
    for message in [&delta, &second, &first] {
        eve.say(message);
    }
    eve.say(&Message::Probe { root: settled });
    loop {
        match eve.next().await {
            Some(Message::InStep { root }) => {
                assert_eq!(root, settled);
                break;
            }
            Some(_) => {}
            None => panic!("repeated frames are no lie"),
        }
    }
    let state = ann.store().snapshot().state().clone();
    let partition = state.partition(id().partition());
    assert_eq!(partition.vector.get(writer), Seq::new(2));
    assert_eq!(partition.unclaimed, 0);
    assert_eq!(ann.sync_totals().disconnects, 0);
    ann.shutdown().await;
}
