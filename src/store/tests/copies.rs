//! Files that do not belong together: copies of two moments, of two stores, or only one of two. Whatever
//! opens is sound; the rest is refused by name.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tempfile::{TempDir, tempdir};

use super::fixture::{SetClock, TestResult, check_state, copy_files, get, open, options, put};
use crate::store::{Store, StoreError, StoreOptions};

const GROUPS: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("groups_v1");

fn tiny_batches(directory: &Path) -> StoreOptions {
    StoreOptions {
        batch_rows: 30,
        ..options(directory)
    }
}

/// Opens `directory`, makes `writes` writes named after `name`, and closes it.
async fn live(directory: &Path, name: &str, writes: u64) -> TestResult {
    let store = open(tiny_batches(directory))?;
    for number in 0..writes {
        put(&store, &format!("{name}{number}"), b"v").await?;
    }
    store.close().await;
    Ok(())
}

fn copy_of(directory: &Path) -> Result<TempDir, std::io::Error> {
    let copy = tempdir()?;
    copy_files(directory, copy.path())?;
    Ok(copy)
}

/// A directory with the journal of one and the data of another.
fn mixed(journal: &Path, data: &Path) -> Result<TempDir, std::io::Error> {
    let mixed = tempdir()?;
    std::fs::copy(
        journal.join("journal.redb"),
        mixed.path().join("journal.redb"),
    )?;
    std::fs::copy(data.join("data.redb"), mixed.path().join("data.redb"))?;
    Ok(mixed)
}

fn journal_numbers(directory: &Path) -> Result<Vec<u64>, Box<dyn std::error::Error>> {
    let database = Database::open(directory.join("journal.redb"))?;
    let transaction = database.begin_read()?;
    let groups = transaction.open_table(GROUPS)?;
    let mut numbers = Vec::new();
    for row in groups.iter()? {
        numbers.push(row?.0.value());
    }
    Ok(numbers)
}

fn remove_groups(directory: &Path, remove: impl Fn(u64) -> bool) -> TestResult {
    let database = Database::open(directory.join("journal.redb"))?;
    let transaction = database.begin_write()?;
    transaction
        .open_table(GROUPS)?
        .retain(|number, _| !remove(number))?;
    transaction.commit()?;
    Ok(())
}

fn refusal(directory: &Path) -> Result<StoreError, String> {
    match Store::open(options(directory), SetClock::at(1)) {
        Ok(_) => Err("it opened".to_owned()),
        Err(error) => Ok(error),
    }
}

#[tokio::test]
async fn copies_made_minutes_apart_are_mixed() -> TestResult {
    let directory = tempdir()?;
    let mut copies = Vec::new();
    for moment in 0..4 {
        live(directory.path(), &format!("m{moment}-"), 25).await?;
        copies.push(copy_of(directory.path())?);
    }
    let mut refused = 0;
    for (journal_at, journal) in copies.iter().enumerate() {
        for (data_at, data) in copies.iter().enumerate() {
            let mixed = mixed(journal.path(), data.path())?;
            match Store::open(options(mixed.path()), SetClock::at(1)) {
                Err(StoreError::JournalGap { expected, found }) => {
                    assert!(journal_at > data_at && found > expected);
                    refused += 1;
                }
                Err(other) => panic!("{other}"),
                Ok(store) => {
                    let snapshot = store.snapshot();
                    check_state(&*snapshot, snapshot.state());
                    for moment in 0..=data_at {
                        let key = format!("m{moment}-24");
                        assert!(get(&snapshot, &key).is_some(), "{key} is in data.redb");
                    }
                    put(&store, "after", b"v").await?;
                    store.close().await;
                    let store = open(options(mixed.path()))?;
                    assert!(get(&store.snapshot(), "after").is_some());
                }
            }
        }
    }
    assert!(refused > 0);
    Ok(())
}

#[tokio::test]
async fn files_of_two_histories_are_mixed() -> TestResult {
    let first = tempdir()?;
    live(first.path(), "common", 10).await?;
    let second = copy_of(first.path())?;
    live(first.path(), "first", 10).await?;
    live(second.path(), "second", 10).await?;
    // Both journals go on behind the common mark; the data of the first is at the same number as the
    // journal of the second.
    let mix = mixed(second.path(), first.path())?;
    let why = refusal(mix.path())?;
    assert!(matches!(why, StoreError::Diverged { group: 20 }), "{why}");
    live(second.path(), "more", 5).await?;
    let mix = mixed(second.path(), first.path())?;
    let why = refusal(mix.path())?;
    assert!(
        matches!(
            why,
            StoreError::Diverged { .. } | StoreError::JournalGap { .. }
        ),
        "{why}"
    );
    Ok(())
}

