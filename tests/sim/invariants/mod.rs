//! The invariants of the design that sync and the kernel keep, each checked at every step.
//!
//! Each file holds one check and a test that breaks the behaviour on purpose and sees the check fire.

mod collection;
mod digests;
mod dots;
mod durable;
mod exact_delta;
mod incorporation;
mod join;
mod outside;
mod rejoin;
mod time;
mod together;

use grapevine::{
    model::{CommitRecord, DeltaPage, PartitionId},
    store::{Group, State},
    sync::engine::PullRequest,
};
use grapevine_crdt::Dot;

use crate::{outsider::Brought, world::World, writer::Before};

/// Something to check.
pub(crate) enum Observed<'a> {
    /// A group reached the disk of a node.
    Durable { node: usize, group: &'a Group },
    /// A node shows a group.
    Published {
        node: usize,
        before: &'a Before,
        group: &'a Group,
    },
    /// A client heard of its write.
    Acknowledged {
        node: usize,
        partition: PartitionId,
        dot: Dot,
    },
    /// Peers are told of writes.
    Pushed { records: &'a [CommitRecord] },
    /// A node has read a page for a peer.
    Served {
        node: usize,
        request: &'a PullRequest,
        page: &'a DeltaPage,
    },
    /// A node is back; `before` is what it showed last.
    Restarted { node: usize, before: &'a State },
    /// An edit from outside was decided.
    Brought { node: usize, brought: &'a Brought },
    /// It is time to check everything.
    Everything,
}

/// The invariants, by the numbers of the design.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invariant {
    Incorporation = 1,
    Dots = 2,
    Together = 3,
    ExactDelta = 4,
    Join = 5,
    Durable = 6,
    Time = 7,
    Collection = 8,
    Rejoin = 9,
    Digests = 10,
    Outside = 11,
}

impl Invariant {
    pub(crate) const ALL: [Self; 11] = [
        Self::Incorporation,
        Self::Dots,
        Self::Together,
        Self::ExactDelta,
        Self::Join,
        Self::Durable,
        Self::Time,
        Self::Collection,
        Self::Rejoin,
        Self::Digests,
        Self::Outside,
    ];

    pub(crate) fn check(self, world: &World, observed: &Observed<'_>) -> Result<(), String> {
        match self {
            Self::Incorporation => incorporation::check(world, observed),
            Self::Dots => dots::check(world, observed),
            Self::Together => together::check(world, observed),
            Self::ExactDelta => exact_delta::check(world, observed),
            Self::Join => join::check(world, observed),
            Self::Durable => durable::check(world, observed),
            Self::Time => time::check(world, observed),
            Self::Collection => collection::check(world, observed),
            Self::Rejoin => rejoin::check(world, observed),
            Self::Digests => digests::check(world, observed),
            Self::Outside => outside::check(world, observed),
        }
    }
}

/// The partitions to look at, with the nodes to look at them on.
fn to_check(world: &World, observed: &Observed<'_>) -> Vec<(usize, PartitionId)> {
    match observed {
        Observed::Published { node, group, .. } => {
            let mut touched: Vec<_> = group.ops.iter().map(|op| (*node, op.partition)).collect();
            touched.sort_unstable();
            touched.dedup();
            touched
        }
        Observed::Everything => {
            let nodes = (0..world.nodes.len()).filter(|node| world.nodes[*node].up);
            let written = world.history.partitions.keys();
            nodes
                .flat_map(|node| written.clone().map(move |partition| (node, *partition)))
                .collect()
        }
        Observed::Durable { .. }
        | Observed::Acknowledged { .. }
        | Observed::Pushed { .. }
        | Observed::Served { .. }
        | Observed::Restarted { .. }
        | Observed::Brought { .. } => Vec::new(),
    }
}

#[cfg(test)]
pub(crate) mod bites {
    use super::Invariant;
    use crate::{fault::Fault, world::World};

    const MAX_SEEDS: u64 = 300;

    /// Some random run with this fault violates this invariant, and says so.
    pub(crate) fn assert_bites(invariant: Invariant, fault: Fault) {
        for seed in 0..MAX_SEEDS {
            let mut world = World::new(seed, None, Some(fault));
            world.checked = vec![invariant];
            world.start();
            let turmoil_ms = world.settings.turmoil_ms;
            // Engines may notice first; here the check itself must.
            while world.step(turmoil_ms) || !world.complaints.is_empty() {
                world.complaints.clear();
                if !world.violations.is_empty() {
                    break;
                }
            }
            if let Some((violated, _)) = world.violations.first() {
                assert_eq!(*violated, invariant);
                return;
            }
        }
        panic!("{invariant:?} does not notice {fault:?} in {MAX_SEEDS} seeds");
    }
}
