//! Taking part in a partition anew: the whole state of a peer that collected what we never took in.
//!
//! Page by page the peer tells the dots of all that it holds, with the cells that we do not cover. The cells are
//! stored as they come, without a claim; the dots are gathered. Once every page is durable, one step says it
//! all ([`Claim::Rejoin`]): what the peer covers and does not hold goes, what only we have is written anew.
//!
//! The vector claimed is that of the *first* page, the floor that of the last as far as that vector goes. What is
//! covered never comes back at the peer, so what was covered at the first page and is not held on a later one
//! was replaced, by a cell that a page told or that we may not claim, or it was collected.
//!
//! If both sides lack what the other collected, the one with the smaller replica id goes first: both at once
//! would each give up what the other is about to write anew.
//!
//! Invariants: one at a time for a node, for the dots of a whole partition are in memory, and in one row of the
//! journal then; at most [`MAX_HELD_BYTES`] of them. One that failed is not tried again at once.

use grapevine_crdt::{FieldCell, FieldKey, ReplicaId, Timestamp, Value};

use super::{
    Now, StateRequest,
    core::{Engine, Step},
    floor,
    pull::MAX_PAGES_APPLYING,
    standing::Standing,
    telling::{self, Asking},
    tickets::Purpose,
    validate::{self, Violation},
};
use crate::{
    model::{
        CellName, Claim, EntityCells, EntityId, Floor, HashedVector, Op, Outline, PartitionId,
        Rejoin, StatePage,
    },
    sync::{Message, Terms, ToldFloor, ToldState},
};

/// The most bytes of keys and dots of one partition that are gathered. A partition with more cannot be rejoined.
pub const MAX_HELD_BYTES: usize = 32 * 1024 * 1024;

/// What a dot takes.
const DOT_BYTES: usize = 32;

/// How long after one that failed the next is begun, in milliseconds.
pub const REJOIN_RETRY_MS: u64 = 10_000;

/// Why a partition is taken in whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// One side lacks what the other collected.
    Floor,
    /// We were expelled.
    Expelled,
    /// We were expelled by the half that the peer is of, as it was by ours: it is about to do the same.
    Halves,
}

/// A transfer of a peer's whole state of a partition.
#[derive(Debug)]
pub(super) struct Rejoining {
    id: u64,
    peer: ReplicaId,
    pub(super) partition: PartitionId,
    /// How many pages were asked for.
    asked: u32,
    /// Whether the last of them has not come.
    awaiting: bool,
    asking: Asking,
    /// When it last came forward.
    progress_ms: u64,
    cursor: Option<EntityId>,
    /// The vector of the first page.
    vector: Option<HashedVector>,
    held: Vec<(EntityId, Vec<CellName>)>,
    bytes: usize,
    /// The floor of the last page, once that has come.
    floor: Option<Floor>,
    cause: Cause,
    /// Deletions told of keys: they would take the place of edits that are to stay.
    withheld: Vec<EntityCells>,
    announced: Timestamp,
    applying: usize,
    claiming: bool,
}

impl Rejoining {
    fn awaits(&self, peer: ReplicaId, (id, page, partition): (u64, u32, PartitionId)) -> bool {
        self.awaiting
            && self.id == id
            && self.peer == peer
            && self.partition == partition
            && self.asked.checked_sub(1) == Some(page)
    }

    const fn is_stalled(&self, now: Now, limit_ms: u64) -> bool {
        self.awaiting && now.monotonic_ms >= self.progress_ms.saturating_add(limit_ms)
    }

