//! Reading what contacts were.

use std::ops::ControlFlow;

use grapevine_crdt::Timestamp;

use super::{Rows, StoreError, Table, layout};
use crate::model::{ContactVersion, EntityId};

/// What this node remembers of a contact, the newest change first, with when it took each in; at most as many as the
/// limits of the store say.
pub fn read_history<R: Rows + ?Sized>(
    rows: &R,
    id: &EntityId,
) -> Result<Vec<(Timestamp, ContactVersion)>, StoreError> {
    let [from, end] = layout::history_range(id.partition(), id);
    let mut read = Vec::new();
    rows.scan(Table::History, &from, true, &end, &mut |_, row| {
        read.push(layout::decode_version(row));
        ControlFlow::Continue(())
    })?;
    read.into_iter().rev().collect()
}
