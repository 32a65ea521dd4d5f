//! The danger: bytes from outside make a node panic. Every fuzz target takes every seed of every target, and each
//! seed cut short, with one bit changed, and twice in a row.

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use std::{fs, net::SocketAddr, path::PathBuf};

use grapevine::{
    cluster::{MAX_DATAGRAM_BYTES, is_letter},
    codec,
    config::{Layers, NodeConfig},
    model::{
        CardFile, Claim, Collection, CommitRecord, EntityCells, EntityId, Floor, HashedVector, Op,
        Outline, PARTITIONS, PartitionSummary, Root, Table,
    },
    node::Node,
    secret::{Keyring, Secret, Secrets},
    store::Group,
    sync::{
        Message, PROTOCOL_VERSION, PeerInfo, Terms, ToldDelta, ToldFloor,
        transport::{Connection, Frame, HANDSHAKE_MESSAGE_BYTES, PREFACE_BYTES, Role, admit},
    },
};
use grapevine_crdt::{
    CausalContext, Cell, Dot, Entity, FieldCell, FieldKey, Rank, ReplicaId, Seq, Timestamp, Value,
    VersionVector,
};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, UdpSocket},
};

fn seeds() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds")
}

#[test]
fn a_seed_makes_something_panic() {
    for (name, target) in targets::ALL {
        let mut seeds_of_target = 0;
        for entry in fs::read_dir(seeds().join(name)).expect("every target has seeds") {
            let bytes = fs::read(entry.expect("an entry").path()).expect("a file");
            seeds_of_target += 1;
            target(&bytes);
            target(&[&bytes[..], &bytes[..]].concat());
            for cut in (0..bytes.len()).step_by(bytes.len() / 16 + 1) {
                target(&bytes[..cut]);
                let mut changed = bytes.clone();
                changed[cut] ^= 1 << (cut % 8);
                target(&changed);
            }
            for (_, other) in targets::ALL {
                other(&bytes);
            }
        }
        assert!(seeds_of_target > 0, "{name} has no seeds");
    }
}

const PEER: ReplicaId = ReplicaId::from_bytes([2; 16]);
const TIME: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);

fn cells(key: &str, seq: u64) -> EntityCells {
    let field = FieldKey::Register("value".to_owned());
    let cell = Cell {
        rank: Rank::at(TIME),
        dot: Dot::new(PEER, Seq::new(seq)),
        seen: CausalContext::default(),
        value: Value::Bytes(b"value".to_vec()),
    };
    EntityCells {
        id: EntityId::new(Collection::Kv, key).expect("a good key"),
        cells: vec![FieldCell { field, cell }],
    }
}

fn stream(messages: &[Message]) -> Vec<u8> {
    let frames = messages
        .iter()
        .map(|message| Frame::encode(message).expect("it is small"));
    frames.flat_map(|frame| frame.bytes().to_vec()).collect()
}

/// What two nodes say to each other at first.
async fn gossip() -> (Vec<u8>, Vec<u8>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let between = UdpSocket::bind(free).await.expect("a free port");
    let start = async |name: &str, seeds| {
        let mut config = NodeConfig::new(name, directory.path().join(name), free, free);
        config.seeds = seeds;
        Node::start(config).await.expect("it starts")
    };
    let address = between.local_addr().expect("it is bound").to_string();
    let ann = start("ann", vec![address]).await;
    let bob = start("bob", Vec::new()).await;
    let receive = async || {
        let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
        let bytes = between.recv(&mut buffer).await.expect("a datagram");
        buffer.truncate(bytes);
        buffer
    };
    let syn = receive().await;
    let sent = between.send_to(&syn, bob.peer_addr()).await;
    sent.expect("it is sent");
    let mut answer = receive().await;
    while answer == syn || answer.get(4) == syn.get(4) {
        answer = receive().await;
    }
    ann.shutdown().await;
    bob.shutdown().await;
    (syn, answer)
}

fn secrets() -> Secrets {
    Secrets::new(vec![Secret::from_bytes([7; 32])]).expect("one")
}

/// What a node with a secret says first, over UDP and over TCP.
async fn sealed() -> (Vec<u8>, Vec<u8>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let tcp = TcpListener::bind(free).await.expect("a free port");
    let address = tcp.local_addr().expect("it is bound");
    let udp = UdpSocket::bind(address).await.expect("it is free for UDP");
    let mut config = NodeConfig::new("ann", directory.path().join("ann"), free, free);
    config.seeds = vec![address.to_string()];
    config.cluster_secrets = secrets();
    let ann = Node::start(config).await.expect("it starts");
    let mut datagram = vec![0; MAX_DATAGRAM_BYTES];
    let bytes = udp.recv(&mut datagram).await.expect("a datagram");
    datagram.truncate(bytes);
    let (mut stream, _) = tcp.accept().await.expect("it dials");
    let mut first = vec![0; PREFACE_BYTES + HANDSHAKE_MESSAGE_BYTES];
    stream.read_exact(&mut first).await.expect("it begins");
    ann.shutdown().await;
    (datagram, first)
}

