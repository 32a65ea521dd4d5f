//! Search, lists and duplicates in an address book of `SEARCH_BENCH_CONTACTS` contacts (20,000), while nothing is
//! written. Names, employers and numbers are drawn from tables in which some are common and most are rare, as in life.

use std::{hint::black_box, sync::Arc, time::Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use grapevine::{
    address_book::{Taken, list_by_name, list_duplicates, search},
    clock::SystemClock,
    model::{Collection, ContactDraft, ContactQuery, EntityId, WriteStamp, contact_edit},
    store::{Snapshot, Store, StoreError, StoreOptions},
};
use serde_json::json;
use tokio::runtime::Runtime;

const PAGE: usize = 50;
const WRITES_AT_ONCE: u64 = 1_024;
const SYLLABLES: [&str; 20] = [
    "an", "be", "cor", "da", "el", "fin", "gu", "ha", "is", "jo", "ka", "lu", "ma", "ne", "or",
    "pa", "ro", "sa", "ti", "vo",
];

fn contacts() -> u64 {
    std::env::var("SEARCH_BENCH_CONTACTS")
        .ok()
        .and_then(|contacts| contacts.parse().ok())
        .unwrap_or(20_000)
}

/// One of `kinds` words, small numbers far more often than great ones.
fn word(seed: u64, kinds: u64) -> String {
    let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut rest = (mixed >> 33) % ((mixed >> 20) % kinds + 1);
    let mut word = String::new();
    loop {
        let syllable = usize::try_from(rest % 20).expect("it is below 20");
        word.push_str(SYLLABLES[syllable]);
        rest /= 20;
        if rest == 0 {
            return word;
        }
    }
}

fn draft(number: u64) -> ContactDraft {
    let (given, family) = (word(number, 2_000), word(number + 1_000_003, 100_000));
    let json = json!({
        "name": format!("{given} {family}"),
        "organization": format!("{} works", word(number / 7, 20_000)),
        "phones": [{"label": "home", "number": format!("+44 20 {:04} {:04}", number / 10_000, number % 10_000)}],
        "emails": [{"address": format!("{given}.{family}{number}@example.org")}],
        "groups": [format!("team {}", number % 100)],
    });
    ContactDraft::from_json(None, &json).expect("a contact")
}

async fn put(store: Store, number: u64) {
    let id =
        EntityId::new(Collection::Contacts, format!("contact-{number:08}")).expect("a valid key");
    let draft = draft(number);
    store
        .write(id, move |edit| {
            let stamp = WriteStamp {
                dot: edit.dot,
                time: edit.time,
                collected: None,
                region: None,
            };
            Ok::<_, core::convert::Infallible>((
                contact_edit::put(edit.entity, &draft, stamp).0,
                (),
            ))
        })
        .await
        .expect("the write is durable");
}

async fn fill(store: &Store) {
    let started = Instant::now();
    for first in (0..contacts()).step_by(usize::try_from(WRITES_AT_ONCE).expect("it is small")) {
        let writes: Vec<_> = (first..contacts().min(first + WRITES_AT_ONCE))
            .map(|number| tokio::spawn(put(store.clone(), number)))
            .collect();
        for write in writes {
            write.await.expect("the write ends");
        }
    }
    eprintln!("{} contacts in {:.1?}", contacts(), started.elapsed());
}

fn one_page(snapshot: &Snapshot, query: Option<&ContactQuery>, group: Option<&str>) -> usize {
    let mut count = 0;
    let mut visit = |_: &EntityId, entity: &grapevine_crdt::Entity| {
        if count == PAGE {
            return Ok::<_, StoreError>(Taken::Full);
        }
        black_box(entity);
        count += 1;
        Ok(Taken::Yes)
    };
    match query {
        Some(query) => {
            drop(search(snapshot, query, group, None, &mut visit).expect("it is searched"));
        }
        None => drop(list_by_name(snapshot, group, None, &mut visit).expect("it is listed")),
    }
    count
}

fn pages(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let runtime = Runtime::new().expect("a runtime");
    let open = || {
        Store::open(StoreOptions::new(directory.path()), Arc::new(SystemClock)).expect("it opens")
    };
    let store = open();
    runtime.block_on(fill(&store));
    runtime.block_on(store.close());
    let bytes = std::fs::metadata(directory.path().join("data.redb")).map_or(0, |file| file.len());
    eprintln!("data.redb has {} MiB", bytes >> 20);
    let store = open();
    let snapshot = store.snapshot();
    let mut group = criterion.benchmark_group("address_book");
    for text in [
        "a",
        "anan",
        "an ma",
        "ma works",
        "gune korti",
        "+44 20 0001",
        "team nobody",
    ] {
        let query = ContactQuery::read(text).expect("a query");
        let found = one_page(&snapshot, Some(&query), None);
        group.bench_function(format!("search {text:?}: {found}"), |bencher| {
            bencher.iter(|| one_page(&snapshot, Some(&query), None));
        });
    }
    group.bench_function("list", |bencher| {
        bencher.iter(|| one_page(&snapshot, None, None));
    });
    group.bench_function("list of a group", |bencher| {
        bencher.iter(|| one_page(&snapshot, None, Some("team 7")));
    });
    group.bench_function("a page of duplicates", |bencher| {
        bencher.iter(|| {
            let mut count = 0;
            list_duplicates(&*snapshot, None, &mut |_, group| {
                black_box(group);
                count += 1;
                Ok::<_, StoreError>(if count < PAGE {
                    Taken::Yes
                } else {
                    Taken::Full
                })
            })
        });
    });
    group.finish();
    drop(snapshot);
    runtime.block_on(store.close());
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = pages
}
criterion_main!(benches);
