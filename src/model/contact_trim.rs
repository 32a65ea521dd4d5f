//! Trimming the conflicts of a contact: those beyond a number, and those beyond an age, are given up.
//!
//! Trimming is a write like any other, but it rewrites nothing that is shown: it leaves a *marker*, a cell of
//! rank 0 without a value that has seen what it trims. So what is shown keeps its writer and its time, a later
//! edit made unseen still wins, and a contact that was deleted meanwhile stays deleted. Markers are tombstones,
//! and collected like them.
//!
//! Two nodes that trim at the same time leave two markers and come to rest, for a marker is no reason to trim.
//!
//! A context tells the highest write seen of each replica, and so cannot leave out an earlier one of the same
//! replica. What could only be trimmed together with something that is kept is therefore kept as well.

use std::collections::BTreeMap;

use grapevine_crdt::{
    CausalContext, Cell, Dot, Entity, Field, FieldCell, FieldKey, Rank, ReplicaId, Seq, Timestamp,
    Value,
};

/// How many conflicts of one field are kept, the latest.
pub const MAX_CONFLICTS_PER_FIELD: usize = 16;
/// How long a conflict is kept after it was written, in milliseconds: 90 days.
pub const MAX_CONFLICT_AGE_MS: u64 = 90 * 24 * 60 * 60 * 1_000;

/// The cells of the write `dot` at `now` that trims the conflicts of a contact; none if there is nothing to
/// trim. Law: once they are merged, there is nothing to trim at `now`.
#[must_use]
pub fn trim(entity: &Entity, dot: Dot, now: Timestamp) -> Vec<FieldCell> {
    entity
        .fields()
        .filter(|(key, field)| key.attribute().is_some() && !field.conflicts().is_empty())
        .filter_map(|(key, field)| {
            Some(FieldCell {
                field: FieldKey::clone(key),
                cell: marker(trimmed(field, now)?, dot),
            })
        })
        .collect()
}

fn marker(seen: CausalContext, dot: Dot) -> Cell {
    Cell {
        rank: Rank::default(),
        dot,
        seen,
        value: Value::Tombstone,
    }
}

/// What a marker of `field` must have seen; `None` if there is nothing to trim.
fn trimmed(field: &Field, now: Timestamp) -> Option<CausalContext> {
    let is_old = |cell: &Cell| {
        now.unix_ms().saturating_sub(cell.rank.time().unix_ms()) > MAX_CONFLICT_AGE_MS
    };
    let mut kept = Earliest::default();
    kept.insert(field.shown().dot);
    let mut excess = Vec::new();
    let mut markers = Vec::new();
    let mut live: usize = 0;
    for cell in field.conflicts() {
        if cell.is_marker() {
            markers.push(cell);
        } else if live < MAX_CONFLICTS_PER_FIELD && !is_old(cell) {
            live += 1;
            kept.insert(cell.dot);
        } else {
            excess.push(cell);
        }
    }
    excess.retain(|cell| !kept.is_covered_by(cell.dot));
    if excess.is_empty() {
        return None;
    }
    markers.retain(|cell| !kept.is_covered_by(cell.dot));
    let mut seen = CausalContext::default();
    for cell in excess.into_iter().chain(markers) {
        seen.merge(&cell.seen);
        seen.insert(cell.dot);
    }
    Some(seen)
}

/// Of each replica the earliest write that is kept.
#[derive(Debug, Default)]
struct Earliest(BTreeMap<ReplicaId, Seq>);

impl Earliest {
    fn insert(&mut self, dot: Dot) {
        let seq = self.0.entry(dot.replica).or_insert(dot.seq);
        *seq = dot.seq.min(*seq);
    }

    /// Whether whoever has seen `dot` is taken to have seen something that is kept.
    fn is_covered_by(&self, dot: Dot) -> bool {
        self.0.get(&dot.replica).is_some_and(|seq| *seq <= dot.seq)
    }
}
