//! What the writer of a write had seen when it wrote: kept beside what its cells say of that, so that the oracles need
//! not believe them.

use std::collections::{BTreeMap, BTreeSet};

use grapevine_crdt::{Dot, Entity, FieldKey, VersionVector};

#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// What it had taken in of the partition.
    vector: VersionVector,
    /// What it held of the entity, claimed or not.
    held: BTreeMap<FieldKey, BTreeSet<Dot>>,
}

impl Seen {
    pub(crate) fn of(vector: VersionVector, entity: &Entity) -> Self {
        let mut held: BTreeMap<FieldKey, BTreeSet<Dot>> = BTreeMap::new();
        for (key, cell) in entity.cells() {
            held.entry(key.clone()).or_default().insert(cell.dot);
        }
        Self { vector, held }
    }

    /// Of somebody who was told all that this vector covers, and nothing else.
    pub(crate) fn told(vector: VersionVector) -> Self {
        Self {
            vector,
            held: BTreeMap::new(),
        }
    }

    /// It was told all that comes with these writes.
    pub(crate) fn tell(&mut self, dots: impl Iterator<Item = Dot>) {
        for dot in dots {
            self.vector.advance(dot.replica, dot.seq);
        }
    }

    /// Whether it knew of the write `dot`.
    pub(crate) fn knew(&self, dot: Dot) -> bool {
        self.vector.covers(dot) || self.held.values().any(|dots| dots.contains(&dot))
    }

    /// Whether it knew what the write `dot` counted in the slot of its replica: later counts there include it.
    pub(crate) fn counted(&self, slot: &FieldKey, dot: Dot) -> bool {
        let later = |held: &Dot| held.replica == dot.replica && held.seq >= dot.seq;
        self.vector.covers(dot)
            || self
                .held
                .get(slot)
                .is_some_and(|dots| dots.iter().any(later))
    }
}
