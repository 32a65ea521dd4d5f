//! What lives that are over cost: a write, a start, the file and an exchange, with 10,000 of them in each
//! partition and with 10. What an exchange costs is asserted; the rest is measured by hand:
//! `cargo test --test lives -- --ignored --nocapture` (`LIVES=10000,10` are the numbers of lives).

mod exchange;

use std::{sync::Arc, time::Instant};

use exchange::{Said, Side, speak};
use grapevine::{
    clock::SystemClock,
    model::{Claim, Collection, EntityId, Floor, Op, PartitionId, PartitionState},
    store::{Edit, MemoryRows, State, Store, StoreOptions, Workspace},
};
use grapevine_crdt::{FieldCell, LwwMap, ReplicaId, Seq, Timestamp, VersionVector};

type TestResult<T = ()> = Result<T, Box<dyn std::error::Error>>;

const UNIX_MS: u64 = 1_700_000_000_000;
const WRITES: u32 = 2_000;

/// Ids as they are minted: a time of a day each, then bytes without order.
fn life(number: u64) -> ReplicaId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&(UNIX_MS + number * 8_640_000).to_be_bytes()[2..]);
    let rest = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
    bytes[6] = 0x70;
    bytes[8..].copy_from_slice(&rest);
    ReplicaId::from_bytes(bytes)
}

fn vector(lives: u64, partition: u8) -> VersionVector {
    (0..lives)
        .map(|number| {
            (
                life(number),
                Seq::new(1 + (number * 31 + u64::from(partition)) % 500),
            )
        })
        .collect()
}

fn id(number: u32) -> EntityId {
    EntityId::new(Collection::Contacts, format!("contact-{number:08}")).expect("a short key")
}

fn name(edit: &Edit<'_>) -> Vec<FieldCell> {
    LwwMap::new(edit.entity).set("name", b"Somebody", edit.dot, edit.time)
}

/// The resident memory of this process in MiB, where the system tells it.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

fn kernel(lives: u64) -> TestResult {
    let mut state = State::default();
    for partition in PartitionId::all() {
        let mut held = PartitionState::default();
        for (replica, seq) in vector(lives, partition.get()).iter() {
            held.advance(replica, seq);
        }
        state.set(partition, held);
    }
    let mut rows = MemoryRows::default();
    let writer = life(lives + 1);
    let started = Instant::now();
    for number in 0..WRITES {
        let mut workspace = Workspace::new(&rows, state.clone());
        workspace.write(&id(number), writer, UNIX_MS, |edit| {
            Ok::<_, core::convert::Infallible>(name(&edit))
        })??;
        let (_, changes) = workspace.finish(u64::from(number));
        rows.apply(changes.rows);
        state = changes.state;
    }
    println!("  a write in the kernel: {:?}", started.elapsed() / WRITES);
    Ok(())
}

/// The lives of long ago, and these numbers of writes by later ones.
fn with(past: &VersionVector, later: impl IntoIterator<Item = u64>) -> VersionVector {
    let later = later.into_iter().map(|number| (life(number), Seq::new(1)));
    let mut vector: VersionVector = past.iter().chain(later).collect();
    vector.settle();
    vector
}

