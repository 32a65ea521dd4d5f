//! The danger: the power is lost, and what the disk had not synced is lost in part, in another order, torn.
//!
//! A store works on a disk in memory. At every sync, and at some of the writes between, it is taken down
//! what a loss of power would leave right then; from each of these another store is opened, which must hold
//! everything acknowledged before that moment and be sound. While it opens, the power is lost again.

mod disk;
mod medium;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use tempfile::tempdir;

use self::disk::{CrashDisk, Image, Ledger, Sink};
use super::fixture::{SetClock, TestResult, check_state, get, options, put, rows};
use crate::store::{Store, StoreOptions};

/// After this time there were enough; `CRASH_SECONDS` asks for more.
const ENOUGH_AFTER: Duration = Duration::from_secs(6);

const CLIENTS: u64 = 4;
const KEYS_OF_A_CLIENT: u64 = 6;

fn tiny(directory: &std::path::Path) -> StoreOptions {
    StoreOptions {
        cache_bytes: 1024 * 1024,
        batch_rows: 24,
        idle_apply_after_ms: 1,
        reopen_period_ms: 1,
        ..options(directory)
    }
}

fn value(number: u64, padding: usize) -> Vec<u8> {
    let mut value = number.to_le_bytes().to_vec();
    value.resize(8 + padding, number.to_le_bytes()[0]);
    value
}

/// The number in a value, of which every byte must be what was written.
fn number(bytes: &[u8]) -> u64 {
    let (number, padding) = bytes.split_first_chunk().expect("eight bytes");
    let number = u64::from_le_bytes(*number);
    assert!(padding.iter().all(|byte| *byte == number.to_le_bytes()[0]));
    number
}

/// Opens what a crash has left; `again` moments of that are checked in turn.
fn check(image: Image, seed: u64, again: usize) {
    let directory = tempdir().expect("a temporary directory");
    let Image { files, ledger } = image;
    for name in files.keys() {
        std::fs::write(directory.path().join(name), b"").expect("an empty file");
    }
    let shared = Arc::new(Mutex::new(ledger.clone()));
    let disk = CrashDisk::new(seed, files, shared, Sink::Keep(Vec::new(), again));
    let options = tiny(directory.path());
    let open = || {
        Store::open_on(
            options.clone(),
            SetClock::at(1_000_000),
            Box::new(disk.clone()),
        )
        .unwrap_or_else(|error| panic!("what the crash left cannot be opened: {error}"))
    };
    let sound = |store: &Store| {
        let snapshot = store.snapshot();
        check_state(&*snapshot, snapshot.state());
        for (key, known) in &ledger {
            let held = get(&snapshot, key).map_or(0, |bytes| number(&bytes));
            assert!(
                (known.acknowledged..=known.tried).contains(&held),
                "{key} holds {held}, not {known:?}"
            );
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let store = open();
    sound(&store);
    let images = disk.kept();
    runtime.block_on(async {
        put(&store, "after", b"v").await.expect("it is written to");
        store.close().await;
        let store = open();
        sound(&store);
        assert_eq!(get(&store.snapshot(), "after").as_deref(), Some(&b"v"[..]));
        assert!(!rows(&*store.snapshot()).is_empty());
        store.close().await;
    });
    for image in images {
        check(image, seed + 1, 0);
    }
}

fn asked_for(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Writes to a store until there were enough crashes, and checks each. Of `failing_syncs` one fails.
async fn crash_again_and_again(failing_syncs: u32) -> TestResult {
    let seed = asked_for("CRASH_SEED").unwrap_or_else(rand::random);
    let enough_after = asked_for("CRASH_SECONDS").map_or(ENOUGH_AFTER, Duration::from_secs);
    eprintln!("CRASH_SEED={seed}");
    let directory = tempdir()?;
    let ledger: Arc<Mutex<Ledger>> = Arc::default();
    let (sender, images) = mpsc::sync_channel(2);
    let checker = thread::spawn(move || {
        let began = Instant::now();
        let mut crashes: u64 = 0;
        for image in images {
            crashes += 1;
            check(image, seed ^ crashes, 1);
            if began.elapsed() > enough_after {
                break;
            }
        }
        crashes
    });
    let sink = Sink::Checker(sender);
    let disk = CrashDisk::new(seed, BTreeMap::new(), ledger.clone(), sink);
    let store = Store::open_on(
        tiny(directory.path()),
        SetClock::at(1_000_000),
        Box::new(disk.clone()),
    )?;
    disk.fail_syncs(failing_syncs);
    let checker = Arc::new(checker);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (store, ledger, checker) = (store.clone(), ledger.clone(), checker.clone());
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed + client);
            tokio::spawn(async move {
                let mut written = 0;
                while !checker.is_finished() {
                    written += 1;
                    let key = format!("{client}-{}", rng.random_range(0..KEYS_OF_A_CLIENT));
                    let known = |ledger: &Mutex<Ledger>, acknowledged: bool| {
                        let mut ledger = ledger.lock().expect("no holder panics");
                        let known = ledger.entry(key.clone()).or_default();
                        known.tried = written;
                        if acknowledged {
                            known.acknowledged = written;
                        }
                    };
                    known(&ledger, false);
                    let padding = rng.random_range(0..3_000);
                    match put(&store, &key, &value(written, padding)).await {
                        Ok(_) => known(&ledger, true),
                        Err(error) => assert!(failing_syncs > 0, "{error}"),
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.await?;
    }
    store.close().await;
    let checker = Arc::into_inner(checker).ok_or("all clients have ended")?;
    match checker.join() {
        Ok(crashes) => eprintln!("{crashes} crashes"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_sync_loses_what_was_acknowledged() -> TestResult {
    crash_again_and_again(0).await
}

/// After a failed sync kernels may show for ever what the disk does not have.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_that_the_kernel_forgets_loses_what_was_acknowledged() -> TestResult {
    crash_again_and_again(12).await
}
