//! One partition on three replicas, as small as it can be and still show what the protocol must stand: two
//! entities with two fields each, removals, clearings, vectors, floors, reports, and a pull under way.
//!
//! It is written apart from the product on purpose: it checks the design, not the code.

use std::collections::BTreeSet;

/// How many replicas there are.
pub(crate) const REPLICAS: usize = 3;
/// How many entities there are.
pub(crate) const ENTITIES: u8 = 2;
/// How many fields an entity has.
pub(crate) const FIELDS: u8 = 2;

/// Per replica the highest write covered: a version vector, or a causal context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Vector(pub(crate) [u8; REPLICAS]);

impl Vector {
    pub(crate) fn covers(&self, dot: Dot) -> bool {
        self.0[dot.replica] >= dot.seq
    }

    pub(crate) fn includes(&self, other: &Self) -> bool {
        self.0
            .iter()
            .zip(&other.0)
            .all(|(ours, theirs)| ours >= theirs)
    }

    pub(crate) fn insert(&mut self, dot: Dot) {
        self.0[dot.replica] = self.0[dot.replica].max(dot.seq);
    }

    pub(crate) fn join(&mut self, other: &Self) {
        for (ours, theirs) in self.0.iter_mut().zip(&other.0) {
            *ours = (*ours).max(*theirs);
        }
    }

    pub(crate) fn meet(&mut self, other: &Self) {
        for (ours, theirs) in self.0.iter_mut().zip(&other.0) {
            *ours = (*ours).min(*theirs);
        }
    }
}

/// The name of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Dot {
    pub(crate) replica: usize,
    pub(crate) seq: u8,
}

/// What a cell is of its entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// A field with a value.
    Value(u8),
    /// A field whose value was deleted.
    Tombstone(u8),
    /// The removal of the entity: what its context covers is hidden.
    Removal,
    /// What its context covers is dropped.
    Clearing,
}

/// The smallest thing that merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Cell {
    pub(crate) entity: u8,
    pub(crate) kind: Kind,
    pub(crate) rank: u8,
    pub(crate) dot: Dot,
    /// What the writer of a field had seen of it; the context of a removal or a clearing.
    pub(crate) context: Vector,
}

impl Cell {
    pub(crate) const fn field(&self) -> Option<u8> {
        match self.kind {
            Kind::Value(field) | Kind::Tombstone(field) => Some(field),
            Kind::Removal | Kind::Clearing => None,
        }
    }

    /// Whether this cell, held beside `other`, replaces it.
    fn replaces(&self, other: &Self) -> bool {
        if self.entity != other.entity || self.dot == other.dot {
            return false;
        }
        match (self.kind, other.kind) {
            (Kind::Clearing, _) if self.context.covers(other.dot) => true,
            (Kind::Removal, Kind::Removal) | (Kind::Clearing, Kind::Clearing) => {
                self.dot.replica == other.dot.replica && self.dot.seq > other.dot.seq
            }
            _ => {
                self.field().is_some()
                    && self.field() == other.field()
                    && self.context.covers(other.dot)
            }
        }
    }
}

/// A pull of one replica from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pull {
    pub(crate) from: usize,
    pub(crate) base: Vector,
    /// Vector and content of the first page of this pass.
    pub(crate) first: Option<(Vector, BTreeSet<Cell>)>,
    pub(crate) cursor: Option<Dot>,
    pub(crate) clean: bool,
    /// What was read and is on its way: cells, and whether they were the last.
    pub(crate) page: Option<(Vec<Cell>, bool)>,
}

/// One replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) vector: Vector,
    pub(crate) cells: BTreeSet<Cell>,
    pub(crate) floor: Vector,
    pub(crate) clock: u8,
    /// The newest report of each replica's vector.
    pub(crate) reports: [Vector; REPLICAS],
    pub(crate) pull: Option<Pull>,
}

impl Node {
    /// The cells of one entity.
    pub(crate) fn of(&self, entity: u8) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(move |cell| cell.entity == entity)
    }

    /// Takes cells in whose dots are not covered yet.
    pub(crate) fn merge(&mut self, cells: &[Cell]) {
        for cell in cells {
            self.clock = self.clock.max(cell.rank);
            let replaced = self.cells.iter().any(|held| held.replaces(cell));
            if self.vector.covers(cell.dot) || replaced {
                continue;
            }
            self.cells.retain(|held| !cell.replaces(held));
            self.cells.insert(*cell);
        }
    }

    /// Whether `cell` is held, was replaced by what is held, or was collected.
    pub(crate) fn incorporates(&self, cell: &Cell) -> bool {
        let replaced = |held: &Cell| held == cell || held.replaces(cell);
        self.floor.covers(cell.dot) || self.of(cell.entity).any(replaced)
    }

    /// What the removals of an entity hide.
    fn removed(&self, entity: u8) -> Vector {
        let mut removed = Vector::default();
        for cell in self.of(entity).filter(|cell| cell.kind == Kind::Removal) {
            removed.join(&cell.context);
        }
        removed
    }

    pub(crate) fn is_visible(&self, entity: u8) -> bool {
        let removed = self.removed(entity);
        self.of(entity)
            .any(|cell| matches!(cell.kind, Kind::Value(_)) && !removed.covers(cell.dot))
    }

    /// Whether cells are held that the vector does not cover.
    pub(crate) fn is_open(&self) -> bool {
        self.cells.iter().any(|cell| !self.vector.covers(cell.dot))
    }

    /// What a digest is made of.
    pub(crate) fn digested(&self) -> Vec<Cell> {
        let shows =
            |cell: &&Cell| matches!(cell.kind, Kind::Value(_)) && self.is_visible(cell.entity);
        self.cells.iter().filter(shows).copied().collect()
    }

    /// What a removal made now covers.
    pub(crate) fn removal(&self, entity: u8) -> Vector {
        let mut context = self.removed(entity);
        for cell in self.of(entity).filter(|cell| cell.field().is_some()) {
            context.insert(cell.dot);
        }
        context
    }

    /// What a write to a field made now has seen of it.
    pub(crate) fn seen(&self, entity: u8, field: u8) -> Vector {
        let mut seen = Vector::default();
        for cell in self.of(entity).filter(|cell| cell.field() == Some(field)) {
            seen.join(&cell.context);
            seen.insert(cell.dot);
        }
        seen
    }
}
