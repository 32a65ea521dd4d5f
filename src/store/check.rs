//! Recomputing what a store says of itself from its rows, and telling what is wrong in plain words.
//!
//! It reads every row, so it is nothing for a start. It holds one entity at a time in memory. It changes
//! nothing.

use std::ops::ControlFlow;

use grapevine_crdt::{Dot, Timestamp};

use super::{Rows, State, StoreError, Table, kernel, layout};
use crate::model::{EntityId, HashedVector, PartitionId, index_rows};

/// What is wrong with a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where; `None` if it is about the files as a whole.
    pub partition: Option<PartitionId>,
    /// What, in plain words.
    pub what: String,
}

/// What the rows of one partition add up to.
#[derive(Debug, Default)]
struct Sums {
    digest: u128,
    dots: u64,
    unclaimed: u64,
    garbage: u64,
    conflicts: u64,
    latest: Timestamp,
}

/// Checks all rows of one partition against each other and against `state`; calls `find` for each thing that is
/// wrong. Yields how many entities it read.
pub fn check_partition<R: Rows + ?Sized>(
    rows: &R,
    state: &State,
    partition: PartitionId,
    find: &mut dyn FnMut(Finding),
) -> Result<u64, StoreError> {
    let mut find = |what: String| {
        find(Finding {
            partition: Some(partition),
            what,
        });
    };
    let mut sums = Sums::default();
    let mut entities = 0;
    let mut failed = None;
    let end = layout::partition_end(partition);
    rows.scan(
        Table::Entities,
        &[partition.get()],
        false,
        &end,
        &mut |key, row| {
            entities += 1;
            match check_entity(rows, state, partition, (key, row), &mut sums, &mut find) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        },
    )?;
    if let Some(error) = failed {
        return Err(error);
    }
    check_sums(rows, state, partition, &sums, &mut find)?;
    Ok(entities)
}

fn check_entity<R: Rows + ?Sized>(
    rows: &R,
    state: &State,
    partition: PartitionId,
    (key, row): (&[u8], &[u8]),
    sums: &mut Sums,
    find: &mut dyn FnMut(String),
) -> Result<(), StoreError> {
    // The digest is what the hashes in the rows add up to; whether those are right is a matter of its own.
    sums.digest = sums.digest.wrapping_add(layout::stored_hash(row));
    let Ok(id) = layout::parse_entity_key(key) else {
        find(format!("the key {key:02x?} names no entity"));
        return Ok(());
    };
    if id.partition() != partition {
        find(format!("{id} belongs to partition {}", id.partition()));
    }
    let stored = match layout::decode_entity(row) {
        Ok(stored) => stored,
        Err(error) => {
            find(format!("{id} cannot be read: {error}"));
            return Ok(());
        }
    };
    let hash = layout::entity_hash(&id, &stored.entity)?;
    if stored.hash != hash {
        find(format!(
            "the cells of {id} are not those that its hash was made from"
        ));
    }
    let held = state.partition(partition);
    for dot in stored.entity.dots() {
        sums.dots += 1;
        sums.unclaimed += u64::from(!held.vector.covers(dot));
        check_log(rows, partition, &id, dot, find)?;
    }
    for (field, cell) in stored.entity.cells() {
        if field.is_timed() {
            sums.latest = sums.latest.max(cell.rank.time());
        }
    }
    let indexes = [
        (
            Table::Garbage,
            kernel::is_garbage(&id, &stored.entity),
            &mut sums.garbage,
        ),
        (
            Table::Conflicts,
            stored.entity.has_conflicts(),
            &mut sums.conflicts,
        ),
    ];
    for (table, belongs, count) in indexes {
        *count += u64::from(belongs);
        if rows.get(table, key)?.is_some() != belongs {
            let (name, not) = (table.name(), if belongs { "not " } else { "" });
            find(format!("{id} is {not}in the index {name}"));
        }
    }
    Ok(())
}

