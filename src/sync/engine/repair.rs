//! Repair by listing: where two closed partitions differ although both took in the same writes, no delta helps.
//!
//! The peer lists its visible entities with their hashes; the driver compares them with ours, page by page; what
//! differs on either side is fetched whole and merged whether our vector covers it or not
//! ([`Claim::Repair`]). Both sides do it. Repair only adds: what the peer lacks it fetches itself.
//!
//! Invariants: one at a time for a node; a page of a listing is compared before the next is asked for.

use std::collections::BTreeSet;

use grapevine_crdt::{ReplicaId, Timestamp};

use super::{
    Command, Comparison, FetchRequest, ListRequest, Now, Request,
    core::{Engine, Step},
    tickets::Purpose,
    validate::{self, Violation},
};
use crate::{
    model::{Claim, EntityCells, EntityId, ListingPage, Op, PartitionId},
    sync::Message,
};

/// The most entities that are fetched with one question.
pub const MAX_IDS_FETCHED: usize = 1_000;

/// The most entries of a page of a listing.
pub const MAX_ENTRIES_LISTED: usize = 10_000;

/// What a repair waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Listing,
    Comparison,
    Cells,
    Writer,
}

/// A repair under way.
#[derive(Debug)]
pub(super) struct Repairing {
    id: u64,
    peer: ReplicaId,
    partition: PartitionId,
    /// How many questions were put.
    asked: u32,
    awaited: Awaited,
    /// When it last came forward.
    progress_ms: u64,
    /// Behind which entity the listing goes on.
    cursor: Option<EntityId>,
    /// Whether the last page of the listing came.
    listed: bool,
    /// What is to be fetched, in order.
    ids: Vec<EntityId>,
    /// How many of them the last question was about.
    questioned: usize,
}

impl Repairing {
    fn awaits(
        &self,
        peer: ReplicaId,
        (id, page, partition): (u64, u32, PartitionId),
        awaited: Awaited,
    ) -> bool {
        self.awaited == awaited
            && self.id == id
            && self.peer == peer
            && self.partition == partition
            && self.asked.checked_sub(1) == Some(page)
    }

    /// Whether its peer keeps it waiting.
    fn is_stalled(&self, now: Now, limit_ms: u64) -> bool {
        matches!(self.awaited, Awaited::Listing | Awaited::Cells)
            && now.monotonic_ms >= self.progress_ms.saturating_add(limit_ms)
    }

    /// The next question.
    fn ask(&mut self, now: Now) -> Message {
        let page = self.asked;
        self.asked = page.saturating_add(1);
        self.progress_ms = now.monotonic_ms;
        if self.ids.is_empty() {
            self.awaited = Awaited::Listing;
            return Message::List {
                pull: self.id,
                page,
                partition: self.partition,
                cursor: self.cursor.clone(),
            };
        }
        self.awaited = Awaited::Cells;
        self.questioned = self.ids.len().min(MAX_IDS_FETCHED);
        Message::Fetch {
            pull: self.id,
            page,
            partition: self.partition,
            ids: self.ids[..self.questioned].to_vec(),
        }
    }

