//! What every node must show in the end: the fold of all durable writes, made without the kernel, and without
//! collection: whatever was collected must not be missed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use grapevine::{
    model::{Collection, EntityId, PartitionId},
    store::read_entity,
};
use grapevine_crdt::{Dot, Entity, FieldCell, PnCounter, Value};

use crate::{
    counts::Shown,
    held::Held,
    history::{Writes, seen_by},
    world::World,
};

/// The writes in `kept`, merged.
fn fold(writes: &Writes, kept: impl Fn(Dot) -> bool) -> BTreeMap<EntityId, Entity> {
    let entities = writes.entities.iter().map(|(id, writes)| {
        let mut entity = Entity::default();
        // Backwards, which is hardly an order in which they came.
        for (_, cells) in writes.iter().rev().filter(|(dot, _)| kept(**dot)) {
            for cell in cells {
                if !seen_by(writes, cell).any(&kept) {
                    entity.merge_cell(cell.clone());
                }
            }
        }
        (id.clone(), entity)
    });
    entities.collect()
}

/// What users see of an entity, conflicts and all.
fn shown(entity: Option<&Entity>) -> Vec<FieldCell> {
    let digested = entity.into_iter().flat_map(Entity::digested);
    let mut cells: Vec<FieldCell> = digested
        .map(|(field, cell)| FieldCell {
            field: field.clone(),
            cell: cell.clone(),
        })
        .collect();
    cells.sort();
    cells
}

/// Whether some removal or clearing was made by somebody who had seen the write `dot`.
fn was_removed(written: &BTreeMap<Dot, Vec<FieldCell>>, dot: Dot) -> bool {
    written
        .values()
        .flatten()
        .any(|cell| match &cell.cell.value {
            Value::Dots(dots) => dots.covers(dot),
            Value::Bytes(_) | Value::Tombstone | Value::Counted => false,
        })
}

impl World {
    /// Compares every node with the oracle and with every other.
    pub(crate) fn compare(&self) -> Result<(), String> {
        for partition in PartitionId::all() {
            self.compare_partition(partition)?;
        }
        self.compare_digests()?;
        self.compare_acknowledged()?;
        self.compare_conflicts()?;
        self.compare_counts()
    }

