//! What rows say is held of a partition, read without the kernel's indexes.

use std::{collections::BTreeMap, ops::ControlFlow};

use grapevine::{
    model::{Collection, EntityId, PartitionId, PartitionState},
    store::{MemoryRows, Rows, Table, entity_hash, read_entity},
};
use grapevine_crdt::{Dot, Entity, ReplicaId, Seq, VersionVector};

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) entities: BTreeMap<EntityId, Entity>,
    pub(crate) log: BTreeMap<Dot, EntityId>,
}

impl Held {
    pub(crate) fn of(rows: &MemoryRows, partition: PartitionId) -> Self {
        let mut held = Self::default();
        for_each_row(rows, Table::Entities, partition, &mut |key, _| {
            let id = entity_id(&key[1..]);
            let entity = read_entity(rows, &id).expect("a readable row");
            held.entities.insert(id, entity.expect("the row is there"));
        });
        for_each_row(rows, Table::Log, partition, &mut |key, value| {
            let replica = key[1..17].try_into().expect("16 bytes");
            let seq = key[17..].try_into().expect("8 bytes");
            let dot = Dot::new(
                ReplicaId::from_bytes(replica),
                Seq::new(u64::from_be_bytes(seq)),
            );
            held.log.insert(dot, entity_id(&value[1..]));
        });
        held
    }

    /// The dots held, each with its entity, by what the entities say.
    pub(crate) fn dots(&self) -> BTreeMap<Dot, EntityId> {
        let dots = self.entities.iter();
        dots.flat_map(|(id, entity)| entity.dots().into_iter().map(|dot| (dot, id.clone())))
            .collect()
    }

    pub(crate) fn digest(&self) -> u128 {
        self.entities
            .iter()
            .map(|(id, entity)| entity_hash(id, entity).expect("an entity can be encoded"))
            .fold(0, u128::wrapping_add)
    }

    pub(crate) fn unclaimed(&self, vector: &VersionVector) -> u64 {
        let unclaimed = self.dots().into_keys().filter(|dot| !vector.covers(*dot));
        u64::try_from(unclaimed.count()).expect("few dots")
    }

    /// Whether `state` is what these rows add up to.
    pub(crate) fn adds_up_to(&self, state: &PartitionState) -> Result<(), String> {
        if self.log != self.dots() {
            return Err(format!(
                "the log {:?} is not the dots held {:?}",
                self.log,
                self.dots()
            ));
        }
        if self.digest() != state.digest {
            return Err("the digest is not that of the entities held".to_owned());
        }
        if self.unclaimed(&state.vector) != state.unclaimed {
            return Err(format!(
                "{} dots are not covered, not {}",
                self.unclaimed(&state.vector),
                state.unclaimed
            ));
        }
        let garbage = self
            .entities
            .iter()
            .filter(|(id, entity)| id.collection() != Collection::Counters && entity.is_garbage());
        if u64::try_from(garbage.count()) != Ok(state.garbage) {
            return Err("what may be collected is counted wrongly".to_owned());
        }
        if !state.vector.includes(&state.floor.vector) {
            return Err("the floor is above the vector".to_owned());
        }
        Ok(())
    }
}

fn for_each_row(
    rows: &MemoryRows,
    table: Table,
    partition: PartitionId,
    visit: &mut dyn FnMut(&[u8], &[u8]),
) {
    let from = [partition.get()];
    let to: Vec<u8> = partition.get().checked_add(1).into_iter().collect();
    rows.scan(table, &from, false, &to, &mut |key, value| {
        visit(key, value);
        ControlFlow::Continue(())
    })
    .expect("rows in memory can be read");
}

fn entity_id(bytes: &[u8]) -> EntityId {
    let collection = Collection::try_from(bytes[0]).expect("a collection");
    let key = core::str::from_utf8(&bytes[1..]).expect("UTF-8");
    EntityId::new(collection, key).expect("a key within bounds")
}
