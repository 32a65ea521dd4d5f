//! What a run is like; drawn from its seed.

use grapevine::{
    store::DeltaBudget,
    sync::engine::{EngineConfig, Rules},
};
use rand::{Rng, RngExt};
use uuid::Uuid;

/// How long clients write and things break, in milliseconds of simulated time.
const TURMOIL_MS: u64 = 8_000;

#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is so or not, whatever the others are"
)]
pub(crate) struct Settings {
    pub(crate) nodes: usize,
    pub(crate) turmoil_ms: u64,
    /// The longest time between two writes of clients.
    pub(crate) write_period_ms: u64,
    /// The longest time between two things that break.
    pub(crate) nemesis_period_ms: u64,
    pub(crate) max_delay_ms: u64,
    pub(crate) max_sync_ms: u64,
    /// Per cent of the messages that are lost.
    pub(crate) loss: u32,
    /// Per cent of the messages that come twice.
    pub(crate) duplication: u32,
    /// Whether a message may overtake another on its link.
    pub(crate) reorders: bool,
    pub(crate) gossips: bool,
    /// How many offline clients there are.
    pub(crate) outsiders: usize,
    /// Whether nodes keep a roster and collect.
    pub(crate) collects: bool,
    /// Whether nodes lose a part of their past, are copied, or are struck from the roster.
    pub(crate) disturbs: bool,
    /// Every how many commits everything is checked.
    pub(crate) full_check_period: u64,
    pub(crate) budget: DeltaBudget,
    pub(crate) engine: EngineConfig,
}

impl Settings {
    pub(crate) fn draw(rng: &mut dyn Rng) -> Self {
        let chaos = rng.random_bool(0.5);
        Self {
            nodes: rng.random_range(3..=7),
            turmoil_ms: TURMOIL_MS,
            write_period_ms: rng.random_range(10..=120),
            nemesis_period_ms: rng.random_range(300..=3_000),
            max_delay_ms: rng.random_range(2..=120),
            max_sync_ms: rng.random_range(1..=40),
            loss: if chaos { rng.random_range(0..=20) } else { 0 },
            duplication: if chaos { rng.random_range(0..=20) } else { 0 },
            reorders: chaos,
            gossips: rng.random_bool(0.7),
            outsiders: rng.random_range(0..=3),
            collects: true,
            disturbs: rng.random_bool(0.5),
            full_check_period: 256,
            budget: DeltaBudget {
                entities: 1 << rng.random_range(0..=6),
                bytes: 100_000,
            },
            engine: EngineConfig {
                store: Uuid::nil(),
                probe_period_ms: rng.random_range(200..=1_000),
                pull_abandoned_after_ms: 1_500,
                max_pulls_per_peer: rng.random_range(1..=64),
                max_pulls: rng.random_range(2..=128),
                max_parked_records: rng.random_range(0..=64),
                max_pushes_applying: rng.random_range(1..=64),
                collect_period_ms: rng.random_range(100..=2_000),
                max_told_whole: 2,
                rules: Rules::default(),
            },
        }
    }

    /// For schedules that a test directs: nothing happens by itself, and a page holds one entity.
    pub(crate) fn directed(nodes: usize) -> Self {
        Self {
            nodes,
            turmoil_ms: 0,
            write_period_ms: 1,
            nemesis_period_ms: 1,
            max_delay_ms: 1,
            max_sync_ms: 1,
            loss: 0,
            duplication: 0,
            reorders: false,
            gossips: false,
            outsiders: 0,
            collects: false,
            disturbs: false,
            full_check_period: 1,
            budget: DeltaBudget {
                entities: 1,
                bytes: 1_000_000,
            },
            engine: EngineConfig {
                max_told_whole: 0,
                ..EngineConfig::default()
            },
        }
    }
}
