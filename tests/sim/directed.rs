//! Directed schedules: the dangers that random ones may miss, each played out message by message.

use grapevine::{
    model::{Claim, Collection, EntityCells, EntityId, Op, PartitionId},
    store::read_entity,
    sync::engine::{Event, Ticket},
};
use grapevine_crdt::{
    CausalContext, Cell, Dot, FieldCell, FieldKey, PnCounter, Rank, ReplicaId, Seq, Timestamp,
    Value,
};

use crate::{
    client::Change,
    fault::Fault,
    invariants::{Invariant, Observed},
    network::Packet,
    node::Job,
    settings::Settings,
    world::{Happening, World},
};

/// Entities of one partition, in the order of their names.
pub(crate) fn neighbours(collection: Collection, count: usize) -> Vec<EntityId> {
    let id = |number| EntityId::new(collection, format!("key-{number}")).expect("a short key");
    let partition = id(0).partition();
    (0..)
        .map(id)
        .filter(|id| id.partition() == partition)
        .take(count)
        .collect()
}

pub(crate) fn world(nodes: usize, fault: Option<Fault>) -> World {
    let mut world = World::new(42, Some(Settings::directed(nodes)), fault);
    // The order of the lives is the order of the log, on which these schedules depend.
    for number in 0..nodes {
        let mut bytes = [0; 16];
        bytes[15] = u8::try_from(number + 1).expect("few nodes");
        let life = ReplicaId::from_bytes(bytes);
        world.nodes[number].life = life;
        world.owners.insert(life, number);
    }
    world
}

impl World {
    /// Delivers the oldest message of a link.
    pub(crate) fn deliver(&mut self, from: usize, to: usize) -> bool {
        self.pick(|what| {
            matches!(what, Happening::Arrives(packet) if packet.from == from && packet.to == to)
        })
    }

    /// Lets a node read the page it was asked for.
    pub(crate) fn serve(&mut self, number: usize) -> bool {
        self.pick(|what| matches!(what, Happening::Serves(node, ..) if *node == number))
    }

    /// Takes the messages of a link that are under way off it.
    pub(crate) fn intercept(&mut self, from: usize, to: usize) -> Vec<Packet> {
        self.take_packets(|packet| packet.from == from && packet.to == to)
    }

    /// Connects two nodes and lets `puller` begin to pull: its first page has come, the second is asked for.
    pub(crate) fn begin_pull(&mut self, server: usize, puller: usize) {
        self.connect(server, puller);
        while self.deliver(server, puller) || self.deliver(puller, server) {}
        assert!(self.serve(server), "the first page is read");
        while self.deliver(server, puller) {}
        self.sync(puller);
        assert!(self.deliver(puller, server), "the second page is asked for");
    }

    pub(crate) fn disconnect_both(&mut self, one: usize, other: usize) {
        let lives = (self.nodes[one].life, self.nodes[other].life);
        self.disconnect(one, lives.1);
        self.disconnect(other, lives.0);
    }

    /// Gives a node a cell of a replica below all others as part of a delta that is never completed.
    pub(crate) fn plant_unclaimed(&mut self, number: usize, id: &EntityId) {
        let replica = ReplicaId::from_bytes([0; 16]);
        let time = self.nodes[number].state.clock();
        let time = Timestamp::from_unix_ms(time.unix_ms() + 1);
        let cell = Cell {
            rank: Rank::at(time),
            dot: Dot::new(replica, Seq::new(1)),
            seen: CausalContext::default(),
            value: Value::Bytes(vec![7]),
        };
        let field = FieldKey::Register("value".to_owned());
        let op = Op {
            partition: id.partition(),
            entities: vec![EntityCells {
                id: id.clone(),
                cells: vec![FieldCell { field, cell }],
            }],
            claim: Claim::Advance {
                replica,
                after: Seq::ZERO,
                upto: Seq::new(1),
                needs: CausalContext::default(),
            },
        };
        let state = self.nodes[number].state.clone();
        self.history
            .remember(replica, std::slice::from_ref(&op), &state);
        let op = Op {
            claim: Claim::Nothing,
            ..op
        };
        let job = Job::Apply(Ticket(u64::MAX), op, time);
        self.nodes[number].jobs.push_back(job);
        self.kick(number);
        self.sync(number);
    }

