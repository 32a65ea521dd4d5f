//! Reading the indexes of entities, page by page.

use std::ops::ControlFlow;

use super::{Rows, StoreError, Table, layout};
use crate::model::{EntityId, PartitionId};

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
