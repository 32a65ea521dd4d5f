//! The exact commands of the engine in the cases that matter.

mod collection;
mod floors;
mod outlines;
mod peers;
mod pushes;
mod refusals;
mod rejoin;
mod repair;

use std::sync::Arc;

use grapevine_crdt::{
    CausalContext, Cell, Dot, FieldCell, FieldKey, Rank, ReplicaId, Seq, Timestamp, Value,
    VersionVector,
};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

use super::*;
use crate::{
    model::{
        Claim, Collection, CommitRecord, Cursor, EntityCells, EntityId, Floor, HashedVector, Op,
        Outcome, Outline, PartitionId, PartitionState, PartitionSummary, Root,
    },
    store::State,
    sync::{Message, PROTOCOL_VERSION, PeerInfo, Terms, ToldDelta, ToldFloor, ToldState},
};

const US: ReplicaId = ReplicaId::from_bytes([1; 16]);
const ANN: ReplicaId = ReplicaId::from_bytes([2; 16]);
const BOB: ReplicaId = ReplicaId::from_bytes([3; 16]);
const UNIX_MS: u64 = 1_700_000_000_000;

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

/// An engine with a state that the test sets.
struct Bench {
    engine: Engine,
    held: Held,
    rng: Xoshiro256PlusPlus,
    now_ms: u64,
}

impl Bench {
    fn new(config: EngineConfig) -> Self {
        Self {
            engine: Engine::new(config),
            held: Held(State::default()),
            rng: Xoshiro256PlusPlus::seed_from_u64(7),
            now_ms: 0,
        }
    }

    /// With these peers up and probed.
    fn with_peers(peers: &[ReplicaId]) -> Self {
        let mut bench = Self::new(EngineConfig::default());
        for peer in peers {
            bench.step(Event::PeerUp(info(*peer)));
        }
        bench
    }

    fn now(&self) -> Now {
        Now {
            monotonic_ms: self.now_ms,
            unix_ms: UNIX_MS + self.now_ms,
        }
    }

    fn step(&mut self, event: Event) -> Vec<Command> {
        let mut commands = Vec::new();
        let now = self.now();
        self.engine
            .step(now, event, &self.held, &mut self.rng, &mut commands);
        commands
    }

    fn hear(&mut self, peer: ReplicaId, message: Message) -> Vec<Command> {
        self.step(Event::Received(peer, message))
    }

    fn hold(&mut self, entries: &[(ReplicaId, u64)]) {
        let mut state = PartitionState::clone(self.held.0.partition(partition()));
        for (replica, seq) in entries {
            state.advance(*replica, Seq::new(*seq));
        }
        self.held.0.set(partition(), state);
    }

    /// Has collected what `entries` cover, and has more that may go.
    fn collect(&mut self, entries: &[(ReplicaId, u64)]) {
        let mut state = PartitionState::clone(self.held.0.partition(partition()));
        state.raise_floor(&floor(entries));
        state.garbage = 1;
        self.held.0.set(partition(), state);
    }

    fn statuses(&self) -> Vec<PeerStatus> {
        self.engine.peers(&self.held, self.now())
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
        clock: clock(),
    }
}

fn id() -> EntityId {
    EntityId::new(Collection::Kv, "key").expect("a short key")
}

fn partition() -> PartitionId {
    id().partition()
}

fn clock() -> Timestamp {
    Timestamp::from_unix_ms(UNIX_MS)
}

fn vector(entries: &[(ReplicaId, u64)]) -> VersionVector {
    let entries = entries.iter();
    entries
        .map(|(replica, seq)| (*replica, Seq::new(*seq)))
        .collect()
}

fn hashed(entries: &[(ReplicaId, u64)]) -> HashedVector {
    HashedVector::of(vector(entries))
}

/// To a peer that holds this, when there is nobody else.
fn telling(known: &[(ReplicaId, u64)]) -> Telling {
    Telling {
        known: hashed(known),
        terms: Terms::default(),
        likely: vec![US, ANN],
        max_whole: EngineConfig::default().max_told_whole,
    }
}

fn told_floor(entries: &[(ReplicaId, u64)]) -> ToldFloor {
    ToldFloor {
        vector: Outline::whole(&vector(entries)),
        rank: if entries.is_empty() {
            Rank::default()
        } else {
            Rank::at(clock())
        },
    }
}

fn floor(entries: &[(ReplicaId, u64)]) -> Floor {
    Floor {
        vector: vector(entries),
        rank: Rank::at(clock()),
    }
}

