//! What an offline client is told, page by page, from several nodes that go on writing: in the end it holds what
//! they hold.

use std::{collections::BTreeMap, convert::Infallible};

use grapevine_crdt::{Entity, LwwMap, Rank, ReplicaId};
use proptest::prelude::*;

use super::fixture::kv;
use crate::{
    model::{ChangesToken, Claim, EntityId, Floor, Op, PartitionId, PartitionState},
    store::{
        ChangesError, DeltaBudget, MemoryRows, State, Workspace, changes::ChangesPage,
        covers_floors, read_changes, read_delta, read_entity,
    },
};

const NODES: usize = 2;
const KEYS: usize = 5;

#[derive(Clone, Debug)]
enum Step {
    /// A node writes a key; what is written again replaces what the writer sees.
    Write { node: usize, key: usize },
    /// A node takes in everything of another.
    Sync { from: usize, to: usize },
    /// The client asks a node for a page.
    Fetch { node: usize, entities: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..NODES, 0..KEYS).prop_map(|(node, key)| Step::Write { node, key }),
        1 => (0..NODES, 0..NODES).prop_map(|(from, to)| Step::Sync { from, to }),
        3 => (0..NODES, 1_usize..4).prop_map(|(node, entities)| Step::Fetch { node, entities }),
    ]
}

#[derive(Default)]
struct Node {
    rows: MemoryRows,
    state: State,
    groups: u64,
}

