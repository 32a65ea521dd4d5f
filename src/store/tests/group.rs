//! Group commits: what their members see, who is answered what, and that nothing waits for itself.

use std::{
    collections::BTreeSet,
    sync::mpsc::{Sender, channel},
    time::Duration,
};

use grapevine_crdt::{Seq, Timestamp, VersionVector};
use tempfile::tempdir;
use tokio::{task::JoinHandle, time::timeout};

use super::fixture::{
    TestResult, check_state, get, kv, open, options, put, register, rows, shown, until,
};
use crate::{
    model::{Claim, Floor, Op},
    store::{Outcome, Store, StoreError, StoreOptions, WriteError},
};

/// Holds the writer within an edit until the sender is dropped, so that what is queued meanwhile is one
/// group with it.
pub(super) async fn hold_writer(
    store: &Store,
) -> (JoinHandle<Result<(), WriteError<String>>>, Sender<()>) {
    let (release, held) = channel::<()>();
    let (entered, mut has_entered) = tokio::sync::oneshot::channel();
    let store = store.clone();
    let write = tokio::spawn(async move {
        store
            .write(kv("held"), move |edit| {
                let _gone = entered.send(());
                let _released = held.recv();
                Ok((register(&edit, b"held"), ()))
            })
            .await
    });
    until(|| has_entered.try_recv().is_ok()).await;
    (write, release)
}

fn number(bytes: &[u8]) -> u64 {
    core::str::from_utf8(bytes)
        .expect("digits")
        .parse()
        .expect("a number")
}

async fn increment(store: &Store, key: &str) -> Result<u64, WriteError<String>> {
    store
        .write(kv(key), |edit| {
            let next = 1 + shown(edit.entity).map_or(0, |bytes| number(&bytes));
            Ok((register(&edit, next.to_string().as_bytes()), next))
        })
        .await
}

#[tokio::test]
async fn members_of_a_group_do_not_see_each_other() -> TestResult {
    let directory = tempdir()?;
    let store = open(options(directory.path()))?;
    let (held, release) = hold_writer(&store).await;
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { increment(&store, "n").await })
        })
        .collect();
    tokio::task::yield_now().await;
    drop(release);
    held.await??;
    let mut seen = BTreeSet::new();
    for task in tasks {
        seen.insert(task.await??);
    }
    assert_eq!(seen, (1..=64).collect());
    let commits = store.stats().commits;
    assert!(commits < 10, "64 writes took {commits} commits");
    let snapshot = store.snapshot();
    check_state(&*snapshot, snapshot.state());
    Ok(())
}

#[tokio::test]
async fn a_push_has_a_gap_or_lacks_cells() -> TestResult {
    let directory = tempdir()?;
    let store = open(options(directory.path()))?;
    let mirror_directory = tempdir()?;
    let mirror = open(options(mirror_directory.path()))?;
    let mut commits = store.subscribe(1_000);
    let (held, release) = hold_writer(&store).await;
    let tasks: Vec<_> = (0..64)
        .map(|index| {
            let store = store.clone();
            tokio::spawn(async move { increment(&store, &format!("n{}", index % 3)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    drop(release);
    held.await??;
    for task in tasks {
        task.await??;
    }
    store.close().await;
    drop(store);
    let mut partitions = BTreeSet::new();
    while let Some(records) = commits.recv().await {
        let in_group: BTreeSet<_> = records.iter().map(|record| record.partition).collect();
        assert_eq!(in_group.len(), records.len(), "one record a partition");
        for record in records.iter() {
            partitions.insert(record.partition);
            record.check(Timestamp::MAX)?;
            let outcome = mirror
                .enqueue(record.clone().into_op(), Timestamp::from_unix_ms(1_000_000))
                .await?;
            assert_eq!(outcome.await??, Outcome::Applied);
        }
    }
    assert_eq!(partitions.len(), 4);
    let store = open(options(directory.path()))?;
    assert_eq!(rows(&*store.snapshot()), rows(&*mirror.snapshot()));
    assert_eq!(
        store.snapshot().state().root(),
        mirror.snapshot().state().root()
    );
    Ok(())
}

#[tokio::test]
async fn the_writer_waits_for_itself() -> TestResult {
    let directory = tempdir()?;
    let store = open(StoreOptions {
        batch_rows: 1,
        queue_length: 1,
        ..options(directory.path())
    })?;
    let tasks: Vec<_> = (0..16)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    increment(&store, &format!("n{}", writer % 4)).await?;
                }
                Ok::<_, WriteError<String>>(())
            })
        })
        .collect();
    for task in tasks {
        timeout(Duration::from_secs(60), task).await???;
    }
    for key in ["n0", "n1", "n2", "n3"] {
        assert_eq!(get(&store.snapshot(), key).as_deref(), Some(&b"80"[..]));
    }
    assert!(store.stats().waits_for_space > 0);
    store.close().await;
    Ok(())
}

#[tokio::test]
async fn an_edit_that_panics_takes_the_store_with_it() -> TestResult {
    let directory = tempdir()?;
    let store = open(options(directory.path()))?;
    let panicked = store
        .write::<(), String, _>(kv("k"), |_| panic!("on purpose"))
        .await;
    assert!(matches!(
        panicked,
        Err(WriteError::Store(StoreError::Panicked))
    ));
    put(&store, "k", b"v").await?;
    assert_eq!(get(&store.snapshot(), "k").as_deref(), Some(&b"v"[..]));
    Ok(())
}

