//! A storage that fails on demand: nobody hears of what is not durable, and the store heals by itself.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{Error, ErrorKind},
    ops::Bound,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use redb::{BackendError, Database, DatabaseError, StorageBackend, backends::FileBackend};
use tempfile::tempdir;

use super::{
    fixture::{SetClock, TestResult, check_state, get, kv, options, put, register, rows, until},
    group::hold_writer,
};
use crate::store::{
    Store, StoreError, StoreOptions, WriteError,
    disk::{Disk, FileSystem},
};

/// When one of the two files fails.
#[derive(Debug)]
struct Fuse {
    /// So many writes and syncs still succeed; negative: all do.
    left: AtomicI64,
    /// Every sync fails, and nothing else.
    refuse_sync: AtomicBool,
    refuse_open: AtomicBool,
}

impl Default for Fuse {
    fn default() -> Self {
        Self {
            left: AtomicI64::new(-1),
            refuse_sync: AtomicBool::new(false),
            refuse_open: AtomicBool::new(false),
        }
    }
}

impl Fuse {
    fn blow_after(&self, operations: i64) {
        self.left.store(operations, Ordering::SeqCst);
    }

    fn mend(&self) {
        self.left.store(-1, Ordering::SeqCst);
        self.refuse_sync.store(false, Ordering::SeqCst);
        self.refuse_open.store(false, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), Error> {
        let left = self.left.load(Ordering::SeqCst);
        if left == 0 {
            return Err(Error::from(ErrorKind::StorageFull));
        }
        if left > 0 {
            self.left.fetch_sub(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

#[derive(Clone, Debug, Default)]
struct Fuses {
    journal: Arc<Fuse>,
    data: Arc<Fuse>,
}

impl Disk for Fuses {
    fn open(&self, path: &Path, cache_bytes: usize) -> Result<Database, DatabaseError> {
        let fuse = if path.ends_with("journal.redb") {
            &self.journal
        } else {
            &self.data
        };
        if fuse.refuse_open.load(Ordering::SeqCst) {
            return Err(Error::from(ErrorKind::PermissionDenied).into());
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        Database::builder()
            .set_cache_size(cache_bytes)
            .create_with_backend(Failing {
                file: FileBackend::new(file)?,
                fuse: fuse.clone(),
            })
    }

    fn renew(&self, path: &Path) -> Result<(), Error> {
        self.journal.check()?;
        FileSystem.renew(path)
    }

    fn check_space(&self, _directory: &Path, _longest: u64) -> Result<(), Error> {
        self.journal.check()?;
        self.data.check()
    }
}

#[derive(Debug)]
struct Failing {
    file: FileBackend,
    fuse: Arc<Fuse>,
}

impl StorageBackend for Failing {
    fn len(&self) -> Result<u64, Error> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        self.fuse.check()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), Error> {
        self.fuse.check()?;
        if self.fuse.refuse_sync.load(Ordering::SeqCst) {
            return Err(Error::other("the disk is gone"));
        }
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.fuse.check()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> Result<(), Error> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}

fn open_on(fuses: &Fuses, options: StoreOptions) -> Result<Store, StoreError> {
    Store::open_on(options, SetClock::at(1_000_000), Box::new(fuses.clone()))
}

#[tokio::test]
async fn a_failed_commit_acknowledges_somebody() -> TestResult {
    let directory = tempdir()?;
    let fuses = Fuses::default();
    let store = open_on(&fuses, options(directory.path()))?;
    put(&store, "before", b"v").await?;
    let first_life = store.replica();
    let (held, release) = hold_writer(&store).await;
    let created = tokio::spawn({
        let store = store.clone();
        async move { put(&store, "k", b"v").await }
    });
    tokio::task::yield_now().await;
    // It sees the member before it, which will not be: its refusal must not be told either.
    let refused = tokio::spawn({
        let store = store.clone();
        async move {
            store
                .write(kv("k"), |edit| {
                    if edit.entity.is_visible() {
                        Err("exists".to_owned())
                    } else {
                        Ok((register(&edit, b"w"), ()))
                    }
                })
                .await
        }
    });
    tokio::task::yield_now().await;
    let mut commits = store.subscribe(10);
    fuses.journal.blow_after(0);
    drop(release);
    let commit_failed = |error| matches!(error, WriteError::Store(StoreError::NoSpace(_)));
    assert!(held.await?.is_err_and(commit_failed));
    assert!(created.await?.is_err_and(commit_failed));
    assert!(refused.await?.is_err_and(commit_failed));
    assert_eq!(store.stats().failed_commits, 1);
    // Reads go on meanwhile.
    assert!(get(&store.snapshot(), "before").is_some());
    fuses.journal.mend();
    until_writable(&store, "after").await;
    assert!(store.stats().recoveries > 0);
    assert_ne!(store.replica(), first_life, "a new life begins");
    assert!(get(&store.snapshot(), "before").is_some());
    let told = commits.recv().await.ok_or("the next commit")?;
    let names: Vec<_> = told.iter().flat_map(|record| &record.entities).collect();
    assert_eq!(names.len(), 1, "only the write that is durable is pushed");
    assert_eq!(names[0].id, kv("after"));
    let snapshot = store.snapshot();
    check_state(&*snapshot, snapshot.state());
    Ok(())
}

async fn until_writable(store: &Store, key: &str) {
    let started = std::time::Instant::now();
    while put(store, key, b"v").await.is_err() {
        assert!(started.elapsed().as_secs() < 60, "the store does not heal");
        tokio::task::yield_now().await;
    }
}

/// Fails one file after `operations` writes and syncs, goes on writing, mends it, and compares.
async fn fail_after(journal: bool, operations: i64) -> TestResult {
    let directory = tempdir()?;
    let fuses = Fuses::default();
    let tiny = StoreOptions {
        batch_rows: 12,
        reopen_period_ms: 0,
        ..options(directory.path())
    };
    let store = open_on(&fuses, tiny.clone())?;
    let mut acknowledged = BTreeMap::new();
    let mut in_doubt = BTreeMap::<String, Vec<Vec<u8>>>::new();
    let fuse = if journal { &fuses.journal } else { &fuses.data };
    for round in 0..60u8 {
        if round == 5 {
            fuse.blow_after(operations);
        }
        if round == 50 {
            fuse.mend();
            until_writable(&store, "mended").await;
        }
        let key = format!("k{}", round % 9);
        match put(&store, &key, &[round]).await {
            Ok(_) => {
                in_doubt.remove(&key);
                acknowledged.insert(key, vec![round]);
            }
            Err(_) => in_doubt.entry(key).or_default().push(vec![round]),
        }
    }
    let check = |store: &Store| {
        let snapshot = store.snapshot();
        check_state(&*snapshot, snapshot.state());
        for (key, value) in &acknowledged {
            let got = get(&snapshot, key).expect("an acknowledged write is there");
            let may_be = in_doubt
                .get(key)
                .is_some_and(|values| values.contains(&got));
            assert!(got == *value || may_be, "{key}: {got:?}, not {value:?}");
        }
    };
    check(&store);
    let before = rows(&*store.snapshot());
    store.close().await;
    let store = open_on(&fuses, tiny)?;
    assert_eq!(rows(&*store.snapshot()), before);
    check(&store);
    store.close().await;
    Ok(())
}

#[tokio::test]
async fn the_journal_fails_at_any_write() -> TestResult {
    for operations in 0..16 {
        fail_after(true, operations).await?;
    }
    Ok(())
}

#[tokio::test]
async fn data_redb_fails_at_any_write() -> TestResult {
    for operations in 0..24 {
        fail_after(false, operations * 2).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_store_that_cannot_be_reopened_is_lost() -> TestResult {
    let directory = tempdir()?;
    let fuses = Fuses::default();
    let store = open_on(&fuses, options(directory.path()))?;
    put(&store, "k", b"v").await?;
    fuses.journal.refuse_open.store(true, Ordering::SeqCst);
    fuses.journal.refuse_sync.store(true, Ordering::SeqCst);
    assert!(put(&store, "k", b"w").await.is_err());
    let failed = put(&store, "k", b"w").await;
    assert!(
        matches!(&failed, Err(WriteError::Store(StoreError::Failed(_)))),
        "{failed:?}"
    );
    assert_eq!(get(&store.snapshot(), "k").as_deref(), Some(&b"v"[..]));
    fuses.journal.mend();
    until_writable(&store, "k").await;
    store.close().await;
    Ok(())
}

#[tokio::test]
async fn an_idle_store_stays_failed() -> TestResult {
    let directory = tempdir()?;
    let fuses = Fuses::default();
    let store = open_on(
        &fuses,
        StoreOptions {
            idle_apply_after_ms: 1,
            ..options(directory.path())
        },
    )?;
    fuses.data.blow_after(3);
    put(&store, "k", b"v").await?;
    // The applier fails with nobody writing; it is the writer who opens the files again.
    until(|| store.stats().recoveries > 0 || fuses.data.left.load(Ordering::SeqCst) == 0).await;
    fuses.data.mend();
    until(|| {
        // A read that fails rouses the writer.
        let _failed = store.snapshot().entity(&kv("other"));
        store.stats().applied_batches > 0
    })
    .await;
    assert_eq!(get(&store.snapshot(), "k").as_deref(), Some(&b"v"[..]));
    store.close().await;
    Ok(())
}

/// Of every write exactly one thing is true: it was acknowledged and is there, or it was refused.
#[tokio::test]
async fn a_failing_fsync_acknowledges_somebody() -> TestResult {
    for journal in [true, false] {
        let directory = tempdir()?;
        let fuses = Fuses::default();
        let options = StoreOptions {
            batch_rows: 12,
            reopen_period_ms: 0,
            ..options(directory.path())
        };
        let store = open_on(&fuses, options.clone())?;
        put(&store, "before", b"v").await?;
        let first_life = store.replica();
        let fuse = if journal { &fuses.journal } else { &fuses.data };
        fuse.refuse_sync.store(true, Ordering::SeqCst);
        let mut refused = None;
        let mut acknowledged = Vec::new();
        for number in 0..1_000 {
            let key = format!("k{number}");
            match put(&store, &key, b"v").await {
                Ok(_) => acknowledged.push(key),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        let refused = refused.ok_or("writes go on for ever")?;
        let expected = matches!(
            refused,
            WriteError::Store(StoreError::Commit(_) | StoreError::Failed(_))
        );
        assert!(expected, "{refused:?}");
        assert!(
            !journal || acknowledged.is_empty(),
            "acknowledged without a sync"
        );
        assert!(get(&store.snapshot(), "before").is_some(), "reads go on");
        fuse.mend();
        until_writable(&store, "after").await;
        assert_eq!(
            store.replica() != first_life,
            journal,
            "a life ends with a commit of which nobody knows, and only with one"
        );
        let held = |store: &Store| {
            let snapshot = store.snapshot();
            check_state(&*snapshot, snapshot.state());
            acknowledged.iter().all(|key| get(&snapshot, key).is_some())
        };
        assert!(held(&store));
        store.close().await;
        let store = open_on(&fuses, options)?;
        assert!(held(&store));
        store.close().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_full_disk_ends_reads_or_needs_a_restart() -> TestResult {
    let directory = tempdir()?;
    let fuses = Fuses::default();
    let options = StoreOptions {
        batch_rows: 100,
        reopen_period_ms: 1,
        ..options(directory.path())
    };
    let store = open_on(&fuses, options)?;
    for number in 0..300 {
        put(&store, &format!("old{number}"), b"v").await?;
    }
    fuses.data.blow_after(0);
    let mut acknowledged = Vec::new();
    let refused = loop {
        let key = format!("new{}", acknowledged.len());
        match put(&store, &key, b"v").await {
            Ok(_) => acknowledged.push(key),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(refused, WriteError::Store(StoreError::NoSpace(_))),
        "{refused:?}"
    );
    // While it is full the file is not written to again and again, so reads never meet one that failed.
    for number in 0..300 {
        assert!(get(&store.snapshot(), &format!("old{number}")).is_some());
        let refused = put(&store, "more", b"v").await;
        assert!(
            matches!(refused, Err(WriteError::Store(StoreError::NoSpace(_)))),
            "{refused:?}"
        );
    }
    fuses.data.mend();
    // Nobody writes or fails to read: it is tried by itself.
    until(|| store.stats().recoveries > 0).await;
    put(&store, "more", b"v").await?;
    for key in &acknowledged {
        assert!(get(&store.snapshot(), key).is_some(), "{key} is gone");
    }
    let snapshot = store.snapshot();
    check_state(&*snapshot, snapshot.state());
    store.close().await;
    Ok(())
}

#[tokio::test]
async fn who_still_reads_a_file_that_failed_stops_writes_to_the_next() -> TestResult {
    let directory = tempdir()?;
    let fuses = Fuses::default();
    let options = StoreOptions {
        batch_rows: 100,
        reopen_period_ms: 1,
        cache_bytes: 0,
        ..options(directory.path())
    };
    let store = open_on(&fuses, options)?;
    for number in 0..300 {
        put(&store, &format!("old{number}"), b"v").await?;
    }
    let before = store.snapshot();
    fuses.data.blow_after(0);
    let mut number = 0;
    while put(&store, &format!("new{number}"), b"v").await.is_ok() {
        number += 1;
    }
    fuses.data.mend();
    until(|| store.stats().recoveries > 0).await;
    let recoveries = store.stats().recoveries;
    let unread = (0..300)
        .filter(|number| before.entity(&kv(&format!("old{number}"))).is_err())
        .count();
    assert!(unread > 0, "the file that failed is still read");
    for number in 0..20 {
        put(&store, &format!("later{number}"), b"v").await?;
    }
    assert_eq!(store.stats().recoveries, recoveries);
    store.close().await;
    Ok(())
}
