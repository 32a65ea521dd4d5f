//! Random schedules.

use std::{
    collections::BTreeMap,
    num::NonZero,
    panic::catch_unwind,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use grapevine::sync::engine::Event;

use crate::{fault::Fault, invariants::Observed, world::World};

const DEFAULT_SEEDS: u64 = 100;
/// Every how many seeds a long run says how far it has come.
const SEEDS_PER_NOTE: u64 = 1_000;
/// After how many seeds that fail a run ends.
const MAX_FAILURES: usize = 20;
/// How much of a failure is told at once.
const MAX_TOLD: usize = 400;
/// How long nodes may take to hold the same once everything works again. In the slowest runs a page holds one entity and is
/// asked for when the one before it is durable, a message takes 120 ms, and one in five is lost; so 100 pages of a
/// partition take half a minute.
const MAX_HEALING_MS: u64 = 60_000;
/// How long they may then take to know it when somebody asks.
const MAX_ASKING_MS: u64 = 2_000;
/// How long it may take then until nothing that was deleted is left.
const MAX_COLLECTING_MS: u64 = 20_000;

/// Runs one seed to its end; the time it took until all nodes held the same.
fn run(seed: u64) -> Result<u64, String> {
    run_with(seed, None)
}

/// As [`run`], with something broken.
pub(crate) fn run_with(seed: u64, fault: Option<Fault>) -> Result<u64, String> {
    let mut world = World::new(seed, None, fault);
    world.start();
    let turmoil_ms = world.settings.turmoil_ms;
    while world.step(turmoil_ms) {}
    world.heal();
    let healed_ms = world.now_ms;
    let until_ms = healed_ms + MAX_HEALING_MS;
    let mut converged_ms;
    loop {
        while !world.converged() && world.step(until_ms) {}
        converged_ms = world.now_ms;
        for number in 0..world.nodes.len() {
            world.feed(number, Event::ProbeAll);
        }
        let asked_ms = world.now_ms + MAX_ASKING_MS;
        while !world.knows_it() && world.step(asked_ms) {}
        // Who came back enters itself into the roster, and everybody hears of it.
        let calm = world.converged() && world.knows_it();
        if calm || world.now_ms + MAX_ASKING_MS >= until_ms || world.is_broken() {
            break;
        }
    }
    // Collection goes on meanwhile.
    while !world.converged() && world.step(converged_ms + MAX_ASKING_MS) {}
    world.check(&Observed::Everything);
    if let Some((invariant, what)) = world.violations.first() {
        return Err(format!("invariant {invariant:?}: {what}"));
    }
    if let Some(complaint) = world.complaints.first() {
        return Err(complaint.clone());
    }
    if !world.converged() {
        return Err(format!(
            "not the same after {MAX_HEALING_MS} ms: {}",
            world.differences()
        ));
    }
    if !world.knows_it() {
        return Err(format!(
            "not known to be the same after {MAX_ASKING_MS} ms: {}",
            world.knowledge()
        ));
    }
    world.compare()?;
    if !world.disturbed {
        world.compare_outsiders()?;
        collect_all(&mut world)?;
    }
    Ok(converged_ms - healed_ms)
}

/// Lets everything go that can; what is shown stays as it is.
fn collect_all(world: &mut World) -> Result<(), String> {
    let until_ms = world.now_ms + MAX_COLLECTING_MS;
    while world.compare_garbage().is_err() && world.now_ms < until_ms {
        let next_ms = world.now_ms + 500;
        while world.step(next_ms) {}
        world.now_ms = next_ms;
    }
    world.check(&Observed::Everything);
    if let Some((invariant, what)) = world.violations.first() {
        return Err(format!("invariant {invariant:?}: {what}"));
    }
    if let Some(complaint) = world.complaints.first() {
        return Err(complaint.clone());
    }
    world.compare_garbage()?;
    world.compare()
}

/// Some run with this fault ends with a complaint that says `what`.
pub(crate) fn bites_at_the_end(fault: Fault, what: &str) {
    const MAX_SEEDS: u64 = 100;
    let told = |seed| run_with(seed, Some(fault)).is_err_and(|told| told.contains(what));
    assert!(
        (0..MAX_SEEDS).any(told),
        "nobody notices {fault:?} in {MAX_SEEDS} seeds"
    );
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("SEED, FROM and SEEDS are numbers"))
}

/// Runs seeds, on as many threads as there are cores; tells what became of each that failed, in their order, and the
/// longest time that one took until all nodes held the same.
fn run_all(first: u64, count: u64) -> (BTreeMap<u64, String>, u64) {
    let next = AtomicU64::new(first);
    let slowest_ms = AtomicU64::new(0);
    let failures = Mutex::new(BTreeMap::new());
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    if (seed - first).is_multiple_of(SEEDS_PER_NOTE) && seed > first {
                        let begun_s = begun.elapsed().as_secs();
                        println!("{} seeds are begun after {begun_s} s", seed - first);
                    }
                    // What a run asserts of itself is a failure of that seed, and not the end of all.
                    let ended = catch_unwind(|| run(seed));
                    match ended.unwrap_or_else(|_| Err("a panic, told above".to_owned())) {
                        Ok(took_ms) => {
                            slowest_ms.fetch_max(took_ms, Ordering::Relaxed);
                        }
                        Err(what) => {
                            let told: String = what.chars().take(MAX_TOLD).collect();
                            println!("seed {seed} fails: {told}");
                            let mut failures = failures.lock().expect("nobody panics with it");
                            failures.insert(seed, what);
                            if failures.len() >= MAX_FAILURES {
                                next.store(u64::MAX / 2, Ordering::Relaxed);
                            }
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("nobody panicked with it");
    (failures, slowest_ms.into_inner())
}

#[test]
fn all_nodes_end_with_all_durable_writes_and_nothing_else() {
    let (first, count) = match number("SEED") {
        Some(seed) => (seed, 1),
        None => (
            number("FROM").unwrap_or(0),
            number("SEEDS").unwrap_or(DEFAULT_SEEDS),
        ),
    };
    let begun = Instant::now();
    let (failures, slowest_ms) = run_all(first, count);
    let told: Vec<String> = failures
        .iter()
        .map(|(seed, what)| format!("{what}\nreplay it: SEED={seed} cargo test --test sim random"))
        .collect();
    assert!(failures.is_empty(), "{}", told.join("\n\n"));
    println!(
        "{count} seeds from {first} in {} s; the slowest held the same {slowest_ms} ms after everything worked again",
        begun.elapsed().as_secs()
    );
}
