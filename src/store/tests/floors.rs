//! Collection and rejoin in the kernel over rows in memory: several replicas with random histories, some of
//! which collect, some of which were away meanwhile. Whatever the order, they must end alike, keep what nobody
//! has deleted, and not bring back what was.

use std::collections::BTreeMap;

use grapevine_crdt::{
    Dot, Entity, FieldCell, FieldKey, LwwMap, ReplicaId, Timestamp, Value, VersionVector,
};
use proptest::prelude::*;

use super::fixture::{check_state, rows};
use crate::{
    codec,
    model::{
        Claim, Collection, EntityCells, EntityId, Floor, Op, PartitionId, PartitionState, Rejoin,
    },
    store::{
        DeltaBudget, Edit, Group, MemoryRows, State, StoreError, Table, Workspace, indexed,
        read_delta, read_entity,
    },
};

const PARTITION: PartitionId = PartitionId::new(3);
const NAMES: [&str; 3] = ["name", "organization", "groups/crew"];
/// Nodes 0 and 1 are one half, 2 and 3 the other.
const NODES: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    /// Sets and unsets fields of a contact that is shown, or makes it anew.
    Put(usize, usize, BTreeMap<usize, u8>),
    Remove(usize, usize),
    Increment(usize, u8),
    /// The second takes in all that the first has, if floors allow it.
    Pull(usize, usize),
    /// Both halves pull from everybody in them.
    Gather,
    /// Collects what the members of its half have taken in.
    Collect(usize),
    Restart(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let values = proptest::collection::btree_map(0..NAMES.len(), any::<u8>(), 1..=2);
    prop_oneof![
        5 => (0..NODES, 0..3usize, values).prop_map(|(node, key, values)| Step::Put(node, key, values)),
        3 => (0..NODES, 0..3usize).prop_map(|(node, key)| Step::Remove(node, key)),
        1 => (0..NODES, 1..9u8).prop_map(|(node, by)| Step::Increment(node, by)),
        3 => (0..NODES, 0..NODES).prop_map(|(from, to)| Step::Pull(from, to)),
        4 => Just(Step::Gather),
        3 => (0..NODES).prop_map(Step::Collect),
        1 => (0..NODES).prop_map(Step::Restart),
    ]
}

fn ids(collection: Collection, count: usize) -> Vec<EntityId> {
    (0..)
        .map(|number: u32| EntityId::new(collection, format!("c{number}")))
        .map(|id| id.expect("a valid key"))
        .filter(|id| id.partition() == PARTITION)
        .take(count)
        .collect()
}

struct Node {
    replica: ReplicaId,
    rows: MemoryRows,
    state: State,
    groups: u64,
}

impl Node {
    fn held(&self) -> &PartitionState {
        self.state.partition(PARTITION)
    }

    fn entity(&self, id: &EntityId) -> Entity {
        read_entity(&self.rows, id)
            .expect("rows in memory are read")
            .unwrap_or_default()
    }

