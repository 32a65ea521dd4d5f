//! One round of sync between two nodes in memory: of 100,000 entities that both hold, one holds `d` in a newer
//! form. Prints the bytes of all messages, as they would go over the wire, beside the time.
//!
//! Timed are both engines, the reading of pages, the kernel's merge, and encoding and decoding every message;
//! no disk and no network.

use std::{collections::VecDeque, hint::black_box, sync::Arc};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use grapevine::{
    codec,
    model::{Collection, EntityId, Op, PartitionId, PartitionState, PartitionSummary, Root},
    store::{DeltaBudget, Edit, MemoryRows, State, Workspace, read_delta},
    sync::{
        Message, PROTOCOL_VERSION, PeerInfo,
        engine::{Command, Engine, EngineConfig, Event, Now, PullRequest, Request, Ticket, View},
    },
};
use grapevine_crdt::{FieldCell, LwwMap, ReplicaId, Timestamp};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

const ENTITIES: usize = 100_000;
const DIFFERING: [usize; 4] = [0, 10, 1_000, 100_000];
const UNIX_MS: u64 = 1_700_000_000_000;
/// The bytes of a frame's length.
const LENGTH_BYTES: usize = 4;
/// What the driver reads for a page.
const PAGE: DeltaBudget = DeltaBudget {
    entities: 1_000,
    bytes: 256 * 1024,
};

/// What a node holds.
#[derive(Clone, Default)]
struct Held {
    rows: MemoryRows,
    state: State,
}

impl Held {
    /// Makes one write to each of the first `count` entities.
    fn write(&mut self, writer: ReplicaId, count: usize) {
        let mut workspace = Workspace::new(&self.rows, self.state.clone());
        for number in 0..count {
            let id = EntityId::new(Collection::Contacts, format!("contact-{number:08}"));
            let id = id.expect("a short key");
            workspace
                .write(&id, writer, UNIX_MS, |edit| {
                    Ok::<_, core::convert::Infallible>(name(&edit, number))
                })
                .expect("rows in memory can be read")
                .expect("the edit does not refuse");
        }
        self.take(workspace.finish(1).1);
    }

    fn apply(&mut self, op: Op, announced: Timestamp) -> grapevine::store::Outcome {
        let mut workspace = Workspace::new(&self.rows, self.state.clone());
        let outcome = workspace.apply(op, announced);
        let outcome = outcome.expect("rows in memory can be read");
        let changes = workspace.finish(1).1;
        self.take(changes);
        outcome
    }

    fn take(&mut self, changes: grapevine::store::Changes) {
        self.rows.apply(changes.rows);
        self.state = changes.state;
    }

    fn page(&self, request: &PullRequest) -> Message {
        let state = self.state.partition(request.partition);
        let (base, cursor) = (&request.base, request.cursor);
        let delta = read_delta(&self.rows, request.partition, state, base, cursor, PAGE);
        Message::Delta {
            pull: request.pull,
            page: request.page,
            partition: request.partition,
            clock: self.state.clock(),
            unclaimed: state.unclaimed > 0,
            delta: delta.expect("rows in memory can be read"),
        }
    }
}

fn name(edit: &Edit<'_>, number: usize) -> Vec<FieldCell> {
    let name = format!("Somebody with the number {number}");
    LwwMap::new(edit.entity).set("name", name.as_bytes(), edit.dot, edit.time)
}

struct Node {
    replica: ReplicaId,
    engine: Engine,
    held: Held,
}

struct Shown<'a>(&'a State, ReplicaId);

impl View for Shown<'_> {
    fn root(&self) -> Root {
        self.0.root()
    }

    fn summary(&self, partition: PartitionId) -> PartitionSummary {
        self.0.partition(partition).summary()
    }

    fn partition(&self, partition: PartitionId) -> Arc<PartitionState> {
        self.0.partition(partition).clone()
    }

    fn replica(&self) -> Option<ReplicaId> {
        Some(self.1)
    }
}

/// Two nodes, what is under way between them, and how many bytes it was so far.
struct Pair {
    nodes: [Node; 2],
    under_way: VecDeque<(usize, Vec<u8>)>,
    bytes: usize,
    messages: usize,
    rng: Xoshiro256PlusPlus,
}