    /// Lets everything happen that is under way, until nothing is.
    pub(crate) fn settle(&mut self) {
        self.settle_but(|_| false);
    }

    /// As [`Self::settle`], but for what is held up.
    pub(crate) fn settle_but(&mut self, held_up: impl Fn(&Happening) -> bool) {
        while self.pick(|what| !held_up(what)) {}
    }

    pub(crate) fn tick(&mut self, ms: u64) {
        self.now_ms += ms;
        for number in 0..self.nodes.len() {
            self.feed(number, Event::Tick);
        }
    }

    /// Connects everybody and lets them agree by as many probes as that takes.
    pub(crate) fn converge(&mut self) {
        self.come_together();
        self.check(&Observed::Everything);
        assert_eq!(self.violations, []);
        assert_eq!(self.complaints, [""; 0]);
        assert!(self.converged(), "the nodes do not agree");
        self.compare().expect("the nodes hold all durable writes");
    }

    /// As [`Self::converge`], whatever comes of it.
    pub(crate) fn come_together(&mut self) {
        for one in 0..self.nodes.len() {
            for other in 0..one {
                self.connect(one, other);
            }
        }
        for _ in 0..10 {
            self.settle();
            for number in 0..self.nodes.len() {
                self.feed(number, Event::ProbeAll);
            }
            self.settle();
            if self.converged() {
                break;
            }
            self.tick(2_000);
        }
    }

    pub(crate) fn value(&self, number: usize, id: &EntityId) -> i128 {
        let entity = read_entity(&self.nodes[number].rows, id).expect("rows can be read");
        entity.map_or(0, |entity| PnCounter::new(&entity).value())
    }

    pub(crate) fn covered(&self, number: usize, partition: PartitionId, life: usize) -> u64 {
        let vector = &self.nodes[number].state.partition(partition).vector;
        vector.get(self.nodes[life].life).get()
    }

    pub(crate) fn open(&self, number: usize, partition: PartitionId) -> bool {
        self.nodes[number].state.partition(partition).unclaimed > 0
    }
}

/// Node 1 pulls what node 2 wrote from node 0, in pages of one entity: the first page has come, the second is
/// asked for. The log of node 0 shows the writes of node 0 before those of node 2.
fn cut_between_pages() -> (World, Vec<EntityId>) {
    let mut world = world(3, None);
    let ids = neighbours(Collection::Kv, 3);
    for id in &ids {
        world.write_durably(2, id, Change::Put(1));
    }
    world.connect(0, 2);
    world.settle();
    world.disconnect_both(0, 2);
    world.begin_pull(0, 1);
    assert!(world.open(1, ids[0].partition()));
    (world, ids)
}

#[test]
fn a_cell_overwritten_behind_the_cursor_while_its_delta_is_cut_is_not_lost() {
    let (mut world, ids) = cut_between_pages();
    // The write of node 0 has a smaller dot than what the second page would have shown: the cursor is past it.
    world.write_durably(0, &ids[1], Change::Put(2));
    let pushed = world.intercept(0, 1);
    assert_eq!(
        pushed.len(),
        1,
        "the push that would hide the danger is lost"
    );
    assert!(
        world.serve(0),
        "the second page is read from the later state"
    );
    world.deliver(0, 1);
    world.sync(1);
    assert_eq!(
        world.covered(1, ids[0].partition(), 2),
        0,
        "nothing is claimed of a pass that moved"
    );
    world.converge();
}

