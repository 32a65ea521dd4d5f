//! Lists in the order of keys, over all partitions: a merge of 256 sorted ranges, each read only as far as
//! the page needs.

use std::{cmp::Reverse, collections::BinaryHeap, ops::ControlFlow};

use bytes::Bytes;
use grapevine_crdt::Entity;

use super::{Rows, StoreError, Table, layout};
use crate::model::{Collection, EntityId, PartitionId};

/// Which entities to list.
#[derive(Clone, Debug)]
pub struct Listing<'a> {
    /// The collection.
    pub collection: Collection,
    /// Only keys that start with this.
    pub prefix: &'a str,
    /// Only keys above this.
    pub after: Option<&'a str>,
}

/// Calls `visit` for each entity of `listing` in which some attribute remembers a cell that lost unseen, in the
/// order of their keys, until it breaks.
///
/// Cost: one seek per partition, and two per entity visited.
pub fn list_conflicting<R: Rows + ?Sized>(
    rows: &R,
    listing: &Listing<'_>,
    visit: &mut dyn FnMut(EntityId, Entity) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    list_rows(
        rows,
        Table::Conflicts,
        listing,
        &mut |id, partition, _row| {
            let key = layout::entity_key(partition, &id);
            let Some(row) = rows.get(Table::Entities, &key)? else {
                return Ok(ControlFlow::Continue(()));
            };
            Ok(visit(id, layout::decode_entity(&row)?.entity))
        },
    )
}

/// A row of at most so many bytes is kept from when its key was found; another is read again when its turn comes, so
/// that the rows of all partitions are never held at once.
const MAX_HEAD_BYTES: usize = 4 * 1_024;

/// Calls `visit` for each entity held, hidden ones too, in the order of their keys, until it breaks.
///
/// Cost: one seek per partition, and one per entity visited, two if it is large.
pub fn list_entities<R: Rows + ?Sized>(
    rows: &R,
    listing: &Listing<'_>,
    visit: &mut dyn FnMut(EntityId, Entity) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    list_rows(rows, Table::Entities, listing, &mut |id, partition, row| {
        let read;
        let row = if let Some(row) = row {
            row
        } else {
            read = rows.get(Table::Entities, &layout::entity_key(partition, &id))?;
            read.as_deref().unwrap_or_default()
        };
        Ok(visit(id, layout::decode_entity(row)?.entity))
    })
}

type VisitRow<'a> =
    dyn FnMut(EntityId, PartitionId, Option<&[u8]>) -> Result<ControlFlow<()>, StoreError> + 'a;

/// The rows of a table, but large ones, whose keys are those of entities, in the order of the entities' keys.
fn list_rows<R: Rows + ?Sized>(
    rows: &R,
    table: Table,
    listing: &Listing<'_>,
    visit: &mut VisitRow<'_>,
) -> Result<(), StoreError> {
    let mut heads = BinaryHeap::new();
    for partition in PartitionId::all() {
        let after = listing.after.filter(|after| *after >= listing.prefix);
        let from = after.unwrap_or(listing.prefix);
        let from = layout::collection_key(partition, listing.collection, from);
        push_next(
            rows,
            table,
            listing,
            partition,
            &from,
            after.is_some(),
            &mut heads,
        )?;
    }
    while let Some(Reverse((id, partition, row))) = heads.pop() {
        let from = layout::entity_key(partition, &id);
        push_next(rows, table, listing, partition, &from, true, &mut heads)?;
        if visit(id, partition, row.as_deref())?.is_break() {
            break;
        }
    }
    Ok(())
}

type Heads = BinaryHeap<Reverse<(EntityId, PartitionId, Option<Bytes>)>>;

fn push_next<R: Rows + ?Sized>(
    rows: &R,
    table: Table,
    listing: &Listing<'_>,
    partition: PartitionId,
    from: &[u8],
    exclusive: bool,
    heads: &mut Heads,
) -> Result<(), StoreError> {
    let mut head = None;
    let end = layout::partition_end(partition);
    rows.scan(table, from, exclusive, &end, &mut |key, row| {
        let row = (row.len() <= MAX_HEAD_BYTES).then(|| Bytes::copy_from_slice(row));
        head = Some((layout::parse_entity_key(key), row));
        ControlFlow::Break(())
    })?;
    if let Some((id, row)) = head {
        let id = id?;
        if id.collection() == listing.collection && id.key().starts_with(listing.prefix) {
            heads.push(Reverse((id, partition, row)));
        }
    }
    Ok(())
}
