//! Lives that are over: however many there were, they are kept once, and a step names only what is new.

use std::{collections::BTreeMap, path::Path};

use grapevine_crdt::{Rank, ReplicaId, Seq, Timestamp, VersionVector};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tempfile::tempdir;

use super::fixture::{TestResult, kv, open, options, register, until};
use crate::{
    codec,
    model::{Claim, Floor, Op, PartitionId},
    store::{MemoryRows, Outcome, State, Store, StoreOptions, Workspace},
};

/// More than a vector keeps as recent entries.
const LIVES: u32 = 200;

fn life(number: u32) -> ReplicaId {
    // Minted in no order of the ids, as those of several nodes are.
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.wrapping_mul(0x9E37_79B9).to_be_bytes());
    bytes[4..8].copy_from_slice(&number.to_be_bytes());
    ReplicaId::from_bytes(bytes)
}

fn lives(count: u32) -> VersionVector {
    (0..count)
        .map(|number| (life(number), Seq::new(1 + u64::from(number % 300))))
        .collect()
}

fn absorb(partition: PartitionId, vector: VersionVector, floor: VersionVector) -> Op {
    Op {
        partition,
        entities: Vec::new(),
        claim: Claim::Absorb {
            vector,
            floor: Floor {
                vector: floor,
                rank: Rank::default(),
            },
        },
    }
}

async fn take(store: &Store, op: Op) -> TestResult {
    let answer = store.enqueue(op, Timestamp::ZERO).await?;
    assert_eq!(answer.await??, Outcome::Applied);
    Ok(())
}

/// How many rows a table of the closed `data.redb` has in each partition.
fn rows_of(directory: &Path, table: &str) -> Result<BTreeMap<u8, u32>, Box<dyn std::error::Error>> {
    let database = Database::open(directory.join("data.redb"))?;
    let definition: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(table);
    let table = database.begin_read()?.open_table(definition)?;
    let mut rows = BTreeMap::new();
    for row in table.iter()? {
        let (key, _) = row?;
        let partition = *key.value().first().ok_or("a partition")?;
        *rows.entry(partition).or_default() += 1;
    }
    Ok(rows)
}

#[tokio::test]
async fn each_life_is_a_row_for_ever() -> TestResult {
    let directory = tempdir()?;
    let (few, many) = (PartitionId::new(0), kv("k").partition());
    let mut before: Option<State> = None;
    for round in 1..=8 {
        let store = open(options(directory.path()))?;
        if let Some(before) = before {
            assert_eq!(*store.snapshot().state(), before, "after {round} starts");
        }
        take(&store, absorb(few, lives(round), VersionVector::default())).await?;
        // Some rounds settle a block anew and some only add to it.
        let known = LIVES + round * round * 3;
        take(&store, absorb(many, lives(known), VersionVector::default())).await?;
        store
            .write(kv("k"), |edit| Ok::<_, String>((register(&edit, b"v"), ())))
            .await?;
        before = Some(store.snapshot().state().clone());
        store.close().await;
        let recent = rows_of(directory.path(), "vectors_v1")?;
        assert_eq!(recent.get(&few.get()), Some(&round));
        assert!(recent.get(&many.get()).is_none_or(|rows| *rows <= 64));
        let settled = rows_of(directory.path(), "settled_v1")?;
        assert_eq!(settled.get(&many.get()), Some(&1));
    }
    Ok(())
}

/// The journal keeps a group until `data.redb` has it; so must a group that changes no row be written there.
#[tokio::test]
async fn what_changes_no_row_is_never_applied() -> TestResult {
    let directory = tempdir()?;
    let store = open(StoreOptions {
        idle_apply_after_ms: 1,
        ..options(directory.path())
    })?;
    let partition = PartitionId::new(9);
    take(
        &store,
        absorb(partition, lives(3), VersionVector::default()),
    )
    .await?;
    until(|| store.stats().applied_batches > 0).await;
    store.close().await;
    assert_eq!(
        rows_of(directory.path(), "vectors_v1")?,
        BTreeMap::from([(9, 3)])
    );
    Ok(())
}

#[test]
fn a_step_names_every_life_again() -> TestResult {
    let rows = MemoryRows::default();
    let partition = PartitionId::new(9);
    let begin = |state: &State| Workspace::new(&rows, state.clone());
    let mut workspace = begin(&State::default());
    let all = lives(LIVES);
    workspace.apply(absorb(partition, all.clone(), lives(100)), Timestamp::ZERO)?;
    let state = workspace.finish(1).1.state;

    let mut more = all.clone();
    more.advance(life(LIVES), Seq::new(7));
    let mut collected = lives(100);
    collected.advance(life(150), Seq::new(2));
    let mut workspace = begin(&state);
    workspace.apply(
        absorb(partition, more.clone(), collected.clone()),
        Timestamp::ZERO,
    )?;
    let (group, changes) = workspace.finish(2);
    let held = changes.state.partition(partition);
    assert_eq!(held.vector, more);
    assert_eq!(held.floor.vector, collected);

    let bytes = codec::encode(&group)?.len();
    assert!(bytes < 100, "{bytes} bytes are journaled");
    let mut workspace = begin(&state);
    workspace.replay(group)?;
    assert_eq!(workspace.finish(2).1.state, changes.state);
    Ok(())
}
