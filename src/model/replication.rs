//! What travels between replicas and through the journal: cells of entities, and what may be claimed once
//! they are stored.

use core::fmt;

use grapevine_crdt::{
    CausalContext, Dot, FieldCell, Malformed, ReplicaId, Seq, Timestamp, VersionVector,
};
use serde::{Deserialize, Serialize};

use super::{EntityId, Floor, InvalidKey, PartitionId, Rejoin};

/// Some cells of one entity. In frames an entity is never split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityCells {
    /// Which entity.
    pub id: EntityId,
    /// Its cells, in any order.
    pub cells: Vec<FieldCell>,
}

/// What a partition's vector may say once the cells of the same [`Op`] are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Claim {
    /// Nothing yet: the cells are part of a delta that is not complete (the partition is then *open*).
    Nothing,
    /// The writes `after+1 ..= upto` of one replica. Takes effect only if `after <= ours < upto`, and ours covers
    /// `needs`.
    Advance {
        /// Whose writes.
        replica: ReplicaId,
        /// The last write before these.
        after: Seq,
        /// The last of these.
        upto: Seq,
        /// As [`CommitRecord::needs`]. Not kept: what was taken in needs nothing any more.
        #[serde(skip)]
        needs: CausalContext,
    },
    /// Everything this vector covers: the delta against it is complete.
    Absorb {
        /// What is covered then.
        vector: VersionVector,
        /// What the peer has collected of it; joins ours.
        floor: Floor,
    },
    /// Nothing: the cells are merged whether the vector covers their dots or not, for what was held of them
    /// may be damaged. Only adds.
    Repair,
    /// Nothing, and no cells are merged: the log and index rows of the entities of this step are made anew from
    /// the cells held, and what is damaged counts nothing in the digest any more, so that peers see it.
    Recount,
    /// Nothing: of these entities everything goes that everybody has taken in and nobody needs.
    Collect {
        /// What every member has taken in of the partition.
        stable: VersionVector,
        /// Where to look; the step has no other entities.
        ids: Vec<EntityId>,
    },
    /// The whole state of a peer whose floor our vector did not include, or the other way round. The step has
    /// no other entities.
    Rejoin(Box<Rejoin>),
}

/// One step of a partition: cells, and the claim that moves with them in one journal row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// The partition of all entities of this step.
    pub partition: PartitionId,
    /// What to merge.
    pub entities: Vec<EntityCells>,
    /// What may be claimed then.
    pub claim: Claim,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its cells were merged and its claim holds.
    Applied,
    /// Everything it would claim was claimed before, and what it would merge was there; nothing changed.
    Covered,
    /// Writes between ours and the first of these are missing, or others that these build upon; nothing changed.
    Gap,
}

/// What one group commit wrote locally in one partition: cells as written, with the range of `seq` they
/// belong to. This is what a push carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// Where.
    pub partition: PartitionId,
    /// Who wrote.
    pub replica: ReplicaId,
    /// The last write of `replica` to this partition before these.
    pub after: Seq,
    /// The last of these.
    pub upto: Seq,
    /// What the writer held of other replicas' writes to the contacts that it edited. Without them an edit would stand
    /// beside what they had replaced or hidden, which others may have collected.
    pub needs: CausalContext,
    /// The cells as written.
    pub entities: Vec<EntityCells>,
}

impl CommitRecord {
    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// What a cell takes beside the bytes of its value.
        const CELL_BYTES: usize = 128;
        /// What a write that is needed takes.
        const NEED_BYTES: usize = 24;
        let cells = self.entities.iter().flat_map(|entity| &entity.cells);
        let cells = cells.map(|held| CELL_BYTES + held.cell.bytes().map_or(0, <[u8]>::len));
        self.needs.len() * NEED_BYTES + cells.sum::<usize>()
    }

    /// The step that takes this record in.
    #[must_use]
    pub fn into_op(self) -> Op {
        Op {
            partition: self.partition,
            entities: self.entities,
            claim: Claim::Advance {
                replica: self.replica,
                after: self.after,
                upto: self.upto,
                needs: self.needs,
            },
        }
    }
}

