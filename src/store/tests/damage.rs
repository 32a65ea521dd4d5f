//! Damaged rows in memory: what they may cost, and that they go no further.

use std::cell::Cell as Counter;

use bytes::Bytes;
use grapevine_crdt::{
    CausalContext, Cell, Dot, Entity, FieldCell, FieldKey, Rank, ReplicaId, Seq, Timestamp, Value,
    VersionVector,
};

use super::fixture::{check_state, register};
use crate::{
    model::{Claim, Collection, EntityCells, EntityId, Op, PartitionId},
    store::{
        DeltaBudget, Listing, MemoryRows, Rows, State, StoreError, Table, Visit, Workspace,
        list_entities, read_delta, read_entity, read_sound_delta, read_state,
    },
};

const PARTITION: PartitionId = PartitionId::new(3);
const US: ReplicaId = ReplicaId::from_bytes([7; 16]);
const ALL: DeltaBudget = DeltaBudget {
    entities: 1_000,
    bytes: usize::MAX,
};

/// Rows that count how many of the log are looked at.
struct Counting<'a> {
    rows: &'a MemoryRows,
    log_rows: Counter<usize>,
}

impl Rows for Counting<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.rows.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        exclusive: bool,
        to: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        self.rows.scan(table, from, exclusive, to, &mut |key, row| {
            self.log_rows
                .set(self.log_rows.get() + usize::from(table == Table::Log));
            visit(key, row)
        })
    }
}

fn ids(count: usize) -> Vec<EntityId> {
    let mut ids: Vec<EntityId> = (0..)
        .map(|number: u32| EntityId::new(Collection::Kv, format!("k{number}")))
        .map(|id| id.expect("a valid key"))
        .filter(|id| id.partition() == PARTITION)
        .take(count)
        .collect();
    ids.sort();
    ids
}

/// So many key-values of one partition, each of two bytes.
fn filled(count: usize) -> (MemoryRows, State, Vec<EntityId>) {
    let (mut rows, ids) = (MemoryRows::default(), ids(count));
    let mut workspace = Workspace::new(&rows, State::default());
    for id in &ids {
        let written = workspace.write(id, US, 1, |edit| {
            Ok::<_, core::convert::Infallible>(register(&edit, b"ok"))
        });
        written.expect("rows in memory do not fail").expect("never");
    }
    let (_, changes) = workspace.finish(1);
    rows.apply(changes.rows);
    (rows, changes.state, ids)
}

/// Turns a bit of the value in the rows of these entities.
fn damage(rows: &mut MemoryRows, ids: &[EntityId]) {
    let damaged: Vec<_> = rows
        .iter()
        .filter(|(table, key, _)| {
            let id = |id: &EntityId| key.ends_with(id.key().as_bytes());
            *table == Table::Entities && ids.iter().any(id)
        })
        .map(|(table, key, row)| {
            let mut row = row.to_vec();
            let at = row.windows(2).position(|two| two == b"ok");
            row[at.expect("it holds its value")] = b'k';
            ((table, key.clone()), Some(Bytes::from(row)))
        })
        .collect();
    assert_eq!(damaged.len(), ids.len());
    rows.apply(damaged);
}

fn op(claim: Claim, entities: Vec<EntityCells>) -> Op {
    Op {
        partition: PARTITION,
        entities,
        claim,
    }
}

#[test]
fn many_damaged_rows_cost_a_scan_of_the_log_each() {
    let (mut rows, state, ids) = filled(200);
    let held = |rows: &MemoryRows, id: &EntityId| {
        let entity = read_entity(rows, id).expect("it is read");
        entity.expect("it is held")
    };
    let cells: Vec<EntityCells> = ids
        .iter()
        .map(|id| EntityCells {
            id: id.clone(),
            cells: held(&rows, id).delta(&VersionVector::default()),
        })
        .collect();
    let sound = rows.clone();
    damage(&mut rows, &ids);
    for claim in [Claim::Recount, Claim::Repair] {
        let counting = Counting {
            rows: &rows,
            log_rows: Counter::new(0),
        };
        let mut workspace = Workspace::new(&counting, state.clone());
        let taken = workspace.apply(op(claim, cells.clone()), Timestamp::MAX);
        taken.expect("it is taken");
        let read = counting.log_rows.get();
        assert!(read <= 3 * ids.len(), "{read} rows of the log were read");
        let (_, changes) = workspace.finish(2);
        rows.apply(changes.rows);
    }
    for id in &ids {
        assert_eq!(held(&rows, id), held(&sound, id));
    }
    check_state(&rows, &state);
}