/// Checks the index of what entities are found by against all entities; calls `find` for each entity for which it lacks
/// something, and once for rows that belong to nothing.
pub fn check_search<R: Rows + ?Sized>(
    rows: &R,
    find: &mut dyn FnMut(Finding),
) -> Result<(), StoreError> {
    let mut there: u64 = 0;
    let mut failed = None;
    rows.scan(Table::Entities, &[], false, &[], &mut |key, row| {
        // What cannot be read is told of elsewhere.
        let (Ok(id), Ok(stored)) = (layout::parse_entity_key(key), layout::decode_entity(row))
        else {
            return ControlFlow::Continue(());
        };
        let mut lacking = 0;
        for row in index_rows(&id, &stored.entity) {
            match rows.get(Table::Search, &row) {
                Ok(Some(_)) => there += 1,
                Ok(None) => lacking += 1,
                Err(error) => failed = Some(error),
            }
        }
        if lacking > 0 {
            find(Finding {
                partition: Some(id.partition()),
                what: format!(
                    "{lacking} rows of {id} are not in the index {}",
                    Table::Search.name()
                ),
            });
        }
        if failed.is_some() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let mut count: u64 = 0;
    rows.scan(Table::Search, &[], false, &[], &mut |_, _| {
        count += 1;
        ControlFlow::Continue(())
    })?;
    if count > there {
        find(Finding {
            partition: None,
            what: format!(
                "{} rows of {} belong to nothing that is held",
                count - there,
                Table::Search.name()
            ),
        });
    }
    Ok(())
}

fn check_log<R: Rows + ?Sized>(
    rows: &R,
    partition: PartitionId,
    id: &EntityId,
    dot: Dot,
    find: &mut dyn FnMut(String),
) -> Result<(), StoreError> {
    let named = rows
        .get(Table::Log, &layout::log_key(partition, dot))?
        .map(|row| layout::parse_log_value(&row));
    match named {
        Some(Ok(other)) if other == *id => {}
        Some(Ok(other)) => find(format!(
            "the log says that write {dot:?} of {id} is of {other}"
        )),
        Some(Err(error)) => find(format!(
            "the log's row of write {dot:?} of {id} cannot be read: {error}"
        )),
        None => find(format!("the log lacks write {dot:?} of {id}")),
    }
    Ok(())
}

/// Compares the sums with the state, and counts the rows of the indexes: each that belongs is there, so one more
/// belongs to nothing.
fn check_sums<R: Rows + ?Sized>(
    rows: &R,
    state: &State,
    partition: PartitionId,
    sums: &Sums,
    find: &mut dyn FnMut(String),
) -> Result<(), StoreError> {
    for (table, belong) in [
        (Table::Log, sums.dots),
        (Table::Garbage, sums.garbage),
        (Table::Conflicts, sums.conflicts),
    ] {
        let count = count(rows, table, partition)?;
        if count > belong {
            find(format!(
                "{} rows of {} belong to nothing that is held",
                count - belong,
                table.name()
            ));
        }
    }
    let held = state.partition(partition);
    if held.digest != sums.digest {
        find("the digest is not what the hashes of the entities add up to".to_owned());
    }
    for (what, vector, hash) in [
        ("vector", &held.vector, held.vector_hash),
        ("floor", &held.floor.vector, held.floor_hash),
    ] {
        if HashedVector::of(vector.clone()).hash() != hash {
            find(format!("the hash of the {what} is not that of its entries"));
        }
    }
    if held.unclaimed != sums.unclaimed {
        find(format!(
            "{} writes are held that the vector does not cover, but {} are counted",
            sums.unclaimed, held.unclaimed
        ));
    }
    if held.garbage != sums.garbage {
        find(format!(
            "{} entities can be collected some day, but {} are counted",
            sums.garbage, held.garbage
        ));
    }
    if !held.vector.includes(&held.floor.vector) {
        find("the floor is above the vector".to_owned());
    }
    if sums.latest > state.clock() {
        find("a time is above the clock's high-water mark".to_owned());
    }
    Ok(())
}

fn count<R: Rows + ?Sized>(
    rows: &R,
    table: Table,
    partition: PartitionId,
) -> Result<u64, StoreError> {
    let mut count = 0;
    let end = layout::partition_end(partition);
    rows.scan(table, &[partition.get()], false, &end, &mut |_, _| {
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(count)
}

/// One page of a scrub: the entities whose cells are not those that their hashes were made from, and behind which
/// one the next page starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// To be recounted ([`Claim::Recount`](crate::model::Claim::Recount)).
    pub damaged: Vec<EntityId>,
    /// `None` if this was the last page.
    pub next: Option<EntityId>,
}

/// Recomputes the hashes of the first `limit` entities of `partition` behind `after`.
pub fn scrub<R: Rows + ?Sized>(
    rows: &R,
    partition: PartitionId,
    after: Option<&EntityId>,
    limit: usize,
) -> Result<Scrubbed, StoreError> {
    let from = after.map_or_else(
        || vec![partition.get()],
        |id| layout::entity_key(partition, id).to_vec(),
    );
    let end = layout::partition_end(partition);
    let (mut page, mut last, mut read) = (Scrubbed::default(), None, 0);
    let mut failed = None;
    rows.scan(Table::Entities, &from, true, &end, &mut |key, row| {
        if read >= limit {
            page.next = last.take();
            return ControlFlow::Break(());
        }
        let Ok(id) = layout::parse_entity_key(key) else {
            return ControlFlow::Continue(());
        };
        read += 1;
        let hash = match layout::decode_entity(row) {
            // What is damaged counts nothing once it was recounted.
            _ if layout::stored_hash(row) == 0 => Ok(true),
            Ok(stored) => layout::entity_hash(&id, &stored.entity).map(|hash| hash == stored.hash),
            Err(_) => Ok(false),
        };
        match hash {
            Ok(true) => {}
            Ok(false) => page.damaged.push(id.clone()),
            Err(error) => {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        }
        last = Some(id);
        ControlFlow::Continue(())
    })?;
    failed.map_or(Ok(page), Err)
}
