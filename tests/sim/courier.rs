//! Bundles: what a node exports is carried to others, late, twice, and in any order.

use std::sync::Arc;

use grapevine::{
    bundle::PartitionHead,
    model::{ChangesToken, Claim, EntityCells, Op, PartitionId},
    store::read_delta,
};
use rand::RngExt;

use crate::{
    fault::Fault,
    node::Job,
    world::{Happening, World},
};

/// How long a bundle is on its way at the most.
const MAX_CARRIED_MS: u64 = 4_000;
/// How often one is taken in at the most.
const MAX_IMPORTS: u32 = 3;

/// What a node exported.
#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    /// The store that wrote it.
    store: u32,
    partitions: Vec<(PartitionHead, Vec<EntityCells>)>,
}

impl World {
    /// Some node exports what another lacks, or everything, and somebody carries it about.
    pub(crate) fn send_courier(&mut self) {
        let from = self.rng.random_range(0..self.nodes.len());
        let to = self.rng.random_range(0..self.nodes.len());
        if !self.nodes[from].up {
            return;
        }
        let since = if self.rng.random_bool(0.5) {
            self.held_token(to)
        } else {
            ChangesToken::default()
        };
        let Some(bundle) = self.export(from, &since) else {
            return;
        };
        let bundle = Arc::new(bundle);
        for import in 0..self.rng.random_range(1..=MAX_IMPORTS) {
            let other = self.rng.random_range(0..self.nodes.len());
            let carried_to = if import == 0 { to } else { other };
            let carried_ms = self.rng.random_range(1..=MAX_CARRIED_MS);
            self.after(
                carried_ms,
                Happening::Imports(carried_to, Arc::clone(&bundle)),
            );
        }
    }

    /// What a node holds, as a token.
    pub(crate) fn held_token(&self, number: usize) -> ChangesToken {
        let mut token = ChangesToken::default();
        for (partition, state) in self.nodes[number].state.partitions() {
            token.fetch(partition, state.vector.clone());
        }
        token
    }

    /// What a node holds and the token does not cover; nothing if that token is too old.
    pub(crate) fn export(&self, number: usize, since: &ChangesToken) -> Option<Bundle> {
        let node = &self.nodes[number];
        let mut partitions = Vec::new();
        for id in PartitionId::all() {
            let Some(head) = PartitionHead::of(&node.state, id, since.fetched(id)).ok()? else {
                continue;
            };
            let (mut entities, mut cursor) = (Vec::new(), None);
            loop {
                let state = node.state.partition(id);
                let budget = self.settings.budget;
                let page = read_delta(&node.rows, id, state, &head.base, cursor, budget);
                let page = page.expect("rows in memory can be read");
                entities.extend(page.entities);
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            partitions.push((head, entities));
        }
        Some(Bundle {
            store: node.store,
            partitions,
        })
    }

    /// A node takes a bundle in, or refuses it whole; says whether it does. What it takes in waits for its writer.
    pub(crate) fn import(&mut self, number: usize, bundle: &Bundle) -> bool {
        let node = &self.nodes[number];
        if !node.up {
            return false;
        }
        let is_expelled = |store| {
            let mut expulsions = self.expulsions(number).into_iter();
            expulsions.any(|(_, who, _)| who == store)
        };
        if self.fault != Some(Fault::ImportsFromTheExpelled)
            && (is_expelled(node.store) || is_expelled(bundle.store))
        {
            return false;
        }
        let misses = |(head, _): &(PartitionHead, _)| {
            let missing = head.missing(node.state.partition(head.partition));
            missing.map_or(true, |missing| {
                missing > 0 && self.fault != Some(Fault::ImportsWithoutTheBase)
            })
        };
        if bundle.partitions.iter().any(misses) {
            return false;
        }
        let node = &mut self.nodes[number];
        for (head, entities) in &bundle.partitions {
            let step = |entities, claim| Op {
                partition: head.partition,
                entities,
                claim,
            };
            for entity in entities {
                let op = step(vec![entity.clone()], Claim::Nothing);
                node.jobs.push_back(Job::Import(op, head.clock));
            }
            let claim = Claim::Absorb {
                vector: head.vector.clone(),
                floor: head.floor.clone(),
            };
            let op = step(Vec::new(), claim);
            node.jobs.push_back(Job::Import(op, head.clock));
        }
        self.imports += 1;
        self.kick(number);
        true
    }
}
