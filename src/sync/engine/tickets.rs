//! What is on its way through the writer, and whose step goes on when it is done.

use std::collections::BTreeMap;

use grapevine_crdt::{ReplicaId, Timestamp};

use super::{
    Command, Ticket,
    core::{Engine, Step},
    push,
};
use crate::model::{Op, Outcome, PartitionId};

/// Whose step a ticket names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// A page of the pull with this id.
    Page(u64, PartitionId),
    /// The last page of the pull with this id, with the claim.
    Claim(u64, PartitionId),
    /// A push.
    Push(ReplicaId, PartitionId),
    /// A page of the rejoin with this id.
    StatePage(u64, PartitionId),
    /// The end of the rejoin with this id.
    Rejoin(u64, PartitionId),
    /// What the repair with this id fetched.
    Repair(u64, PartitionId),
}

impl Purpose {
    /// Whether it may bring cells of `partition` that a peer had collected since.
    fn brings(self, partition: PartitionId) -> bool {
        match self {
            Self::Page(_, of)
            | Self::Claim(_, of)
            | Self::Push(_, of)
            | Self::StatePage(_, of)
            | Self::Rejoin(_, of) => of == partition,
            // It merges what is covered, and so brings nothing of a vector that is to be taken in whole.
            Self::Repair(..) => false,
        }
    }

    /// Whether it may bring cells of `partition` that were read before something became stable. A push never does:
    /// what it holds and we lack, its writer wrote knowing all that it had told it held.
    fn brings_older(self, partition: PartitionId) -> bool {
        match self {
            Self::Page(_, of)
            | Self::Claim(_, of)
            | Self::StatePage(_, of)
            | Self::Rejoin(_, of)
            | Self::Repair(_, of) => of == partition,
            Self::Push(..) => false,
        }
    }
}

/// The steps on their way through the writer: at most [`MAX_PAGES_APPLYING`](super::MAX_PAGES_APPLYING) for
/// each pull under way and `max_pushes_applying` for each peer, and those of pulls that were given up.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    next: u64,
    open: BTreeMap<Ticket, Purpose>,
}

impl Engine {
    /// Whether cells of the partition are on their way through the writer.
    pub(super) fn is_applying(&self, partition: PartitionId) -> bool {
        self.tickets
            .open
            .values()
            .any(|purpose| purpose.brings(partition))
    }

    /// Whether cells of the partition wait for the writer that were read before something became stable, also
    /// those of transfers that were given up since.
    pub(super) fn is_bringing_older(&self, partition: PartitionId) -> bool {
        self.tickets
            .open
            .values()
            .any(|purpose| purpose.brings_older(partition))
    }

    pub(super) fn apply(
        &mut self,
        step: &mut Step<'_>,
        purpose: Purpose,
        op: Op,
        announced: Timestamp,
    ) {
        let ticket = Ticket(self.tickets.next);
        self.tickets.next += 1;
        self.tickets.open.insert(ticket, purpose);
        step.commands.push(Command::Apply {
            ticket,
            op,
            announced,
        });
    }

    pub(super) fn applied(&mut self, step: &mut Step<'_>, ticket: Ticket, outcome: Outcome) {
        match self.tickets.open.remove(&ticket) {
            Some(Purpose::Page(pull, _)) => self.page_applied(step, pull),
            Some(Purpose::Claim(pull, partition)) => {
                self.met_by(partition);
                self.completed(step, pull);
            }
            Some(Purpose::StatePage(rejoin, _)) => self.state_applied(step, rejoin),
            Some(Purpose::Rejoin(rejoin, partition)) => {
                self.met_by(partition);
                if self.rejoin_returns(rejoin) {
                    self.returned(step, partition);
                }
                self.end_rejoin(step, rejoin);
            }
            Some(Purpose::Repair(repair, _)) => self.repaired(step, repair),
            Some(Purpose::Push(peer, partition)) => {
                push::applied(self, peer, partition, outcome);
            }
            None => {}
        }
        self.fill(step);
    }

    pub(super) fn apply_failed(&mut self, step: &mut Step<'_>, ticket: Ticket) {
        match self.tickets.open.remove(&ticket) {
            Some(Purpose::Page(pull, _) | Purpose::Claim(pull, _)) => self.abandon(pull),
            Some(Purpose::StatePage(rejoin, _) | Purpose::Rejoin(rejoin, _)) => {
                self.fail_rejoin(step.now, rejoin);
            }
            Some(Purpose::Repair(repair, _)) => self.end_repair(step, repair),
            Some(Purpose::Push(peer, _)) => push::failed(self, peer),
            None => {}
        }
        self.fill(step);
    }
}
