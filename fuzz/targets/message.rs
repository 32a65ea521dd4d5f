//! What a peer sends, from the first byte: frames, messages, and what the engine and the kernel make of them.

use std::sync::Arc;

use grapevine::{
    model::{PartitionId, PartitionState, PartitionSummary, Root},
    store::{MemoryRows, State, Workspace},
    sync::{
        Message, PROTOCOL_VERSION, PeerInfo,
        engine::{Command, Engine, EngineConfig, Event, Now, View, check_hello},
        transport::{Connection, Link, LinkConfig},
    },
};
use grapevine_crdt::{ReplicaId, Timestamp};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

const US: ReplicaId = ReplicaId::from_bytes([1; 16]);
const PEER: ReplicaId = ReplicaId::from_bytes([2; 16]);
const UNIX_MS: u64 = 1_700_000_000_000;
const MAX_MESSAGES: usize = 64;
const MAX_SKEW_MS: u64 = 60_000;

struct Held(State);

impl View for Held {
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
        Some(US)
    }
}

pub(super) fn run(bytes: &[u8]) {
    let mut held = Held(State::default());
    let mut rows = MemoryRows::default();
    let mut engine = Engine::new(EngineConfig::default());
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    let mut commands = Vec::new();
    let mut monotonic_ms = 0;
    let mut group = 0;
    let mut events = vec![Event::PeerUp(info(PEER))];
    let messages = messages(bytes.to_vec());
    let received = messages.into_iter().filter_map(|message| match message {
        Message::Hello(theirs) => {
            let _refused = check_hello(&info(US), &theirs, MAX_SKEW_MS);
            None
        }
        message => Some(Event::Received(PEER, message)),
    });
    let mut received = received.collect::<Vec<_>>().into_iter();
    // What was applied is answered first; then the peer speaks again.
    while let Some(event) = events.pop().or_else(|| received.next()) {
        monotonic_ms += 20;
        let now = Now {
            monotonic_ms,
            unix_ms: UNIX_MS + monotonic_ms,
        };
        engine.step(now, event, &held, &mut rng, &mut commands);
        for command in commands.drain(..) {
            let Command::Apply {
                ticket,
                op,
                announced,
            } = command
            else {
                continue;
            };
            let mut workspace = Workspace::new(&rows, std::mem::take(&mut held.0));
            let outcome = workspace.apply(op, announced);
            group += 1;
            let (_, changes) = workspace.finish(group);
            rows.apply(changes.rows);
            held.0 = changes.state;
            events.push(match outcome {
                Ok(outcome) => Event::Applied(ticket, outcome),
                Err(_) => Event::ApplyFailed(ticket),
            });
        }
    }
    let latest_ms = UNIX_MS + monotonic_ms + grapevine::sync::engine::MAX_CLOCK_AHEAD_MS;
    assert!(
        held.0.clock().unix_ms() <= latest_ms,
        "our clock was taken along"
    );
    for (_, partition) in held.0.partitions() {
        assert_eq!(
            partition.vector.get(US).get(),
            0,
            "writes of ours that we never made"
        );
    }
}

fn info(replica: ReplicaId) -> PeerInfo {
    PeerInfo {
        version: PROTOCOL_VERSION,
        cluster: "grapevine".to_owned(),
        name: "peer".to_owned(),
        replica,
        store: uuid::Uuid::nil(),
        http: String::new(),
        peer: String::new(),
        unix_ms: UNIX_MS,
        clock: Timestamp::from_unix_ms(UNIX_MS),
    }
}

/// The messages in a stream of frames, up to the first that is none.
fn messages(stream: Vec<u8>) -> Vec<Message> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let connection = Connection {
            reading: Box::new(std::io::Cursor::new(stream)),
            writing: Box::new(tokio::io::sink()),
            remote: "fuzz".to_owned(),
        };
        let mut link = Link::open(connection, &LinkConfig::default(), Arc::default());
        link.receiver.trust();
        let mut messages = Vec::new();
        while let Ok(Some(received)) = link.receiver.receive().await {
            messages.push(received.message);
            if messages.len() == MAX_MESSAGES {
                break;
            }
        }
        messages
    })
}
