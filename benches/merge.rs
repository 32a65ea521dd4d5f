//! What merging costs, without storage or network: `cargo bench --bench merge`.
//!
//! Contacts of 10 fields that were edited on two sides, counters of 1 to 1,000 slots, and the delta of an entity
//! against a version vector.

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use grapevine_crdt::{Dot, Entity, LwwMap, PnCounter, ReplicaId, Seq, Timestamp, VersionVector};
use std::hint::black_box;

fn replica(number: u128) -> ReplicaId {
    ReplicaId::from_bytes(number.to_be_bytes())
}

/// A contact of `fields` fields, each written by `writer` on top of `entity`.
fn edited(mut entity: Entity, writer: u128, fields: u64) -> Entity {
    for number in 1..=fields {
        let dot = Dot::new(replica(writer), Seq::new(number));
        let time = Timestamp::from_unix_ms(1_700_000_000_000 + number);
        let name = format!("field-{number}");
        for cell in LwwMap::new(&entity).set(&name, b"some twenty bytes of text", dot, time) {
            entity.merge_cell(cell);
        }
    }
    entity
}

/// A counter that `replicas` lives have counted on.
fn counted(replicas: u128) -> Entity {
    let mut entity = Entity::default();
    for number in 1..=replicas {
        let dot = Dot::new(replica(number), Seq::new(1));
        let cell = PnCounter::new(&entity)
            .increment(7, dot)
            .expect("a small count");
        entity.merge_cell(cell);
    }
    entity
}

fn contacts(criterion: &mut Criterion) {
    let base = edited(Entity::default(), 1, 10);
    let (here, there) = (edited(base.clone(), 2, 10), edited(base, 3, 10));
    let mut group = criterion.benchmark_group("merge/contact");
    group.bench_function("edited on both sides", |bencher| {
        bencher.iter_batched(
            || (here.clone(), there.clone()),
            |(mut here, there)| {
                here.merge(there);
                here
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("the same again", |bencher| {
        bencher.iter_batched(
            || (here.clone(), here.clone()),
            |(mut here, again)| {
                here.merge(again);
                here
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("delta of what one side lacks", |bencher| {
        let vector: VersionVector = [(replica(1), Seq::new(10))].into_iter().collect();
        bencher.iter(|| black_box(&here).delta(black_box(&vector)));
    });
    group.finish();
}

fn counters(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge/counter");
    for slots in [1, 10, 1_000] {
        let (ours, theirs) = (counted(slots), counted(slots + 1));
        group.bench_with_input(BenchmarkId::new("slots", slots), &slots, |bencher, _| {
            bencher.iter_batched(
                || (ours.clone(), theirs.clone()),
                |(mut ours, theirs)| {
                    ours.merge(theirs);
                    PnCounter::new(&ours).value()
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, contacts, counters);
criterion_main!(benches);