/// Writes the seeds that are no text. Run it when a format changes:
/// `cargo test --test corpus -- --ignored write_the_seeds`.
#[tokio::test]
#[ignore = "it writes into the sources"]
#[expect(clippy::too_many_lines, reason = "a seed for each decoder")]
async fn write_the_seeds() {
    let put = |target: &str, name: &str, bytes: Vec<u8>| {
        let directory = seeds().join(target);
        fs::create_dir_all(&directory).expect("it can be made");
        fs::write(directory.join(name), bytes).expect("it can be written");
    };
    let (syn, syn_ack) = gossip().await;
    put("datagram", "syn", syn);
    put("datagram", "syn-ack", syn_ack);
    let (greeting, first) = sealed().await;
    put("datagram", "sealed", greeting);
    put("handshake", "first", first);
    put("handshake", "open", b"GRPV\x00\x02\x00\x00".to_vec());
    let hello = Message::Hello(PeerInfo {
        version: PROTOCOL_VERSION,
        cluster: "grapevine".to_owned(),
        name: "ann".to_owned(),
        replica: PEER,
        store: uuid::Uuid::nil(),
        http: "127.0.0.1:7000".to_owned(),
        peer: "127.0.0.1:7001".to_owned(),
        unix_ms: TIME.unix_ms(),
        clock: TIME,
    });
    let entities = vec![cells("key", 1)];
    let partition = entities[0].id.partition();
    let vector: VersionVector = [(PEER, Seq::new(1))].into_iter().collect();
    let push = |after, upto, seq| Message::Push {
        clock: TIME,
        records: vec![CommitRecord {
            partition,
            replica: PEER,
            after: Seq::new(after),
            upto: Seq::new(upto),
            needs: CausalContext::default(),
            entities: vec![cells("key", seq)],
        }],
    };
    let delta = |page| Message::Delta {
        pull: 1,
        page,
        partition,
        clock: TIME,
        unclaimed: false,
        delta: ToldDelta {
            entities: entities.clone(),
            vector: Outline::whole(&vector),
            stamp: 1,
            next: None,
            floor: Some(ToldFloor {
                vector: Outline::default(),
                rank: Rank::default(),
            }),
        },
    };
    put("message", "hello", stream(&[hello]));
    put(
        "message",
        "pushes",
        stream(&[push(0, 1, 1), push(1, 2, 2), push(1, 2, 2)]),
    );
    put(
        "message",
        "push-after-a-gap",
        stream(&[push(5, 6, 6), delta(0), delta(1)]),
    );
    let pull = Message::Pull {
        pull: 1,
        page: 0,
        partition,
        vector: Outline::naming(&HashedVector::of(vector.clone()), [PEER]),
        open: false,
        unclaimed: false,
        fresh: false,
        base: Outline::default(),
        cursor: None,
        terms: Terms::default(),
    };
    put("message", "pull-and-delta", stream(&[pull, delta(0)]));
    let unknown = Message::Unknown {
        pull: 1,
        page: 0,
        partition,
        unclaimed: false,
        table: Table::of(&vector, [PEER]),
    };
    put("message", "unknown", stream(&[unknown, delta(1)]));
    let summaries = Message::Summaries {
        root: Root::default(),
        partitions: vec![PartitionSummary::default(); PARTITIONS],
    };
    let probe = Message::Probe { root: Root(1) };
    put(
        "message",
        "summaries",
        stream(&[probe, summaries, delta(0)]),
    );

    let op = Op {
        partition,
        entities: entities.clone(),
        claim: Claim::Absorb {
            vector: vector.clone(),
            floor: Floor::default(),
        },
    };
    let group = Group {
        number: 7,
        clock: TIME,
        ops: vec![op],
    };
    let mut entity = Entity::default();
    for cell in entities[0].cells.clone() {
        entity.merge_cell(cell);
    }
    let encoded = |bytes: Result<Vec<u8>, _>| bytes.expect("it is small");
    put("rows", "group", encoded(codec::encode(&group)));
    put("rows", "entity", encoded(codec::encode(&entity)));
    put("rows", "cells", encoded(codec::encode(&entities[0])));
    put("rows", "vector", encoded(codec::encode(&vector)));
    let mut row = vec![1];
    row.extend_from_slice(&[0; 16]);
    row.extend(encoded(codec::encode(&entity)));
    put("rows", "row-of-an-entity", row);
}

/// Seeds that are refused at the first byte lead a fuzzer nowhere.
#[tokio::test]
async fn the_seeds_are_refused_at_the_door() {
    let seed = |name: &str| fs::read(seeds().join(name)).expect("a seed");
    for name in ["bad-cluster", "syn", "syn-ack"] {
        let read = grapevine::cluster::decode_datagram(&seed(&format!("datagram/{name}")));
        read.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let keys = secrets().keys("grapevine");
    assert!(is_letter(&keys[0], &seed("datagram/sealed")));
    let (keyring, _keys) = Keyring::new(&secrets(), "grapevine");
    for (name, keyring) in [("first", keyring), ("open", Keyring::open())] {
        let connection = Connection {
            reading: Box::new(std::io::Cursor::new(seed(&format!("handshake/{name}")))),
            writing: Box::new(tokio::io::sink()),
            remote: "a file".to_owned(),
        };
        let admitted = admit(connection, Role::Accepted, &keyring, "grapevine").await;
        admitted.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let cards = CardFile::read(&seed("vcard/two"), None, 10).expect("it can be read");
    assert_eq!(cards.cards.iter().filter(|card| card.is_ok()).count(), 2);
    codec::decode::<Group>(&seed("rows/group")).expect("a group");
    codec::decode::<Entity>(&seed("rows/entity")).expect("an entity");
    let settings = seeds().join("settings/full");
    let layers = Layers::read(Some(&settings), []).expect("it can be read");
    layers.node().expect("good settings");
}