#[test]
fn a_damaged_row_is_sent_to_a_peer() {
    let (mut rows, state, ids) = filled(3);
    let sick = &ids[1..2];
    damage(&mut rows, sick);
    let partition = state.partition(PARTITION);
    let nothing = VersionVector::default();
    let sound_delta = |rows: &MemoryRows| {
        let mut damaged = Vec::new();
        let page = read_sound_delta(
            rows,
            PARTITION,
            partition,
            &nothing,
            None,
            ALL,
            &mut damaged,
        );
        let page = page.expect("it is read");
        assert!(page.next.is_none() && page.floor.is_some());
        let mut sent: Vec<_> = page.entities.into_iter().map(|entity| entity.id).collect();
        sent.sort();
        (sent, damaged)
    };
    let healthy = vec![ids[0].clone(), ids[2].clone()];
    assert_eq!(sound_delta(&rows), (healthy.clone(), sick.to_vec()));
    let all = read_delta(&rows, PARTITION, partition, &nothing, None, ALL);
    assert_eq!(all.expect("it is read").entities.len(), 3);
    // Who rejoins is told that it is held, or would drop what it holds of it.
    let page = read_state(&rows, PARTITION, partition, &nothing, None, ALL).expect("it is read");
    assert_eq!(page.entities.len(), 3);
    for entity in page.entities {
        assert!(!entity.names.is_empty());
        assert_eq!(entity.cells.is_empty(), sick.contains(&entity.id));
    }
    // Once it was recounted nobody needs to be told again; it still is not sent.
    let mut workspace = Workspace::new(&rows, state.clone());
    let entities = sick.iter().map(|id| EntityCells {
        id: id.clone(),
        cells: Vec::new(),
    });
    let recount = op(Claim::Recount, entities.collect());
    workspace
        .apply(recount, Timestamp::ZERO)
        .expect("it is taken");
    let (_, changes) = workspace.finish(2);
    rows.apply(changes.rows);
    assert_eq!(sound_delta(&rows), (healthy, Vec::new()));
}

#[test]
fn two_cells_of_one_name_meet_and_neither_stays() {
    let id = &ids(1)[0];
    let them = ReplicaId::from_bytes([9; 16]);
    let dot = Dot::new(them, Seq::new(1));
    let clearing = |dots: CausalContext| FieldCell {
        field: FieldKey::Clearing(them),
        cell: Cell {
            rank: Rank::new(1),
            dot,
            seen: CausalContext::default(),
            value: Value::Dots(dots),
        },
    };
    // No peer can send such a one: it clears its own write.
    let mut own = CausalContext::default();
    own.insert(dot);
    let (lesser, greater) = (clearing(CausalContext::default()), clearing(own));
    assert!(greater.cell > lesser.cell);
    let rows = MemoryRows::default();
    let mut workspace = Workspace::new(&rows, State::default());
    for cell in [&lesser, &greater] {
        let entities = vec![EntityCells {
            id: id.clone(),
            cells: vec![cell.clone()],
        }];
        let taken = workspace.apply(op(Claim::Nothing, entities), Timestamp::MAX);
        taken.expect("it is taken");
    }
    assert_eq!(workspace.clashes(), 1);
    let (_, changes) = workspace.finish(1);
    let mut rows = rows;
    rows.apply(changes.rows);
    let entity = read_entity(&rows, id).expect("it is read");
    let held = entity.expect("one is held");
    assert_eq!(held.cells().next(), Some((&lesser.field, &lesser.cell)));
}

#[test]
fn large_rows_are_listed_out_of_order_or_not_at_all() {
    let mut rows = MemoryRows::default();
    let mut workspace = Workspace::new(&rows, State::default());
    let keys: Vec<String> = (0..40).map(|number| format!("k{number:02}")).collect();
    let size = |number: usize| if number.is_multiple_of(3) { 10_000 } else { 10 };
    for (number, key) in keys.iter().enumerate() {
        let id = EntityId::new(Collection::Kv, key.clone()).expect("a key");
        let written = workspace.write(&id, US, 1, |edit| {
            Ok::<_, core::convert::Infallible>(register(&edit, &vec![1; size(number)]))
        });
        written.expect("rows in memory do not fail").expect("never");
    }
    let (_, changes) = workspace.finish(1);
    rows.apply(changes.rows);
    let mut listed = Vec::new();
    let listing = Listing {
        collection: Collection::Kv,
        prefix: "",
        after: None,
    };
    let read = list_entities(&rows, &listing, &mut |id, entity: Entity| {
        let bytes = entity.cells().find_map(|(_, cell)| cell.bytes());
        assert_eq!(bytes.map(<[u8]>::len), Some(size(listed.len())));
        listed.push(id.key().to_owned());
        core::ops::ControlFlow::Continue(())
    });
    read.expect("rows in memory are read");
    assert_eq!(listed, keys);
}
