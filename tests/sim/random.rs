//! Random schedules.

use crate::world::World;

const DEFAULT_SEEDS: u64 = 300;
/// How long nodes may take to agree once everything works again.
const MAX_HEALING_MS: u64 = 20_000;

/// Runs one seed to its end; the time it took to agree.
fn run(seed: u64) -> Result<u64, String> {
    let mut world = World::new(seed, None, None);
    world.start();
    let turmoil_ms = world.settings.turmoil_ms;
    while world.step(turmoil_ms) {}
    world.heal();
    let healed_ms = world.now_ms;
    while !world.agrees() && world.step(healed_ms + MAX_HEALING_MS) {}
    world.check(&crate::invariants::Observed::Everything);
    if let Some((invariant, what)) = world.violations.first() {
        return Err(format!("invariant {invariant:?}: {what}"));
    }
    if let Some(complaint) = world.complaints.first() {
        return Err(complaint.clone());
    }
    if !world.agrees() {
        return Err(format!("no agreement within {MAX_HEALING_MS} ms"));
    }
    world.compare()?;
    Ok(world.now_ms - healed_ms)
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("SEED and SEEDS are numbers"))
}

#[test]
fn all_nodes_end_with_all_durable_writes_and_nothing_else() {
    let (first, count) = match number("SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("SEEDS").unwrap_or(DEFAULT_SEEDS)),
    };
    let mut slowest_ms = 0;
    for seed in first..first + count {
        match run(seed) {
            Ok(took_ms) => slowest_ms = slowest_ms.max(took_ms),
            Err(what) => panic!("{what}\nreplay it: SEED={seed} cargo test --test sim"),
        }
    }
    println!("{count} seeds; the slowest agreed {slowest_ms} ms after everything worked again");
}
