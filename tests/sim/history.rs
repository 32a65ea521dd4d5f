//! Every write that became durable somewhere, whether its client heard of it or not.

use std::collections::{BTreeMap, BTreeSet};

use grapevine::{
    model::{Claim, EntityId, Op, PartitionId},
    store::State,
};
use grapevine_crdt::{Dot, FieldCell, ReplicaId, Timestamp, VersionVector};
use uuid::Uuid;

use crate::{client::Made, counts::Counts, seen::Seen};

/// The writes to one partition.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    pub(crate) entities: BTreeMap<EntityId, BTreeMap<Dot, Vec<FieldCell>>>,
    pub(crate) dots: BTreeMap<Dot, EntityId>,
    pub(crate) vector: VersionVector,
    /// What the writer of each write had taken in of the partition.
    pub(crate) contexts: BTreeMap<Dot, VersionVector>,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) partitions: BTreeMap<PartitionId, Writes>,
    pub(crate) acknowledged: BTreeSet<(PartitionId, Dot)>,
    pub(crate) counts: Counts,
    /// The writes that brought in each edit from outside.
    pub(crate) brought: BTreeMap<Uuid, Vec<Dot>>,
    /// The names given to edits from outside, whether they became durable or not.
    pub(crate) outside: BTreeSet<(PartitionId, Dot)>,
    /// What the writer of each write had seen.
    pub(crate) seen: BTreeMap<(PartitionId, Dot), Seen>,
    /// Per node the greatest time it gave to a write, in all its lives.
    pub(crate) times: BTreeMap<usize, Timestamp>,
    /// Writes that were on no disk any more when a node lost a part of its past.
    pub(crate) lost: BTreeSet<(PartitionId, Dot)>,
}

impl History {
    /// The cells of a write.
    pub(crate) fn write(
        &self,
        partition: PartitionId,
        dot: Dot,
    ) -> Option<(&EntityId, &[FieldCell])> {
        let writes = self.partitions.get(&partition)?;
        let id = writes.dots.get(&dot)?;
        Some((id, writes.entities.get(id)?.get(&dot)?))
    }

    /// The writes to an entity, with what their writers had taken in.
    pub(crate) fn contexts(&self, id: &EntityId) -> impl Iterator<Item = (Dot, &VersionVector)> {
        let writes = self.partitions.get(&id.partition());
        writes.into_iter().flat_map(|writes| {
            let of = writes.entities.get(id);
            of.into_iter()
                .flat_map(|of| of.keys())
                .filter_map(|dot| Some((*dot, writes.contexts.get(dot)?)))
        })
    }

    /// Remembers what a rejoin wrote anew.
    pub(crate) fn remember_issued(
        &mut self,
        partition: PartitionId,
        id: &EntityId,
        cell: &FieldCell,
        context: &VersionVector,
    ) {
        let dot = cell.cell.dot;
        // Nobody thought of it: it has seen what it says.
        let seen = self.seen.entry((partition, dot)).or_default();
        seen.tell(cell.cell.seen.iter());
        let writes = self.partitions.entry(partition).or_default();
        writes.dots.insert(dot, id.clone());
        writes.vector.advance(dot.replica, dot.seq);
        writes
            .contexts
            .entry(dot)
            .or_insert_with(|| context.clone());
        let cells = writes.entities.entry(id.clone()).or_default();
        let cells = cells.entry(dot).or_default();
        if !cells.contains(cell) {
            cells.push(cell.clone());
        }
    }

    /// Remembers the steps of a durable group that `life` wrote itself.
    pub(crate) fn remember(&mut self, life: ReplicaId, ops: &[Op], before: &State) {
        let mut vectors: BTreeMap<PartitionId, VersionVector> = BTreeMap::new();
        for op in ops {
            let vector = vectors
                .entry(op.partition)
                .or_insert_with(|| before.partition(op.partition).vector.clone());
            if is_local(op, life) {
                self.remember_write(op, vector);
            }
            match &op.claim {
                Claim::Advance { replica, upto, .. } => vector.advance(*replica, *upto),
                Claim::Absorb { vector: taken, .. } => vector.join(taken),
                Claim::Rejoin(rejoin) => vector.join(&rejoin.vector),
                Claim::Nothing | Claim::Repair | Claim::Recount | Claim::Collect { .. } => {}
            }
        }
    }

    fn remember_write(&mut self, op: &Op, context: &VersionVector) {
        let writes = self.partitions.entry(op.partition).or_default();
        for entity in &op.entities {
            for cell in &entity.cells {
                let dot = cell.cell.dot;
                writes.dots.insert(dot, entity.id.clone());
                writes.vector.advance(dot.replica, dot.seq);
                writes.contexts.insert(dot, context.clone());
                let cells = writes.entities.entry(entity.id.clone()).or_default();
                cells.entry(dot).or_default().push(cell.clone());
            }
        }
    }

    /// A node went back from `now` to `then`: what it wrote between, and whatever else it had, may be on no disk
    /// any more.
    pub(crate) fn lose(&mut self, now: &State, then: &State) {
        for (partition, writes) in &self.partitions {
            let (had, has) = (now.partition(*partition), then.partition(*partition));
            let gone = writes
                .dots
                .keys()
                .filter(|dot| had.vector.covers(**dot) && !has.vector.covers(**dot));
            self.lost.extend(gone.map(|dot| (*partition, *dot)));
        }
    }

    /// Remembers what was asked for, and what whoever did it had seen.
    pub(crate) fn remember_made(&mut self, made: &[Made]) {
        for Made {
            id,
            count,
            outside,
            dot,
            seen,
        } in made
        {
            if let Some(edit) = outside {
                self.brought.entry(*edit).or_default().push(*dot);
            }
            self.seen.insert((id.partition(), *dot), seen.clone());
            if let Some(count) = count {
                self.counts.add(id, *dot, count.clone(), seen.clone());
            }
        }
    }
}

/// The writes whose cells of the same field have seen `cell`, and so replace it. What one has seen need not include
/// what a collected one had seen before it, so merging them all does not tell.
pub(crate) fn seen_by<'a>(
    written: &'a BTreeMap<Dot, Vec<FieldCell>>,
    cell: &'a FieldCell,
) -> impl Iterator<Item = Dot> + 'a {
    let dot = cell.cell.dot;
    let cells = written.values().flatten();
    cells
        .filter(move |by| by.field == cell.field && by.cell.seen.covers(dot))
        .map(|by| by.cell.dot)
}

/// Whether the step is a write of this life.
pub(crate) fn is_local(op: &Op, life: ReplicaId) -> bool {
    matches!(&op.claim, Claim::Advance { replica, .. } if *replica == life)
}
