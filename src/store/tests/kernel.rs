//! The kernel over rows in memory: random writes, pages of deltas and pushes between several of them, in
//! any order; after every step what is kept adds up, and in the end all hold what an oracle holds that
//! folds all writes.

use std::collections::BTreeMap;

use grapevine_crdt::{
    CausalContext, Cell, Dot, Entity, FieldCell, FieldKey, LwwMap, PnCounter, Rank, ReplicaId,
    Timestamp, Value, VersionVector,
};
use proptest::prelude::*;

use super::fixture::{check_state, rows};
use crate::{
    codec,
    model::{
        Claim, Collection, CommitRecord, Cursor, DeltaPage, EntityCells, EntityId, Floor, Op,
        PartitionId,
    },
    store::{
        DeltaBudget, Edit, Group, MemoryRows, Outcome, State, StoreError, Workspace, read_delta,
        read_entity,
    },
};

const NODES: usize = 3;
const PARTITIONS: [PartitionId; 2] = [PartitionId::new(3), PartitionId::new(200)];
const KEYS_PER_PARTITION: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Write {
        node: usize,
        key: usize,
        kind: Kind,
    },
    /// One page of a partition from one node to another.
    Page {
        from: usize,
        to: usize,
        partition: usize,
        entities: usize,
    },
    /// A local commit of one node, by its place, to another: late, again, out of order.
    Push {
        from: usize,
        to: usize,
        commit: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Register(u8),
    Attribute(u8),
    Remove,
    Increment(u8),
    Reset,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        any::<u8>().prop_map(Kind::Register),
        any::<u8>().prop_map(Kind::Attribute),
        Just(Kind::Remove),
        (1..9u8).prop_map(Kind::Increment),
        Just(Kind::Reset),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let keys = PARTITIONS.len() * KEYS_PER_PARTITION;
    prop_oneof![
        4 => (0..NODES, 0..keys, kind())
            .prop_map(|(node, key, kind)| Step::Write { node, key, kind }),
        5 => (0..NODES, 0..NODES, 0..PARTITIONS.len(), 1..3usize).prop_map(
            |(from, to, partition, entities)| Step::Page { from, to, partition, entities }
        ),
        2 => (0..NODES, 0..NODES, 0..40usize)
            .prop_map(|(from, to, commit)| Step::Push { from, to, commit }),
    ]
}

/// The keys of the test: so many in each of its partitions.
fn keys() -> Vec<EntityId> {
    let mut found: Vec<EntityId> = Vec::new();
    for partition in PARTITIONS {
        let here = (0..)
            .map(|number: u32| EntityId::new(Collection::Contacts, format!("c{number}")))
            .map(|id| id.expect("a valid key"))
            .filter(|id| id.partition() == partition)
            .take(KEYS_PER_PARTITION);
        found.extend(here);
    }
    found
}

/// How far a node is with the pages of one partition of another: it claims once a whole pass was read from
/// one content (one stamp), else makes another pass against the vector with which the pass before began.
struct Pull {
    base: VersionVector,
    began_with: VersionVector,
    stamp: u64,
    cursor: Option<Cursor>,
    stable: bool,
}

struct Node {
    replica: ReplicaId,
    rows: MemoryRows,
    state: State,
    commits: Vec<CommitRecord>,
    pulls: BTreeMap<(usize, usize), Pull>,
    groups: u64,
}

impl Node {
    fn new(number: usize) -> Self {
        let byte = u8::try_from(number).expect("few nodes");
        Self {
            replica: ReplicaId::from_bytes([7 - byte; 16]),
            rows: MemoryRows::default(),
            state: State::default(),
            commits: Vec::new(),
            pulls: BTreeMap::new(),
            groups: 0,
        }
    }