/// What two nodes say in the cases that matter, each with its name.
fn exchanges(lives: u64) -> TestResult<Vec<(&'static str, Said)>> {
    let id = id(1);
    let partition = id.partition();
    let past = vector(lives, 0);
    let nothing = Floor::default();
    let collected = |vector: VersionVector| Floor {
        vector,
        ..Floor::default()
    };
    // What both hold: as many lives, other numbers, so that no vector is like the floor.
    let half = past
        .iter()
        .map(|(of, seq)| (of, Seq::new(1 + seq.get() / 2)));
    let half: VersionVector = half.collect();
    let sides = || (Side::new(life(lives + 1)), Side::new(life(lives + 2)));
    let mut all = Vec::new();

    let (mut ann, mut bob) = sides();
    ann.absorb(partition, &past, &nothing);
    bob.absorb(partition, &past, &nothing);
    ann.write(&id);
    all.push(("one entity", speak(&mut ann, &mut bob)?));
    bob.write(&id);
    all.push(("one entity, once more", speak(&mut ann, &mut bob)?));

    let (mut ann, mut bob) = sides();
    ann.absorb(partition, &past, &collected(half.clone()));
    bob.absorb(partition, &past, &collected(half.clone()));
    ann.write(&id);
    all.push((
        "one entity, and both collected the same",
        speak(&mut ann, &mut bob)?,
    ));

    let (mut ann, mut bob) = sides();
    let more = with(&past, lives + 10..lives + 13);
    ann.absorb(partition, &with(&past, []), &nothing);
    bob.absorb(partition, &more, &nothing);
    ann.write(&id);
    all.push((
        "one entity, and three lives nobody told of",
        speak(&mut ann, &mut bob)?,
    ));

    let (mut ann, mut bob) = sides();
    let more = with(&past, lives + 10..lives + 210);
    ann.absorb(partition, &with(&past, []), &nothing);
    bob.absorb(partition, &more, &nothing);
    ann.write(&id);
    all.push((
        "one entity, and 200 lives settled meanwhile",
        speak(&mut ann, &mut bob)?,
    ));

    let (mut ann, mut bob) = sides();
    let mut early = half.clone();
    early.settle();
    ann.absorb(partition, &past, &collected(early));
    bob.absorb(partition, &past, &collected(past.clone()));
    ann.write(&id);
    all.push((
        "one entity, and one collected all",
        speak(&mut ann, &mut bob)?,
    ));

    let (mut ann, mut bob) = sides();
    ann.absorb(partition, &past, &collected(half));
    ann.write(&id);
    all.push(("a new node", speak(&mut ann, &mut bob)?));
    Ok(all)
}

#[test]
fn lives_that_are_over_make_an_exchange_large() -> TestResult {
    let few = exchanges(10)?;
    let many = exchanges(3_000)?;
    for ((case, few), (_, many)) in few.iter().zip(&many) {
        println!("{case}: {few:?} with few lives, {many:?} with many");
    }
    // The first four differ in a few entries, whatever both hold of long ago.
    for ((case, few), (_, many)) in few.iter().zip(&many).take(3) {
        assert!(many.bytes < few.bytes + 8_000, "{case}");
    }
    assert!(many[3].1.bytes < few[3].1.bytes + 20_000);
    assert!(many[4].1.bytes < few[4].1.bytes + 30_000);
    Ok(())
}

async fn store(lives: u64) -> TestResult {
    let directory = tempfile::tempdir()?;
    let open = || Store::open(StoreOptions::new(directory.path()), Arc::new(SystemClock));
    let held = open()?;
    let mut answers = Vec::new();
    for partition in PartitionId::all() {
        let op = Op {
            partition,
            entities: Vec::new(),
            claim: Claim::Absorb {
                vector: vector(lives, partition.get()),
                floor: Floor::default(),
            },
        };
        answers.push(held.enqueue(op, Timestamp::ZERO).await?);
    }
    for answer in answers {
        answer.await??;
    }
    // A write to each of the partitions.
    for number in 0..WRITES {
        held.write(id(number), |edit| Ok::<_, String>((name(&edit), ())))
            .await?;
    }
    held.close().await;
    drop(held);
    let size = || std::fs::metadata(directory.path().join("data.redb"));
    let file = size()?.len();
    grapevine::store::compact(directory.path())?;
    println!("  data.redb: {file} bytes, {} compacted", size()?.len());
    let before = resident_mib();
    let started = Instant::now();
    let held = open()?;
    println!(
        "  a start: {:?}, {} MiB more",
        started.elapsed(),
        resident_mib().saturating_sub(before)
    );
    for number in 0..WRITES {
        held.write(id(number), |edit| Ok::<_, String>((name(&edit), ())))
            .await?;
    }
    let started = Instant::now();
    held.close().await;
    println!(
        "  a batch that touches all partitions: {:?}",
        started.elapsed()
    );
    Ok(())
}

#[tokio::test]
#[ignore = "measures"]
async fn lives_that_are_over_make_everything_slow_and_large() -> TestResult {
    let lives = std::env::var("LIVES").unwrap_or_else(|_| "10,10000".to_owned());
    for lives in lives.split(',') {
        println!("{lives} lives in each partition");
        let lives = lives.trim().parse()?;
        for (case, said) in exchanges(lives)? {
            println!("  an exchange, {case}: {said:?}");
        }
        kernel(lives)?;
        store(lives).await?;
    }
    Ok(())
}