fn written(replica: ReplicaId, seq: u64) -> Vec<EntityCells> {
    let cell = Cell {
        rank: Rank::at(clock()),
        dot: Dot::new(replica, Seq::new(seq)),
        seen: CausalContext::default(),
        value: Value::Bytes(vec![1]),
    };
    let field = FieldKey::Register("value".to_owned());
    vec![EntityCells {
        id: id(),
        cells: vec![FieldCell { field, cell }],
    }]
}

fn record(replica: ReplicaId, after: u64, upto: u64) -> CommitRecord {
    CommitRecord {
        partition: partition(),
        replica,
        after: Seq::new(after),
        upto: Seq::new(upto),
        needs: CausalContext::default(),
        entities: written(replica, upto),
    }
}

fn push(records: Vec<CommitRecord>) -> Message {
    Message::Push {
        clock: clock(),
        records,
    }
}

/// What a peer that holds `entries` of the one partition and nothing else answers to a probe.
fn summaries(entries: &[(ReplicaId, u64)]) -> Message {
    let mut state = State::default();
    let mut held = PartitionState::default();
    for (replica, seq) in entries {
        held.advance(*replica, Seq::new(*seq));
    }
    state.set(partition(), held);
    let summary = |(_, state): (_, &Arc<PartitionState>)| state.summary();
    Message::Summaries {
        root: state.root(),
        partitions: state.partitions().map(summary).collect(),
    }
}

fn pull(
    page: u32,
    ours: &[(ReplicaId, u64)],
    base: &[(ReplicaId, u64)],
    cursor: Option<Cursor>,
) -> Message {
    Message::Pull {
        pull: 0,
        page,
        partition: partition(),
        vector: Outline::whole(&vector(ours)),
        open: false,
        unclaimed: false,
        fresh: ours.is_empty(),
        base: Outline::against(&hashed(base), &hashed(ours)),
        cursor,
        terms: Terms {
            seen: page > 0,
            ..Terms::default()
        },
    }
}

fn not_fresh(mut pull: Message) -> Message {
    if let Message::Pull { fresh, .. } = &mut pull {
        *fresh = false;
    }
    pull
}

fn delta(
    page: u32,
    entities: Vec<EntityCells>,
    told: &[(ReplicaId, u64)],
    stamp: u64,
    next: Option<Cursor>,
) -> Message {
    Message::Delta {
        pull: 0,
        page,
        partition: partition(),
        clock: clock(),
        unclaimed: false,
        delta: ToldDelta {
            entities,
            vector: Outline::whole(&vector(told)),
            stamp,
            next,
            floor: next.is_none().then(|| told_floor(&[])),
        },
    }
}

fn cursor(replica: ReplicaId, seq: u64) -> Cursor {
    Cursor(Dot::new(replica, Seq::new(seq)))
}

fn apply(ticket: u64, entities: Vec<EntityCells>, claim: Claim) -> Command {
    Command::Apply {
        ticket: Ticket(ticket),
        op: Op {
            partition: partition(),
            entities,
            claim,
        },
        announced: clock(),
    }
}

fn absorb(vector: VersionVector) -> Claim {
    Claim::Absorb {
        vector,
        floor: Floor::default(),
    }
}

fn disconnected(commands: &[Command]) -> bool {
    matches!(
        commands,
        [Command::Disconnect(ANN, _)] | [Command::NewLife, Command::Disconnect(ANN, _)]
    )
}

#[test]
fn a_peer_that_comes_up_is_probed_at_once() {
    let mut bench = Bench::new(EngineConfig::default());
    let root = bench.held.0.root();
    assert_eq!(
        bench.step(Event::PeerUp(info(ANN))),
        [Command::Send(ANN, Message::Probe { root })]
    );
}

#[test]
fn peers_that_agree_exchange_a_hash_and_no_more() {
    let mut bench = Bench::with_peers(&[ANN]);
    let root = bench.held.0.root();
    assert_eq!(
        bench.hear(ANN, Message::Probe { root }),
        [Command::Send(ANN, Message::InStep { root })]
    );
    assert_eq!(bench.hear(ANN, Message::InStep { root }), []);
    assert_eq!(bench.step(Event::Gossiped(ANN, root)), []);
    let status = &bench.statuses()[0];
    assert!(status.agrees);
    assert_eq!(status.lag, Some(0));
}