    /// Makes one group, and checks that its replay gives the same.
    fn group<T>(
        &mut self,
        take: impl FnOnce(&mut Workspace<'_, MemoryRows>) -> Result<T, StoreError>,
    ) -> T {
        let before = (self.rows.clone(), self.state.clone());
        let mut workspace = Workspace::new(&self.rows, self.state.clone());
        let answer = take(&mut workspace).expect("rows in memory do not fail");
        if workspace.is_empty() {
            return answer;
        }
        self.groups += 1;
        let (group, changes) = workspace.finish(self.groups);
        self.rows.apply(changes.rows);
        self.state = changes.state;

        let journaled = codec::encode(&group).expect("it is encoded");
        let read: Group = codec::decode(&journaled).expect("it is decoded");
        let again = codec::encode(&read).expect("it is encoded");
        assert_eq!(again, journaled);
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

    fn write(&mut self, id: &EntityId, kind: Kind, now: u64) -> Vec<FieldCell> {
        let replica = self.replica;
        let mut written = Vec::new();
        let mut needs = CausalContext::default();
        let after = self.state.partition(id.partition()).vector.get(replica);
        let dot = self.group(|workspace| {
            workspace
                .write(id, replica, now, |edit| {
                    if id.collection() == Collection::Contacts {
                        let held = edit.entity.dots().into_iter();
                        needs = held.filter(|dot| dot.replica != replica).collect();
                    }
                    written = cells(&edit, kind);
                    Ok::<_, core::convert::Infallible>(written.clone())
                })
                .map(|result| result.unwrap_or_else(|never| match never {}))
        });
        if let Some(Dot { seq, .. }) = dot {
            self.commits.push(CommitRecord {
                partition: id.partition(),
                replica,
                after,
                upto: seq,
                needs,
                entities: vec![EntityCells {
                    id: id.clone(),
                    cells: written.clone(),
                }],
            });
        }
        written
    }

    fn vector(&self, partition: PartitionId) -> VersionVector {
        self.state.partition(partition).vector.clone()
    }

    fn page(&self, partition: PartitionId, pull: &Pull, entities: usize) -> DeltaPage {
        let budget = DeltaBudget {
            entities,
            bytes: usize::MAX,
        };
        read_delta(
            &self.rows,
            partition,
            self.state.partition(partition),
            &pull.base,
            pull.cursor,
            budget,
        )
        .expect("rows in memory do not fail")
    }

    /// Takes in one page; says whether the pull is complete.
    fn take_page(&mut self, from: &Self, source: usize, place: usize, entities: usize) -> bool {
        let partition = PARTITIONS[place];
        let mut pull = self.pulls.remove(&(source, place)).unwrap_or_else(|| Pull {
            base: self.vector(partition),
            began_with: from.vector(partition),
            stamp: from.state.partition(partition).steps,
            cursor: None,
            stable: true,
        });
        let page = from.page(partition, &pull, entities);
        pull.stable &= page.stamp == pull.stamp;
        let last = page.next.is_none();
        let complete = last && pull.stable;
        let claim = if complete {
            Claim::Absorb {
                vector: page.vector,
                floor: page.floor.unwrap_or_default(),
            }
        } else {
            Claim::Nothing
        };
        let op = Op {
            partition,
            entities: page.entities,
            claim,
        };
        let announced = from.state.clock();
        for cells in &op.entities {
            cells
                .check(partition, announced)
                .expect("cells that can be");
        }
        self.group(|workspace| workspace.apply(op, announced));
        if !complete {
            if last {
                pull.base = pull.began_with;
                pull.began_with = from.vector(partition);
                pull.stamp = from.state.partition(partition).steps;
                pull.stable = true;
            }
            pull.cursor = page.next;
            self.pulls.insert((source, place), pull);
        }
        complete
    }

    fn take_push(&mut self, record: CommitRecord, announced: Timestamp) {
        let ours = self.vector(record.partition);
        let have = ours.get(record.replica);
        let expected = if have >= record.upto {
            Outcome::Covered
        } else if have < record.after || !record.needs.iter().all(|dot| ours.covers(dot)) {
            Outcome::Gap
        } else {
            Outcome::Applied
        };
        let outcome = self.group(|workspace| workspace.apply(record.into_op(), announced));
        assert_eq!(outcome, expected);
    }
}

fn cells(edit: &Edit<'_>, kind: Kind) -> Vec<FieldCell> {
    let map = LwwMap::new(edit.entity);
    let counter = PnCounter::new(edit.entity);
    match kind {
        Kind::Register(value) => vec![FieldCell {
            field: FieldKey::Register("r".to_owned()),
            cell: Cell {
                rank: Rank::at(edit.time),
                dot: edit.dot,
                seen: grapevine_crdt::CausalContext::default(),
                value: Value::Bytes(vec![value]),
            },
        }],
        Kind::Attribute(value) => {
            let mut cells = map.set("name", &[b'a' + value % 8], edit.dot, edit.time);
            // Two cells of one write share its dot.
            if value % 2 == 0 {
                cells.extend(map.unset("organization", edit.dot, edit.time));
            }
            cells
        }
        Kind::Remove => map.remove(edit.dot),
        Kind::Increment(by) => counter
            .increment(u64::from(by), edit.dot)
            .into_iter()
            .collect(),
        Kind::Reset => counter.reset(edit.dot),
    }
}

fn pair(nodes: &mut [Node], from: usize, to: usize) -> Option<(&Node, &mut Node)> {
    if from == to {
        return None;
    }
    let (low, high) = nodes.split_at_mut(from.max(to));
    Some(if from < to {
        (&low[from], &mut high[0])
    } else {
        (&high[0], &mut low[to])
    })
}

fn run(steps: Vec<Step>) {
    let keys = keys();
    let mut nodes: Vec<Node> = (0..NODES).map(Node::new).collect();
    let mut oracle = BTreeMap::<EntityId, Entity>::new();
    for (index, step) in steps.into_iter().enumerate() {
        match step {
            Step::Write { node, key, kind } => {
                let id = &keys[key];
                let now = 1_000 + (index as u64 * 7) % 5;
                let written = nodes[node].write(id, kind, now);
                if !written.is_empty() {
                    let entity = oracle.entry(id.clone()).or_default();
                    for cell in written {
                        entity.merge_cell(cell);
                    }
                }
            }
            Step::Page {
                from,
                to,
                partition,
                entities,
            } => {
                if let Some((source, target)) = pair(&mut nodes, from, to) {
                    target.take_page(source, from, partition, entities);
                }
            }
            Step::Push { from, to, commit } => {
                if let Some((source, target)) = pair(&mut nodes, from, to)
                    && let Some(record) = source.commits.get(commit)
                {
                    target.take_push(record.clone(), source.state.clock());
                }
            }
        }
    }
    heal(&mut nodes);
    compare(&nodes, &oracle);
}

/// Everybody pulls everything from everybody, twice round.
fn heal(nodes: &mut [Node]) {
    for _ in 0..2 {
        for from in 0..NODES {
            for to in 0..NODES {
                for place in 0..PARTITIONS.len() {
                    if let Some((source, target)) = pair(nodes, from, to) {
                        while !target.take_page(source, from, place, 1) {}
                    }
                }
            }
        }
    }
}

fn compare(nodes: &[Node], oracle: &BTreeMap<EntityId, Entity>) {
    for node in nodes {
        assert_eq!(node.state.root(), nodes[0].state.root(), "roots");
        assert_eq!(rows(&node.rows), rows(&nodes[0].rows), "rows");
        for partition in PARTITIONS {
            assert_eq!(node.state.partition(partition).unclaimed, 0, "closed");
        }
        for (id, entity) in oracle {
            let held = read_entity(&node.rows, id)
                .expect("a row")
                .unwrap_or_default();
            assert_eq!(&held, entity, "what all writes fold to");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn replicas_that_took_in_the_same_writes_differ(
        steps in proptest::collection::vec(step(), 1..90),
    ) {
        run(steps);
    }
}

/// Directed: the cell behind the cursor is overwritten by a write that sorts before the cursor.
#[test]
fn a_cell_overwritten_while_its_delta_is_cut_is_never_sent() {
    let keys = keys();
    let mut nodes: Vec<Node> = (0..NODES).map(Node::new).collect();
    // Node 0 has the greatest replica id, node 2 the least: a delta is read in the order of the replicas.
    nodes[0].write(&keys[0], Kind::Register(1), 1);
    nodes[0].write(&keys[1], Kind::Register(1), 1);
    let source = &nodes[0];
    let mut pull = Pull {
        base: VersionVector::default(),
        began_with: source.vector(PARTITIONS[0]),
        stamp: source.state.partition(PARTITIONS[0]).steps,
        cursor: None,
        stable: true,
    };
    let first = source.page(PARTITIONS[0], &pull, 1);
    assert_eq!(first.entities[0].id, keys[0]);
    pull.cursor = first.next;
    let record = {
        let write = nodes[2].write(&keys[1], Kind::Register(2), 5);
        assert!(!write.is_empty());
        nodes[2].commits[0].clone()
    };
    nodes[0].take_push(record, Timestamp::MAX);
    let second = nodes[0].page(PARTITIONS[0], &pull, 1);
    assert!(second.entities.is_empty(), "it moved to before the cursor");
    assert_ne!(second.stamp, pull.stamp, "and the stamp says so");
    pull.base = pull.began_with.clone();
    pull.cursor = None;
    let again = nodes[0].page(PARTITIONS[0], &pull, 1);
    assert_eq!(again.entities[0].id, keys[1]);
}

/// A step that fails halfway must not leave rows without the vector that goes with them.
#[test]
fn a_step_that_fails_leaves_half_of_itself() {
    let keys = keys();
    let mut node = Node::new(0);
    node.write(&keys[0], Kind::Register(1), 1);
    // The second entity's row cannot be read.
    let broken = crate::store::layout::entity_key(PARTITIONS[0], &keys[1]);
    let key = (crate::store::Table::Entities, broken);
    node.rows
        .apply([(key, Some(bytes::Bytes::from_static(&[9])))]);
    let other = ReplicaId::from_bytes([1; 16]);
    let cell = |seq: u64| FieldCell {
        field: FieldKey::Register("r".to_owned()),
        cell: Cell {
            rank: Rank::new(1),
            dot: Dot::new(other, grapevine_crdt::Seq::new(seq)),
            seen: grapevine_crdt::CausalContext::default(),
            value: Value::Tombstone,
        },
    };
    let op = Op {
        partition: PARTITIONS[0],
        entities: vec![
            EntityCells {
                id: keys[0].clone(),
                cells: vec![cell(1)],
            },
            EntityCells {
                id: keys[2].clone(),
                cells: vec![cell(2)],
            },
            EntityCells {
                id: keys[1].clone(),
                cells: vec![cell(3)],
            },
        ],
        claim: Claim::Absorb {
            vector: [(other, grapevine_crdt::Seq::new(3))].into_iter().collect(),
            floor: Floor::default(),
        },
    };
    let mut workspace = Workspace::new(&node.rows, node.state.clone());
    assert!(matches!(
        workspace.apply(op, Timestamp::MAX),
        Err(StoreError::Row { .. })
    ));
    assert!(workspace.is_empty());
    let (_, changes) = workspace.finish(1);
    assert!(changes.rows.is_empty());
    assert_eq!(changes.state, node.state);
}
