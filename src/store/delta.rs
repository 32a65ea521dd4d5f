//! Reading what a peer lacks, page by page, from the index `log`.
//!
//! A page is read from one snapshot; the next may be read from a later one. That stays exact because the
//! reader of the pages claims only once a whole pass was read from snapshots with one content (one stamp), and
//! otherwise makes another pass against the vector with which the first began (`docs/protocol.md`).

use std::{collections::BTreeSet, ops::ControlFlow};

use grapevine_crdt::{Dot, Seq, VersionVector};

use super::{
    Rows, StoreError, Table,
    layout::{self, StoredEntity, parse_log_key, parse_log_value},
};
use crate::model::{Cursor, DeltaPage, EntityCells, EntityId, Floor, PartitionId, PartitionState};

/// The bounds of one page. An entity is never split, so a page may exceed them by one entity.
#[derive(Clone, Copy, Debug)]
pub struct DeltaBudget {
    /// The most entities.
    pub entities: usize,
    /// The most bytes of stored rows.
    pub bytes: usize,
}

/// One page of what `base` does not cover of `partition`, behind `cursor`; `state` is that of the same
/// snapshot as `rows`.
///
/// Cost: in proportion to what is sent and to the number of replicas with cells held, never to what the
/// partition holds.
pub fn read_delta<R: Rows + ?Sized>(
    rows: &R,
    partition: PartitionId,
    state: &PartitionState,
    base: &VersionVector,
    cursor: Option<Cursor>,
    budget: DeltaBudget,
) -> Result<DeltaPage, StoreError> {
    let decode = &mut |_: &EntityId, row: &[u8]| layout::decode_entity(row).map(Some);
    read_with(rows, partition, state, base, cursor, budget, decode)
}

/// As [`read_delta`], for who takes in what it is sent: without the entities whose rows are damaged, which are added
/// to `damaged` unless a recount has said so already. Their cells would take the place of sound ones, or keep the
/// whole partition from the reader; left out, the digests tell that they are missing once they are recounted, and
/// they are repaired from who holds them.
pub fn read_sound_delta<R: Rows + ?Sized>(
    rows: &R,
    partition: PartitionId,
    state: &PartitionState,
    base: &VersionVector,
    cursor: Option<Cursor>,
    budget: DeltaBudget,
    damaged: &mut Vec<EntityId>,
) -> Result<DeltaPage, StoreError> {
    let decode = &mut |id: &EntityId, row: &[u8]| {
        let sound = layout::decode_sound(id, row)?;
        if sound.is_none() && layout::stored_hash(row) != 0 {
            damaged.push(id.clone());
        }
        Ok(sound)
    };
    read_with(rows, partition, state, base, cursor, budget, decode)
}

/// What a row holds; `None` if it is to be left out.
type Decode<'a> = dyn FnMut(&EntityId, &[u8]) -> Result<Option<StoredEntity>, StoreError> + 'a;

fn read_with<R: Rows + ?Sized>(
    rows: &R,
    partition: PartitionId,
    state: &PartitionState,
    base: &VersionVector,
    cursor: Option<Cursor>,
    budget: DeltaBudget,
    decode: &mut Decode<'_>,
) -> Result<DeltaPage, StoreError> {
    let mut page = DeltaPage {
        entities: Vec::new(),
        vector: state.vector.clone(),
        stamp: state.steps,
        next: None,
        floor: None,
    };
    let mut sent = BTreeSet::new();
    let mut bytes = 0;
    let mut position = cursor.map(|Cursor(dot)| dot);
    while let Some((dot, id)) = next_uncovered(rows, partition, base, position)? {
        if page.entities.len() >= budget.entities || bytes >= budget.bytes {
            page.next = position.map(Cursor);
            return Ok(page);
        }
        let before = position;
        position = Some(dot);
        if sent.contains(&id) {
            continue;
        }
        let key = layout::entity_key(partition, &id);
        let Some(row) = rows.get(Table::Entities, &key)? else {
            continue;
        };
        if !page.entities.is_empty() && bytes + row.len() > budget.bytes {
            page.next = before.map(Cursor);
            return Ok(page);
        }
        let Some(stored) = decode(&id, &row)? else {
            sent.insert(id);
            continue;
        };
        let cells = stored.entity.delta(base);
        bytes += row.len();
        page.entities.push(EntityCells {
            id: id.clone(),
            cells,
        });
        sent.insert(id);
    }
    page.floor = Some(Floor::clone(&state.floor));
    Ok(page)
}

/// The first row of the log behind `position` whose dot `base` does not cover.
fn next_uncovered<R: Rows + ?Sized>(
    rows: &R,
    partition: PartitionId,
    base: &VersionVector,
    position: Option<Dot>,
) -> Result<Option<(Dot, EntityId)>, StoreError> {
    let end = layout::partition_end(partition);
    let mut from = position.map_or_else(
        || vec![partition.get()],
        |dot| layout::log_key(partition, dot).to_vec(),
    );
    loop {
        let mut row = None;
        rows.scan(Table::Log, &from, true, &end, &mut |key, value| {
            row = Some((parse_log_key(key), parse_log_value(value)));
            ControlFlow::Break(())
        })?;
        let Some((dot, id)) = row else {
            return Ok(None);
        };
        let dot = dot?;
        let covered: Seq = base.get(dot.replica);
        if dot.seq > covered {
            return Ok(Some((dot, id?)));
        }
        from = layout::log_key(partition, Dot::new(dot.replica, covered)).to_vec();
    }
}
