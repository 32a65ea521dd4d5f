//! What a peer can never rightly say. Whoever says it is disconnected before anything it said takes effect.

use grapevine_crdt::{Dot, FieldCell, ReplicaId, Seq, Timestamp, VersionVector};

use super::{MAX_CLOCK_AHEAD_MS, Now, View, floor, pull::Pull};
use crate::model::{
    CellName, CommitRecord, DeltaPage, EntityCells, EntityId, EntityState, Invalid, InvalidOutline,
    Outline, PARTITIONS, PartitionId, PartitionSummary, Root, root_term,
};

/// The most replicas that a vector may name: lives of nodes that ever wrote to one partition.
pub(super) const MAX_VECTOR_ENTRIES: usize = 65_536;

/// Why what a peer said is impossible. No state changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// `Hello` comes first, and once.
    #[error("a second hello")]
    Hello,
    /// The clock it announced is further ahead than the handshake allows.
    #[error(
        "its clock is {ahead_ms} ms ahead of ours, at most {MAX_CLOCK_AHEAD_MS} ms are allowed"
    )]
    Clock {
        /// How far it is ahead.
        ahead_ms: u64,
    },
    /// Not one summary for each partition.
    #[error("{0} summaries instead of {PARTITIONS}")]
    SummaryCount(usize),
    /// Summaries that do not add up to their root.
    #[error("its summaries do not add up to its root")]
    Root,
    /// A vector of more replicas than a frame can carry beside an entity.
    #[error("a vector of partition {0} names more than {MAX_VECTOR_ENTRIES} replicas")]
    LongVector(PartitionId),
    /// Writes of the life under which this node writes that it never made: somebody else writes under it,
    /// or its data was rolled back.
    #[error("it holds writes of ours in partition {0} that we never made")]
    OurWrites(PartitionId),
    /// A vector in outline, or sums over one, that nobody tells.
    #[error("what it tells of its vector of partition {0} cannot be")]
    Outline(PartitionId),
    /// It does not understand what everybody understands, or tells what nobody can.
    #[error("no vector of partition {0} is understood")]
    Misunderstood(PartitionId),
    /// A vector of the peer that lacks what an earlier one covered.
    #[error("its vector of partition {0} went back")]
    VectorWentBack(PartitionId),
    /// A page that leads nowhere.
    #[error("a page of partition {0} does not move on")]
    Cursor(PartitionId),
    /// An entity without cells.
    #[error("{0} came without cells")]
    NoCells(EntityId),
    /// A cell in a page that the base of the page covers.
    #[error("a cell of {0} was not asked for")]
    NotAskedFor(EntityId),
    /// A floor that its vector does not include, that is later than its clock, or that is missing.
    #[error("what it collected of partition {0} is more than it took in")]
    Floor(PartitionId),
    /// Entities that are not in order, or twice.
    #[error("{0} comes out of order")]
    Order(EntityId),
    /// Nothing, or more entities than one message may name.
    #[error("a list of entities of partition {0} is empty or too long")]
    LongListing(PartitionId),
    /// Dots that are not in order, or cells that are not of these dots.
    #[error("the dots of {0} are not those of its cells")]
    Dots(EntityId),
    /// A pushed record of another replica than the sender.
    #[error("a push of writes of another replica, {0}")]
    ForeignPush(ReplicaId),
    /// Cells that cannot be.
    #[error("{0}")]
    Cells(#[from] Invalid),
}

/// The clock of a message.
pub(super) const fn clock(announced: Timestamp, now: Now) -> Result<(), Violation> {
    let ahead_ms = announced.unix_ms().saturating_sub(now.unix_ms);
    if ahead_ms > MAX_CLOCK_AHEAD_MS {
        return Err(Violation::Clock { ahead_ms });
    }
    Ok(())
}

/// A vector in outline.
pub(super) fn outline(partition: PartitionId, outline: &Outline) -> Result<(), Violation> {
    let checked = outline.check(MAX_VECTOR_ENTRIES);
    checked.map_err(|why| match why {
        InvalidOutline::Order => Violation::Outline(partition),
        InvalidOutline::Long => Violation::LongVector(partition),
    })
}

/// A vector that a peer says it has.
pub(super) fn vector(
    partition: PartitionId,
    vector: &VersionVector,
    view: &dyn View,
) -> Result<(), Violation> {
    if vector.len() > MAX_VECTOR_ENTRIES {
        return Err(Violation::LongVector(partition));
    }
    let ours = view.partition(partition);
    let invented = view
        .replica()
        .is_some_and(|replica| vector.get(replica) > ours.vector.get(replica));
    if invented {
        return Err(Violation::OurWrites(partition));
    }
    Ok(())
}

