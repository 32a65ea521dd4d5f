//! Durable writes at 1, 16 and 64 writers, reads while nothing is written, and opening after a close and
//! after a crash. `STORE_BENCH_KEYS` says how many keys there are (100,000).

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use grapevine::{
    clock::SystemClock,
    model::{Collection, EntityId},
    store::{Edit, Store, StoreOptions},
};
use grapevine_crdt::{CausalContext, Cell, FieldCell, FieldKey, Rank, Value};
use tokio::runtime::Runtime;

static KEYS: LazyLock<u64> = LazyLock::new(|| {
    std::env::var("STORE_BENCH_KEYS")
        .ok()
        .and_then(|keys| keys.parse().ok())
        .unwrap_or(100_000)
});

fn key(number: u64) -> EntityId {
    // Spreads the numbers over the keys, always in the same way: the factor is prime to any power of ten.
    let spread = (number % *KEYS).wrapping_mul(7_368_787) % *KEYS;
    EntityId::new(Collection::Kv, format!("key-{spread:08}")).expect("a valid key")
}

fn register(edit: &Edit<'_>) -> Vec<FieldCell> {
    vec![FieldCell {
        field: FieldKey::Register("value".to_owned()),
        cell: Cell {
            rank: Rank::at(edit.time),
            dot: edit.dot,
            seen: CausalContext::default(),
            value: Value::Bytes(vec![7; 64]),
        },
    }]
}

async fn put(store: &Store, number: u64) {
    store
        .write(key(number), |edit| {
            Ok::<_, core::convert::Infallible>((register(&edit), ()))
        })
        .await
        .expect("the write is durable");
}

/// How long `writers` take for `count` writes in all.
fn write(runtime: &Runtime, store: &Store, writers: u64, count: u64) -> Duration {
    runtime.block_on(async {
        let started = Instant::now();
        let tasks: Vec<_> = (0..writers)
            .map(|writer| {
                let store = store.clone();
                tokio::spawn(async move {
                    for number in (writer..count).step_by(usize::try_from(writers).unwrap_or(1)) {
                        put(&store, number).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("the writer ends");
        }
        started.elapsed()
    })
}

fn open(directory: &tempfile::TempDir) -> Store {
    Store::open(StoreOptions::new(directory.path()), Arc::new(SystemClock)).expect("it opens")
}

/// How much memory the process has, in KiB, where the operating system says so.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn opening(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let crashed = tempfile::tempdir().expect("a directory");
    let never_idle = StoreOptions {
        idle_apply_after_ms: u64::MAX,
        ..StoreOptions::new(directory.path())
    };
    let store = Store::open(never_idle, Arc::new(SystemClock)).expect("it opens");
    write(&runtime, &store, 64, *KEYS);
    // A copy is the state of one moment only if no batch is being written.
    std::thread::sleep(Duration::from_secs(3));
    for file in ["journal.redb", "data.redb"] {
        std::fs::copy(directory.path().join(file), crashed.path().join(file)).expect("a copy");
    }
    println!(
        "{} keys: {:?}, resident KiB: {:?}",
        *KEYS,
        store.stats(),
        resident_kib()
    );
    runtime.block_on(store.close());
    let mut group = criterion.benchmark_group("open");
    group.sample_size(10);
    group.bench_function("after a close", |bencher| {
        bencher.iter_custom(|times| {
            (0..times)
                .map(|_| {
                    let started = Instant::now();
                    let store = open(&directory);
                    let elapsed = started.elapsed();
                    runtime.block_on(store.close());
                    elapsed
                })
                .sum()
        });
    });
    group.bench_function("after a crash", |bencher| {
        bencher.iter_custom(|times| {
            (0..times)
                .map(|_| {
                    let copy = tempfile::tempdir().expect("a directory");
                    for file in ["journal.redb", "data.redb"] {
                        std::fs::copy(crashed.path().join(file), copy.path().join(file))
                            .expect("a copy");
                    }
                    let started = Instant::now();
                    let store = open(&copy);
                    let elapsed = started.elapsed();
                    runtime.block_on(store.close());
                    elapsed
                })
                .sum()
        });
    });
    group.finish();
}

fn durable_writes(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("durable write");
    group.throughput(Throughput::Elements(1));
    for writers in [1, 16, 64] {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(&directory);
        group.bench_function(BenchmarkId::from_parameter(writers), |bencher| {
            bencher.iter_custom(|writes| write(&runtime, &store, writers, writes));
        });
        let stats = store.stats();
        println!("{writers} writers: {stats:?}");
        runtime.block_on(store.close());
    }
    group.finish();
}

fn reads(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory);
    write(&runtime, &store, 64, *KEYS);
    runtime.block_on(store.close());
    let store = open(&directory);
    let mut group = criterion.benchmark_group("read");
    group.throughput(Throughput::Elements(1));
    let mut number = 0;
    group.bench_function("from data.redb", |bencher| {
        bencher.iter(|| {
            number += 1;
            store.snapshot().entity(&key(number))
        });
    });
    write(&runtime, &store, 64, 10_000);
    group.bench_function("from the overlay", |bencher| {
        bencher.iter(|| {
            number += 1;
            store.snapshot().entity(&key(number % 10_000))
        });
    });
    group.finish();
    runtime.block_on(store.close());
}

criterion_group!(benches, durable_writes, reads, opening);
criterion_main!(benches);
