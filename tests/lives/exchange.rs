//! Two engines over stores in memory, and the bytes of what they say to each other.

use std::{collections::VecDeque, sync::Arc};

use grapevine::{
    codec,
    model::{Claim, EntityId, Floor, Op, PartitionId, PartitionState, PartitionSummary, Root},
    store::{DeltaBudget, Edit, MemoryRows, State, Workspace, read_delta, read_state},
    sync::{
        Message, PROTOCOL_VERSION, PeerInfo,
        engine::{Command, Engine, EngineConfig, Event, Now, Request, View},
    },
};
use grapevine_crdt::{ReplicaId, Timestamp, VersionVector};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

use super::{TestResult, UNIX_MS, name};

const BUDGET: DeltaBudget = DeltaBudget {
    entities: 1_000,
    bytes: 256 * 1024,
};

/// How many ticks two nodes may take to agree.
const MAX_TICKS: u64 = 100;

struct Held(State, ReplicaId);

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
        Some(self.1)
    }
}

/// One node.
pub(crate) struct Side {
    held: Held,
    rows: MemoryRows,
    engine: Engine,
}

impl Side {
    pub(crate) fn new(life: ReplicaId) -> Self {
        Self {
            held: Held(State::default(), life),
            rows: MemoryRows::default(),
            engine: Engine::new(EngineConfig::default()),
        }
    }

    /// Has taken all of it in.
    pub(crate) fn absorb(&mut self, partition: PartitionId, vector: &VersionVector, floor: &Floor) {
        let op = Op {
            partition,
            entities: Vec::new(),
            claim: Claim::Absorb {
                vector: vector.clone(),
                floor: floor.clone(),
            },
        };
        let outcome = self.change(|workspace| workspace.apply(op, Timestamp::ZERO));
        outcome.expect("rows in memory can be read");
    }

    pub(crate) fn write(&mut self, id: &EntityId) {
        let life = self.held.1;
        let written = self.change(|workspace| {
            workspace.write(id, life, UNIX_MS, |edit: Edit<'_>| {
                Ok::<_, core::convert::Infallible>(name(&edit))
            })
        });
        written.expect("rows in memory can be read").expect("never");
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut Workspace<'_, MemoryRows>) -> T) -> T {
        let mut workspace = Workspace::new(&self.rows, self.held.0.clone());
        let answer = change(&mut workspace);
        let (_, changes) = workspace.finish(1);
        self.rows.apply(changes.rows);
        self.held.0 = changes.state;
        answer
    }

    fn info(&self) -> PeerInfo {
        PeerInfo {
            version: PROTOCOL_VERSION,
            cluster: "grapevine".to_owned(),
            name: "peer".to_owned(),
            replica: self.held.1,
            store: uuid::Uuid::from_bytes(*self.held.1.as_bytes()),
            http: String::new(),
            peer: String::new(),
            unix_ms: UNIX_MS,
            clock: Timestamp::from_unix_ms(UNIX_MS),
        }
    }

    fn serve(&self, request: &Request) -> Message {
        let (state, clock) = (&self.held.0, self.held.0.clock());
        let readable = "rows in memory can be read";
        match request {
            Request::Page(asked) => {
                let (partition, cursor) = (asked.partition, asked.cursor);
                let of = state.partition(partition);
                let page = read_delta(&self.rows, partition, of, &asked.base, cursor, BUDGET);
                asked.answer(clock, of, page.expect(readable))
            }
            Request::State(asked) => {
                let (vector, cursor) = (asked.vector(), asked.cursor.as_ref());
                let of = state.partition(asked.partition);
                let page = read_state(&self.rows, asked.partition, of, vector, cursor, BUDGET);
                asked.answer(clock, of, page.expect(readable))
            }
            Request::List(_) | Request::Cells(_) => panic!("nothing is to be repaired"),
        }
    }

    fn step(&mut self, at_ms: u64, event: Event, sent: &mut Vec<Message>) {
        let now = Now {
            monotonic_ms: at_ms,
            unix_ms: UNIX_MS + at_ms,
        };
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
        let mut commands = Vec::new();
        self.engine
            .step(now, event, &self.held, &mut rng, &mut commands);
        for command in commands {
            match command {
                Command::Send(_, message) => sent.push(message),
                Command::Serve(_, request) => sent.push(self.serve(&request)),
                Command::Apply {
                    ticket,
                    op,
                    announced,
                } => {
                    let outcome = self.change(|workspace| workspace.apply(op, announced));
                    let outcome = outcome.expect("rows in memory can be read");
                    self.step(at_ms, Event::Applied(ticket, outcome), sent);
                }
                Command::Disconnect(_, why) => panic!("{why}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// What was said until both agreed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) largest: usize,
}

/// Connects two nodes and lets them speak until they agree.
pub(crate) fn speak(ann: &mut Side, bob: &mut Side) -> TestResult<Said> {
    let mut said = Said::default();
    let mut wire: VecDeque<(bool, Message)> = VecDeque::new();
    let (of_ann, of_bob) = (ann.info(), bob.info());
    let mut events = vec![
        (true, Event::PeerUp(of_bob.clone())),
        (false, Event::PeerUp(of_ann.clone())),
    ];
    for tick in 0..MAX_TICKS {
        loop {
            for (to_ann, event) in events.drain(..) {
                let mut sent = Vec::new();
                let side = if to_ann { &mut *ann } else { &mut *bob };
                side.step(tick * 100, event, &mut sent);
                wire.extend(sent.into_iter().map(|message| (!to_ann, message)));
            }
            let Some((to_ann, message)) = wire.pop_front() else {
                break;
            };
            let bytes = codec::encode(&message)?.len();
            said.messages += 1;
            said.bytes += bytes;
            said.largest = said.largest.max(bytes);
            let from = if to_ann {
                of_bob.replica
            } else {
                of_ann.replica
            };
            events.push((to_ann, Event::Received(from, message)));
        }
        if ann.held.root() == bob.held.root() {
            return Ok(said);
        }
        events = vec![(true, Event::Tick), (false, Event::Tick)];
    }
    Err("they never agree".into())
}
