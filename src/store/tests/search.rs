//! What contacts are found by, on disk: an index that is not there, is of another version, or is damaged.

use std::{collections::BTreeSet, path::Path};

use grapevine_crdt::{LwwMap, Timestamp, VersionVector};
use redb::{Database, ReadableTable, ReadableTableMetadata, TableDefinition};
use tempfile::tempdir;

use super::fixture::{TestResult, check_state, open, options, rows, until};
use crate::{
    model::{Claim, Collection, EntityCells, EntityId, Op},
    store::{Outcome, Store, StoreError, Table, WriteError, verify},
};

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("search_v1");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta_v1");

fn contact(key: &str) -> EntityId {
    EntityId::new(Collection::Contacts, key).expect("a valid key")
}

async fn put(store: &Store, key: &str, name: &str) -> Result<(), WriteError<String>> {
    let name = name.to_owned();
    store
        .write(contact(key), move |edit| {
            let map = LwwMap::new(edit.entity);
            let mut cells = map.set("name", name.as_bytes(), edit.dot, edit.time);
            cells.extend(map.set("groups/Crew", b"", edit.dot, edit.time));
            Ok((cells, ()))
        })
        .await
}

async fn remove(store: &Store, key: &str) -> Result<(), WriteError<String>> {
    store
        .write(contact(key), |edit| {
            Ok((LwwMap::new(edit.entity).remove(edit.dot), ()))
        })
        .await
}

async fn filled(directory: &Path) -> Result<Store, Box<dyn std::error::Error>> {
    let store = open(options(directory))?;
    for number in 0..30 {
        put(&store, &format!("c{number}"), &format!("Ada Nr{number}")).await?;
    }
    remove(&store, "c7").await?;
    Ok(store)
}

fn findings(directory: &Path) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    verify(
        directory,
        &mut |finding| found.push(finding.what),
        &mut |_| (),
    )?;
    Ok(found)
}

#[tokio::test]
async fn a_store_without_the_index_of_this_version_finds_nothing() -> TestResult {
    for change in ["no table", "another version", "half made"] {
        let directory = tempdir()?;
        let store = filled(directory.path()).await?;
        let whole = rows(&*store.snapshot());
        store.close().await;
        {
            let database = Database::open(directory.path().join("data.redb"))?;
            let transaction = database.begin_write()?;
            {
                let mut meta = transaction.open_table(META)?;
                match change {
                    "another version" => drop(meta.insert("search", &[1, 1, 9][..])?),
                    _ => drop(meta.remove("search")?),
                }
            }
            if change == "no table" {
                transaction.delete_table(ROWS)?;
            } else {
                let mut table = transaction.open_table(ROWS)?;
                assert_eq!(table.len()?, 29 * 5);
                table.insert(&b"\x01old\0old\0c1"[..], &[1][..])?;
                table.pop_first()?;
            }
            transaction.commit()?;
        }
        assert_eq!(
            findings(directory.path())?,
            [""; 0],
            "the next start makes it"
        );
        let store = open(options(directory.path()))?;
        assert_eq!(rows(&*store.snapshot()), whole, "{change}");
        store.close().await;
        assert_eq!(findings(directory.path())?, [""; 0]);
    }
    Ok(())
}

#[tokio::test]
async fn rows_that_are_not_replayed_are_missing_after_a_crash() -> TestResult {
    let (directory, copy) = (tempdir()?, tempdir()?);
    let store = filled(directory.path()).await?;
    until(|| store.stats().applied_batches > 0).await;
    put(&store, "c1", "Another").await?;
    put(&store, "new", "Zoë").await?;
    super::fixture::copy_files(directory.path(), copy.path())?;
    let crashed = open(options(copy.path()))?;
    let snapshot = crashed.snapshot();
    assert_eq!(rows(&*snapshot), rows(&*store.snapshot()));
    check_state(&*snapshot, snapshot.state());
    drop(snapshot);
    crashed.close().await;
    store.close().await;
    Ok(())
}

#[tokio::test]
async fn a_damaged_index_is_not_noticed_or_stays_damaged() -> TestResult {
    let directory = tempdir()?;
    filled(directory.path()).await?.close().await;
    {
        let database = Database::open(directory.path().join("data.redb"))?;
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(ROWS)?;
            table.insert(&b"\x01old\0old\0c1"[..], &[1][..])?;
            table.pop_last()?;
        }
        transaction.commit()?;
    }
    let found = findings(directory.path())?.join("\n");
    assert!(found.contains("rows of contacts/"), "{found}");
    assert!(
        found.contains("1 rows of search_v1 belong to nothing"),
        "{found}"
    );
    let store = open(options(directory.path()))?;
    let ids: BTreeSet<EntityId> = (0..30).map(|n| contact(&format!("c{n}"))).collect();
    for id in ids {
        let op = Op {
            partition: id.partition(),
            entities: vec![EntityCells {
                id,
                cells: Vec::new(),
            }],
            claim: Claim::Recount,
        };
        let outcome = store.enqueue(op, Timestamp::ZERO).await?;
        let _either = outcome.await??;
    }
    let snapshot = store.snapshot();
    check_state(&*snapshot, snapshot.state());
    drop(snapshot);
    store.close().await;
    assert_eq!(findings(directory.path())?, [""; 0]);
    Ok(())
}

/// A contact of which the row is rotten is found by what it was, until a peer's cells replace it.
#[tokio::test]
async fn a_contact_that_was_repaired_is_found_by_what_it_never_was() -> TestResult {
    let directory = tempdir()?;
    let store = filled(directory.path()).await?;
    let id = contact("c3");
    let sound = store.snapshot().entity(&id)?.ok_or("it is held")?;
    store.close().await;
    {
        let database = Database::open(directory.path().join("data.redb"))?;
        let transaction = database.begin_write()?;
        {
            let entities: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entities_v1");
            let mut table = transaction.open_table(entities)?;
            let key = crate::store::layout::entity_key(id.partition(), &id);
            let mut row = table.get(key.as_ref())?.ok_or("a row")?.value().to_vec();
            row.truncate(30);
            table.insert(key.as_ref(), row.as_slice())?;
            transaction
                .open_table(ROWS)?
                .insert(&b"\x01old\0old\0c3"[..], &[1][..])?;
        }
        transaction.commit()?;
    }
    let store = open(options(directory.path()))?;
    let op = Op {
        partition: id.partition(),
        entities: vec![EntityCells {
            id,
            cells: sound.delta(&VersionVector::default()),
        }],
        claim: Claim::Repair,
    };
    let outcome = store.enqueue(op, Timestamp::ZERO).await?;
    assert_eq!(outcome.await??, Outcome::Applied);
    let snapshot = store.snapshot();
    check_state(&*snapshot, snapshot.state());
    let searched = rows(&*snapshot);
    assert!(searched.iter().any(|(table, _, _)| *table == Table::Search));
    drop(snapshot);
    store.close().await;
    Ok(())
}
