//! Reading the indexes of entities, page by page.

use std::ops::ControlFlow;

use super::{Rows, StoreError, Table, layout};
use crate::model::{Collection, EntityId, ExpiryRow, PartitionId};

/// The entities of `partition` that have a row in `table`, one of the indexes ([`Table::Garbage`],
/// [`Table::Conflicts`]): the first `limit` behind `after`, in the order of their keys.
pub fn indexed<R: Rows + ?Sized>(
    rows: &R,
    table: Table,
    partition: PartitionId,
    after: Option<&EntityId>,
    limit: usize,
) -> Result<Vec<EntityId>, StoreError> {
    let from = after.map_or_else(
        || vec![partition.get()],
        |id| layout::entity_key(partition, id).to_vec(),
    );
    let end = layout::partition_end(partition);
    let mut ids = Vec::new();
    rows.scan(table, &from, true, &end, &mut |key, _| {
        if ids.len() >= limit {
            return ControlFlow::Break(());
        }
        ids.push(layout::parse_entity_key(key));
        ControlFlow::Continue(())
    })?;
    ids.into_iter().collect()
}

/// The key-values that had expired by `before_ms`, the earliest first: the first `limit` behind `after`, which is the
/// row of one; and the row of the last of them, if there may be more.
pub fn expired<R: Rows + ?Sized>(
    rows: &R,
    before_ms: u64,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<(Vec<EntityId>, Option<Vec<u8>>), StoreError> {
    let start = ExpiryRow::start();
    let (mut ids, mut last) = (Vec::new(), None);
    rows.scan(
        Table::Search,
        after.unwrap_or(&start),
        true,
        &ExpiryRow::end(before_ms),
        &mut |row, _| {
            if let Some(found) = ExpiryRow::read(row) {
                ids.extend(EntityId::new(Collection::Kv, found.key));
            }
            if ids.len() < limit {
                return ControlFlow::Continue(());
            }
            last = Some(row.to_vec());
            ControlFlow::Break(())
        },
    )?;
    Ok((ids, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryRows;

    #[test]
    fn what_has_expired_is_left_out_or_told_too_soon() {
        let mut rows = MemoryRows::default();
        for (expires_ms, key) in [(9, "a"), (1, "b"), (5, "c"), (10, "d"), (11, "e")] {
            let row = ExpiryRow { expires_ms, key }.encode();
            rows.apply([((Table::Search, row), Some(layout::index_value()))]);
        }
        let (mut told, mut after) = (Vec::new(), None);
        loop {
            let page = expired(&rows, 10, after.as_deref(), 2).expect("rows in memory");
            assert!(page.0.len() <= 2);
            told.extend(page.0.iter().map(|id| id.key().to_owned()));
            after = page.1;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(told, ["b", "c", "a", "d"]);
        assert_eq!(expired(&rows, 0, None, 2).expect("rows in memory").0, []);
    }
}
