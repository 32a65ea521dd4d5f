//! Pages of a whole partition: what is held, for a peer that takes part anew; what is visible, with its hashes, for
//! repair; and the comparison of such a list with what is held here.
//!
//! Each page is read from one snapshot, in the order of the rows; the next begins behind the last entity of the
//! one before, in whatever snapshot is the latest then.

use std::{collections::BTreeMap, ops::ControlFlow};

use bytes::Bytes;
use grapevine_crdt::VersionVector;

use super::{
    DeltaBudget, Rows, StoreError, Table, entity_hash,
    layout::{self, parse_entity_key},
};
use crate::model::{
    CellName, EntityCells, EntityId, EntityState, Floor, ListingPage, PartitionId, PartitionState,
    StatePage,
};

/// What a dot takes in a frame, about.
const DOT_BYTES: usize = 24;

/// What an entry of a listing takes beside its key, about.
const ENTRY_BYTES: usize = 24;

/// One page of all that is held of `partition`, behind `cursor`: the dots of each entity, and its cells that
/// `vector` does not cover. A page may exceed its budget by one entity.
pub fn read_state<R: Rows + ?Sized>(
    rows: &R,
    partition: PartitionId,
    state: &PartitionState,
    vector: &VersionVector,
    cursor: Option<&EntityId>,
    budget: DeltaBudget,
) -> Result<StatePage, StoreError> {
    let mut page = StatePage {
        entities: Vec::new(),
        vector: state.vector.clone(),
        floor: Floor::clone(&state.floor),
        next: None,
    };
    let mut bytes = 0;
    for_each_entity(rows, partition, cursor, None, &mut |id, row| {
        if page.entities.len() >= budget.entities || bytes >= budget.bytes {
            page.next = page.entities.last().map(|last| last.id.clone());
            return Ok(ControlFlow::Break(()));
        }
        let stored = layout::decode_entity(row)?;
        let names = CellName::all(&stored.entity);
        // What is damaged is named, or its sound cells would be dropped as collected; its own cells stay here.
        let sound = stored.hash == entity_hash(&id, &stored.entity)?;
        let cells = if sound {
            stored.entity.delta(vector)
        } else {
            Vec::new()
        };
        bytes += id.key().len() + names.len() * DOT_BYTES;
        bytes += if cells.is_empty() { 0 } else { row.len() };
        page.entities.push(EntityState { id, names, cells });
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(page)
}

/// One page of the visible entities of `partition`, behind `cursor`, each with the hash that its cells have.
pub fn read_listing<R: Rows + ?Sized>(
    rows: &R,
    partition: PartitionId,
    cursor: Option<&EntityId>,
    budget: DeltaBudget,
) -> Result<ListingPage, StoreError> {
    let mut page = ListingPage {
        entries: Vec::new(),
        next: None,
    };
    let mut bytes = 0;
    for_each_entity(rows, partition, cursor, None, &mut |id, row| {
        if page.entries.len() >= budget.entities || bytes >= budget.bytes {
            page.next = page.entries.last().map(|(last, _)| last.clone());
            return Ok(ControlFlow::Break(()));
        }
        // What is damaged here is not told: it is fetched from the peer by us.
        let hash = sound_hash(&id, row)?.unwrap_or(0);
        if hash != 0 {
            bytes += id.key().len() + ENTRY_BYTES;
            page.entries.push((id, hash));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(page)
}

/// All cells of as many of `ids`, from the first on, as the budget has room for; and how many that were. One is
/// always answered. What is not held, or is damaged, is left out: it must not take the place of what is sound.
pub fn read_entities<R: Rows + ?Sized>(
    rows: &R,
    partition: PartitionId,
    ids: &[EntityId],
    budget: DeltaBudget,
) -> Result<(usize, Vec<EntityCells>), StoreError> {
    let mut entities = Vec::new();
    let mut bytes = 0;
    for (answered, id) in ids.iter().enumerate() {
        let Some(row) = rows.get(Table::Entities, &layout::entity_key(partition, id))? else {
            continue;
        };
        if answered > 0 && (bytes + row.len() > budget.bytes || answered >= budget.entities) {
            return Ok((answered, entities));
        }
        let Some(stored) = layout::decode_sound(id, &row)? else {
            continue;
        };
        bytes += row.len();
        entities.push(EntityCells {
            id: id.clone(),
            cells: stored.entity.delta(&VersionVector::default()),
        });
    }
    Ok((ids.len(), entities))
}

/// The entities behind `after` and up to `upto` that are visible here or at a peer that lists `theirs`, and differ,
/// in order. What is damaged here differs from everything.
pub fn compare_listing<R: Rows + ?Sized>(
    rows: &R,
    partition: PartitionId,
    after: Option<&EntityId>,
    upto: Option<&EntityId>,
    theirs: &[(EntityId, u128)],
) -> Result<Vec<EntityId>, StoreError> {
    // To each its hash there, and whether it was found the same here.
    let mut listed: BTreeMap<&EntityId, u128> =
        theirs.iter().map(|(id, hash)| (id, *hash)).collect();
    let mut differing = Vec::new();
    for_each_entity(rows, partition, after, upto, &mut |id, row| {
        let there = listed.remove(&id).unwrap_or(0);
        if sound_hash(&id, row)? != Some(there) {
            differing.push(id);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    differing.extend(listed.into_keys().cloned());
    differing.sort();
    Ok(differing)
}

/// The hash of a row; `None` if it is damaged: it cannot be read, or its cells are not those that the hash was
/// made from.
fn sound_hash(id: &EntityId, row: &[u8]) -> Result<Option<u128>, StoreError> {
    Ok(layout::decode_sound(id, row)?.map(|stored| stored.hash))
}

type Visit<'a> = dyn FnMut(EntityId, &[u8]) -> Result<ControlFlow<()>, StoreError> + 'a;

/// Calls `visit` for the rows of entities behind `after` and up to `upto`, until it breaks.
fn for_each_entity<R: Rows + ?Sized>(
    rows: &R,
    partition: PartitionId,
    after: Option<&EntityId>,
    upto: Option<&EntityId>,
    visit: &mut Visit<'_>,
) -> Result<(), StoreError> {
    for_each(rows, Table::Entities, partition, (after, upto), visit)
}

/// Calls `visit` for the rows of a table with keys of entities, behind the first end and up to the second.
fn for_each<R: Rows + ?Sized>(
    rows: &R,
    table: Table,
    partition: PartitionId,
    (after, upto): (Option<&EntityId>, Option<&EntityId>),
    visit: &mut Visit<'_>,
) -> Result<(), StoreError> {
    let from = after.map_or_else(
        || Bytes::copy_from_slice(&[partition.get()]),
        |after| layout::entity_key(partition, after),
    );
    let end = upto.map_or_else(
        || layout::partition_end(partition),
        |upto| {
            let mut end = layout::entity_key(partition, upto).to_vec();
            end.push(0);
            end
        },
    );
    let mut failed = None;
    rows.scan(
        table,
        &from,
        after.is_some(),
        &end,
        &mut |key, row| match parse_entity_key(key).and_then(|id| visit(id, row)) {
            Ok(flow) => flow,
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        },
    )?;
    failed.map_or(Ok(()), Err)
}
