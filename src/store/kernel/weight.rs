//! About how many bytes a step has in the journal.

use grapevine_crdt::{FieldCell, Value};

use crate::model::{Claim, EntityCells, Op};

const CELL_BYTES: usize = 64;
const DOT_BYTES: usize = 24;

/// About how many bytes a step has in the journal.
pub(super) fn op_bytes(op: &Op) -> usize {
    claim_bytes(&op.claim) + op.entities.iter().map(entity_bytes).sum::<usize>()
}

fn claim_bytes(claim: &Claim) -> usize {
    match claim {
        Claim::Nothing | Claim::Repair | Claim::Recount => 0,
        Claim::Advance { .. } => DOT_BYTES,
        Claim::Absorb { vector, floor } => (vector.len() + floor.vector.len()) * DOT_BYTES,
        Claim::Collect { stable, ids } => {
            stable.len() * DOT_BYTES + ids.iter().map(|id| id.key().len()).sum::<usize>()
        }
        Claim::Rejoin(rejoin) => {
            let held = rejoin.held.iter();
            let held = held.map(|(id, dots)| id.key().len() + dots.len() * DOT_BYTES);
            let vectors = rejoin.vector.len() + rejoin.floor.vector.len();
            vectors * DOT_BYTES + held.sum::<usize>()
        }
    }
}

fn entity_bytes(entity: &EntityCells) -> usize {
    let cells = entity.cells.iter().map(|FieldCell { cell, .. }| {
        let value = match &cell.value {
            Value::Bytes(bytes) => bytes.len(),
            Value::Dots(dots) => dots.len() * DOT_BYTES,
            Value::Tombstone | Value::Counted => 0,
        };
        CELL_BYTES + cell.seen.len() * DOT_BYTES + value
    });
    entity.id.key().len() + cells.sum::<usize>()
}
