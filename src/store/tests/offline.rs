//! Closed stores: damage that nobody notices, files that only grow, clocks that were wrong.

use std::path::Path;

use grapevine_crdt::{Seq, Timestamp, VersionVector};
use redb::{Database, ReadableTable, TableDefinition};
use tempfile::tempdir;

use super::fixture::{SetClock, TestResult, check_state, get, kv, open, options, put, shown};
use crate::{
    model::{Claim, EntityCells, Floor, Op, PartitionId},
    store::{
        DeltaBudget, Outcome, Store, StoreError, StoreOptions, Table, WriteError, compact, indexed,
        mend_clock, read_delta, scrub, verify,
    },
};

fn findings(directory: &Path) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    verify(
        directory,
        &mut |finding| found.push(finding.what),
        &mut |_| (),
    )?;
    Ok(found)
}

type Change = fn(&[u8]) -> Option<Vec<u8>>;

/// Changes one row of `data.redb`; with `change` yielding nothing the row goes.
fn tamper(
    directory: &Path,
    table: &str,
    change: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
) -> TestResult {
    let database = Database::open(directory.join("data.redb"))?;
    let transaction = database.begin_write()?;
    {
        let definition: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(table);
        let mut rows = transaction.open_table(definition)?;
        let (key, value) = {
            let first = rows.first()?.ok_or("a row")?;
            (first.0.value().to_vec(), first.1.value().to_vec())
        };
        match change(&value) {
            Some(value) => rows.insert(key.as_slice(), value.as_slice())?,
            None => rows.remove(key.as_slice())?,
        };
    }
    transaction.commit()?;
    Ok(())
}

/// The row with another value in its last cell; what follows is the count of its conflicts.
fn flip(row: &[u8]) -> Vec<u8> {
    let mut row = row.to_vec();
    let place = row.len() - 2;
    row[place] ^= 1;
    row
}

async fn filled(directory: &Path) -> Result<Store, Box<dyn std::error::Error>> {
    let store = open(options(directory))?;
    put(&store, "k", b"v").await?;
    for number in 0..20 {
        put(&store, &format!("k{number}"), b"v").await?;
    }
    delete(&store, "k7").await?;
    Ok(store)
}

async fn delete(store: &Store, key: &str) -> Result<(), WriteError<String>> {
    let deletion = |edit: crate::store::Edit<'_>| {
        let mut cells = super::fixture::register(&edit, b"");
        for cell in &mut cells {
            cell.cell.value = grapevine_crdt::Value::Tombstone;
        }
        Ok((cells, ()))
    };
    store.write(kv(key), deletion).await
}