#[tokio::test]
async fn a_journal_starts_again_at_one() -> TestResult {
    let directory = tempdir()?;
    live(directory.path(), "a", 40).await?;
    let last = *journal_numbers(directory.path())?
        .last()
        .ok_or("the last group is never trimmed")?;
    assert_eq!(last, 40);
    remove_groups(directory.path(), |_| true)?;
    live(directory.path(), "b", 1).await?;
    assert_eq!(journal_numbers(directory.path())?, [41]);
    Ok(())
}

#[tokio::test]
async fn the_journal_grows_for_ever() -> TestResult {
    let directory = tempdir()?;
    live(directory.path(), "a", 400).await?;
    live(directory.path(), "b", 10).await?;
    let numbers = journal_numbers(directory.path())?;
    assert!(numbers.len() < 80, "{} rows", numbers.len());
    assert_eq!(numbers.last(), Some(&410));
    Ok(())
}

#[tokio::test]
async fn a_group_is_missing_between_the_files() -> TestResult {
    let directory = tempdir()?;
    let store = open(StoreOptions {
        idle_apply_after_ms: 3_600_000,
        ..options(directory.path())
    })?;
    for number in 0..5 {
        put(&store, &format!("k{number}"), b"v").await?;
    }
    for (removed, expected, found) in [(1, 1, 2), (3, 3, 4)] {
        let copy = copy_of(directory.path())?;
        remove_groups(copy.path(), |number| number == removed)?;
        match refusal(copy.path())? {
            StoreError::JournalGap {
                expected: should,
                found: is,
            } => assert_eq!((should, is), (expected, found)),
            other => panic!("{other}"),
        }
        // A refusal changes nothing.
        assert!(matches!(
            refusal(copy.path())?,
            StoreError::JournalGap { .. }
        ));
    }
    Ok(())
}

#[tokio::test]
async fn a_file_of_another_store_is_taken_in() -> TestResult {
    let (first, second) = (tempdir()?, tempdir()?);
    live(first.path(), "a", 3).await?;
    live(second.path(), "b", 3).await?;
    let mixed = mixed(first.path(), second.path())?;
    assert!(matches!(
        refusal(mixed.path())?,
        StoreError::ForeignFile { .. }
    ));
    Ok(())
}

#[tokio::test]
async fn a_missing_file_is_made_anew() -> TestResult {
    for (name, other) in [("journal.redb", "data.redb"), ("data.redb", "journal.redb")] {
        let directory = tempdir()?;
        live(directory.path(), "a", 3).await?;
        std::fs::remove_file(directory.path().join(name))?;
        match refusal(directory.path())? {
            StoreError::FileMissing { missing, present } => {
                assert_eq!((missing, present), (name, other));
            }
            error => panic!("{error}"),
        }
        assert!(!directory.path().join(name).exists());
    }
    Ok(())
}

#[tokio::test]
async fn tables_of_a_later_version_are_ignored() -> TestResult {
    for (name, table) in [("journal.redb", "groups_v2"), ("data.redb", "slots_v1")] {
        let directory = tempdir()?;
        live(directory.path(), "a", 3).await?;
        let database = Database::open(directory.path().join(name))?;
        let transaction = database.begin_write()?;
        transaction.open_table(TableDefinition::<u64, u64>::new(table))?;
        transaction.commit()?;
        drop(database);
        match refusal(directory.path())? {
            StoreError::UnknownTable { file, table: found } => {
                assert_eq!((file, found.as_str()), (name, table));
            }
            error => panic!("{error}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_damaged_journal_row_is_replayed() -> TestResult {
    let directory = tempdir()?;
    let store = open(StoreOptions {
        idle_apply_after_ms: 3_600_000,
        ..options(directory.path())
    })?;
    for number in 0..3 {
        put(&store, &format!("k{number}"), b"v").await?;
    }
    for (place, change) in [(0, 9), (1, 1), (40, 1)] {
        let copy = copy_of(directory.path())?;
        let database = Database::open(copy.path().join("journal.redb"))?;
        let transaction = database.begin_write()?;
        {
            let mut groups = transaction.open_table(GROUPS)?;
            let mut row = groups.get(2)?.ok_or("group 2 is there")?.value().to_vec();
            row[place] ^= change;
            groups.insert(2, row.as_slice())?;
        }
        transaction.commit()?;
        drop(database);
        let why = refusal(copy.path())?;
        match place {
            0 => assert!(matches!(why, StoreError::Row { .. }), "{why}"),
            _ => assert!(matches!(why, StoreError::Diverged { group: 2 }), "{why}"),
        }
    }
    Ok(())
}