    /// Whether a page can be what this transfer waits for.
    fn check(
        &self,
        page: &StatePage,
        announced: Timestamp,
        step: &Step<'_>,
    ) -> Result<(), Violation> {
        let partition = self.partition;
        validate::clock(announced, step.now)?;
        validate::vector(partition, &page.vector, step.view)?;
        floor::check(partition, &page.vector, &page.floor, Some(announced))?;
        let went_back = self.vector.as_ref();
        if went_back.is_some_and(|first| !page.vector.includes(first.vector())) {
            return Err(Violation::VectorWentBack(partition));
        }
        let mut after = self.cursor.as_ref();
        for entity in &page.entities {
            if after.is_some_and(|after| *after >= entity.id) {
                return Err(Violation::Order(entity.id.clone()));
            }
            after = Some(&entity.id);
            validate::state(partition, entity, announced, step.view)?;
        }
        match &page.next {
            Some(next) if page.entities.last().is_none_or(|last| last.id != *next) => {
                Err(Violation::Cursor(partition))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Takes a page in; yields its cells.
    fn take(
        &mut self,
        page: StatePage,
        vector: HashedVector,
        announced: Timestamp,
        now: Now,
    ) -> Vec<EntityCells> {
        self.awaiting = false;
        self.asking.answered();
        self.progress_ms = now.monotonic_ms;
        self.announced = self.announced.max(announced);
        self.vector.get_or_insert(vector);
        self.cursor.clone_from(&page.next);
        if page.next.is_none() {
            self.floor = Some(page.floor);
        }
        let mut cells = Vec::new();
        for mut entity in page.entities {
            if self.cause != Cause::Floor {
                self.withhold(&entity.id, &mut entity.cells);
            }
            self.bytes += entity.id.key().len() + DOT_BYTES * entity.names.len();
            if !entity.cells.is_empty() {
                cells.push(EntityCells {
                    id: entity.id.clone(),
                    cells: entity.cells,
                });
            }
            self.held.push((entity.id, entity.names));
        }
        cells
    }

    /// Sets deletions of keys apart.
    fn withhold(&mut self, id: &EntityId, cells: &mut Vec<FieldCell>) {
        let is_deletion = |held: &FieldCell| {
            matches!(held.field, FieldKey::Register(_)) && held.cell.value == Value::Tombstone
        };
        if !cells.iter().any(is_deletion) {
            return;
        }
        let (withheld, rest) = std::mem::take(cells).into_iter().partition(is_deletion);
        *cells = rest;
        self.bytes += id.key().len() + DOT_BYTES;
        self.withheld.push(EntityCells {
            id: id.clone(),
            cells: withheld,
        });
    }

    /// The step that says it all.
    fn claim(&mut self, ours: &Floor) -> Op {
        let vector = self.vector.take().unwrap_or_default().into_vector();
        let theirs = self.floor.take().unwrap_or_default();
        let floor = Floor {
            vector: theirs.vector.meet(&vector),
            rank: theirs.rank,
        };
        let rejoin = Rejoin {
            refresh_theirs: self.cause == Cause::Halves || !vector.includes(&ours.vector),
            vector,
            floor,
            held: std::mem::take(&mut self.held),
            returning: self.cause != Cause::Floor,
            issue: None,
        };
        Op {
            partition: self.partition,
            entities: std::mem::take(&mut self.withheld),
            claim: Claim::Rejoin(Box::new(rejoin)),
        }
    }
}

impl Engine {
    /// Whether the partition is being taken in whole.
    pub(super) fn rejoin_of(&self, partition: PartitionId) -> bool {
        self.rejoining
            .as_ref()
            .is_some_and(|rejoining| rejoining.partition == partition)
    }

    /// Whether the transfer of this number is for having been expelled.
    pub(super) fn rejoin_returns(&self, id: u64) -> bool {
        self.rejoining
            .as_ref()
            .is_some_and(|rejoining| rejoining.id == id && rejoining.cause != Cause::Floor)
    }

    /// A peer says that we lack what it collected.
    pub(super) fn behind(
        &mut self,
        step: &mut Step<'_>,
        sender: ReplicaId,
        (id, page, partition): (u64, u32, PartitionId),
        vector: &Outline,
        theirs: &ToldFloor,
    ) -> Result<(), Violation> {
        let Some(pull) = self.pulls.awaited(sender, (id, page, partition)) else {
            return Ok(());
        };
        validate::outline(partition, vector)?;
        validate::outline(partition, &theirs.vector)?;
        let vector = pull.asking.vector(vector, pull.newest());
        let theirs = telling::floor(step.view, partition, theirs);
        let (Some(vector), Some(theirs)) = (vector, theirs) else {
            pull.asking.ask_whole(partition)?;
            self.ask(step, id);
            return Ok(());
        };
        validate::vector(partition, vector.vector(), step.view)?;
        floor::check(partition, vector.vector(), &theirs, None)?;
        self.abandon(id);
        let ours = step.view.partition(partition);
        let goes_first = vector.vector().includes(&ours.floor.vector)
            || step.view.replica().is_some_and(|us| us < sender);
        self.told_vector(step, sender, partition, vector, true);
        if goes_first && let Some(peer) = self.peers.up(sender) {
            peer.rejoins.insert(partition, theirs);
        }
        Ok(())
    }

    /// Begins the next transfer that is needed, if none is under way.
    pub(super) fn begin_rejoin(&mut self, step: &mut Step<'_>) {
        if self.rejoining.is_some() || step.now.monotonic_ms < self.rejoin_not_before_ms {
            return;
        }
        for replica in self.peers.all_up() {
            let standing = self.standing(replica);
            let halves = self.of_another_half(replica);
            while let Some((partition, floor)) = self.next_rejoin(replica) {
                let ours = step.view.partition(partition);
                let (cause, is_over) = match standing {
                    // It goes first.
                    Standing::ItReturns | Standing::Apart
                        if partition != PartitionId::of_roster() =>
                    {
                        continue;
                    }
                    Standing::WeReturn if partition != PartitionId::of_roster() => {
                        let cause = if halves {
                            Cause::Halves
                        } else {
                            Cause::Expelled
                        };
                        (cause, self.has_returned(partition))
                    }
                    Standing::Even | Standing::WeReturn | Standing::ItReturns | Standing::Apart => {
                        (Cause::Floor, ours.vector.includes(&floor.vector))
                    }
                };
                if is_over {
                    continue;
                }
                self.pulls.forget_torn(partition);
                self.rejoining = Some(Rejoining {
                    id: self.pulls.name(),
                    peer: replica,
                    partition,
                    asked: 0,
                    awaiting: false,
                    asking: Asking::default(),
                    progress_ms: step.now.monotonic_ms,
                    cursor: None,
                    vector: None,
                    held: Vec::new(),
                    bytes: 0,
                    floor: None,
                    cause,
                    withheld: Vec::new(),
                    announced: Timestamp::ZERO,
                    applying: 0,
                    claiming: false,
                });
                self.ask_for_state(step);
                return;
            }
        }
    }

    fn next_rejoin(&mut self, replica: ReplicaId) -> Option<(PartitionId, Floor)> {
        let peer = self.peers.up(replica)?;
        let next = peer.rejoins.pop_first()?;
        peer.recheck = true;
        Some(next)
    }

    /// How the page that is awaited was asked for.
    pub(super) fn awaited_state(
        &mut self,
        sender: ReplicaId,
        name: (u64, u32, PartitionId),
    ) -> Option<&mut Asking> {
        let rejoining = self.rejoining.as_mut()?;
        let awaits = rejoining.awaits(sender, name);
        awaits.then_some(&mut rejoining.asking)
    }

    pub(super) fn ask_for_state(&mut self, step: &mut Step<'_>) {
        let Some(rejoining) = &mut self.rejoining else {
            return;
        };
        let whom = (rejoining.peer, rejoining.partition);
        let mut asking = std::mem::take(&mut rejoining.asking);
        let seen = rejoining.vector.is_some();
        let (vector, terms) = self.ask_with(step.view, whom, &mut asking, seen);
        let Some(rejoining) = &mut self.rejoining else {
            return;
        };
        rejoining.asking = asking;
        let page = rejoining.asked;
        rejoining.asked = page.saturating_add(1);
        rejoining.awaiting = true;
        let message = Message::RejoinPull {
            pull: rejoining.id,
            page,
            partition: rejoining.partition,
            vector,
            cursor: rejoining.cursor.clone(),
            terms,
        };
        step.send(rejoining.peer, message);
    }

    /// A page of a peer's state came.
    pub(super) fn state_page(
        &mut self,
        step: &mut Step<'_>,
        sender: ReplicaId,
        name: (u64, u32, PartitionId),
        announced: Timestamp,
        told: ToldState,
    ) -> Result<(), Violation> {
        let Some(rejoining) = &mut self.rejoining else {
            return Ok(());
        };
        if !rejoining.awaits(sender, name) {
            return Ok(());
        }
        let partition = rejoining.partition;
        validate::outline(partition, &told.vector)?;
        validate::outline(partition, &told.floor.vector)?;
        let before = rejoining.vector.clone().unwrap_or_default();
        let vector = rejoining.asking.vector(&told.vector, &before);
        let theirs = telling::floor(step.view, partition, &told.floor);
        let (Some(vector), Some(floor)) = (vector, theirs) else {
            rejoining.asking.ask_whole(partition)?;
            self.ask_for_state(step);
            return Ok(());
        };
        let page = StatePage {
            entities: told.entities,
            vector: vector.vector().clone(),
            floor,
            next: told.next,
        };
        rejoining.check(&page, announced, step)?;
        let cells = rejoining.take(page, vector, announced, step.now);
        if rejoining.bytes > MAX_HELD_BYTES {
            let reason = format!("partition {partition} is too large to be taken in whole");
            step.commands.push(super::Command::Warn(reason));
            self.rejoining = None;
            self.rejoin_not_before_ms = step.now.monotonic_ms.saturating_add(REJOIN_RETRY_MS);
            return Ok(());
        }
        if !cells.is_empty() {
            rejoining.applying += 1;
            let id = rejoining.id;
            let op = Op {
                partition,
                entities: cells,
                claim: Claim::Nothing,
            };
            self.apply(step, Purpose::StatePage(id, partition), op, announced);
        }
        self.go_on_rejoining(step);
        Ok(())
    }

    /// A page of a peer's state is durable.
    pub(super) fn state_applied(&mut self, step: &mut Step<'_>, id: u64) {
        if let Some(rejoining) = &mut self.rejoining
            && rejoining.id == id
        {
            rejoining.applying = rejoining.applying.saturating_sub(1);
            rejoining.progress_ms = step.now.monotonic_ms;
            self.go_on_rejoining(step);
        }
    }

    fn go_on_rejoining(&mut self, step: &mut Step<'_>) {
        let Some(rejoining) = &mut self.rejoining else {
            return;
        };
        if rejoining.awaiting || rejoining.claiming {
            return;
        }
        if rejoining.floor.is_none() {
            if rejoining.applying < MAX_PAGES_APPLYING {
                self.ask_for_state(step);
            }
            return;
        }
        if rejoining.applying > 0 {
            return;
        }
        let ours = step.view.partition(rejoining.partition);
        let op = rejoining.claim(&ours.floor);
        rejoining.claiming = true;
        let (id, announced) = (rejoining.id, rejoining.announced);
        let purpose = Purpose::Rejoin(id, rejoining.partition);
        self.apply(step, purpose, op, announced);
    }

    /// The transfer is over, in whatever way. What it brought stays.
    pub(super) fn end_rejoin(&mut self, step: &mut Step<'_>, id: u64) {
        let ended = self.rejoining.take_if(|rejoining| rejoining.id == id);
        let Some(ended) = ended else {
            return;
        };
        if let Some(peer) = self.peers.up(ended.peer) {
            peer.recheck = true;
        }
        self.recheck(step);
    }

    /// A step of the transfer could not be stored.
    pub(super) fn fail_rejoin(&mut self, now: Now, id: u64) {
        let failed = self.rejoining.take_if(|rejoining| rejoining.id == id);
        if failed.is_some() {
            self.rejoin_not_before_ms = now.monotonic_ms.saturating_add(REJOIN_RETRY_MS);
        }
    }

    pub(super) fn forget_rejoin(&mut self, peer: ReplicaId) {
        self.rejoining.take_if(|rejoining| rejoining.peer == peer);
    }

    pub(super) fn abandon_stalled_rejoin(&mut self, now: Now) {
        let limit_ms = self.config.pull_abandoned_after_ms;
        self.rejoining
            .take_if(|rejoining| rejoining.is_stalled(now, limit_ms));
    }

    /// A peer asks for a page of all that we hold.
    pub(super) fn serve_state(
        &mut self,
        step: &mut Step<'_>,
        sender: ReplicaId,
        name: (u64, u32, PartitionId),
        (told, terms): (&Outline, Terms),
        cursor: Option<EntityId>,
    ) -> Result<(), Violation> {
        let (pull, page, partition) = name;
        let whom = (sender, partition);
        let Some(vector) = self.understand(step.view, whom, told)? else {
            self.tell_unknown(step, sender, name);
            return Ok(());
        };
        validate::vector(partition, vector.vector(), step.view)?;
        validate::cursor(partition, cursor.as_ref())?;
        let request = StateRequest {
            pull,
            page,
            partition,
            cursor,
            telling: self.telling(step.view, whom, vector.clone(), terms),
        };
        self.told_vector(step, sender, partition, vector, true);
        let request = super::Request::State(request);
        step.commands.push(super::Command::Serve(sender, request));
        Ok(())
    }
}
