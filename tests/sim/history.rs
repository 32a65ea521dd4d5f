//! Every write that became durable somewhere, whether its client heard of it or not.

use std::collections::{BTreeMap, BTreeSet};

use grapevine::model::{Claim, EntityId, Op, PartitionId};
use grapevine_crdt::{Dot, FieldCell, ReplicaId, Timestamp, VersionVector};

use crate::client::{Change, Sums};

/// The writes to one partition.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    pub(crate) entities: BTreeMap<EntityId, BTreeMap<Dot, Vec<FieldCell>>>,
    pub(crate) dots: BTreeMap<Dot, EntityId>,
    pub(crate) vector: VersionVector,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) partitions: BTreeMap<PartitionId, Writes>,
    pub(crate) acknowledged: BTreeSet<(PartitionId, Dot)>,
    pub(crate) sums: Sums,
    /// Per node the greatest time it gave to a write, in all its lives.
    pub(crate) times: BTreeMap<usize, Timestamp>,
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

    /// Remembers the steps of a durable group that `life` wrote itself.
    pub(crate) fn remember(&mut self, life: ReplicaId, ops: &[Op]) {
        for op in ops.iter().filter(|op| is_local(op, life)) {
            let writes = self.partitions.entry(op.partition).or_default();
            for entity in &op.entities {
                for cell in &entity.cells {
                    let dot = cell.cell.dot;
                    writes.dots.insert(dot, entity.id.clone());
                    writes.vector.advance(dot.replica, dot.seq);
                    let cells = writes.entities.entry(entity.id.clone()).or_default();
                    cells.entry(dot).or_default().push(cell.clone());
                }
            }
        }
    }

    pub(crate) fn count(&mut self, changes: &[(EntityId, Change)]) {
        for (id, change) in changes {
            self.sums.add(id, change);
        }
    }
}

/// Whether the step is a write of this life.
pub(crate) fn is_local(op: &Op, life: ReplicaId) -> bool {
    matches!(&op.claim, Claim::Advance { replica, .. } if *replica == life)
}
