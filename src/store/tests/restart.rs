//! Ends and starts: what was acknowledged is there again, and every life is a new one.

use tempfile::tempdir;

use super::fixture::{
    SetClock, TestResult, check_state, copy_files, get, open, options, put, rows, until,
};
use crate::store::{Store, StoreError, StoreOptions};

#[tokio::test]
async fn acknowledged_writes_are_lost_at_a_clean_close() -> TestResult {
    let directory = tempdir()?;
    let store = open(options(directory.path()))?;
    for number in 0..100 {
        put(&store, &format!("k{number}"), b"v").await?;
    }
    let before = store.snapshot();
    let (held, state) = (rows(&*before), before.state().clone());
    drop(before);
    store.close().await;
    let store = open(options(directory.path()))?;
    assert_eq!(store.identity().boots, 2);
    let after = store.snapshot();
    assert_eq!(rows(&*after), held);
    assert_eq!(*after.state(), state);
    check_state(&*after, after.state());
    Ok(())
}

#[tokio::test]
async fn acknowledged_writes_are_lost_in_a_crash() -> TestResult {
    for batch_rows in [1, 7, 64_000] {
        let (directory, copy) = (tempdir()?, tempdir()?);
        let never_idle = StoreOptions {
            idle_apply_after_ms: 3_600_000,
            ..options(directory.path())
        };
        let store = open(never_idle)?;
        for number in 0..100 {
            put(&store, &format!("k{}", number % 7), b"v").await?;
        }
        assert_eq!(store.stats().applied_batches, 0);
        copy_files(directory.path(), copy.path())?;
        // What is replayed may be more than a batch of the store that replays it.
        let crashed = open(StoreOptions {
            batch_rows,
            ..options(copy.path())
        })?;
        let (before, after) = (store.snapshot(), crashed.snapshot());
        assert_eq!(rows(&*before), rows(&*after));
        assert_eq!(before.state(), after.state());
        check_state(&*after, after.state());
    }
    Ok(())
}

/// A copy is only the state of one moment if nothing writes to the files, so the store stands still first.
#[tokio::test]
async fn a_mark_is_ahead_of_its_rows() -> TestResult {
    let (directory, copy) = (tempdir()?, tempdir()?);
    let store = open(StoreOptions {
        batch_rows: 20,
        idle_apply_after_ms: 3_600_000,
        ..options(directory.path())
    })?;
    for round in 0..10 {
        let mut applied = store.stats().applied_batches;
        while store.stats().applied_batches == applied {
            put(&store, &format!("k{}", applied % 5), &[round]).await?;
        }
        // The applier may be at a second batch: wait until it has nothing to do.
        until(|| {
            let now = store.stats().applied_batches;
            core::mem::replace(&mut applied, now) == now
        })
        .await;
        copy_files(directory.path(), copy.path())?;
        let crashed = open(options(copy.path()))?;
        let (before, after) = (store.snapshot(), crashed.snapshot());
        assert_eq!(rows(&*before), rows(&*after));
        assert_eq!(before.state(), after.state());
        crashed.close().await;
    }
    Ok(())
}

#[tokio::test]
async fn two_stores_write_to_one_directory() -> TestResult {
    let directory = tempdir()?;
    let store = open(options(directory.path()))?;
    let second = Store::open(options(directory.path()), SetClock::at(1));
    match second {
        Err(StoreError::InUse { directory: named }) => assert_eq!(named, directory.path()),
        other => panic!("the second was not refused: {other:?}"),
    }
    store.close().await;
    open(options(directory.path()))?.close().await;
    Ok(())
}

#[tokio::test]
async fn a_dropped_store_keeps_its_directory() -> TestResult {
    let directory = tempdir()?;
    let store = open(options(directory.path()))?;
    put(&store, "k", b"v").await?;
    drop(store);
    let mut again = None;
    until(|| {
        again = Store::open(options(directory.path()), SetClock::at(1)).ok();
        again.is_some()
    })
    .await;
    let again = again.ok_or("it opens")?;
    assert_eq!(get(&again.snapshot(), "k").as_deref(), Some(&b"v"[..]));
    Ok(())
}

#[tokio::test]
async fn a_new_life_writes_under_an_old_name() -> TestResult {
    let directory = tempdir()?;
    let mut replicas = std::collections::BTreeSet::new();
    for boot in 1..=4 {
        let store = open(options(directory.path()))?;
        assert_eq!(store.identity().boots, boot);
        assert_eq!(store.replica(), None, "a life begins with its first write");
        put(&store, "k", b"v").await?;
        let replica = store.replica().ok_or("a life has begun")?;
        put(&store, "k", b"w").await?;
        assert_eq!(store.replica(), Some(replica));
        assert!(replicas.insert(replica));
        store.close().await;
    }
    Ok(())
}

#[tokio::test]
async fn time_falls_back_with_the_wall_clock() -> TestResult {
    let (directory, copy) = (tempdir()?, tempdir()?);
    let store = Store::open(options(directory.path()), SetClock::at(5_000_000))?;
    let first = put(&store, "k", b"late").await?;
    // Once from the journal, once from data.redb.
    copy_files(directory.path(), copy.path())?;
    store.close().await;
    for directory in [copy.path(), directory.path()] {
        let store = Store::open(options(directory), SetClock::at(1_000))?;
        assert!(store.snapshot().state().clock() >= first);
        let second = put(&store, "k", b"early").await?;
        assert!(second > first);
        assert_eq!(get(&store.snapshot(), "k").as_deref(), Some(&b"early"[..]));
        store.close().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_crash_while_the_files_are_made_locks_the_directory_out() -> TestResult {
    // redb writes its magic number last; before that the file is as long as it will be, and zero.
    for name in ["journal.redb", "data.redb"] {
        let directory = tempdir()?;
        if name == "data.redb" {
            open(options(directory.path()))?.close().await;
        }
        std::fs::write(directory.path().join(name), vec![0; 8_192])?;
        let store = open(options(directory.path()))?;
        put(&store, "k", b"v").await?;
        store.close().await;
    }
    Ok(())
}