/// Node 2 pulls what node 1 wrote from node 0. Between two pages, a cell of somebody else comes to node 0 in
/// a part of a delta: it overwrites what the second page would have shown, lies behind the cursor, and leaves
/// the vector of node 0 as it is.
fn overwritten_without_a_claim(fault: Option<Fault>) -> World {
    let mut world = world(3, fault);
    let ids = neighbours(Collection::Kv, 3);
    for id in &ids {
        world.write_durably(1, id, Change::Put(1));
    }
    world.connect(0, 1);
    world.settle();
    world.disconnect_both(0, 1);
    world.begin_pull(0, 2);
    let vector = world.nodes[0]
        .state
        .partition(ids[0].partition())
        .vector
        .clone();
    world.plant_unclaimed(0, &ids[1]);
    let state = world.nodes[0].state.partition(ids[0].partition());
    assert_eq!((state.unclaimed, &state.vector), (1, &vector));
    world.settle();
    world.check(&Observed::Everything);
    world
}

#[test]
fn a_claim_follows_only_from_pages_of_one_content() {
    let world = overwritten_without_a_claim(None);
    assert_eq!(world.violations, []);
}

#[test]
fn without_stamps_the_same_schedule_loses_a_cell() {
    let world = overwritten_without_a_claim(Some(Fault::HidesStamps));
    let violated = world.violations.first().map(|(invariant, _)| *invariant);
    assert_eq!(violated, Some(Invariant::Incorporation));
}

#[test]
fn a_push_during_a_pull_is_neither_lost_nor_taken_for_a_gap() {
    let (mut world, ids) = cut_between_pages();
    let partition = ids[0].partition();
    world.serve(0);
    world.write_durably(0, &ids[0], Change::Put(9));
    world.write_durably(0, &ids[2], Change::Put(9));
    world.settle();
    assert_eq!(world.covered(1, partition, 0), 2);
    assert!(!world.open(1, partition));
    world.converge();
}

#[test]
fn a_restart_with_the_clock_set_back_still_gives_later_times() {
    let mut world = world(2, None);
    let id = neighbours(Collection::Kv, 1).remove(0);
    world.connect(0, 1);
    world.settle();
    world.write_durably(0, &id, Change::Put(1));
    world.settle();
    world.crash(0);
    world.nodes[0].skew_ms = -50_000;
    world.restart(0);
    world.write_durably(0, &id, Change::Put(2));
    world.connect(0, 1);
    world.converge();
    let entity = read_entity(&world.nodes[1].rows, &id).expect("rows can be read");
    let shown = entity.expect("it was written");
    let (_, field) = shown.fields().next().expect("one field");
    assert_eq!(field.shown().bytes(), Some(&2_u32.to_be_bytes()[..]));
}

#[test]
fn a_pull_torn_by_a_restart_is_completed_later() {
    let (mut world, ids) = cut_between_pages();
    let partition = ids[0].partition();
    let torn = world.nodes[1].life;
    world.crash(1);
    world.restart(1);
    assert!(
        world.open(1, partition),
        "what came is kept, and not claimed"
    );
    world.connect(0, 1);
    world.settle();
    assert!(!world.open(1, partition));
    world.disconnect(0, torn);
    world.converge();
}

#[test]
fn a_last_push_that_was_lost_is_found_by_a_probe() {
    let mut world = world(2, None);
    let id = neighbours(Collection::Counters, 1).remove(0);
    world.connect(0, 1);
    world.settle();
    world.write_durably(0, &id, Change::Increment(3));
    assert_eq!(world.intercept(0, 1).len(), 1);
    assert_eq!(world.value(1, &id), 0);
    let periods = 2 * world.settings.engine.probe_period_ms;
    for _ in 0..periods / 100 {
        world.tick(100);
        world.settle();
    }
    assert_eq!(world.value(1, &id), 3, "within two periods");
    world.converge();
}

#[test]
fn pushes_in_any_order_and_number_count_once() {
    let mut world = world(2, None);
    let id = neighbours(Collection::Counters, 1).remove(0);
    world.connect(0, 1);
    world.settle();
    for by in [1, 2, 4] {
        world.write_durably(0, &id, Change::Increment(by));
    }
    let pushed = world.intercept(0, 1);
    assert_eq!(pushed.len(), 3);
    for index in [2, 0, 0, 1, 2, 1] {
        world.arrives(pushed[index].clone());
        world.sync(1);
    }
    world.settle();
    assert_eq!(world.value(1, &id), 7);
    world.converge();
}
