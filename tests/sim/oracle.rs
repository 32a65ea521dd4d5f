//! What every node must hold in the end: the fold of all durable writes, made without the kernel.

use std::collections::BTreeMap;

use grapevine::model::{EntityId, PartitionId};
use grapevine_crdt::{Entity, PnCounter};

use crate::{held::Held, history::Writes, world::World};

fn fold(writes: &Writes) -> BTreeMap<EntityId, Entity> {
    let entities = writes.entities.iter().map(|(id, writes)| {
        let mut entity = Entity::default();
        // Backwards, which is hardly an order in which they came.
        for cell in writes.values().flatten().rev() {
            entity.merge_cell(cell.clone());
        }
        (id.clone(), entity)
    });
    entities.collect()
}

impl World {
    /// Compares every node with the oracle and with every other.
    pub(crate) fn compare(&self) -> Result<(), String> {
        let nothing = Writes::default();
        for partition in PartitionId::all() {
            let writes = self.history.partitions.get(&partition).unwrap_or(&nothing);
            let expected = fold(writes);
            for (number, node) in self.nodes.iter().enumerate() {
                let at = |what: &str| format!("node {number}, partition {partition}: {what}");
                let held = Held::of(&node.rows, partition);
                if held.entities != expected {
                    return Err(at(&format!(
                        "holds {:?} instead of {expected:?}",
                        held.entities
                    )));
                }
                let state = node.state.partition(partition);
                held.adds_up_to(state).map_err(|what| at(&what))?;
                if state.vector != writes.vector {
                    return Err(at(&format!(
                        "has taken in {:?} instead of {:?}",
                        state.vector, writes.vector
                    )));
                }
                if state.unclaimed != 0 {
                    return Err(at("is still open"));
                }
            }
        }
        self.compare_rows()?;
        self.compare_acknowledged()?;
        self.compare_sums()
    }

    fn compare_rows(&self) -> Result<(), String> {
        let first: Vec<_> = self.nodes[0].rows.iter().collect();
        for (number, node) in self.nodes.iter().enumerate() {
            if node.rows.iter().collect::<Vec<_>>() != first {
                return Err(format!("node {number} holds other bytes than node 0"));
            }
            if node.state.root() != self.nodes[0].state.root() {
                return Err(format!("node {number} has another root than node 0"));
            }
        }
        Ok(())
    }

    fn compare_acknowledged(&self) -> Result<(), String> {
        for (partition, dot) in &self.history.acknowledged {
            if self.history.write(*partition, *dot).is_none() {
                return Err(format!("{dot:?} was acknowledged and is lost"));
            }
        }
        Ok(())
    }

    fn compare_sums(&self) -> Result<(), String> {
        let nothing = Writes::default();
        for (id, sum) in self.history.sums.iter() {
            let writes = self.history.partitions.get(&id.partition());
            let entities = fold(writes.unwrap_or(&nothing));
            let value = entities
                .get(id)
                .map_or(0, |entity| PnCounter::new(entity).value());
            if value != sum {
                return Err(format!("{id} is {value}, {sum} was counted"));
            }
        }
        Ok(())
    }
}
