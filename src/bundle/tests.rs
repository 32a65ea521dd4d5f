//! Bundles between stores, and bundles that nobody should take.

use std::{collections::BTreeSet, convert::Infallible, io::Cursor, sync::Arc};

use grapevine_crdt::{Dot, LwwMap, Rank, ReplicaId, Seq, Timestamp, VersionVector};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{
    BundleError, BundleHeader, Imported, Importer, export,
    format::{BundleWriter, Section},
    head::PartitionHead,
    verify,
};
use crate::{
    clock::SystemClock,
    clock::WallClock as _,
    model::{ChangesToken, Collection, EntityCells, EntityId, Floor, PartitionState, Root},
    store::{Store, StoreError, StoreOptions},
};

fn open(directory: &tempfile::TempDir, name: &str) -> Store {
    let options = StoreOptions::new(directory.path().join(name));
    Store::open(options, Arc::new(SystemClock)).expect("it is free")
}

fn id(key: &str) -> EntityId {
    EntityId::new(Collection::Contacts, key).expect("a good key")
}

async fn write(store: &Store, key: &str, value: &str) {
    let value = value.to_owned();
    let edit = move |edit: crate::store::Edit<'_>| {
        let cells = LwwMap::new(edit.entity).set("x", value.as_bytes(), edit.dot, edit.time);
        Ok::<_, Infallible>((cells, ()))
    };
    store.write(id(key), edit).await.expect("it is durable");
}

async fn remove(store: &Store, key: &str) {
    let edit = |edit: crate::store::Edit<'_>| {
        Ok::<_, Infallible>((LwwMap::new(edit.entity).remove(edit.dot), ()))
    };
    store.write(id(key), edit).await.expect("it is durable");
}

fn root(store: &Store) -> Root {
    store.snapshot().state().root()
}

fn header(cluster: &str) -> BundleHeader {
    BundleHeader {
        cluster: cluster.to_owned(),
        node: "ann".to_owned(),
        store: WRITER,
        unix_ms: 1,
    }
}

fn held(store: &Store) -> ChangesToken {
    let mut token = ChangesToken::default();
    for (partition, state) in store.snapshot().state().partitions() {
        token.fetch(partition, state.vector.clone());
    }
    token
}

fn exported(store: &Store, since: &ChangesToken) -> Vec<u8> {
    let mut bytes = Vec::new();
    export(store, header("fleet"), since, &mut bytes).expect("it can be written");
    bytes
}

/// Which store the bundles say that they are of.
const WRITER: Uuid = Uuid::from_u128(7);

type ReadExpelled = fn(&Store) -> Result<BTreeSet<Uuid>, StoreError>;

async fn import(store: &Store, bytes: &[u8]) -> Result<Imported, BundleError> {
    import_among(store, bytes, |_| Ok(BTreeSet::new())).await
}

