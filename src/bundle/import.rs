//! Taking a bundle in: it is read to its end once to see that all of it can be taken in, and then once more to
//! take it in.

use std::{
    collections::{BTreeSet, VecDeque},
    io::{Read, Seek},
};

use grapevine_crdt::{Timestamp, VersionVector};
use tokio::{runtime::Handle, sync::oneshot};
use uuid::Uuid;

use super::{
    format::{BundleError, BundleHeader, BundleReader, Section},
    head::PartitionHead,
};
use crate::{
    model::{Claim, EntityCells, Op, Outcome, PartitionId},
    store::{Store, StoreError},
};

/// How far ahead of ours the clock of a bundle may be, as with peers.
const MAX_CLOCK_AHEAD_MS: u64 = 10 * 60 * 1_000;
/// How many steps wait for the store at once.
const MAX_STEPS_UNDER_WAY: usize = 8;
/// The most replicas that a vector may name, as with peers.
const MAX_VECTOR_ENTRIES: usize = 65_536;

/// What a bundle brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The node that wrote it.
    pub from: String,
    /// How many partitions it has.
    pub partitions: u64,
    /// How many entities it has.
    pub entities: u64,
    /// In how many steps something changed; 0 if everything was there.
    pub changes: u64,
}

/// Takes bundles into a store.
#[derive(Clone, Debug)]
pub struct Importer {
    /// The store.
    pub store: Store,
    /// The cluster that it belongs to.
    pub cluster: String,
    /// The time of day (milliseconds since 1970-01-01T00:00:00Z).
    pub now_unix_ms: u64,
    /// Reads which stores were expelled and have not taken part anew.
    pub expelled: fn(&Store) -> Result<BTreeSet<Uuid>, StoreError>,
}

/// What a walk through a bundle meets.
enum Piece {
    Partition(PartitionHead),
    Page(Vec<EntityCells>),
    /// All pages of this partition were met.
    Done(PartitionHead),
}

/// Whether `input` is a whole bundle, and what it has.
pub fn verify(input: impl Read) -> Result<Imported, BundleError> {
    let (_, imported) = walk(input, &mut |_, _| Ok(()))?;
    Ok(imported)
}

/// Whether `input` is a whole bundle of everything, such as a backup; whose it is, and what it has.
pub fn verify_backup(input: impl Read) -> Result<(BundleHeader, Imported), BundleError> {
    walk(input, &mut |_, piece| match piece {
        Piece::Partition(head) if !head.base.is_empty() => Err(BundleError::Partial),
        Piece::Partition(_) | Piece::Page(_) | Piece::Done(_) => Ok(()),
    })
}

impl Importer {
    /// Takes the bundle `input` in, or refuses it before anything is applied. Blocks, on a thread of a runtime
    /// that may.
    pub fn import(&self, mut input: impl Read + Seek) -> Result<Imported, BundleError> {
        let mut missing: u64 = 0;
        let (header, mut imported) = walk(&mut input, &mut |header, piece| {
            if let Piece::Partition(head) = piece {
                missing = missing.saturating_add(self.check(header.store, &head)?);
            }
            Ok(())
        })?;
        if header.cluster != self.cluster {
            return Err(BundleError::Foreign {
                theirs: header.cluster,
                ours: self.cluster.clone(),
            });
        }
        if missing > 0 {
            return Err(BundleError::Base { missing });
        }
        input.rewind()?;
        let mut steps = Steps::new(&self.store);
        let mut current: Option<(PartitionId, Timestamp)> = None;
        walk(&mut input, &mut |header, piece| match piece {
            Piece::Partition(head) => {
                let missing = self.check(header.store, &head)?;
                if missing > 0 {
                    return Err(BundleError::Base { missing });
                }
                current = Some((head.partition, head.clock));
                Ok(())
            }
            Piece::Page(entities) => {
                let (partition, clock) = current.expect("a page belongs to a partition");
                let claim = Claim::Nothing;
                let op = Op {
                    partition,
                    entities,
                    claim,
                };
                steps.take(op, clock)
            }
            Piece::Done(head) => {
                // What was not taken in must not be claimed.
                steps.settle()?;
                let op = Op {
                    partition: head.partition,
                    entities: Vec::new(),
                    claim: Claim::Absorb {
                        vector: head.vector,
                        floor: head.floor,
                    },
                };
                steps.take(op, head.clock)
            }
        })?;
        imported.changes = steps.finish()?;
        Ok(imported)
    }