pub(super) fn summaries(root: Root, partitions: &[PartitionSummary]) -> Result<(), Violation> {
    if partitions.len() != PARTITIONS {
        return Err(Violation::SummaryCount(partitions.len()));
    }
    let sum = PartitionId::all()
        .zip(partitions)
        .map(|(partition, summary)| root_term(partition, *summary))
        .fold(0, u128::wrapping_add);
    if Root(sum) != root {
        return Err(Violation::Root);
    }
    Ok(())
}

/// A page that `pull` waits for.
pub(super) fn page(
    pull: &Pull,
    announced: Timestamp,
    page: &DeltaPage,
    view: &dyn View,
    now: Now,
) -> Result<(), Violation> {
    let partition = pull.partition;
    clock(announced, now)?;
    vector(partition, &page.vector, view)?;
    if !page.vector.includes(pull.newest().vector()) {
        return Err(Violation::VectorWentBack(partition));
    }
    if let Some(next) = page.next
        && (page.entities.is_empty() || pull.cursor().is_some_and(|cursor| next <= cursor))
    {
        return Err(Violation::Cursor(partition));
    }
    match &page.floor {
        Some(floor) if page.next.is_none() => {
            floor::check(partition, &page.vector, floor, Some(announced))?;
        }
        None if page.next.is_some() => {}
        Some(_) | None => return Err(Violation::Floor(partition)),
    }
    for cells in &page.entities {
        entity(partition, cells, announced, view)?;
        let covered = |cell: &FieldCell| pull.base().vector().covers(cell.cell.dot);
        if cells.cells.iter().any(covered) {
            return Err(Violation::NotAskedFor(cells.id.clone()));
        }
    }
    Ok(())
}

/// Cells of an entity that a peer holds.
pub(super) fn entity(
    partition: PartitionId,
    entity: &EntityCells,
    announced: Timestamp,
    view: &dyn View,
) -> Result<(), Violation> {
    entity.check(partition, announced)?;
    if entity.cells.is_empty() {
        return Err(Violation::NoCells(entity.id.clone()));
    }
    let dots = entity.cells.iter().map(|cell| cell.cell.dot);
    our_dots(partition, dots, view)
}

/// What a peer holds of an entity, some of it as dots alone.
pub(super) fn state(
    partition: PartitionId,
    entity: &EntityState,
    announced: Timestamp,
    view: &dyn View,
) -> Result<(), Violation> {
    cursor(partition, Some(&entity.id))?;
    let wrong = || Violation::Dots(entity.id.clone());
    let rising = entity.names.windows(2).all(|pair| pair[0] < pair[1]);
    let named = entity.names.iter().all(|name| name.dot.seq > Seq::ZERO);
    if entity.names.is_empty() || !rising || !named {
        return Err(wrong());
    }
    let held = |cell: &FieldCell| {
        entity
            .names
            .binary_search(&CellName::of(&cell.field, &cell.cell))
            .is_ok()
    };
    if !entity.cells.iter().all(held) {
        return Err(wrong());
    }
    for cell in &entity.cells {
        EntityCells::check_cell(&entity.id, cell, announced)?;
    }
    our_dots(partition, entity.names.iter().map(|name| name.dot), view)
}

/// No peer holds writes of our life that we never made.
fn our_dots(
    partition: PartitionId,
    mut dots: impl Iterator<Item = Dot>,
    view: &dyn View,
) -> Result<(), Violation> {
    let ours = view.partition(partition);
    let invented = |dot: Dot| view.replica() == Some(dot.replica) && !ours.vector.covers(dot);
    if dots.any(invented) {
        return Err(Violation::OurWrites(partition));
    }
    Ok(())
}

/// An entity that a peer names.
pub(super) fn cursor(partition: PartitionId, id: Option<&EntityId>) -> Result<(), Violation> {
    let Some(id) = id else {
        return Ok(());
    };
    id.check().map_err(Invalid::from)?;
    if id.partition() != partition {
        let id = id.clone();
        return Err(Invalid::Partition { id, partition }.into());
    }
    Ok(())
}

pub(super) fn push(
    sender: ReplicaId,
    announced: Timestamp,
    records: &[CommitRecord],
    now: Now,
) -> Result<(), Violation> {
    clock(announced, now)?;
    for record in records {
        if record.replica != sender {
            return Err(Violation::ForeignPush(record.replica));
        }
        record.check(announced)?;
        if let Some(entity) = record
            .entities
            .iter()
            .find(|entity| entity.cells.is_empty())
        {
            return Err(Violation::NoCells(entity.id.clone()));
        }
    }
    Ok(())
}
