//! The roster as nodes keep it in their stores: who is a member, who enters, who is struck.

use std::{collections::BTreeSet, ops::ControlFlow, sync::Arc};

use grapevine::{
    model::{Collection, EntityId, PartitionId},
    store::{Listing, list_entities},
    sync::engine::{Event, Expelled, Expelling},
};
use grapevine_crdt::{Dot, Entity, FieldKey, ReplicaId, Value};
use rand::RngExt;
use uuid::Uuid;

use crate::{
    client::Change,
    fault::Fault,
    world::{Happening, World},
};

/// About how often a node reads its roster.
const ROSTER_PERIOD_MS: u64 = 200;

/// The store of a member whose entry is going, and tells it no more.
const GOING: u32 = u32::MAX;

/// An entry: the life, and the store that it belongs to.
type Entry = (ReplicaId, u32);

/// That a store was expelled: the entry that says it, the store, and by whom.
type Expulsion = (EntityId, u32, Expelling);

/// A store as engines know it.
pub(crate) const fn store_id(store: u32) -> Uuid {
    Uuid::from_u128(1 + store as u128)
}

/// The entry that says that a store was expelled by another, this time.
fn expulsion_id(store: u32, by: u32, mark: u64) -> EntityId {
    let key = format!("expelled/{store}/{by}/{mark}");
    EntityId::new(Collection::Roster, key).expect("a short key")
}

/// Which store was expelled, and by whom, as the key of an entry says.
fn expelling(key: &str) -> Option<(u32, Expelling)> {
    let (store, rest) = key.strip_prefix("expelled/")?.split_once('/')?;
    let (by, mark) = rest.split_once('/')?;
    let expelling = Expelling {
        by: store_id(by.parse().ok()?),
        mark: mark.parse().ok()?,
    };
    Some((store.parse().ok()?, expelling))
}

pub(crate) fn entry_id(life: ReplicaId) -> EntityId {
    EntityId::new(Collection::Roster, life.to_string()).expect("a UUID is a good key")
}

/// What an entry says.
enum Said {
    /// Which store it is about.
    Store(u32),
    /// It was deleted, by a write that is not taken in whole yet, and so does not count.
    Going,
}

/// What an entry says; nothing if it was deleted.
fn said(entity: &Entity, is_whole: impl Fn(Dot) -> bool) -> Option<Said> {
    let field = entity.field(&FieldKey::Register("value".to_owned()))?;
    let shown = field.shown();
    match &shown.value {
        Value::Bytes(bytes) => {
            let store = u32::from_be_bytes(bytes.as_slice().try_into().ok()?);
            Some(Said::Store(store))
        }
        Value::Tombstone => (!is_whole(shown.dot)).then_some(Said::Going),
        Value::Dots(_) | Value::Counted => None,
    }
}

impl World {
    /// Whether a node has taken a write to the roster in whole.
    fn roster_has(&self, number: usize, dot: Dot) -> bool {
        let roster = self.nodes[number].state.partition(PartitionId::of_roster());
        self.fault == Some(Fault::CountsWhatIsNotWhole) || roster.vector.covers(dot)
    }

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
            let Some((_, life)) = life else {
                return ControlFlow::Continue(());
            };
            match said(&entity, |dot| self.roster_has(number, dot)) {
                Some(Said::Store(store)) => members.push((*life, store)),
                Some(Said::Going) => members.push((*life, GOING)),
                None => {}
            }
            ControlFlow::Continue(())
        })
        .expect("rows in memory can be read");
        members
    }

    /// Who was expelled, as a node knows it.
    pub(crate) fn expulsions(&self, number: usize) -> Vec<Expulsion> {
        let listing = Listing {
            collection: Collection::Roster,
            prefix: "expelled/",
            after: None,
        };
        let mut expulsions = Vec::new();
        list_entities(&self.nodes[number].rows, &listing, &mut |id, entity| {
            let said = said(&entity, |dot| self.roster_has(number, dot));
            if let (Some(_), Some((store, by))) = (said, expelling(id.key())) {
                expulsions.push((id, store, by));
            }
            ControlFlow::Continue(())
        })
        .expect("rows in memory can be read");
        expulsions
    }

    /// Whether a node knows that who writes under this life was expelled.
    pub(crate) fn is_expelled(&self, number: usize, life: ReplicaId) -> bool {
        let store = self.owners.get(&life).map(|owner| self.nodes[*owner].store);
        let expulsions = self.expulsions(number);
        store.is_some_and(|store| expulsions.iter().any(|(_, who, _)| *who == store))
    }

    /// Whether the roster of a node names every node, in whichever of its lives, or that it was expelled.
    pub(crate) fn knows_all(&self, number: usize) -> bool {
        let members = self.members(number);
        let known: BTreeSet<_> = members
            .iter()
            .filter_map(|(life, _)| self.owners.get(life))
            .collect();
        let expulsions = self.expulsions(number);
        let expelled: BTreeSet<u32> = expulsions.iter().map(|(_, store, _)| *store).collect();
        let mut nodes = self.nodes.iter().enumerate();
        nodes.all(|(other, node)| known.contains(&other) || expelled.contains(&node.store))
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
        self.tell_roster(number);
        let members = self.members(number);
        let lives: BTreeSet<ReplicaId> = members.iter().map(|(life, _)| *life).collect();
        let (life, store) = (self.nodes[number].life, self.nodes[number].store);
        let entered = lives.contains(&life);
        let alone = self.nodes.len() == 1;
        let roster = PartitionId::of_roster();
        let read = self.nodes[number].state.partition(roster).vector.clone();
        let expulsions = self.expulsions(number);
        let mut expelled = Expelled::new();
        for (_, who, by) in &expulsions {
            let stores = expelled.entry(store_id(*who)).or_default();
            stores.insert(*by);
        }
        if !expelled.contains_key(&store_id(store)) {
            self.nodes[number].returned.clear();
        }
        self.feed(
            number,
            Event::Roster {
                members: Arc::new(lives),
                expelled: Arc::new(expelled),
                read,
                alone,
            },
        );
        if !entered && !self.nodes[number].entering() {
            self.write(number, entry_id(life), Change::Put(store));
        }
        for (other, of) in members {
            let alive = self.nodes[number].sees.contains_key(&other);
            // A node that runs on another directory now: whoever runs it says that what it was is gone.
            let was_this = self.owners.get(&other) == Some(&number);
            if (of == store || was_this) && other != life && !alive {
                if of != store && of != GOING {
                    let id = expulsion_id(of, store, self.now_ms);
                    self.write(number, id, Change::Put(of));
                }
                self.write(number, entry_id(other), Change::Strike);
            }
        }
        for (id, who, by) in expulsions {
            if who == store && self.nodes[number].returned.contains(&by) {
                self.write(number, id, Change::Delete);
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
            let (store, by) = (self.nodes[victim].store, self.nodes[number].store);
            if store != by {
                let id = expulsion_id(store, by, self.now_ms);
                self.write(number, id, Change::Put(store));
            }
            self.write(number, entry_id(life), Change::Delete);
        }
    }
}