    fn check_listing(&self, listing: &ListingPage) -> Result<(), Violation> {
        let partition = self.partition;
        if listing.entries.len() > MAX_ENTRIES_LISTED {
            return Err(Violation::LongListing(partition));
        }
        let mut after = self.cursor.as_ref();
        for (id, _) in &listing.entries {
            validate::cursor(partition, Some(id))?;
            if after.is_some_and(|after| after >= id) {
                return Err(Violation::Order(id.clone()));
            }
            after = Some(id);
        }
        match &listing.next {
            Some(next) if after != Some(next) || listing.entries.is_empty() => {
                Err(Violation::Cursor(partition))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn check_cells(
        &self,
        answered: usize,
        entities: &[EntityCells],
        announced: Timestamp,
        step: &Step<'_>,
    ) -> Result<(), Violation> {
        validate::clock(announced, step.now)?;
        if answered == 0 || answered > self.questioned {
            return Err(Violation::Cursor(self.partition));
        }
        let asked: BTreeSet<&EntityId> = self.ids[..answered].iter().collect();
        let mut after = None;
        for entity in entities {
            if after.is_some_and(|after| after >= &entity.id) {
                return Err(Violation::Order(entity.id.clone()));
            }
            after = Some(&entity.id);
            if !asked.contains(&entity.id) {
                return Err(Violation::NotAskedFor(entity.id.clone()));
            }
            validate::entity(self.partition, entity, announced, step.view)?;
        }
        Ok(())
    }
}

impl Engine {
    /// Begins a repair, if none is under way: whoever finds none begun finds the same again with a later probe.
    pub(super) fn begin_repair(
        &mut self,
        step: &mut Step<'_>,
        peer: ReplicaId,
        partition: PartitionId,
    ) {
        if self.repairing.is_some() {
            return;
        }
        let mut repairing = Repairing {
            id: self.pulls.name(),
            peer,
            partition,
            asked: 0,
            awaited: Awaited::Listing,
            progress_ms: step.now.monotonic_ms,
            cursor: None,
            listed: false,
            ids: Vec::new(),
            questioned: 0,
        };
        let message = repairing.ask(step.now);
        self.repairing = Some(repairing);
        step.send(peer, message);
    }

    /// A page of a peer's visible entities came.
    pub(super) fn listed(
        &mut self,
        step: &mut Step<'_>,
        sender: ReplicaId,
        name: (u64, u32, PartitionId),
        listing: ListingPage,
    ) -> Result<(), Violation> {
        let Some(repairing) = &mut self.repairing else {
            return Ok(());
        };
        if !repairing.awaits(sender, name, Awaited::Listing) {
            return Ok(());
        }
        repairing.check_listing(&listing)?;
        repairing.awaited = Awaited::Comparison;
        let after = std::mem::replace(&mut repairing.cursor, listing.next.clone());
        repairing.listed = listing.next.is_none();
        step.commands.push(Command::Compare(Comparison {
            repair: repairing.id,
            partition: repairing.partition,
            after,
            upto: listing.next,
            theirs: listing.entries,
        }));
        Ok(())
    }

    /// What of a listing differs from what we hold.
    pub(super) fn compared(&mut self, step: &mut Step<'_>, id: u64, ids: Vec<EntityId>) {
        if let Some(repairing) = &mut self.repairing
            && repairing.id == id
            && repairing.awaited == Awaited::Comparison
        {
            repairing.ids = ids;
            self.go_on_repairing(step);
        }
    }

    /// Whole entities of a peer came.
    pub(super) fn fetched(
        &mut self,
        step: &mut Step<'_>,
        sender: ReplicaId,
        name: (u64, u32, PartitionId),
        announced: Timestamp,
        (answered, entities): (u32, Vec<EntityCells>),
    ) -> Result<(), Violation> {
        let Some(repairing) = &mut self.repairing else {
            return Ok(());
        };
        if !repairing.awaits(sender, name, Awaited::Cells) {
            return Ok(());
        }
        let answered = usize::try_from(answered).unwrap_or(usize::MAX);
        repairing.check_cells(answered, &entities, announced, step)?;
        repairing.ids.drain(..answered);
        if entities.is_empty() {
            self.go_on_repairing(step);
            return Ok(());
        }
        repairing.awaited = Awaited::Writer;
        let (id, partition) = (repairing.id, repairing.partition);
        let op = Op {
            partition,
            entities,
            claim: Claim::Repair,
        };
        self.apply(step, Purpose::Repair(id, partition), op, announced);
        Ok(())
    }

    /// What was fetched is durable.
    pub(super) fn repaired(&mut self, step: &mut Step<'_>, id: u64) {
        if self
            .repairing
            .as_ref()
            .is_some_and(|repairing| repairing.id == id)
        {
            self.go_on_repairing(step);
        }
    }

    fn go_on_repairing(&mut self, step: &mut Step<'_>) {
        let Some(repairing) = &mut self.repairing else {
            return;
        };
        if repairing.ids.is_empty() && repairing.listed {
            let id = repairing.id;
            self.end_repair(step, id);
            return;
        }
        let message = repairing.ask(step.now);
        step.send(repairing.peer, message);
    }

    /// The repair is over, in whatever way; the next probe tells whether it helped.
    pub(super) fn end_repair(&mut self, step: &mut Step<'_>, id: u64) {
        let ended = self.repairing.take_if(|repairing| repairing.id == id);
        if let Some(ended) = ended
            && let Some(peer) = self.peers.up(ended.peer)
        {
            peer.recheck = true;
            self.recheck(step);
        }
    }

    pub(super) fn repair_of(&self, partition: PartitionId) -> bool {
        let repairing = self.repairing.as_ref();
        repairing.is_some_and(|repairing| repairing.partition == partition)
    }

    pub(super) fn forget_repair(&mut self, peer: ReplicaId) {
        self.repairing.take_if(|repairing| repairing.peer == peer);
    }

    pub(super) fn abandon_stalled_repair(&mut self, now: Now) {
        let limit_ms = self.config.pull_abandoned_after_ms;
        self.repairing
            .take_if(|repairing| repairing.is_stalled(now, limit_ms));
    }

    /// A peer asks for our visible entities.
    pub(super) fn serve_listing(
        step: &mut Step<'_>,
        sender: ReplicaId,
        request: ListRequest,
    ) -> Result<(), Violation> {
        validate::cursor(request.partition, request.cursor.as_ref())?;
        step.commands
            .push(Command::Serve(sender, Request::List(request)));
        Ok(())
    }

    /// A peer asks for whole entities.
    pub(super) fn serve_cells(
        step: &mut Step<'_>,
        sender: ReplicaId,
        request: FetchRequest,
    ) -> Result<(), Violation> {
        let partition = request.partition;
        if request.ids.is_empty() || request.ids.len() > MAX_IDS_FETCHED {
            return Err(Violation::LongListing(partition));
        }
        let mut after = None;
        for id in &request.ids {
            validate::cursor(partition, Some(id))?;
            if after.is_some_and(|after| after >= id) {
                return Err(Violation::Order(id.clone()));
            }
            after = Some(id);
        }
        step.commands
            .push(Command::Serve(sender, Request::Cells(request)));
        Ok(())
    }
}