/// A place in a partition's log, which is read in the order of the dots; the page after it starts behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor(pub Dot);

/// One page of a delta, read from one snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeltaPage {
    /// The entities of this page, each with every cell that the base does not cover.
    pub entities: Vec<EntityCells>,
    /// The vector of the snapshot that this page was read from.
    pub vector: VersionVector,
    /// The content of the partition in that snapshot: pages of one life of the server with equal stamps were
    /// read from equal content.
    pub stamp: u64,
    /// Where the next page starts; `None` if this was the last.
    pub next: Option<Cursor>,
    /// What the server has collected of the partition; only on the last page.
    pub floor: Option<Floor>,
}

/// What is compared before anything is exchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionSummary {
    /// A sum of hashes over the entries of the version vector.
    pub vector_hash: u128,
    /// A sum of hashes over the visible entities.
    pub digest: u128,
    /// Whether cells are stored that the vector does not cover yet.
    pub open: bool,
}

/// One hash over the summaries of all partitions: two nodes with equal roots agree.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Root(pub u128);

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why cells from outside are impossible. No state changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// The key is out of bounds.
    #[error("{0}")]
    Key(#[from] InvalidKey),
    /// The entity belongs to another partition.
    #[error("{id} does not belong to partition {partition}")]
    Partition {
        /// The entity.
        id: EntityId,
        /// Where it was sent.
        partition: PartitionId,
    },
    /// A cell that breaks an invariant of its field.
    #[error("a cell of {id} cannot be: {source}")]
    Cell {
        /// The entity.
        id: EntityId,
        /// What is wrong with it.
        source: Malformed,
    },
    /// A time above the clock that the sender announced.
    #[error("a cell of {0} is later than the clock its sender announced")]
    Time(EntityId),
    /// A record that builds upon writes of its own replica beside those before it.
    #[error("writes of {0:?} need others of it beside those before them")]
    NeedsItself(ReplicaId),
    /// A range of writes that is empty.
    #[error("the writes after {after:?} up to {upto:?} are none")]
    Range {
        /// The write before the first.
        after: Seq,
        /// The last write.
        upto: Seq,
    },
    /// A pushed cell outside the range of writes it was pushed with.
    #[error("a cell of {0} is outside the pushed range")]
    Outside(EntityId),
}

impl EntityCells {
    /// Whether these cells can be: right partition, well-formed cells, no time above
    /// `announced`, the clock of the sender.
    pub fn check(&self, partition: PartitionId, announced: Timestamp) -> Result<(), Invalid> {
        self.id.check()?;
        if self.id.partition() != partition {
            return Err(Invalid::Partition {
                id: self.id.clone(),
                partition,
            });
        }
        let mut cells = self.cells.iter();
        cells.try_for_each(|held| Self::check_cell(&self.id, held, announced))
    }

    /// Whether this cell of `id` can be: well-formed, no time above `announced`.
    pub fn check_cell(
        id: &EntityId,
        held: &FieldCell,
        announced: Timestamp,
    ) -> Result<(), Invalid> {
        held.check().map_err(|source| Invalid::Cell {
            id: id.clone(),
            source,
        })?;
        if held.field.is_timed() && held.cell.rank.time() > announced {
            return Err(Invalid::Time(id.clone()));
        }
        Ok(())
    }
}

impl CommitRecord {
    /// Whether this record can be: as [`EntityCells::check`], and every dot within `after+1 ..= upto`.
    pub fn check(&self, announced: Timestamp) -> Result<(), Invalid> {
        if self.after >= self.upto {
            return Err(Invalid::Range {
                after: self.after,
                upto: self.upto,
            });
        }
        if self.needs.covers(Dot::new(self.replica, Seq::new(1))) {
            return Err(Invalid::NeedsItself(self.replica));
        }
        for entity in &self.entities {
            entity.check(self.partition, announced)?;
            let inside = entity.cells.iter().all(|FieldCell { cell, .. }| {
                cell.dot.replica == self.replica
                    && cell.dot.seq > self.after
                    && cell.dot.seq <= self.upto
            });
            if !inside {
                return Err(Invalid::Outside(entity.id.clone()));
            }
        }
        Ok(())
    }
}
