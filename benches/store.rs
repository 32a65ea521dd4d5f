//! Durable writes at 1, 16 and 64 writers, and reads while nothing is written.

use std::{
    sync::Arc,
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

const KEYS: u64 = 100_000;

fn key(number: u64) -> EntityId {
    // Spreads the numbers over the key space, always in the same way.
    let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % KEYS;
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

/// How long `writers` take for `writes` writes in all.
fn write(runtime: &Runtime, store: &Store, writers: u64, writes: u64) -> Duration {
    runtime.block_on(async {
        let started = Instant::now();
        let tasks: Vec<_> = (0..writers)
            .map(|writer| {
                let store = store.clone();
                tokio::spawn(async move {
                    for number in (writer..writes).step_by(usize::try_from(writers).unwrap_or(1)) {
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
    write(&runtime, &store, 64, KEYS);
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

criterion_group!(benches, durable_writes, reads);
criterion_main!(benches);