async fn import_among(
    store: &Store,
    bytes: &[u8],
    expelled: ReadExpelled,
) -> Result<Imported, BundleError> {
    let reader = Importer {
        store: store.clone(),
        cluster: "fleet".to_owned(),
        now_unix_ms: SystemClock.unix_ms(),
        expelled,
    };
    let bytes = bytes.to_vec();
    let imported = spawn_blocking(move || reader.import(Cursor::new(bytes)));
    imported.await.expect("it does not panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_carry_bundles_both_ways_come_to_hold_the_same_and_again_changes_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (ann, bob) = (open(&directory, "ann"), open(&directory, "bob"));
    for number in 0..200 {
        write(&ann, &format!("a{number}"), "ann").await;
        write(&bob, &format!("b{number}"), "bob").await;
    }
    write(&ann, "both", "ann").await;
    write(&bob, "both", "bob").await;
    let first = exported(&ann, &held(&bob));
    let imported = import(&bob, &first).await.expect("it is covered");
    assert!(imported.entities >= 201 && imported.changes > 0);
    import(&ann, &exported(&bob, &held(&ann)))
        .await
        .expect("it is covered");
    assert_eq!(root(&ann), root(&bob));
    remove(&ann, "a0").await;
    let second = exported(&ann, &held(&bob));
    assert_eq!(verify(&second[..]).expect("it is whole").entities, 1);
    import(&bob, &second).await.expect("it is covered");
    let after = root(&bob);
    assert_eq!(root(&ann), after);
    for old in [&first, &second, &first] {
        let again = import(&bob, old).await.expect("it is covered");
        assert_eq!((again.changes, root(&bob)), (0, after));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_builds_on_what_is_not_held_is_refused_whole() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (ann, bob) = (open(&directory, "ann"), open(&directory, "bob"));
    // What could be taken in comes first in the file.
    assert!(id("three").partition() < id("one").partition());
    write(&ann, "one", "1").await;
    let first = exported(&ann, &held(&bob));
    let between = held(&ann);
    write(&ann, "one", "2").await;
    write(&ann, "three", "2").await;
    let second = exported(&ann, &between);
    let refused = import(&bob, &second).await;
    assert!(
        matches!(refused, Err(BundleError::Base { missing: 1 })),
        "{refused:?}"
    );
    // Whatever it had handed to the store would be done before this.
    let nothing = |_: crate::store::Edit<'_>| Ok::<_, Infallible>((Vec::new(), ()));
    bob.write(id("one"), nothing).await.expect("it is open");
    assert_eq!(root(&bob), Root::default());
    import(&bob, &first).await.expect("it is covered");
    import(&bob, &second).await.expect("it is covered");
    assert_eq!(root(&bob), root(&ann));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_is_damaged_cut_off_or_foreign_is_refused_before_anything_is_applied() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (ann, bob) = (open(&directory, "ann"), open(&directory, "bob"));
    for number in 0..20 {
        write(&ann, &number.to_string(), "x").await;
    }
    let bytes = exported(&ann, &ChangesToken::default());
    for place in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1;
        assert!(import(&bob, &damaged).await.is_err(), "byte {place}");
        assert!(
            import(&bob, &bytes[..place]).await.is_err(),
            "cut at {place}"
        );
    }
    let mut foreign = Vec::new();
    export(
        &ann,
        header("other"),
        &ChangesToken::default(),
        &mut foreign,
    )
    .expect("memory");
    let refused = import(&bob, &foreign).await;
    assert!(
        matches!(refused, Err(BundleError::Foreign { .. })),
        "{refused:?}"
    );
    assert_eq!(root(&bob), Root::default());
    import(&bob, &bytes).await.expect("the whole one is taken");
    assert_eq!(root(&bob), root(&ann));
}

/// A bundle of one partition that is whole, whatever it says.
fn crafted(head: PartitionHead, entities: Vec<EntityCells>) -> Vec<u8> {
    crafted_in_pages(head, vec![entities])
}

fn crafted_in_pages(head: PartitionHead, pages: Vec<Vec<EntityCells>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = BundleWriter::begin(&mut bytes, header("fleet")).expect("memory");
    let entities = pages.iter().map(|page| page.len() as u64).sum();
    let end = Section::End {
        partitions: 1,
        entities,
    };
    let pages = pages.into_iter().map(Section::Page);
    for section in [Section::Partition(head)]
        .into_iter()
        .chain(pages)
        .chain([end])
    {
        writer.section(&section).expect("memory");
    }
    writer.finish().expect("memory");
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_claimed_though_one_of_its_pages_was_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let bob = open(&directory, "bob");
    let time = Timestamp::from_unix_ms(5);
    let dot = |seq| Dot::new(ReplicaId::from_bytes([3; 16]), Seq::new(seq));
    let partition = id("a").partition();
    let neighbour = (0..10_000_u32)
        .map(|number| number.to_string())
        .find(|key| id(key).partition() == partition)
        .expect("keys are spread");
    let page = |key: &str, seq| {
        vec![EntityCells {
            id: id(key),
            cells: LwwMap::new(&grapevine_crdt::Entity::default()).set("x", b"", dot(seq), time),
        }]
    };
    let head = PartitionHead {
        partition,
        base: VersionVector::default(),
        vector: [(dot(2).replica, Seq::new(2))].into_iter().collect(),
        floor: Floor::default(),
        clock: time,
    };
    // One name for two entities: the second page cannot be taken in.
    let bytes = crafted_in_pages(head, vec![page("a", 1), page(&neighbour, 1), page("a", 2)]);
    assert!(import(&bob, &bytes).await.is_err());
    let nothing = |_: crate::store::Edit<'_>| Ok::<_, Infallible>((Vec::new(), ()));
    bob.write(id("a"), nothing).await.expect("it is open");
    let snapshot = bob.snapshot();
    assert!(snapshot.state().partition(partition).vector.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_bundle_with_impossible_contents_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let bob = open(&directory, "bob");
    let replica = ReplicaId::from_bytes([3; 16]);
    let dot = |seq| Dot::new(replica, Seq::new(seq));
    let time = Timestamp::from_unix_ms(5);
    let cells = |key: &str, seq| EntityCells {
        id: id(key),
        cells: LwwMap::new(&grapevine_crdt::Entity::default()).set("x", b"", dot(seq), time),
    };
    let vector = |seq| -> VersionVector { [(replica, Seq::new(seq))].into_iter().collect() };
    let head = PartitionHead {
        partition: id("a").partition(),
        base: VersionVector::default(),
        vector: vector(2),
        floor: Floor::default(),
        clock: time,
    };
    let late = Timestamp::from_unix_ms(SystemClock.unix_ms() + 3_600_000);
    let elsewhere = (0..10_000_u32)
        .map(|number| number.to_string())
        .find(|key| id(key).partition() != head.partition)
        .expect("keys are spread");
    let covered = PartitionHead {
        base: vector(1),
        ..head.clone()
    };
    let bad = [
        crafted(head.clone(), vec![cells(&elsewhere, 1)]),
        crafted(
            head.clone(),
            vec![EntityCells {
                id: id("a"),
                cells: Vec::new(),
            }],
        ),
        crafted(covered.clone(), vec![cells("a", 1)]),
        crafted(
            PartitionHead {
                clock: Timestamp::ZERO,
                ..head.clone()
            },
            vec![cells("a", 1)],
        ),
        crafted(
            PartitionHead {
                clock: late,
                ..head.clone()
            },
            vec![cells("a", 1)],
        ),
        crafted(
            PartitionHead {
                base: vector(3),
                ..head.clone()
            },
            vec![cells("a", 4)],
        ),
    ];
    for (index, bytes) in bad.iter().enumerate() {
        assert!(import(&bob, bytes).await.is_err(), "{index}");
    }
    assert_eq!(root(&bob), Root::default());
    let good = crafted(head.clone(), vec![cells("a", 1)]);
    import(&bob, &good).await.expect("nothing is wrong with it");
    // Its writer has forgotten deletions that this store, which holds something, has not seen.
    let forgetful = PartitionHead {
        vector: vector(9),
        floor: Floor {
            vector: vector(8),
            rank: Rank::at(time),
        },
        ..head
    };
    let refused = import(&bob, &crafted(forgetful.clone(), vec![cells("a", 9)])).await;
    assert!(
        matches!(refused, Err(BundleError::Floor { .. })),
        "{refused:?}"
    );
    // A store that holds nothing has nothing that should have gone.
    let empty = open(&directory, "empty");
    let taken = import(&empty, &crafted(forgetful, vec![cells("a", 9)])).await;
    assert_eq!(taken.expect("it holds nothing").entities, 1);
}

#[test]
fn what_was_forgotten_on_either_side_keeps_a_bundle_out() {
    let replica = ReplicaId::from_bytes([3; 16]);
    let vector = |seq| -> VersionVector { [(replica, Seq::new(seq))].into_iter().collect() };
    let ours = |seq: u64, floor| PartitionState {
        vector: vector(seq),
        floor: Arc::new(Floor {
            vector: vector(floor),
            rank: Rank::default(),
        }),
        ..PartitionState::default()
    };
    let theirs = |seq, floor| PartitionHead {
        partition: id("a").partition(),
        base: VersionVector::default(),
        vector: vector(seq),
        floor: Floor {
            vector: vector(floor),
            rank: Rank::default(),
        },
        clock: Timestamp::ZERO,
    };
    let fit = |ours: &PartitionState, theirs: &PartitionHead| theirs.missing(ours).is_ok();
    assert!(fit(&ours(5, 2), &theirs(5, 3)));
    assert!(fit(&ours(3, 0), &theirs(5, 3)));
    assert!(!fit(&ours(2, 0), &theirs(5, 3)), "we lack what they forgot");
    assert!(!fit(&ours(9, 6), &theirs(5, 3)), "they lack what we forgot");
    assert!(fit(&ours(0, 0), &theirs(5, 3)), "we hold nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_by_or_for_who_was_expelled_brings_back_what_was_collected_without_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (ann, bob) = (open(&directory, "ann"), open(&directory, "bob"));
    write(&ann, "a", "ann").await;
    let bundle = exported(&ann, &held(&bob));
    let before = root(&bob);
    let by = import_among(&bob, &bundle, |_| Ok(BTreeSet::from([WRITER]))).await;
    assert!(matches!(by, Err(BundleError::Expelled { ours: false })));
    let to = import_among(&bob, &bundle, |store| {
        Ok(BTreeSet::from([store.identity().store_id]))
    });
    assert!(matches!(
        to.await,
        Err(BundleError::Expelled { ours: true })
    ));
    assert_eq!(root(&bob), before);
    import(&bob, &bundle).await.expect("it is taken in");
    assert_eq!(root(&bob), root(&ann));
}