    /// Where nodes differ, for who has to find out why.
    pub(crate) fn differences(&self) -> String {
        let mut told = String::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let (jobs, sees) = (node.jobs.len(), node.sees.len());
            let (up, staged) = (node.up, node.staged.is_some());
            let _infallible = write!(
                told,
                "node {number}: up {up}, staged {staged}, {jobs} jobs, sees {sees}"
            );
            let expelled = self.expulsions(number);
            let _infallible = write!(told, ", store {}, expelled {expelled:?}", node.store);
            for partition in PartitionId::all() {
                let ours = node.state.partition(partition);
                let first = self.nodes[0].state.partition(partition);
                if ours.summary() != first.summary() {
                    let (vector, unclaimed, floor) = (&ours.vector, ours.unclaimed, &ours.floor);
                    let _infallible = write!(
                        told,
                        "; {partition}: {vector:?}, {unclaimed} unclaimed, floor {:?} instead of {:?}, {} unclaimed, floor {:?}",
                        floor.vector, first.vector, first.unclaimed, first.floor.vector
                    );
                }
            }
            told.push('\n');
        }
        told
    }

    /// What nodes know of each other, for who has to find out why.
    pub(crate) fn knowledge(&self) -> String {
        let mut told = String::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let peers = node.engine.peers(&node.view(), self.now(number));
            let unsure = peers.iter().filter(|peer| peer.up && !peer.agrees);
            let unsure: Vec<_> = unsure.map(|peer| self.owners.get(&peer.replica)).collect();
            let up = peers.iter().filter(|peer| peer.up).count();
            let _infallible = writeln!(told, "node {number}: {up} up, unsure of {unsure:?}");
        }
        told
    }

    /// Whether a write is on no disk any more because a node lost a part of its past.
    pub(crate) fn is_lost(&self, partition: PartitionId, dot: Dot) -> bool {
        if !self.history.lost.contains(&(partition, dot)) {
            return false;
        }
        let node = &self.nodes[0];
        let covered = node.state.partition(partition).vector.covers(dot);
        !covered && !Held::of(&node.rows, partition).log.contains_key(&dot)
    }

    fn expected(&self, partition: PartitionId) -> BTreeMap<EntityId, Entity> {
        let nothing = Writes::default();
        let writes = self.history.partitions.get(&partition).unwrap_or(&nothing);
        fold(writes, |dot| !self.is_lost(partition, dot))
    }

    fn compare_partition(&self, partition: PartitionId) -> Result<(), String> {
        let expected = self.expected(partition);
        let nothing = Writes::default();
        let writes = self.history.partitions.get(&partition).unwrap_or(&nothing);
        for (number, node) in self.nodes.iter().enumerate() {
            let at = |what: &str| format!("node {number}, partition {partition}: {what}");
            let held = Held::of(&node.rows, partition);
            let ids: BTreeSet<&EntityId> = expected.keys().chain(held.entities.keys()).collect();
            for id in ids {
                let (is, should) = (shown(held.entities.get(id)), shown(expected.get(id)));
                let removed = |cell: &FieldCell| {
                    let written = writes.entities.get(id);
                    written.is_some_and(|written| was_removed(written, cell.cell.dot))
                };
                let mut missing = should.iter().filter(|cell| !is.contains(cell));
                // Somebody had removed it, having seen it; an edit that did not know, or one of the same contact
                // made anew, brings it back where it is still held.
                let excused = self.disturbed
                    && is.iter().all(|cell| should.contains(cell))
                    && missing.all(removed);
                if is != should && !excused {
                    return Err(at(&format!(
                        "shows {is:?} of {id} instead of {should:?}; it holds {:?}; all that was written is {:?}",
                        held.entities.get(id),
                        writes.entities.get(id),
                    )));
                }
            }
            let state = node.state.partition(partition);
            held.adds_up_to(state).map_err(|what| at(&what))?;
            if self.history.lost.is_empty() {
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
        Ok(())
    }

    fn compare_digests(&self) -> Result<(), String> {
        for (number, node) in self.nodes.iter().enumerate() {
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

    /// What was deleted long ago is gone for good.
    pub(crate) fn compare_garbage(&self) -> Result<(), String> {
        for partition in PartitionId::all() {
            for (number, node) in self.nodes.iter().enumerate() {
                let held = Held::of(&node.rows, partition);
                let mut entities = held.entities.iter();
                let hidden = entities.find(|(id, entity)| {
                    id.collection() != Collection::Counters && !entity.is_visible()
                });
                if let Some((id, entity)) = hidden {
                    let by = node.engine.collection(&node.view(), self.now(number));
                    return Err(format!(
                        "node {number} still holds {id}: {entity:?}; in the way is {by:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn compare_counts(&self) -> Result<(), String> {
        for (id, should) in self.history.counts.iter() {
            let partition = id.partition();
            let lost = self.history.lost.iter().any(|(of, dot)| {
                let write = self.history.write(*of, *dot);
                *of == partition && write.is_some_and(|(written, _)| written == id)
            });
            if lost {
                continue;
            }
            let held = read_entity(&self.nodes[0].rows, id).expect("rows in memory can be read");
            let entity = held.unwrap_or_default();
            let is = Shown {
                value: PnCounter::new(&entity).value(),
                visible: entity.is_visible(),
            };
            if is != should {
                let writes = self.history.partitions.get(&partition);
                return Err(format!(
                    "{id} is {is:?} instead of {should:?}: {entity:?}; all that was written is {:?}",
                    writes.and_then(|writes| writes.entities.get(id)),
                ));
            }
        }
        Ok(())
    }
}