#[test]
fn another_root_is_answered_with_all_summaries() {
    let mut bench = Bench::with_peers(&[ANN]);
    bench.hold(&[(US, 1)]);
    let answer = bench.hear(ANN, Message::Probe { root: Root(9) });
    assert_eq!(answer, [Command::Send(ANN, summaries(&[(US, 1)]))]);
}

#[test]
fn what_differs_is_pulled_and_claimed_with_its_last_page() {
    let mut bench = Bench::with_peers(&[ANN]);
    bench.hold(&[(BOB, 1)]);
    assert_eq!(
        bench.hear(ANN, summaries(&[(ANN, 1), (BOB, 1)])),
        [Command::Send(ANN, pull(0, &[(BOB, 1)], &[(BOB, 1)], None))]
    );
    let told = [(ANN, 1), (BOB, 1)];
    assert_eq!(
        bench.hear(ANN, delta(0, written(ANN, 1), &told, 5, None)),
        [apply(0, written(ANN, 1), absorb(vector(&told)))]
    );
    bench.hold(&told);
    bench.now_ms += RECHECK_PERIOD_MS;
    let root = bench.held.0.root();
    assert_eq!(
        bench.step(Event::Applied(Ticket(0), Outcome::Applied)),
        [Command::Send(ANN, Message::Probe { root })]
    );
}

#[test]
fn a_claim_waits_until_every_page_before_it_is_durable() {
    let mut bench = Bench::with_peers(&[ANN]);
    bench.hear(ANN, summaries(&[(ANN, 2)]));
    let next = Some(cursor(ANN, 1));
    assert_eq!(
        bench.hear(ANN, delta(0, written(ANN, 1), &[(ANN, 2)], 5, next)),
        [
            apply(0, written(ANN, 1), Claim::Nothing),
            Command::Send(ANN, pull(1, &[], &[], next)),
        ]
    );
    let last = delta(1, written(ANN, 2), &[(ANN, 2)], 5, None);
    assert_eq!(bench.hear(ANN, last), []);
    assert_eq!(
        bench.step(Event::Applied(Ticket(0), Outcome::Applied)),
        [apply(1, written(ANN, 2), absorb(vector(&[(ANN, 2)])))]
    );
}

#[test]
fn a_page_that_failed_leaves_nothing_to_claim() {
    let mut bench = Bench::with_peers(&[ANN]);
    bench.hear(ANN, summaries(&[(ANN, 2)]));
    let next = Some(cursor(ANN, 1));
    bench.hear(ANN, delta(0, written(ANN, 1), &[(ANN, 2)], 5, next));
    bench.hear(ANN, delta(1, written(ANN, 2), &[(ANN, 2)], 5, None));
    assert_eq!(bench.step(Event::ApplyFailed(Ticket(0))), []);
    assert_eq!(bench.step(Event::Applied(Ticket(1), Outcome::Applied)), []);
}

#[test]
fn a_pass_over_a_state_that_moved_is_followed_by_another_against_a_greater_base() {
    let mut bench = Bench::with_peers(&[ANN]);
    bench.hear(ANN, summaries(&[(ANN, 2)]));
    bench.hear(
        ANN,
        delta(0, written(ANN, 1), &[(ANN, 2)], 5, Some(cursor(ANN, 1))),
    );
    let moved = delta(1, written(ANN, 2), &[(ANN, 3)], 6, None);
    assert_eq!(
        bench.hear(ANN, moved),
        [apply(1, written(ANN, 2), Claim::Nothing)],
        "two pages are on their way through the writer, so none is asked for"
    );
    assert_eq!(
        bench.step(Event::Applied(Ticket(0), Outcome::Applied)),
        [Command::Send(ANN, pull(2, &[], &[(ANN, 2)], None))]
    );
    bench.step(Event::Applied(Ticket(1), Outcome::Applied));
    assert_eq!(
        bench.hear(ANN, delta(2, written(ANN, 3), &[(ANN, 3)], 6, None)),
        [apply(2, written(ANN, 3), absorb(vector(&[(ANN, 3)])))]
    );
}

#[test]
fn equal_vectors_do_not_make_a_pass_clean_if_the_content_moved() {
    let mut bench = Bench::with_peers(&[ANN]);
    bench.hear(ANN, summaries(&[(ANN, 2)]));
    bench.hear(
        ANN,
        delta(0, written(ANN, 1), &[(ANN, 2)], 5, Some(cursor(ANN, 1))),
    );
    bench.step(Event::Applied(Ticket(0), Outcome::Applied));
    let moved = delta(1, written(ANN, 2), &[(ANN, 2)], 6, None);
    assert_eq!(
        bench.hear(ANN, moved),
        [
            apply(1, written(ANN, 2), Claim::Nothing),
            Command::Send(ANN, pull(2, &[], &[(ANN, 2)], None)),
        ]
    );
}