    /// Makes one group, and checks that its replay gives the same.
    fn group<T>(
        &mut self,
        take: impl FnOnce(&mut Workspace<'_, MemoryRows>) -> Result<T, StoreError>,
    ) -> T {
        let before = (self.rows.clone(), self.state.clone());
        let mut workspace = Workspace::new(&self.rows, self.state.clone());
        let answer = take(&mut workspace).expect("rows in memory do not fail");
        assert_eq!(workspace.clashes(), 0);
        if workspace.is_empty() {
            return answer;
        }
        self.groups += 1;
        let (group, changes) = workspace.finish(self.groups);
        self.rows.apply(changes.rows);
        self.state = changes.state;
        let read: Group = codec::decode(&codec::encode(&group).expect("encoded")).expect("decoded");
        let mut again = Workspace::new(&before.0, before.1);
        again.replay(read).expect("it is replayed");
        let (_, changes) = again.finish(self.groups);
        let mut replayed = before.0.clone();
        replayed.apply(changes.rows);
        assert_eq!(rows(&replayed), rows(&self.rows), "a replay gives the same");
        assert_eq!(changes.state, self.state, "a replay gives the same state");
        check_state(&self.rows, &self.state);
        answer
    }

    fn write(
        &mut self,
        id: &EntityId,
        now: u64,
        decide: impl FnOnce(&Edit<'_>) -> Vec<FieldCell>,
    ) -> Option<Dot> {
        let replica = self.replica;
        self.group(|workspace| {
            workspace
                .write(id, replica, now, |edit| {
                    Ok::<_, core::convert::Infallible>(decide(&edit))
                })
                .map(|result| result.unwrap_or_else(|never| match never {}))
        })
    }

    fn collect(&mut self, stable: &VersionVector) {
        let digest = self.held().digest;
        let found = indexed(&self.rows, Table::Garbage, PARTITION, None, 100);
        let op = Op {
            partition: PARTITION,
            entities: Vec::new(),
            claim: Claim::Collect {
                stable: stable.clone(),
                ids: found.expect("rows in memory are read"),
            },
        };
        self.group(|workspace| workspace.apply(op, Timestamp::ZERO));
        assert_eq!(self.held().digest, digest, "collection changes the digest");
    }

    /// Takes in all that `from` has by an ordinary delta.
    fn pull(&mut self, from: &Self) {
        let budget = DeltaBudget {
            entities: usize::MAX,
            bytes: usize::MAX,
        };
        let (theirs, ours) = (from.held(), &self.held().vector);
        let page = read_delta(&from.rows, PARTITION, theirs, ours, None, budget);
        let page = page.expect("rows in memory are read");
        let op = Op {
            partition: PARTITION,
            entities: page.entities,
            claim: Claim::Absorb {
                vector: page.vector,
                floor: page.floor.expect("it is the last page"),
            },
        };
        let announced = from.state.clock();
        for cells in &op.entities {
            cells.check(PARTITION, announced).expect("honest cells");
        }
        self.group(|workspace| workspace.apply(op, announced));
    }

    /// Takes `from` in whole.
    fn rejoin(&mut self, from: &Self) {
        let ours = self.held().clone();
        let (mut entities, mut held) = (Vec::new(), Vec::new());
        for (table, key, _) in rows(&from.rows) {
            if table != Table::Entities {
                continue;
            }
            let id = crate::store::layout::parse_entity_key(&key).expect("a key");
            let entity = from.entity(&id);
            held.push((id.clone(), crate::model::CellName::all(&entity)));
            let cells = entity.delta(&ours.vector);
            if !cells.is_empty() {
                entities.push(EntityCells { id, cells });
            }
        }
        let announced = from.state.clock();
        let cells = Op {
            partition: PARTITION,
            entities,
            claim: Claim::Nothing,
        };
        self.group(|workspace| workspace.apply(cells, announced));
        let theirs = from.held();
        let rejoin = Rejoin {
            vector: theirs.vector.clone(),
            floor: Floor::clone(&theirs.floor),
            held,
            refresh_theirs: !theirs.vector.includes(&ours.floor.vector),
            returning: false,
            issue: None,
        };
        let op = Op {
            partition: PARTITION,
            entities: Vec::new(),
            claim: Claim::Rejoin(Box::new(rejoin)),
        };
        let replica = self.replica;
        self.group(|workspace| workspace.apply_as(op, announced, || replica));
    }

    /// Takes every cell of `from` in again.
    fn repair(&mut self, from: &Self) {
        let nothing = VersionVector::default();
        let entities = rows(&from.rows)
            .into_iter()
            .filter(|(table, _, _)| *table == Table::Entities)
            .map(|(_, key, _)| {
                let id = crate::store::layout::parse_entity_key(&key).expect("a key");
                let cells = from.entity(&id).delta(&nothing);
                EntityCells { id, cells }
            });
        let op = Op {
            partition: PARTITION,
            entities: entities.collect(),
            claim: Claim::Repair,
        };
        let announced = from.state.clock();
        self.group(|workspace| workspace.apply(op, announced));
    }

    /// Takes `from` in, by whatever way the floors ask for.
    fn meet(&mut self, from: &Self) {
        let covers =
            |holder: &Self, floor: &Self| holder.held().vector.includes(&floor.held().floor.vector);
        if covers(self, from) {
            if covers(from, self) {
                self.pull(from);
            }
        } else if covers(from, self) || self.replica < from.replica {
            self.rejoin(from);
        }
    }
}

struct World {
    nodes: Vec<Node>,
    contacts: Vec<EntityId>,
    counter: EntityId,
    now: u64,
    lives: u8,
    value: u64,
    counted: i128,
    /// How often a difference had to be repaired.
    repairs: usize,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            nodes: Vec::new(),
            contacts: ids(Collection::Contacts, 3),
            counter: ids(Collection::Counters, 1).remove(0),
            now: 1_000,
            lives: 0,
            value: 0,
            counted: 0,
            repairs: 0,
        };
        for _ in 0..NODES {
            let replica = world.mint();
            world.nodes.push(Node {
                replica,
                rows: MemoryRows::default(),
                state: State::default(),
                groups: 0,
            });
        }
        world
    }

    fn mint(&mut self) -> ReplicaId {
        self.lives += 1;
        ReplicaId::from_bytes([self.lives.wrapping_mul(37); 16])
    }