#[tokio::test]
async fn damage_of_a_closed_store_goes_unnoticed() -> TestResult {
    let directory = tempdir()?;
    filled(directory.path()).await?.close().await;
    assert_eq!(findings(directory.path())?, [""; 0]);
    let cases: [(&str, Change, &str); 6] = [
        (
            "entities_v1",
            |row| Some(flip(row)),
            "are not those that its hash was made from",
        ),
        ("entities_v1", |_| Some(vec![1]), "cannot be read"),
        ("entities_v1", |_| None, "belong to nothing that is held"),
        ("log_v1", |_| None, "the log lacks write"),
        ("garbage_v1", |_| None, "is not in the index garbage_v1"),
        ("vectors_v1", |_| None, "that the vector does not cover"),
    ];
    for (table, change, expected) in cases {
        let copy = tempdir()?;
        super::fixture::copy_files(directory.path(), copy.path())?;
        tamper(copy.path(), table, change)?;
        let found = findings(copy.path())?;
        let told = found.iter().any(|what| what.contains(expected));
        assert!(told, "{table}: {found:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_check_opens_what_is_in_use_or_makes_what_is_not_there() -> TestResult {
    let directory = tempdir()?;
    let missing = findings(directory.path());
    assert!(matches!(missing, Err(StoreError::Directory { .. })));
    assert!(!directory.path().join("data.redb").exists());
    let store = filled(directory.path()).await?;
    assert!(matches!(
        findings(directory.path()),
        Err(StoreError::InUse { .. })
    ));
    store.close().await;
    Ok(())
}

/// Bit rot: the scrub finds it, a recount makes the digest tell, the cells of a peer mend it.
#[tokio::test]
async fn a_damaged_row_stays_damaged() -> TestResult {
    for unreadable in [false, true] {
        let directory = tempdir()?;
        let store = filled(directory.path()).await?;
        let id = {
            let snapshot = store.snapshot();
            // The row that is first in the file.
            let first = PartitionId::all().find_map(|partition| {
                let page = read_delta(
                    &*snapshot,
                    partition,
                    snapshot.state().partition(partition),
                    &VersionVector::default(),
                    None,
                    DeltaBudget {
                        entities: 100,
                        bytes: 1 << 20,
                    },
                );
                let page = page.expect("it is read");
                page.entities.into_iter().map(|entity| entity.id).min()
            });
            first.ok_or("an entity")?
        };
        let sound = store.snapshot().entity(&id)?.ok_or("it is held")?;
        let digest = store.snapshot().state().partition(id.partition()).digest;
        store.close().await;
        tamper(directory.path(), "entities_v1", |row| {
            Some(if unreadable {
                row[..20].to_vec()
            } else {
                flip(row)
            })
        })?;
        let store = open(options(directory.path()))?;
        let partition = id.partition();
        let found = scrub(&*store.snapshot(), partition, None, 100)?;
        assert_eq!((found.damaged, found.next), (vec![id.clone()], None));
        let op = |claim, cells| Op {
            partition,
            entities: vec![EntityCells {
                id: id.clone(),
                cells,
            }],
            claim,
        };
        let recount = op(Claim::Recount, Vec::new());
        for expected in [Outcome::Applied, Outcome::Covered] {
            let outcome = store.enqueue(recount.clone(), Timestamp::ZERO).await?;
            assert_eq!(outcome.await??, expected);
        }
        assert_ne!(
            store.snapshot().state().partition(partition).digest,
            digest,
            "the digest tells that something is missing"
        );
        assert!(
            scrub(&*store.snapshot(), partition, None, 100)?
                .damaged
                .is_empty()
        );
        let cells = sound.delta(&VersionVector::default());
        let repair = op(Claim::Repair, cells);
        let outcome = store.enqueue(repair, Timestamp::ZERO).await?;
        assert_eq!(outcome.await??, Outcome::Applied);
        let snapshot = store.snapshot();
        assert_eq!(snapshot.state().partition(partition).digest, digest);
        check_state(&*snapshot, snapshot.state());
        assert_eq!(store.stats().clashes, 0);
        drop(snapshot);
        store.close().await;
        assert_eq!(findings(directory.path())?, [""; 0]);
    }
    Ok(())
}

#[tokio::test]
async fn deleting_and_writing_again_makes_the_file_grow_for_ever() -> TestResult {
    const KEYS: usize = 300;
    let directory = tempdir()?;
    let store = open(options(directory.path()))?;
    let mut sizes = Vec::new();
    for round in 0..6 {
        for key in 0..KEYS {
            put(&store, &format!("{round} {key}"), &[7; 2_000]).await?;
        }
        for key in 0..KEYS {
            delete(&store, &format!("{round} {key}")).await?;
        }
        for partition in PartitionId::all() {
            let snapshot = store.snapshot();
            let held = snapshot.state().partition(partition);
            let op = Op {
                partition,
                entities: Vec::new(),
                claim: Claim::Collect {
                    stable: held.vector.clone(),
                    ids: indexed(&*snapshot, Table::Garbage, partition, None, 1_000)?,
                },
            };
            let outcome = store.enqueue(op, Timestamp::ZERO).await?;
            let _either = outcome.await??;
        }
        let garbage: u64 = {
            let snapshot = store.snapshot();
            let partitions = snapshot.state().partitions();
            partitions.map(|(_, partition)| partition.garbage).sum()
        };
        assert_eq!(garbage, 0);
        let collected = store.stats().collected;
        let tombstones = (KEYS as u64) * (round + 1);
        assert_eq!(
            (collected.tombstones, collected.removals),
            (tombstones, 0),
            "{collected:?}"
        );
        super::fixture::until(|| store.stats().applied_batches > round).await;
        sizes.push(std::fs::metadata(directory.path().join("data.redb"))?.len());
    }
    store.close().await;
    assert_eq!(findings(directory.path())?, [""; 0]);
    let raw = (KEYS * 2_000 * 6) as u64;
    let compacted = compact(directory.path())?;
    assert!(compacted.after < raw / 2, "{compacted:?}, {sizes:?}");
    assert!(compacted.after <= compacted.before);
    assert_eq!(findings(directory.path())?, [""; 0]);
    let asked = StoreOptions {
        compact_at_start: true,
        ..options(directory.path())
    };
    let store = open(asked)?;
    put(&store, "k", b"v").await?;
    assert_eq!(get(&store.snapshot(), "k"), Some(b"v".to_vec()));
    store.close().await;
    Ok(())
}

#[tokio::test]
async fn a_clock_in_the_year_2100_poisons_the_cluster() -> TestResult {
    const NOW: u64 = 1_790_000_000_000;
    const YEAR_2100: u64 = 4_102_444_800_000;
    let time = Timestamp::from_unix_ms;
    let directory = tempdir()?;
    let sane = Store::open(options(directory.path()), SetClock::at(NOW - 1_000))?;
    put(&sane, "sane", b"1").await?;
    sane.close().await;
    let wrong = Store::open(options(directory.path()), SetClock::at(YEAR_2100))?;
    put(&wrong, "k", b"first").await?;
    put(&wrong, "k", b"second").await?;
    put(&wrong, "gone", b"v").await?;
    delete(&wrong, "gone").await?;
    wrong.close().await;
    let (earliest, latest) = (time(NOW - 1_000_000), time(NOW + 1_000_000));
    let mended = mend_clock(directory.path(), earliest, latest, NOW)?;
    assert_eq!(mended.entities, 2);
    assert!(mended.clock_before >= time(YEAR_2100));
    assert!(mended.clock_after < latest, "{mended:?}");
    assert_eq!(findings(directory.path())?, [""; 0]);
    let again = mend_clock(directory.path(), earliest, latest, NOW)?;
    assert_eq!((again.entities, again.clock_after), (0, mended.clock_after));

    let mended = Store::open(options(directory.path()), SetClock::at(NOW + 2_000))?;
    assert!(mended.snapshot().state().clock() < latest);
    let other_directory = tempdir()?;
    let other = Store::open(options(other_directory.path()), SetClock::at(NOW + 1_000))?;
    put(&other, "k", b"theirs").await?;
    let snapshot = mended.snapshot();
    check_state(&*snapshot, snapshot.state());
    for partition in PartitionId::all() {
        let page = read_delta(
            &*snapshot,
            partition,
            snapshot.state().partition(partition),
            &VersionVector::default(),
            None,
            DeltaBudget {
                entities: 100,
                bytes: 1 << 20,
            },
        )?;
        let announced = snapshot.state().clock();
        for entity in &page.entities {
            entity.check(partition, announced)?;
            entity.check(partition, latest)?;
        }
        let op = Op {
            partition,
            entities: page.entities,
            claim: Claim::Absorb {
                vector: page.vector,
                floor: Floor::default(),
            },
        };
        let outcome = other.enqueue(op, announced).await?;
        let _either = outcome.await??;
    }
    let held = other.snapshot();
    assert_eq!(get(&held, "sane"), Some(b"1".to_vec()));
    assert_eq!(get(&held, "gone"), None);
    // What was written later, by a clock that was right, wins over what was written in 2100.
    assert_eq!(get(&held, "k"), Some(b"theirs".to_vec()));
    put(&mended, "k", b"third").await?;
    assert_eq!(get(&mended.snapshot(), "k"), Some(b"third".to_vec()));
    drop(snapshot);
    mended.close().await;
    other.close().await;
    Ok(())
}

#[tokio::test]
async fn one_write_names_two_entities() -> TestResult {
    let directory = tempdir()?;
    let store = filled(directory.path()).await?;
    let replica = grapevine_crdt::ReplicaId::from_bytes([9; 16]);
    let partition = kv("k").partition();
    let twin = (0..100_000)
        .map(|number: u32| kv(&format!("twin {number}")))
        .find(|id| id.partition() == partition)
        .ok_or("another key of the partition")?;
    let cell = |value: u8| grapevine_crdt::FieldCell {
        field: grapevine_crdt::FieldKey::Register("value".to_owned()),
        cell: grapevine_crdt::Cell {
            rank: grapevine_crdt::Rank::new(u64::MAX),
            dot: grapevine_crdt::Dot::new(replica, Seq::new(1)),
            seen: grapevine_crdt::CausalContext::default(),
            value: grapevine_crdt::Value::Bytes(vec![value]),
        },
    };
    let op = |id, value| Op {
        partition,
        entities: vec![EntityCells {
            id,
            cells: vec![cell(value)],
        }],
        claim: Claim::Nothing,
    };
    let outcome = store.enqueue(op(kv("k"), 1), Timestamp::MAX).await?;
    assert_eq!(outcome.await??, Outcome::Applied);
    let outcome = store.enqueue(op(twin, 1), Timestamp::MAX).await?;
    assert!(matches!(
        outcome.await?,
        Err(StoreError::TwoEntities { .. })
    ));
    // The same name with another value: the greater stays wherever they meet, and it is counted.
    for (value, stays) in [(3, 3), (2, 3)] {
        let outcome = store.enqueue(op(kv("k"), value), Timestamp::MAX).await?;
        let _either = outcome.await??;
        let entity = store.snapshot().entity(&kv("k"))?.ok_or("it is held")?;
        assert_eq!(shown(&entity), Some(vec![stays]));
    }
    assert_eq!(store.stats().clashes, 2);
    store.close().await;
    Ok(())
}