impl Pair {
    fn new(held: [Held; 2]) -> Self {
        let mut number = 0;
        let nodes = held.map(|held| {
            number += 1;
            Node {
                replica: ReplicaId::from_bytes([number; 16]),
                engine: Engine::new(EngineConfig::default()),
                held,
            }
        });
        Self {
            nodes,
            under_way: VecDeque::new(),
            bytes: 0,
            messages: 0,
            rng: Xoshiro256PlusPlus::seed_from_u64(1),
        }
    }

    /// From the connection until nothing is left to say.
    fn round(&mut self) {
        for number in 0..2 {
            let peer = &self.nodes[1 - number];
            let info = PeerInfo {
                version: PROTOCOL_VERSION,
                cluster: "bench".to_owned(),
                name: "peer".to_owned(),
                replica: peer.replica,
                store: uuid::Uuid::from_bytes(*peer.replica.as_bytes()),
                http: String::new(),
                peer: String::new(),
                unix_ms: UNIX_MS,
                clock: peer.held.state.clock(),
            };
            self.feed(number, Event::PeerUp(info));
        }
        while let Some((number, bytes)) = self.under_way.pop_front() {
            let message = codec::decode(&bytes).expect("it was encoded here");
            let sender = self.nodes[1 - number].replica;
            self.feed(number, Event::Received(sender, message));
        }
    }

    fn feed(&mut self, number: usize, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let node = &mut self.nodes[number];
            let now = Now {
                monotonic_ms: 0,
                unix_ms: UNIX_MS,
            };
            let mut commands = Vec::new();
            let view = Shown(&node.held.state, node.replica);
            node.engine
                .step(now, event, &view, &mut self.rng, &mut commands);
            for command in commands {
                if let Some((ticket, outcome)) = self.carry_out(number, command) {
                    events.push_back(Event::Applied(ticket, outcome));
                }
            }
        }
    }

    fn carry_out(
        &mut self,
        number: usize,
        command: Command,
    ) -> Option<(Ticket, grapevine::store::Outcome)> {
        let node = &mut self.nodes[number];
        match command {
            Command::Send(_, message) => self.send(number, &message),
            Command::Serve(_, Request::Page(request)) => {
                let message = node.held.page(&request);
                self.send(number, &message);
            }
            Command::Apply {
                ticket,
                op,
                announced,
            } => return Some((ticket, node.held.apply(op, announced))),
            Command::Push(..)
            | Command::Serve(..)
            | Command::Collect { .. }
            | Command::Compare(_)
            | Command::Warn(_)
            | Command::NewLife
            | Command::Returned(_)
            | Command::Disconnect(..)
            | Command::Diverged(..) => {
                panic!("{command:?} has no place in this round")
            }
        }
        None
    }

    fn send(&mut self, number: usize, message: &Message) {
        let bytes = codec::encode(message).expect("a message can be encoded");
        self.bytes += LENGTH_BYTES + bytes.len();
        self.messages += 1;
        self.under_way.push_back((1 - number, bytes));
    }
}

fn sync_round(criterion: &mut Criterion) {
    let mut both = Held::default();
    both.write(ReplicaId::from_bytes([9; 16]), ENTITIES);
    let mut group = criterion.benchmark_group("sync_round");
    group.sample_size(10);
    for differing in DIFFERING {
        let mut ahead = both.clone();
        ahead.write(ReplicaId::from_bytes([1; 16]), differing);
        let mut pair = Pair::new([ahead.clone(), both.clone()]);
        pair.round();
        let roots = pair.nodes.each_ref().map(|node| node.held.state.root());
        assert_eq!(roots[0], roots[1], "one round makes them equal");
        let (bytes, messages) = (pair.bytes, pair.messages);
        println!("n = {ENTITIES}, d = {differing}: {bytes} bytes in {messages} messages");
        group.throughput(Throughput::Bytes(u64::try_from(bytes).expect("it fits")));
        let id = BenchmarkId::new("differing", differing);
        group.bench_function(id, |bencher| {
            bencher.iter_batched_ref(
                || Pair::new([ahead.clone(), both.clone()]),
                |pair| {
                    pair.round();
                    black_box(pair.bytes)
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, sync_round);
criterion_main!(benches);
