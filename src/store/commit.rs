//! What is told of a commit to who watches this node: which entities changed, by whomever they were written.

use std::sync::Arc;

use super::{Changes, Snapshot, Table, layout};
use crate::model::EntityId;

/// One group commit.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The entities of which a cell came or went, each once.
    pub ids: Arc<[EntityId]>,
    /// What is held with it, and not with the next.
    pub snapshot: Arc<Snapshot>,
}

/// The entities whose rows change, each once.
pub(super) fn changed_ids(changes: &Changes) -> Vec<EntityId> {
    let rows = changes.rows.iter();
    rows.filter(|((table, _), _)| *table == Table::Entities)
        .filter_map(|((_, key), _)| layout::parse_entity_key(key).ok())
        .collect()
}