impl Node {
    fn group(&mut self, act: impl FnOnce(&mut Workspace<'_, MemoryRows>)) {
        let mut workspace = Workspace::new(&self.rows, self.state.clone());
        act(&mut workspace);
        self.groups += 1;
        let (_, changes) = workspace.finish(self.groups);
        self.state = changes.state;
        self.rows.apply(changes.rows);
    }

    fn write(&mut self, number: usize, id: &EntityId) {
        let replica = ReplicaId::from_bytes([u8::try_from(number).expect("few nodes") + 1; 16]);
        self.group(|workspace| {
            let written = workspace.write(id, replica, 1, |edit| {
                let value = edit.time.as_u64().to_be_bytes();
                let cells = LwwMap::new(edit.entity).set("x", &value, edit.dot, edit.time);
                Ok::<_, Infallible>(cells)
            });
            written.expect("rows in memory").expect("it never refuses");
        });
    }

    /// As if all that was written to a partition had been deleted and collected everywhere.
    fn forget(&mut self, partition: PartitionId) {
        let mut held = PartitionState::clone(self.state.partition(partition));
        let floor = Floor {
            vector: held.vector.clone(),
            rank: Rank::new(1),
        };
        held.raise_floor(&floor);
        self.state.set(partition, held);
    }

    fn take_in(&mut self, other: &Self) {
        let clock = other.state.clock();
        for partition in PartitionId::all() {
            let base = self.state.partition(partition).vector.clone();
            let theirs = other.state.partition(partition);
            if base.includes(&theirs.vector) {
                continue;
            }
            let all = DeltaBudget {
                entities: usize::MAX,
                bytes: usize::MAX,
            };
            let page = read_delta(&other.rows, partition, theirs, &base, None, all);
            let page = page.expect("rows in memory");
            let op = Op {
                partition,
                entities: page.entities,
                claim: Claim::Absorb {
                    vector: page.vector,
                    floor: page.floor.unwrap_or_default(),
                },
            };
            self.group(|workspace| {
                let taken = workspace.apply(op, clock);
                taken.expect("rows in memory");
            });
        }
    }
}

#[derive(Default)]
struct Client {
    token: ChangesToken,
    held: BTreeMap<EntityId, Entity>,
}

impl Client {
    /// Takes a page of a node that covers the token; says whether another follows.
    fn fetch(&mut self, number: usize, node: &Node, entities: usize) -> bool {
        let vector = |partition| &node.state.partition(partition).vector;
        if self.token.lacking(|_| true, vector) > 0 {
            return false;
        }
        let budget = DeltaBudget {
            entities,
            bytes: usize::MAX,
        };
        let token = self.token.to_text();
        let token = ChangesToken::from_text(&token).expect("a token");
        let page = read_changes(&node.rows, &node.state, number as u64, token, budget);
        let ChangesPage {
            entities,
            token,
            more,
        } = page.expect("rows in memory");
        self.token = token;
        self.held.extend(entities);
        more
    }
}

/// Keys of two partitions.
fn keys() -> Vec<EntityId> {
    let first = kv("0").partition();
    let all = || (0..).map(|number: u32| kv(&number.to_string()));
    let here = all().filter(|id| id.partition() == first).take(KEYS - 1);
    let there = all().filter(|id| id.partition() != first).take(1);
    here.chain(there).collect()
}

proptest! {
    #[test]
    fn a_client_that_was_told_everything_holds_what_the_nodes_hold(
        steps in prop::collection::vec(step(), 1..60),
        last in 0..NODES,
    ) {
        let keys = keys();
        let mut nodes = [Node::default(), Node::default()];
        let mut client = Client::default();
        for step in steps {
            match step {
                Step::Write { node, key } => nodes[node].write(node, &keys[key]),
                Step::Sync { from, to } if from != to => {
                    let [first, second] = &mut nodes;
                    let (from, to) = if from == 0 { (first, second) } else { (second, first) };
                    to.take_in(from);
                }
                Step::Sync { .. } => {}
                Step::Fetch { node, entities } => {
                    client.fetch(node, &nodes[node], entities);
                }
            }
        }
        let [first, second] = &mut nodes;
        first.take_in(second);
        second.take_in(first);
        // What was written behind the place that the pages had come to is told by those after the last.
        for _round in 0..2 {
            while client.fetch(last, &nodes[last], 2) {}
        }
        prop_assert!(client.token.is_whole());
        for id in &keys {
            let held = read_entity(&nodes[last].rows, id).expect("rows in memory");
            prop_assert_eq!(client.held.get(id), held.as_ref(), "{}", id);
        }
        // Nothing new is told again.
        let told = client.held.len();
        client.held.clear();
        prop_assert!(!client.fetch(last, &nodes[last], 1));
        prop_assert_eq!((client.held.len(), told <= KEYS), (0, true));
    }
}

#[test]
fn a_token_below_the_floor_is_gone_and_one_of_nothing_yet_is_not() {
    let mut node = Node::default();
    let id = kv("0");
    let partition = id.partition();
    node.write(0, &id);
    let mut client = Client::default();
    while client.fetch(0, &node, 1) {}
    node.write(0, &id);
    // As if what was just written had been deleted and collected everywhere.
    node.forget(partition);
    let read = |token: &ChangesToken| {
        let budget = DeltaBudget {
            entities: 1,
            bytes: usize::MAX,
        };
        read_changes(&node.rows, &node.state, 0, token.clone(), budget)
    };
    assert!(matches!(read(&client.token), Err(ChangesError::Gone)));
    assert!(!covers_floors(&client.token, &node.state, |_| true));
    assert!(covers_floors(&client.token, &node.state, |other| other != partition));
    // Who begins has nothing that could have been deleted.
    let nothing = ChangesToken::default();
    assert!(!covers_floors(&nothing, &node.state, |_| true));
    let page = read(&nothing).expect("a page");
    let last = read(&page.token).expect("a page");
    assert!(covers_floors(&last.token, &node.state, |_| true));
}

#[test]
fn a_client_told_half_of_a_partition_elsewhere_keeps_what_was_deleted_and_collected_since() {
    let keys = keys();
    let partition = keys[0].partition();
    let mut nodes = [Node::default(), Node::default()];
    for id in &keys[..2] {
        nodes[0].write(0, id);
    }
    let [first, second] = &mut nodes;
    second.take_in(first);
    let mut client = Client::default();
    assert!(client.fetch(0, first, 1), "there is more");
    // As if the other had deleted what was told, and all had collected that.
    second.write(1, &keys[0]);
    second.forget(partition);
    let read = |node: &Node, token: &ChangesToken, entities| {
        let budget = DeltaBudget {
            entities,
            bytes: usize::MAX,
        };
        read_changes(&node.rows, &node.state, 1, token.clone(), budget)
    };
    let told = read(second, &client.token, 100);
    assert!(matches!(told, Err(ChangesError::Gone)), "{told:?}");
    // Also if the page ends before it comes to that partition.
    let all = || (0..).map(|number: u32| kv(&number.to_string()));
    let before = all().find(|id| id.partition() < partition);
    let before = before.expect("it is not the first partition").partition();
    for id in all().filter(|id| id.partition() == before).take(2) {
        second.write(1, &id);
    }
    let page = read(second, &client.token, 1).expect("a page of another partition");
    let told = read(second, &page.token, 100);
    assert!(matches!(told, Err(ChangesError::Gone)), "{told:?}");
}

#[test]
fn a_client_that_is_told_again_what_changed_keeps_what_is_collected_before_it_is_told() {
    let keys = keys();
    let partition = keys[0].partition();
    let mut node = Node::default();
    for id in &keys[..2] {
        node.write(0, id);
    }
    let mut client = Client::default();
    assert!(client.fetch(0, &node, 1), "there is more");
    // As if what was told were deleted; it is not told of that yet, but of something before it, when all collect it.
    node.write(0, &keys[1]);
    node.write(0, &keys[0]);
    for _ in 0..2 {
        assert!(client.fetch(0, &node, 1), "there is more");
    }
    node.forget(partition);
    let budget = DeltaBudget {
        entities: 100,
        bytes: usize::MAX,
    };
    for source in [0, 1] {
        let told = read_changes(
            &node.rows,
            &node.state,
            source,
            client.token.clone(),
            budget,
        );
        assert!(matches!(told, Err(ChangesError::Gone)), "{told:?}");
    }
}
