//! Reading what an offline client has not seen, page by page, over all partitions, from the index `log`.
//!
//! A client is told entities as they stand, not cells, and what it was told is claimed by a vector that any other
//! node will believe. So a partition may only be claimed if it was read from one content. If it changed between
//! two pages, what was written in between may lie before the place where the pages had come; another pass
//! against the vector with which the one before began finds that, and only the last is claimed.
//!
//! A place in a log means nothing to another store, which begins the partition again. What the client was told of it
//! before may have been deleted since; if that is forgotten here, the client must begin anew.

use grapevine_crdt::{Entity, VersionVector};

use super::{DeltaBudget, Rows, State, StoreError, read_delta, read_entity};
use crate::model::{ChangesToken, Cursor, EntityId, PartitionId, PartitionState, Pass, Resume};

/// One page of changes.
#[derive(Debug)]
pub struct ChangesPage {
    /// Entities of all collections, the system's own too, as they stand.
    pub entities: Vec<(EntityId, Entity)>,
    /// What the client has seen with this page.
    pub token: ChangesToken,
    /// Whether another page follows.
    pub more: bool,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangesError {
    /// Deletions that the client has not seen are forgotten; it must begin anew, without a token.
    #[error("what was deleted since this token was given is forgotten")]
    Gone,
    /// The rows cannot be read.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// Whether `token` tells enough of every partition among `of` to tell what was deleted from what never was.
#[must_use]
pub fn covers_floors(
    token: &ChangesToken,
    state: &State,
    of: impl Fn(PartitionId) -> bool,
) -> bool {
    state
        .partitions()
        .filter(|(partition, _)| of(*partition))
        .all(|(partition, held)| {
            let seen = token.fetched(partition);
            held.floor.is_empty() || seen.is_some_and(|seen| seen.includes(&held.floor.vector))
        })
}

/// The next page of what `token` does not cover. `state` is that of `rows`, whose store is `source`, and includes
/// what the token covers.
///
/// Cost: in proportion to what is told and to the number of partitions and of replicas with cells held, never to
/// what the store holds.
pub fn read_changes<R: Rows + ?Sized>(
    rows: &R,
    state: &State,
    source: u64,
    token: ChangesToken,
    budget: DeltaBudget,
) -> Result<ChangesPage, ChangesError> {
    let mut reading = Reading {
        rows,
        source,
        page: ChangesPage {
            entities: Vec::new(),
            token,
            more: false,
        },
        budget,
        bytes: 0,
    };
    let (resume, mut elsewhere) = match reading.page.token.take_resume() {
        Some(resume) if resume.source == source => (Some(resume), None),
        elsewhere => (None, elsewhere),
    };
    let first = resume.as_ref().map_or(0, |resume| resume.partition.get());
    let mut pass = resume.map(|resume| resume.pass);
    for partition in PartitionId::all().skip(usize::from(first)) {
        let held = state.partition(partition);
        if let Some(told) = elsewhere.take_if(|told| told.partition == partition)
            && reading.page.token.fetched(partition).is_none()
            && !told_whole(&told.pass, None).includes(&held.floor.vector)
        {
            return Err(ChangesError::Gone);
        }
        let done = reading.partition(partition, held, pass.take())?;
        if !done {
            reading.page.more = true;
            break;
        }
    }
    if let Some(told) = elsewhere
        && reading.page.token.fetched(told.partition).is_none()
    {
        // Something of it was told, and nothing can be claimed: it was not reached, and its place is not kept.
        let nothing = VersionVector::default();
        reading.page.token.fetch(told.partition, nothing);
    }
    Ok(reading.page)
}

/// Up to where everything of a partition was told before the pass under way, but for what that pass began with if it is the
/// first: what it has still to tell may be forgotten before it comes there, and what was told before may be deleted by it.
fn told_whole<'a>(pass: &'a Pass, seen: Option<&'a VersionVector>) -> &'a VersionVector {
    pass.base.as_ref().or(seen).unwrap_or(&pass.begun)
}

struct Reading<'a, R: ?Sized> {
    rows: &'a R,
    source: u64,
    page: ChangesPage,
    budget: DeltaBudget,
    bytes: usize,
}

impl<R: Rows + ?Sized> Reading<'_, R> {
    /// Reads one partition; says whether it was read to its end. If not, the token says where to go on.
    fn partition(
        &mut self,
        id: PartitionId,
        held: &PartitionState,
        resumed: Option<Pass>,
    ) -> Result<bool, ChangesError> {
        let seen = self.page.token.fetched(id);
        let unaware = |vector: &VersionVector| !vector.includes(&held.floor.vector);
        let forgotten = match (&resumed, seen) {
            (Some(pass), seen) => unaware(told_whole(pass, seen)),
            (None, Some(seen)) => unaware(seen),
            (None, None) => false,
        };
        if forgotten {
            return Err(ChangesError::Gone);
        }
        let is_new = seen.is_none_or(|seen| *seen != held.vector) || held.unclaimed > 0;
        if resumed.is_none() && !is_new {
            return Ok(true);
        }
        let seen = seen.cloned().unwrap_or_default();
        let begin = |base| Pass {
            base,
            begun: held.vector.clone(),
            steps: held.steps,
            position: None,
        };
        let mut pass = resumed.unwrap_or_else(|| begin(None));
        loop {
            if self.is_full() {
                self.stop(id, pass);
                return Ok(false);
            }
            let base = pass.base.as_ref().unwrap_or(&seen);
            match self.read(id, held, base, pass.position.map(Cursor))? {
                Some(Cursor(position)) => pass.position = Some(position),
                None if pass.steps == held.steps => {
                    self.page.token.fetch(id, pass.begun);
                    return Ok(true);
                }
                None => pass = begin(Some(pass.begun)),
            }
        }
    }

    /// Reads as far as there is room; says where the rest begins.
    fn read(
        &mut self,
        id: PartitionId,
        held: &PartitionState,
        base: &VersionVector,
        position: Option<Cursor>,
    ) -> Result<Option<Cursor>, StoreError> {
        let budget = DeltaBudget {
            entities: self.budget.entities - self.page.entities.len(),
            bytes: self.budget.bytes - self.bytes,
        };
        let page = read_delta(self.rows, id, held, base, position, budget)?;
        for cells in page.entities {
            if let Some(entity) = read_entity(self.rows, &cells.id)? {
                let bytes = entity
                    .cells()
                    .map(|(_, cell)| cell.bytes().map_or(0, <[u8]>::len));
                self.bytes = self.budget.bytes.min(self.bytes + bytes.sum::<usize>());
                self.page.entities.push((cells.id, entity));
            }
        }
        Ok(page.next)
    }

    fn is_full(&self) -> bool {
        self.page.entities.len() >= self.budget.entities || self.bytes >= self.budget.bytes
    }

    fn stop(&mut self, partition: PartitionId, pass: Pass) {
        self.page.token.set_resume(Resume {
            source: self.source,
            partition,
            pass,
        });
    }
}