    /// How many writes the partition of a bundle of `writer` builds upon that are not held.
    ///
    /// Who was expelled may bring what others have collected without it: whatever it holds has to be taken in as it
    /// takes part anew. As with peers, what was under way when that became known is collected by nobody yet.
    fn check(&self, writer: Uuid, head: &PartitionHead) -> Result<u64, BundleError> {
        let ahead_ms = head.clock.unix_ms().saturating_sub(self.now_unix_ms);
        if ahead_ms > MAX_CLOCK_AHEAD_MS {
            return Err(BundleError::Clock { ahead_ms });
        }
        let expelled = (self.expelled)(&self.store)?;
        if expelled.contains(&self.store.identity().store_id) {
            return Err(BundleError::Expelled { ours: true });
        }
        if expelled.contains(&writer) {
            return Err(BundleError::Expelled { ours: false });
        }
        head.missing(self.store.snapshot().state().partition(head.partition))
    }
}

/// Walks through a bundle and checks everything about it that needs no store.
fn walk(
    input: impl Read,
    visit: &mut dyn FnMut(&BundleHeader, Piece) -> Result<(), BundleError>,
) -> Result<(BundleHeader, Imported), BundleError> {
    let damaged = |why: &str| BundleError::Damaged(why.to_owned());
    let (mut reader, header) = BundleReader::begin(input)?;
    let mut imported = Imported {
        from: header.node.clone(),
        ..Imported::default()
    };
    let mut current: Option<PartitionHead> = None;
    loop {
        match reader.section()? {
            Section::Header(_) => return Err(damaged("a second header")),
            Section::Partition(head) => {
                let before = current.replace(head.clone());
                if before
                    .as_ref()
                    .is_some_and(|before| before.partition >= head.partition)
                {
                    return Err(damaged("its partitions are not in order"));
                }
                check_head(&head)?;
                if let Some(before) = before {
                    visit(&header, Piece::Done(before))?;
                }
                imported.partitions += 1;
                visit(&header, Piece::Partition(head))?;
            }
            Section::Page(entities) => {
                let head = current.as_ref();
                let head = head.ok_or_else(|| damaged("a page of no partition"))?;
                check_page(head, &entities)?;
                imported.entities += entities.len() as u64;
                visit(&header, Piece::Page(entities))?;
            }
            Section::End {
                partitions,
                entities,
            } => {
                if (partitions, entities) != (imported.partitions, imported.entities) {
                    return Err(damaged("it does not hold what it says"));
                }
                reader.finish()?;
                if let Some(head) = current {
                    visit(&header, Piece::Done(head))?;
                }
                return Ok((header, imported));
            }
        }
    }
}

fn check_head(head: &PartitionHead) -> Result<(), BundleError> {
    let vectors: [&VersionVector; 3] = [&head.base, &head.vector, &head.floor.vector];
    if vectors
        .iter()
        .any(|vector| vector.len() > MAX_VECTOR_ENTRIES)
    {
        return Err(BundleError::Damaged("a vector is too long".to_owned()));
    }
    if head.floor.rank.time() > head.clock {
        return Err(BundleError::Damaged(
            "what was collected is later than its clock".to_owned(),
        ));
    }
    if !head.vector.includes(&head.base) || !head.vector.includes(&head.floor.vector) {
        let why = "a partition does not include what it builds upon";
        return Err(BundleError::Damaged(why.to_owned()));
    }
    Ok(())
}

fn check_page(head: &PartitionHead, entities: &[EntityCells]) -> Result<(), BundleError> {
    for entity in entities {
        entity.check(head.partition, head.clock)?;
        let wanted = |dot| !head.base.covers(dot);
        let mut dots = entity.cells.iter().map(|cell| cell.cell.dot);
        if entity.cells.is_empty() || !dots.all(wanted) {
            let why = format!("{} came with cells that are not part of it", entity.id);
            return Err(BundleError::Damaged(why));
        }
    }
    Ok(())
}

/// Steps on their way into the store, in order, a few at once.
struct Steps<'a> {
    store: &'a Store,
    runtime: Handle,
    under_way: VecDeque<oneshot::Receiver<Result<Outcome, StoreError>>>,
    changes: u64,
}

impl<'a> Steps<'a> {
    fn new(store: &'a Store) -> Self {
        Self {
            store,
            runtime: Handle::current(),
            under_way: VecDeque::new(),
            changes: 0,
        }
    }

    fn take(&mut self, op: Op, clock: Timestamp) -> Result<(), BundleError> {
        if self.under_way.len() >= MAX_STEPS_UNDER_WAY {
            self.settle_one()?;
        }
        let outcome = self.runtime.block_on(self.store.enqueue(op, clock))?;
        self.under_way.push_back(outcome);
        Ok(())
    }

    fn settle_one(&mut self) -> Result<(), BundleError> {
        if let Some(outcome) = self.under_way.pop_front() {
            let outcome = self.runtime.block_on(outcome);
            let outcome = outcome.unwrap_or(Err(StoreError::Closed))?;
            self.changes += u64::from(outcome == Outcome::Applied);
        }
        Ok(())
    }

    /// Waits for all that is under way.
    fn settle(&mut self) -> Result<(), BundleError> {
        while !self.under_way.is_empty() {
            self.settle_one()?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<u64, BundleError> {
        self.settle()?;
        Ok(self.changes)
    }
}