    fn pair(&mut self, from: usize, to: usize) -> (&Node, &mut Node) {
        let (low, high) = self.nodes.split_at_mut(from.max(to));
        if from < to {
            (&low[from], &mut high[0])
        } else {
            (&high[0], &mut low[to])
        }
    }

    fn meet(&mut self, from: usize, to: usize) {
        if from != to {
            let (from, to) = self.pair(from, to);
            to.meet(from);
        }
    }

    fn take(&mut self, step: Step, apart: bool) {
        // The second half's clock is behind, as it may be for who was away.
        self.now += 1;
        let half = |node: usize| node / 2;
        match step {
            Step::Put(node, key, values) => {
                let id = self.contacts[key].clone();
                self.value += 1;
                let (value, now) = (self.value, self.now - 500 * half(node) as u64);
                self.nodes[node].write(&id, now, |edit| put(edit, &values, value));
            }
            Step::Remove(node, key) => {
                let id = self.contacts[key].clone();
                let now = self.now;
                self.nodes[node].write(&id, now, |edit| {
                    if edit.entity.is_visible() {
                        LwwMap::new(edit.entity).remove(edit.dot)
                    } else {
                        Vec::new()
                    }
                });
            }
            Step::Increment(node, by) => {
                let (id, now) = (self.counter.clone(), self.now);
                self.counted += i128::from(by);
                self.nodes[node].write(&id, now, |edit| {
                    let counter = grapevine_crdt::PnCounter::new(edit.entity);
                    vec![
                        counter
                            .increment(u64::from(by), edit.dot)
                            .expect("small counts"),
                    ]
                });
            }
            Step::Pull(from, to) => {
                if !apart || half(from) == half(to) {
                    self.meet(from, to);
                }
            }
            Step::Gather => {
                for from in 0..NODES {
                    for to in 0..NODES {
                        if !apart || half(from) == half(to) {
                            self.meet(from, to);
                        }
                    }
                }
            }
            Step::Collect(node) => {
                let members: Vec<usize> = (0..NODES)
                    .filter(|other| !apart || half(*other) == half(node))
                    .collect();
                self.collect(node, &members);
            }
            Step::Restart(node) => {
                self.nodes[node].replica = self.mint();
            }
        }
    }

    fn collect(&mut self, node: usize, members: &[usize]) {
        let reports: Vec<VersionVector> = members
            .iter()
            .map(|member| self.nodes[*member].held().vector.clone())
            .collect();
        let ours = self.nodes[node].held().vector.clone();
        if reports.iter().all(|report| ours.includes(report)) {
            let stable = reports
                .iter()
                .fold(ours, |stable, report| stable.meet(report));
            self.nodes[node].collect(&stable);
        }
    }

    /// Everybody meets everybody until all are alike. Who came back may meet a member that has not collected yet,
    /// and so cover a floor without ever having rejoined: that shows as a difference, and is repaired.
    fn heal(&mut self) {
        for _ in 0..4 {
            for from in 0..NODES {
                for to in 0..NODES {
                    self.now += 1;
                    self.meet(from, to);
                    self.repair(from, to);
                    self.repair(to, from);
                }
            }
        }
    }

    fn repair(&mut self, from: usize, to: usize) {
        if from == to {
            return;
        }
        let (from, to) = self.pair(from, to);
        let (theirs, ours) = (from.held().summary(), to.held().summary());
        if theirs.open || ours.open || theirs.vector_hash != ours.vector_hash {
            return;
        }
        if theirs.digest != ours.digest {
            to.repair(from);
            self.repairs += 1;
        }
    }

    fn agree(&self) {
        let first = &self.nodes[0];
        for node in &self.nodes {
            assert_eq!(node.held().vector, first.held().vector, "vectors");
            assert_eq!(node.held().unclaimed, 0, "closed");
            for id in &self.contacts {
                assert_eq!(
                    shown(&node.entity(id)),
                    shown(&first.entity(id)),
                    "{:#?}\n{:#?}",
                    node.entity(id),
                    first.entity(id)
                );
            }
            assert_eq!(node.held().digest, first.held().digest, "digests");
            let counter = node.entity(&self.counter);
            let count = grapevine_crdt::PnCounter::new(&counter).value();
            assert_eq!(
                count, self.counted,
                "a counter is neither collected nor counted twice"
            );
        }
    }

    fn collect_all(&mut self) {
        for node in 0..NODES {
            self.collect(node, &[0, 1, 2, 3]);
        }
    }
}

