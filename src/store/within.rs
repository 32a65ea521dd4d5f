//! Lists within one partition, for collections whose keys begin with the name of a group that lives in one
//! partition as a whole: `group/…`.

use std::{cmp::Reverse, collections::BinaryHeap, ops::ControlFlow};

use grapevine_crdt::Entity;

use super::{Rows, Snapshot, StoreError, Table, Visit, layout};
use crate::model::{Collection, EntityId, PartitionId};

/// What parts the name of a group from the rest of a key.
const SEPARATOR: char = '/';
/// The character behind [`SEPARATOR`]: with it in its place no key of a group is below, nor one of the next above.
const BEHIND: char = '0';

/// The row of an entity, not read yet.
#[derive(Clone, Copy, Debug)]
pub struct HeldRow<'a>(&'a [u8]);

impl HeldRow<'_> {
    /// Whether the entity is hidden; so says its hash, without its cells.
    #[must_use]
    pub fn is_hidden(self) -> bool {
        layout::stored_hash(self.0) == 0
    }

    /// The entity.
    pub fn read(self) -> Result<Entity, StoreError> {
        layout::decode_entity(self.0).map(|stored| stored.entity)
    }
}

/// Which entities of one partition to list: keys above `from` and below `to`.
#[derive(Clone, Debug)]
pub struct Range<'a> {
    /// The partition.
    pub partition: PartitionId,
    /// The collection.
    pub collection: Collection,
    /// Where it begins.
    pub from: &'a str,
    /// Whether it begins behind `from`.
    pub exclusive: bool,
    /// Before which it ends.
    pub to: &'a str,
}

/// Calls `visit` for each entity held in `range`, hidden ones too, in the order of their keys, until it breaks.
pub fn list_within<R: Rows + ?Sized>(
    rows: &R,
    range: &Range<'_>,
    visit: &mut VisitHeld<'_>,
) -> Result<(), StoreError> {
    visiting(range, visit, |from, to, visit| {
        rows.scan(Table::Entities, from, range.exclusive, to, visit)
    })
}

/// As [`list_within`], but the last first.
pub fn list_within_back(
    snapshot: &Snapshot,
    range: &Range<'_>,
    visit: &mut VisitHeld<'_>,
) -> Result<(), StoreError> {
    visiting(range, visit, |from, to, visit| {
        snapshot.scan_back(Table::Entities, from, range.exclusive, to, visit)
    })
}

/// Called with an entity and its row; breaks to end the list.
type VisitHeld<'a> = dyn FnMut(EntityId, HeldRow<'_>) -> ControlFlow<()> + 'a;

/// Has `scan` visit the rows between two keys, as entities.
fn visiting(
    range: &Range<'_>,
    visit: &mut VisitHeld<'_>,
    scan: impl FnOnce(&[u8], &[u8], &mut Visit<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let from = layout::collection_key(range.partition, range.collection, range.from);
    let to = layout::collection_key(range.partition, range.collection, range.to);
    let mut failed = None;
    scan(
        &from,
        &to,
        &mut |key, row| match layout::parse_entity_key(key) {
            Ok(id) => visit(id, HeldRow(row)),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        },
    )?;
    failed.map_or(Ok(()), Err)
}

/// Calls `visit` for each group of `collection` behind the group `after` whose keys all begin with `prefix`, with the
/// partition it lives in, until it breaks: in the order of their names with the separator behind them.
///
/// Cost: one seek per partition, and one per group visited.
pub fn list_groups<R: Rows + ?Sized>(
    rows: &R,
    collection: Collection,
    prefix: &str,
    after: Option<&str>,
    visit: &mut dyn FnMut(&str, PartitionId) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let begin = after.map(behind).unwrap_or_default();
    let begin = begin.max(prefix.to_owned());
    let mut heads = BinaryHeap::new();
    let first = |partition, from: &str| first_key(rows, collection, partition, from);
    for partition in PartitionId::all() {
        if let Some(key) = first(partition, &begin)? {
            heads.push(Reverse((key, partition)));
        }
    }
    while let Some(Reverse((key, partition))) = heads.pop() {
        let next = match key.split_once(SEPARATOR) {
            Some((group, _)) => {
                let within = format!("{group}{SEPARATOR}").starts_with(prefix);
                if !within || visit(group, partition).is_break() {
                    break;
                }
                behind(group)
            }
            // No node makes such a key, but a peer may send one.
            None => format!("{key}\0"),
        };
        if let Some(key) = first(partition, &next)? {
            heads.push(Reverse((key, partition)));
        }
    }
    Ok(())
}

fn behind(group: &str) -> String {
    format!("{group}{BEHIND}")
}

fn first_key<R: Rows + ?Sized>(
    rows: &R,
    collection: Collection,
    partition: PartitionId,
    from: &str,
) -> Result<Option<String>, StoreError> {
    let start = layout::collection_key(partition, collection, from);
    let end = layout::partition_end(partition);
    let mut first = None;
    rows.scan(Table::Entities, &start, false, &end, &mut |key, _row| {
        first = Some(layout::parse_entity_key(key));
        ControlFlow::Break(())
    })?;
    let first = first.transpose()?;
    Ok(first
        .filter(|id| id.collection() == collection)
        .map(|id| id.key().to_owned()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::store::MemoryRows;

    #[test]
    fn each_group_is_told_once_in_one_order_whatever_its_partition() {
        let names = ["a", "a!", "a0", "b", "ab", "é", "z"];
        let mut rows = MemoryRows::default();
        for name in names {
            for rest in ["!", "0", "f", "~"] {
                let id = EntityId::new(Collection::Topics, format!("{name}/{rest}")).expect("good");
                let key = layout::entity_key(id.partition(), &id);
                rows.apply([((Table::Entities, key), Some(Bytes::from_static(&[1])))]);
            }
        }
        let list_of = |prefix: &str, after: Option<&str>| {
            let mut found = Vec::new();
            list_groups(&rows, Collection::Topics, prefix, after, &mut |name, _| {
                found.push(name.to_owned());
                ControlFlow::Continue(())
            })
            .expect("it can be read");
            found
        };
        let list = |after: Option<&str>| list_of("", after);
        assert_eq!(list_of("a", None), ["a!", "a", "a0", "ab"]);
        assert_eq!(list_of("a", Some("a")), ["a0", "ab"]);
        assert_eq!(list_of("a/", None), ["a"]);
        assert_eq!(list_of("a/f", None), [""; 0]);
        let all = list(None);
        assert_eq!(all, ["a!", "a", "a0", "ab", "b", "z", "é"]);
        for (place, name) in all.iter().enumerate() {
            assert_eq!(list(Some(name)), all[place + 1..], "behind {name}");
        }
    }
}
