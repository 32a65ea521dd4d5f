//! Ends and starts: what was acknowledged is there again, and nothing is counted twice.

use tempfile::tempdir;

use super::fixture::{SetClock, check_state, copy_files, open, options, put, rows};
use crate::store::{Store, StoreError};

#[tokio::test]
async fn acknowledged_writes_are_lost_at_a_clean_close() {
    let directory = tempdir().expect("a directory");
    let store = open(options(directory.path()));
    for number in 0..100 {
        put(&store, &format!("k{number}"), b"v")
            .await
            .expect("a write");
    }
    let before = store.snapshot();
    let (held, state) = (rows(&*before), before.state().clone());
    drop(before);
    store.close().await;
    let store = open(options(directory.path()));
    assert_eq!(store.identity().boots, 2);
    let after = store.snapshot();
    assert_eq!(rows(&*after), held);
    assert_eq!(*after.state(), state);
    check_state(&*after, after.state()).expect("the rows are read");
}

#[tokio::test]
async fn acknowledged_writes_are_lost_in_a_crash() {
    let (directory, copy) = (
        tempdir().expect("a directory"),
        tempdir().expect("a directory"),
    );
    let store = open(options(directory.path()));
    for number in 0..100 {
        put(&store, &format!("k{}", number % 7), b"v")
            .await
            .expect("a write");
    }
    copy_files(directory.path(), copy.path());
    let crashed = open(options(copy.path()));
    let (before, after) = (store.snapshot(), crashed.snapshot());
    assert_eq!(rows(&*before), rows(&*after));
    assert_eq!(before.state(), after.state());
    check_state(&*after, after.state()).expect("the rows are read");
}

#[tokio::test]
async fn two_stores_write_to_one_directory() {
    let directory = tempdir().expect("a directory");
    let store = open(options(directory.path()));
    let second = Store::open(options(directory.path()), SetClock::at(1));
    match second {
        Err(StoreError::InUse { directory: named }) => assert_eq!(named, directory.path()),
        other => panic!("the second was not refused: {other:?}"),
    }
    store.close().await;
    drop(open(options(directory.path())));
}