#[test]
fn stale_repeated_and_foreign_pages_are_ignored() {
    let mut bench = Bench::with_peers(&[ANN, BOB]);
    bench.hear(ANN, summaries(&[(ANN, 1)]));
    let page = delta(0, written(ANN, 1), &[(ANN, 1)], 5, None);
    assert_eq!(bench.hear(BOB, page.clone()), []);
    assert_eq!(
        bench.hear(ANN, delta(1, written(ANN, 1), &[(ANN, 1)], 5, None)),
        []
    );
    assert_eq!(bench.hear(ANN, page.clone()).len(), 1);
    assert_eq!(bench.hear(ANN, page), []);
}

#[test]
fn a_pull_tells_what_its_sender_holds_so_it_is_answered_with_a_page_and_a_pull() {
    let mut bench = Bench::with_peers(&[ANN]);
    let request = PullRequest {
        pull: 0,
        page: 0,
        partition: partition(),
        base: vector(&[(ANN, 3)]),
        cursor: None,
        telling: telling(&[(ANN, 3)]),
    };
    assert_eq!(
        bench.hear(ANN, pull(0, &[(ANN, 3)], &[(ANN, 3)], None)),
        [
            Command::Serve(ANN, Request::Page(request)),
            Command::Send(ANN, pull(0, &[], &[], None)),
        ]
    );
}

#[test]
fn two_nodes_with_cells_that_nobody_may_claim_come_to_rest() {
    let mut bench = Bench::with_peers(&[ANN]);
    let mut open = PartitionState::clone(bench.held.0.partition(partition()));
    open.unclaimed = 1;
    bench.held.0.set(partition(), open);
    let mut theirs = pull(0, &[], &[], None);
    if let Message::Pull { open, .. } = &mut theirs {
        *open = true;
    }
    let commands = bench.hear(ANN, theirs);
    let [Command::Serve(ANN, _), Command::Send(ANN, answer)] = commands.as_slice() else {
        panic!("{commands:?}");
    };
    let mut expected = not_fresh(pull(0, &[], &[], None));
    if let Message::Pull { unclaimed, .. } = &mut expected {
        *unclaimed = true;
    }
    assert_eq!(*answer, expected, "it does not say that we are open");
}

#[test]
fn a_pull_that_waits_for_our_own_writer_is_not_given_up() {
    let mut bench = Bench::with_peers(&[ANN]);
    bench.hear(ANN, summaries(&[(ANN, 2)]));
    let next = Some(cursor(ANN, 1));
    bench.hear(ANN, delta(0, written(ANN, 1), &[(ANN, 2)], 5, next));
    bench.hear(ANN, delta(1, written(ANN, 2), &[(ANN, 2)], 5, None));
    bench.now_ms = 2 * EngineConfig::default().pull_abandoned_after_ms;
    bench.step(Event::Tick);
    assert_eq!(
        bench.step(Event::Applied(Ticket(0), Outcome::Applied)),
        [apply(1, written(ANN, 2), absorb(vector(&[(ANN, 2)])))]
    );
}

#[test]
fn closed_partitions_that_differ_under_equal_vectors_are_an_alarm() {
    let mut bench = Bench::with_peers(&[ANN]);
    bench.hold(&[(BOB, 1)]);
    let mut damaged = PartitionState::clone(bench.held.0.partition(partition()));
    damaged.digest = 77;
    bench.held.0.set(partition(), damaged);
    assert_eq!(
        bench.hear(ANN, summaries(&[(BOB, 1)])).first(),
        Some(&Command::Diverged(ANN, partition()))
    );
}

#[test]
fn a_pull_that_stands_still_is_given_up_and_begun_anew_by_a_probe() {
    let mut bench = Bench::with_peers(&[ANN]);
    bench.hear(ANN, summaries(&[(ANN, 1)]));
    assert_eq!(
        bench.hear(ANN, summaries(&[(ANN, 1)])),
        [],
        "under way already"
    );
    bench.now_ms = EngineConfig::default().pull_abandoned_after_ms;
    bench.step(Event::Tick);
    let again = bench.hear(ANN, summaries(&[(ANN, 1)]));
    assert!(matches!(
        again.as_slice(),
        [Command::Send(
            ANN,
            Message::Pull {
                pull: 1,
                page: 0,
                ..
            }
        )]
    ));
}
