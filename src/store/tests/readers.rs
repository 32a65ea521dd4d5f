//! Readers beside the writer and the applier: a row that was seen stays to be seen.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tempfile::tempdir;

use super::fixture::{TestResult, get, kv, open, options, put, range, rows};
use crate::store::{Rows, Store, StoreOptions, Table, layout};

const KEYS: usize = 8;

/// Reads until told to stop; every value must be at least what was acknowledged before the snapshot was
/// taken, and never less than what this reader saw before.
fn read(store: &Store, acknowledged: &[AtomicU64], stop: &AtomicBool) {
    let mut seen = [0; KEYS];
    while !stop.load(Ordering::Relaxed) {
        for (index, last) in seen.iter_mut().enumerate() {
            let floor = acknowledged[index].load(Ordering::SeqCst);
            let snapshot = store.snapshot();
            let key = format!("k{index}");
            let value = get(&snapshot, &key).map_or(0, |bytes| {
                u64::from_be_bytes(bytes.try_into().expect("eight bytes"))
            });
            assert!(value >= floor, "{key} is {value}, {floor} was acknowledged");
            assert!(value >= *last, "{key} went back from {last} to {value}");
            *last = value;
            let partition = kv(&key).partition();
            let row = layout::entity_key(partition, &kv(&key));
            let end = layout::partition_end(partition);
            let scanned = range(&*snapshot, Table::Entities, &row, false, &end);
            let first = scanned.first().map(|(_, _, value)| value.clone());
            let got = snapshot.get(Table::Entities, &row).expect("it is read");
            assert_eq!(first, got.map(|value| value.to_vec()), "scan and get");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_vanishes_while_it_moves_to_data_redb() -> TestResult {
    let directory = tempdir()?;
    let store = open(StoreOptions {
        batch_rows: 10,
        ..options(directory.path())
    })?;
    let acknowledged: Arc<[AtomicU64]> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (store, acknowledged, stop) = (store.clone(), acknowledged.clone(), stop.clone());
            std::thread::spawn(move || read(&store, &acknowledged, &stop))
        })
        .collect();
    let writers: Vec<_> = (0..KEYS)
        .map(|index| {
            let (store, acknowledged) = (store.clone(), acknowledged.clone());
            tokio::spawn(async move {
                for value in 1..=150u64 {
                    put(&store, &format!("k{index}"), &value.to_be_bytes()).await?;
                    acknowledged[index].store(value, Ordering::SeqCst);
                }
                Ok::<_, crate::store::WriteError<String>>(())
            })
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().map_err(|_| "a reader saw what cannot be")?;
    }
    assert!(store.stats().applied_batches > 10);
    Ok(())
}

#[tokio::test]
async fn a_kept_snapshot_changes() -> TestResult {
    let directory = tempdir()?;
    let store = open(StoreOptions {
        batch_rows: 5,
        ..options(directory.path())
    })?;
    let mut kept = Vec::new();
    for round in 0..40u8 {
        put(&store, &format!("k{}", round % 3), &[round]).await?;
        let snapshot = store.snapshot();
        kept.push((rows(&*snapshot), snapshot));
    }
    for (before, snapshot) in kept {
        assert_eq!(rows(&*snapshot), before);
    }
    Ok(())
}