#[tokio::test]
async fn an_edit_that_writes_nothing_uses_a_dot_up() -> TestResult {
    let directory = tempdir()?;
    let store = open(options(directory.path()))?;
    let answer = store
        .write::<_, String, _>(kv("k"), |_| Ok((Vec::new(), 7)))
        .await?;
    assert_eq!(answer, 7);
    let refused = store
        .write::<(), _, _>(kv("k"), |_| Err("no".to_owned()))
        .await;
    assert!(matches!(refused, Err(WriteError::Rejected(why)) if why == "no"));
    assert_eq!(store.stats().commits, 0);
    put(&store, "k", b"v").await?;
    let replica = store.replica().ok_or("a life has begun")?;
    let snapshot = store.snapshot();
    let partition = snapshot.state().partition(kv("k").partition());
    assert_eq!(partition.vector.get(replica), Seq::new(1));
    Ok(())
}

#[tokio::test]
async fn writes_taken_before_a_close_are_dropped() -> TestResult {
    let directory = tempdir()?;
    let store = open(options(directory.path()))?;
    let (held, release) = hold_writer(&store).await;
    let tasks: Vec<_> = (0..50)
        .map(|index| {
            let store = store.clone();
            tokio::spawn(async move { put(&store, &format!("k{index}"), b"v").await })
        })
        .collect();
    tokio::task::yield_now().await;
    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.close().await }
    });
    tokio::task::yield_now().await;
    drop(release);
    held.await??;
    timeout(Duration::from_secs(60), closing).await??;
    let late = put(&store, "late", b"v").await;
    assert!(matches!(late, Err(WriteError::Store(StoreError::Closed))));
    let store = open(options(directory.path()))?;
    for (index, task) in tasks.into_iter().enumerate() {
        match task.await? {
            Ok(_) => assert!(get(&store.snapshot(), &format!("k{index}")).is_some()),
            Err(error) => assert!(matches!(error, WriteError::Store(StoreError::Closed))),
        }
    }
    Ok(())
}

fn absorb(vector: VersionVector) -> Claim {
    Claim::Absorb {
        vector,
        floor: Floor::default(),
    }
}

#[tokio::test]
async fn a_peer_that_claims_our_writes_makes_us_reuse_their_names() -> TestResult {
    let directory = tempdir()?;
    let store = open(options(directory.path()))?;
    put(&store, "k", b"v").await?;
    let replica = store.replica().ok_or("a life has begun")?;
    let claim = |seq| Op {
        partition: kv("k").partition(),
        entities: Vec::new(),
        claim: absorb(VersionVector::from_iter([(replica, Seq::new(seq))])),
    };
    let outcome = store.enqueue(claim(9), Timestamp::ZERO).await?;
    assert_eq!(outcome.await??, Outcome::Applied);
    put(&store, "k", b"w").await?;
    let second = store.replica().ok_or("a life has begun")?;
    assert_ne!(second, replica);
    // Again at once: refused, so that a peer cannot make us live a thousand lives.
    let again = Op {
        claim: absorb(VersionVector::from_iter([(second, Seq::new(9))])),
        ..claim(0)
    };
    let outcome = store.enqueue(again, Timestamp::ZERO).await?;
    assert!(matches!(outcome.await?, Err(StoreError::Overclaim)));
    put(&store, "k", b"x").await?;
    assert_eq!(store.replica(), Some(second));
    Ok(())
}

#[tokio::test]
async fn a_page_that_was_sent_again_is_committed_again() -> TestResult {
    let directory = tempdir()?;
    let store = open(options(directory.path()))?;
    let mut commits = store.subscribe(1);
    put(&store, "k", b"v").await?;
    let records = commits.recv().await.ok_or("a commit")?;
    let mirror_directory = tempdir()?;
    let mirror = open(options(mirror_directory.path()))?;
    let page = Op {
        claim: Claim::Nothing,
        ..records[0].clone().into_op()
    };
    for expected in [Outcome::Applied, Outcome::Covered, Outcome::Covered] {
        let outcome = mirror.enqueue(page.clone(), Timestamp::MAX).await?;
        assert_eq!(outcome.await??, expected);
    }
    assert_eq!(mirror.stats().commits, 1);
    // The cells are there already; the claim that ends the pass must be taken all the same.
    let last = Op {
        claim: absorb(
            store
                .snapshot()
                .state()
                .partition(page.partition)
                .vector
                .clone(),
        ),
        ..page
    };
    let outcome = mirror.enqueue(last, Timestamp::MAX).await?;
    assert_eq!(outcome.await??, Outcome::Applied);
    assert_eq!(
        mirror.snapshot().state().root(),
        store.snapshot().state().root()
    );
    Ok(())
}

#[tokio::test]
async fn an_entity_grows_beyond_a_frame() -> TestResult {
    let directory = tempdir()?;
    let store = open(options(directory.path()))?;
    put(&store, "k", b"small").await?;
    let root = store.snapshot().state().root();
    let giant = put(&store, "k", &vec![7; 13 * 1024 * 1024]).await;
    assert!(matches!(
        giant,
        Err(WriteError::Store(StoreError::EntityTooLarge { .. }))
    ));
    assert_eq!(
        store.snapshot().state().root(),
        root,
        "nothing of it is left"
    );
    put(&store, "k", b"small again").await?;
    Ok(())
}

#[tokio::test]
async fn a_life_that_somebody_else_lives_goes_on() -> TestResult {
    let directory = tempdir()?;
    let store = open(options(directory.path()))?;
    put(&store, "k", b"v").await?;
    let first = store.replica();
    store.begin_new_life();
    put(&store, "k", b"w").await?;
    let second = store.replica();
    assert_ne!(first, second);
    store.begin_new_life();
    put(&store, "k", b"x").await?;
    assert_eq!(store.replica(), second, "not more often than it may be");
    Ok(())
}
