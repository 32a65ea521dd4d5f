//! What breaks, and when: drawn from a seed before anything starts, so that a run can be looked at and repeated.

use std::time::Duration;

use rand::{RngExt, SeedableRng as _, rngs::StdRng};

use crate::network::{Link, NODES, Weather};

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Two halves, by the bits of the side.
    Split(u8),
    /// Nothing passes between two nodes.
    CutPair(usize, usize),
    /// Nothing passes from one node to another; gossip still does the other way.
    CutOneWay(usize, usize),
    /// All that a node sends and hears is late and partly lost.
    BadLine {
        node: usize,
        delay_ms: u64,
        loss: u32,
    },
    /// The whole network is late and lossy.
    BadNetwork { delay_ms: u64, loss: u32 },
    /// A node's answers to clients are lost.
    Mute(usize),
    /// All connections of a node are torn off.
    Reset(usize),
    /// `kill -9`, and started again at the end.
    Kill(usize),
    /// `SIGSTOP`, and `SIGCONT` at the end.
    Pause(usize),
}

/// A fault and its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    pub(crate) begins: Duration,
    pub(crate) ends: Duration,
    pub(crate) fault: Fault,
}

/// All faults of a run of this length.
pub(crate) fn schedule(seed: u64, length: Duration) -> Vec<Planned> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut planned: Vec<Planned> = Vec::new();
    let mut at = Duration::from_secs(2);
    while at < length {
        let (fault, longest_ms) = draw(&mut rng);
        let ends = at + Duration::from_millis(rng.random_range(500..longest_ms));
        let ends = ends.min(length);
        // A process is killed or paused by one fault at a time.
        let busy = |other: &Planned| {
            let same =
                process_of(other.fault).is_some() && process_of(other.fault) == process_of(fault);
            same && other.ends + Duration::from_secs(1) > at
        };
        if !planned.iter().any(busy) {
            planned.push(Planned {
                begins: at,
                ends,
                fault,
            });
        }
        at += Duration::from_millis(rng.random_range(300..3_000));
    }
    planned
}

fn draw(rng: &mut StdRng) -> (Fault, u64) {
    let node = rng.random_range(0..NODES);
    let other = (node + rng.random_range(1..NODES)) % NODES;
    match rng.random_range(0..12) {
        0 | 1 => (Fault::Split(rng.random_range(1..(1 << NODES) - 1)), 12_000),
        2 => (Fault::CutPair(node, other), 10_000),
        3 => (Fault::CutOneWay(node, other), 10_000),
        4 => (
            Fault::BadLine {
                node,
                delay_ms: rng.random_range(20..400),
                loss: rng.random_range(1..40),
            },
            10_000,
        ),
        5 => (
            Fault::BadNetwork {
                delay_ms: rng.random_range(5..100),
                loss: rng.random_range(1..15),
            },
            8_000,
        ),
        6 => (Fault::Mute(node), 1_500),
        7 => (Fault::Reset(node), 501),
        8..=10 => (Fault::Kill(node), 6_000),
        _ => (Fault::Pause(node), 5_000),
    }
}

/// The process that a fault stops.
pub(crate) fn process_of(fault: Fault) -> Option<usize> {
    match fault {
        Fault::Kill(node) | Fault::Pause(node) => Some(node),
        Fault::Split(_)
        | Fault::CutPair(..)
        | Fault::CutOneWay(..)
        | Fault::BadLine { .. }
        | Fault::BadNetwork { .. }
        | Fault::Mute(_)
        | Fault::Reset(_) => None,
    }
}

/// The weather that these faults make together.
pub(crate) fn weather(faults: &[Fault], resets: [u64; NODES]) -> Weather {
    let mut weather = Weather {
        resets,
        ..Weather::default()
    };
    for fault in faults {
        match *fault {
            Fault::Split(side) => change(&mut weather, |from, to, link| {
                link.cut |= (side >> from) & 1 != (side >> to) & 1;
            }),
            Fault::CutPair(one, two) => {
                weather.links[one][two].cut = true;
                weather.links[two][one].cut = true;
            }
            Fault::CutOneWay(from, to) => weather.links[from][to].cut = true,
            Fault::BadLine {
                node,
                delay_ms,
                loss,
            } => change(&mut weather, |from, to, link| {
                if from == node || to == node {
                    link.delay_ms += delay_ms;
                    link.loss += loss;
                }
            }),
            Fault::BadNetwork { delay_ms, loss } => change(&mut weather, |_, _, link| {
                link.delay_ms += delay_ms;
                link.loss += loss;
            }),
            Fault::Mute(node) => weather.mute[node] = true,
            Fault::Reset(_) | Fault::Kill(_) | Fault::Pause(_) => {}
        }
    }
    weather
}

fn change(weather: &mut Weather, mut each: impl FnMut(usize, usize, &mut Link)) {
    for from in 0..NODES {
        for to in 0..NODES {
            each(from, to, &mut weather.links[from][to]);
        }
    }
}

#[test]
fn one_seed_makes_one_schedule_in_which_everything_breaks() {
    let minutes = Duration::from_secs(3_600);
    let planned = schedule(7, minutes);
    let again = schedule(7, minutes);
    assert_eq!(format!("{planned:?}"), format!("{again:?}"));
    assert_ne!(
        format!("{planned:?}"),
        format!("{:?}", schedule(8, minutes))
    );
    let kinds: std::collections::BTreeSet<_> = planned
        .iter()
        .map(|planned| {
            let name = format!("{:?}", planned.fault);
            name.split(['(', ' ']).next().map(str::to_owned)
        })
        .collect();
    assert_eq!(kinds.len(), 9, "{kinds:?}");
}
