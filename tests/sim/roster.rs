//! The roster as nodes keep it in their stores: who is a member, who enters, who is struck.

use std::{collections::BTreeSet, ops::ControlFlow, sync::Arc};

use grapevine::{
    model::{Collection, EntityId, PartitionId},
    store::{Listing, list_entities},
    sync::engine::Event,
};
use grapevine_crdt::{Entity, FieldKey, ReplicaId, Value};
use rand::RngExt;

use crate::{
    client::Change,
    world::{Happening, World},
};

/// About how often a node reads its roster.
const ROSTER_PERIOD_MS: u64 = 200;

/// An entry: the life, and the store that it belongs to.
type Entry = (ReplicaId, u32);

pub(crate) fn entry_id(life: ReplicaId) -> EntityId {
    EntityId::new(Collection::Roster, life.to_string()).expect("a UUID is a good key")
}

/// What an entry says of the store; nothing if it is struck.
fn store_of(entity: &Entity) -> Option<u32> {
    let field = entity.field(&FieldKey::Register("value".to_owned()))?;
    match &field.shown().value {
        Value::Bytes(bytes) => Some(u32::from_be_bytes(bytes.as_slice().try_into().ok()?)),
        Value::Tombstone | Value::Dots(_) | Value::Counted => None,
    }
}

impl World {
    /// The members that a node knows.
    pub(crate) fn members(&self, number: usize) -> Vec<Entry> {
        let listing = Listing {
            collection: Collection::Roster,
            prefix: "",
            after: None,
        };
        let lives = self.owners.keys();
        let keys: Vec<(String, ReplicaId)> = lives.map(|life| (life.to_string(), *life)).collect();
        let mut members = Vec::new();
        list_entities(&self.nodes[number].rows, &listing, &mut |id, entity| {
            let life = keys.iter().find(|(key, _)| key == id.key());
            if let (Some((_, life)), Some(store)) = (life, store_of(&entity)) {
                members.push((*life, store));
            }
            ControlFlow::Continue(())
        })
        .expect("rows in memory can be read");
        members
    }

    /// Whether the roster of a node names every node, in whichever of its lives.
    pub(crate) fn knows_all(&self, number: usize) -> bool {
        let members = self.members(number);
        let known: BTreeSet<_> = members
            .iter()
            .filter_map(|(life, _)| self.owners.get(life))
            .collect();
        known.len() == self.nodes.len()
    }

    /// A node reads its roster: tells its engine, enters itself, and strikes the lives before it.
    pub(crate) fn roster(&mut self, number: usize) {
        if self.nodes[number].up {
            self.keep_roster(number);
        }
        let jitter = self.rng.random_range(0..ROSTER_PERIOD_MS);
        self.after(ROSTER_PERIOD_MS / 2 + jitter, Happening::Roster(number));
    }

    pub(crate) fn keep_roster(&mut self, number: usize) {
        let members = self.members(number);
        let lives: BTreeSet<ReplicaId> = members.iter().map(|(life, _)| *life).collect();
        let (life, store) = (self.nodes[number].life, self.nodes[number].store);
        let entered = lives.contains(&life);
        let alone = self.nodes.len() == 1;
        let roster = PartitionId::of_roster();
        let read = self.nodes[number].state.partition(roster).vector.clone();
        self.feed(
            number,
            Event::Roster {
                members: Arc::new(lives),
                read,
                alone,
            },
        );
        if !entered && !self.nodes[number].entering() {
            self.write(number, entry_id(life), Change::Put(store));
        }
        for (other, of) in members {
            let alive = self.nodes[number].sees.contains_key(&other);
            let namesake = self.owners.get(&other) == Some(&number);
            if (of == store || namesake) && other != life && !alive {
                self.write(number, entry_id(other), Change::Delete);
            }
        }
    }

    /// A node takes another off the roster.
    pub(crate) fn strike(&mut self, number: usize, victim: usize) {
        let life = self.nodes[victim].life;
        if self
            .members(number)
            .iter()
            .any(|(member, _)| *member == life)
        {
            self.expelled.insert(life);
            self.write(number, entry_id(life), Change::Delete);
        }
    }
}