/// As the node does it: what is hidden is deleted, and over what was collected a clearing is written.
fn put(edit: &Edit<'_>, values: &BTreeMap<usize, u8>, value: u64) -> Vec<FieldCell> {
    let map = LwwMap::new(edit.entity);
    let visible = edit.entity.is_visible();
    let touched = FieldKey::Attribute("touched".to_owned());
    let mut cells = Vec::new();
    for (place, name) in NAMES.iter().enumerate() {
        let held = edit.entity.field(&FieldKey::Attribute((*name).to_owned()));
        match values.get(&place) {
            Some(chosen) if chosen % 3 > 0 || place == 0 => {
                cells.extend(map.set(name, format!("n{value}").as_bytes(), edit.dot, edit.time));
            }
            Some(_) if held.is_some() => cells.extend(map.unset(name, edit.dot, edit.time)),
            None if held.is_some() && !visible => {
                cells.extend(map.unset(name, edit.dot, edit.time));
            }
            Some(_) | None => {}
        }
    }
    let any_set = cells.iter().any(|cell| cell.cell.value != Value::Tombstone);
    if !any_set {
        cells.extend(map.set("touched", &[], edit.dot, edit.time));
    } else if !visible && edit.entity.field(&touched).is_some() {
        cells.extend(map.unset("touched", edit.dot, edit.time));
    }
    cells.extend(map.clear(&edit.floor.vector, edit.dot));
    cells
}

type Shown = Vec<(FieldKey, Option<Vec<u8>>, Vec<Vec<u8>>)>;

/// What a reader sees, conflicts too.
fn shown(entity: &Entity) -> Shown {
    if !entity.is_visible() {
        return Vec::new();
    }
    let values = |cells: &[grapevine_crdt::Cell]| {
        cells
            .iter()
            .filter_map(|cell| cell.bytes().map(<[u8]>::to_vec))
            .collect::<Vec<_>>()
    };
    entity
        .fields()
        .filter(|(key, _)| matches!(key, FieldKey::Attribute(_)))
        .map(|(key, field)| {
            let shown = field.shown().bytes().map(<[u8]>::to_vec);
            (key.clone(), shown, values(field.conflicts()))
        })
        .filter(|(_, shown, conflicts)| shown.is_some() || !conflicts.is_empty())
        .collect()
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..most)
}

/// One member of each half collects, or of the first alone. These two meet first, and each takes the other in
/// whole; then the members that have not collected follow, by whatever way their vectors ask for.
fn return_apart(together: Vec<Step>, apart: Vec<Step>, two_sided: bool) {
    let mut world = World::new();
    for step in together {
        let step = if let Step::Collect(_) = step {
            Step::Gather
        } else {
            step
        };
        world.take(step, false);
    }
    for step in apart {
        let step = match step {
            Step::Collect(node) if node < 2 || two_sided => Step::Collect(node / 2 * 2),
            Step::Collect(_) => Step::Gather,
            step => step,
        };
        world.take(step, true);
    }
    world.take(Step::Gather, true);
    world.take(Step::Gather, true);
    for _ in 0..2 {
        world.now += 1;
        world.meet(0, 2);
        world.meet(2, 0);
    }
    world.heal();
    world.agree();
    assert_eq!(world.repairs, 0);
    world.collect_all();
    world.agree();
}

#[test]
fn one_field_of_a_write_is_collected_and_comes_back_with_the_other() {
    let both = BTreeMap::from([(0, 0), (2, 4)]);
    let later = BTreeMap::from([(2, 63)]);
    let together = vec![Step::Put(0, 0, both), Step::Gather];
    let apart = vec![Step::Put(3, 0, later), Step::Pull(3, 2), Step::Collect(2)];
    return_apart(together, apart, true);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn members_that_collect_at_different_times_end_differently(steps in steps(60)) {
        let mut world = World::new();
        for step in steps {
            world.take(step, false);
        }
        world.heal();
        world.agree();
        world.collect_all();
        world.agree();
        prop_assert_eq!(world.repairs, 0);
    }

    /// One member of each half collects. These two meet first, and each takes the other in whole; then the members
    /// that have not collected follow, by whatever way their vectors ask for.
    #[test]
    fn who_returns_to_one_that_collected_differs_from_one_that_has_not(
        together in steps(25),
        apart in steps(50),
        two_sided in any::<bool>(),
    ) {
        return_apart(together, apart, two_sided);
    }

    /// Two halves that struck each other from their rosters collect on their own, and meet again.
    #[test]
    fn halves_that_expelled_each_other_differ_after_they_rejoin(
        together in steps(25),
        apart in steps(50),
        again in steps(10),
    ) {
        let mut world = World::new();
        for step in together {
            world.take(step, false);
        }
        for step in apart {
            world.take(step, true);
        }
        world.heal();
        world.agree();
        for step in again {
            world.take(step, false);
        }
        world.heal();
        world.agree();
        world.collect_all();
        world.agree();
    }
}
