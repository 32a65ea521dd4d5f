//! What is remembered of contacts: bounded in number and age, the same after a restart, and made in old directories.

use grapevine_crdt::LwwMap;
use redb::{Database, TableDefinition};
use tempfile::tempdir;

use super::fixture::{SetClock, TestResult, copy_files, open, options, rows};
use crate::{
    model::{Collection, EntityId},
    store::{HistoryLimits, Rows, Store, StoreOptions, Table, WriteError},
};

const NOW_MS: u64 = 1_000_000;

fn contact(key: &str) -> EntityId {
    EntityId::new(Collection::Contacts, key).expect("a valid key")
}

async fn name(store: &Store, key: &str, name: &str) -> Result<(), WriteError<String>> {
    let name = name.to_owned();
    store
        .write(contact(key), move |edit| {
            let map = LwwMap::new(edit.entity);
            let cells = map.set("name", name.as_bytes(), edit.dot, edit.time);
            Ok((cells, ()))
        })
        .await
}

fn count(rows: &impl Rows, table: Table) -> usize {
    let mut count = 0;
    let counted = rows.scan(table, &[], false, &[], &mut |_, _| {
        count += 1;
        std::ops::ControlFlow::Continue(())
    });
    counted.expect("the rows are read");
    count
}

fn limited(options: StoreOptions, versions: usize, age_ms: u64) -> StoreOptions {
    StoreOptions {
        history: HistoryLimits { versions, age_ms },
        ..options
    }
}

#[tokio::test]
async fn a_contact_that_is_edited_for_ever_is_remembered_for_ever() -> TestResult {
    let directory = tempdir()?;
    let store = open(limited(options(directory.path()), 3, 1_000_000))?;
    for number in 0..20 {
        name(&store, "ada", &format!("Ada {number}")).await?;
        name(&store, "ada2", &format!("Ada {number}")).await?;
    }
    let snapshot = store.snapshot();
    let remembered = snapshot.history(&contact("ada"))?;
    assert_eq!(remembered.len(), 3);
    assert!(remembered.is_sorted_by(|newer, older| newer.0 > older.0));
    assert_eq!(count(&*snapshot, Table::History), 6);
    assert_eq!(count(&*snapshot, Table::HistoryTimes), 6);
    Ok(())
}

/// Contacts that nobody edits any more do not keep what they were: what is written elsewhere takes it away.
#[tokio::test]
async fn what_is_too_old_stays_because_nobody_edits_that_contact() -> TestResult {
    let directory = tempdir()?;
    let old = limited(options(directory.path()), 20, 1_000);
    let store = open(old.clone())?;
    for key in ["a", "b", "c", "d", "e"] {
        name(&store, key, "once").await?;
        name(&store, key, "twice").await?;
    }
    assert_eq!(count(&*store.snapshot(), Table::History), 5);
    store.close().await;
    let later = SetClock::at(NOW_MS + 10_000);
    let store = Store::open(old, later)?;
    for number in 0..5 {
        name(&store, "z", &format!("{number}")).await?;
    }
    let snapshot = store.snapshot();
    // The first write makes z, and the second still began at the old time of the store or at that of the first.
    assert_eq!(snapshot.history(&contact("z"))?.len(), 4);
    assert_eq!(count(&*snapshot, Table::History), 4);
    assert_eq!(count(&*snapshot, Table::HistoryTimes), 4);
    Ok(())
}

#[tokio::test]
async fn what_is_remembered_differs_after_a_crash() -> TestResult {
    let (directory, copy) = (tempdir()?, tempdir()?);
    let never_idle = StoreOptions {
        idle_apply_after_ms: 3_600_000,
        ..limited(options(directory.path()), 3, 1_000_000)
    };
    let store = open(never_idle)?;
    for number in 0..10 {
        for key in ["ada", "bob"] {
            name(&store, key, &format!("{key} {number}")).await?;
        }
    }
    assert_eq!(store.stats().applied_batches, 0);
    copy_files(directory.path(), copy.path())?;
    let crashed = open(limited(options(copy.path()), 3, 1_000_000))?;
    assert_eq!(rows(&*store.snapshot()), rows(&*crashed.snapshot()));
    assert_eq!(crashed.snapshot().history(&contact("ada"))?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn a_directory_from_before_there_was_a_history_does_not_open() -> TestResult {
    let directory = tempdir()?;
    let store = open(options(directory.path()))?;
    name(&store, "ada", "Ada").await?;
    name(&store, "ada", "Ada Lovelace").await?;
    store.close().await;
    {
        let database = Database::open(directory.path().join("data.redb"))?;
        let transaction = database.begin_write()?;
        for table in ["history_v1", "history_times_v1"] {
            let table: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(table);
            assert!(transaction.delete_table(table)?);
        }
        transaction.commit()?;
    }
    let store = open(options(directory.path()))?;
    assert!(store.snapshot().history(&contact("ada"))?.is_empty());
    name(&store, "ada", "Countess").await?;
    assert_eq!(store.snapshot().history(&contact("ada"))?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_node_that_is_told_to_remember_nothing_remembers() -> TestResult {
    let directory = tempdir()?;
    let store = open(limited(options(directory.path()), 0, 1_000_000))?;
    name(&store, "ada", "Ada").await?;
    name(&store, "ada", "Ada Lovelace").await?;
    assert_eq!(count(&*store.snapshot(), Table::History), 0);
    Ok(())
}
