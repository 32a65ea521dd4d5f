//! The engine: takes one event apart and hands it to those whose matter it is.

use std::collections::BTreeMap;

use grapevine_crdt::ReplicaId;
use rand::Rng;

use super::{
    Command, EngineConfig, Event, Now, PeerStatus, PullRequest, Ticket, View,
    peer::{Peers, Want},
    probes::Probes,
    pulls::Pulls,
    push,
    validate::{self, Violation},
};
use crate::{
    model::{Op, Outcome, PartitionId, PartitionSummary, Root},
    sync::Message,
};

/// The state of sync between this node and its peers.
#[derive(Debug)]
pub struct Engine {
    pub(super) config: EngineConfig,
    pub(super) peers: Peers,
    pub(super) pulls: Pulls,
    pub(super) probes: Probes,
    tickets: Tickets,
}

/// What one step is given, and what it yields.
pub(super) struct Step<'a> {
    pub(super) now: Now,
    pub(super) view: &'a dyn View,
    pub(super) commands: &'a mut Vec<Command>,
}

impl Step<'_> {
    pub(super) fn send(&mut self, peer: ReplicaId, message: Message) {
        self.commands.push(Command::Send(peer, message));
    }
}

/// Whose step a ticket names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// A page of the pull with this id.
    Page(u64),
    /// The last page of the pull with this id, with the claim.
    Claim(u64),
    /// A push.
    Push(ReplicaId, PartitionId),
}

/// The steps on their way through the writer: at most [`MAX_PAGES_APPLYING`](super::MAX_PAGES_APPLYING) for
/// each pull under way and `max_pushes_applying` for each peer, and those of pulls that were given up.
#[derive(Debug, Default)]
struct Tickets {
    next: u64,
    open: BTreeMap<Ticket, Purpose>,
}

impl Engine {
    /// An engine without peers.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Self {
            config,
            peers: Peers::default(),
            pulls: Pulls::default(),
            probes: Probes::default(),
            tickets: Tickets::default(),
        }
    }

    /// Takes one event in and appends what is to be done to `commands`, in the order in which it must be
    /// done.
    pub fn step(
        &mut self,
        now: Now,
        event: Event,
        view: &dyn View,
        rng: &mut dyn Rng,
        commands: &mut Vec<Command>,
    ) {
        let step = &mut Step {
            now,
            view,
            commands,
        };
        match event {
            Event::PeerUp(info) => self.peer_up(step, info.replica),
            Event::PeerDown(peer) => self.peer_down(step, peer),
            Event::Received(peer, message) => self.received(step, peer, message),
            Event::Committed(records) => {
                let peers = self.peers.all_up();
                if !peers.is_empty() && !records.is_empty() {
                    step.commands.push(Command::Push(peers, records));
                }
            }
            Event::Applied(ticket, outcome) => self.applied(step, ticket, outcome),
            Event::ApplyFailed(ticket) => self.apply_failed(step, ticket),
            Event::Gossiped(peer, root) => self.gossiped(step, peer, root),
            Event::ProbeAll => {
                for peer in self.peers.all_up() {
                    self.probe(step, peer);
                }
            }
            Event::Tick => self.tick(step, rng),
        }
    }

    /// What is known of each peer ever up since the start, in the order of their replica ids.
    #[must_use]
    pub fn peers(&self, view: &dyn View, now: Now) -> Vec<PeerStatus> {
        self.peers.statuses(view, now)
    }

    pub(super) fn apply(
        &mut self,
        step: &mut Step<'_>,
        purpose: Purpose,
        op: Op,
        announced: grapevine_crdt::Timestamp,
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

    fn peer_up(&mut self, step: &mut Step<'_>, peer: ReplicaId) {
        self.forget_work(peer);
        self.peers.connect(peer, step.now);
        self.probe(step, peer);
        self.fill(step);
    }

    fn peer_down(&mut self, step: &mut Step<'_>, peer: ReplicaId) {
        self.forget_work(peer);
        self.fill(step);
    }

    /// Nothing is wanted of a peer whose frames may have been lost with its connection.
    fn forget_work(&mut self, peer: ReplicaId) {
        self.pulls.forget_peer(peer);
        self.peers.disconnect(peer);
    }

    fn received(&mut self, step: &mut Step<'_>, sender: ReplicaId, message: Message) {
        let Some(peer) = self.peers.up(sender) else {
            return;
        };
        peer.last_heard_ms = step.now.monotonic_ms;
        let taken = match message {
            Message::Hello(_) => Err(Violation::Hello),
            Message::Probe { root } => {
                self.probed(step, sender, root);
                Ok(())
            }
            Message::InStep { root } => {
                peer.told_root(root, step.view);
                Ok(())
            }
            Message::Summaries { root, partitions } => {
                self.summaries(step, sender, root, &partitions)
            }
            Message::Pull {
                pull,
                page,
                partition,
                vector,
                open,
                base,
                cursor,
            } => {
                let request = PullRequest {
                    pull,
                    page,
                    partition,
                    base,
                    cursor,
                };
                self.serve(step, sender, request, vector, open)
            }
            Message::Delta {
                pull,
                page,
                partition,
                clock,
                delta,
            } => self.page(step, sender, (pull, page, partition), clock, delta),
            Message::Push { clock, records } => push::take(self, step, sender, clock, records),
        };
        if let Err(violation) = taken {
            self.forget_work(sender);
            if matches!(violation, Violation::OurWrites(_)) {
                step.commands.push(Command::NewLife);
            }
            let reason = violation.to_string();
            step.commands.push(Command::Disconnect(sender, reason));
        }
        self.fill(step);
    }

    /// A peer asks whether we agree.
    fn probed(&mut self, step: &mut Step<'_>, sender: ReplicaId, root: Root) {
        let Some(peer) = self.peers.up(sender) else {
            return;
        };
        let ours = step.view.root();
        let answer = if peer.told_root(root, step.view) {
            Message::InStep { root: ours }
        } else {
            let summary = |partition| step.view.summary(partition);
            Message::Summaries {
                root: ours,
                partitions: PartitionId::all().map(summary).collect(),
            }
        };
        step.send(sender, answer);
    }

    /// A peer holds something else than we: what differs is pulled.
    fn summaries(
        &mut self,
        step: &mut Step<'_>,
        sender: ReplicaId,
        root: Root,
        partitions: &[PartitionSummary],
    ) -> Result<(), Violation> {
        validate::summaries(root, partitions)?;
        let Some(peer) = self.peers.up(sender) else {
            return Ok(());
        };
        if peer.told_root(root, step.view) {
            return Ok(());
        }
        for (partition, theirs) in PartitionId::all().zip(partitions) {
            let ours = step.view.summary(partition);
            if ours.vector_hash == theirs.vector_hash {
                peer.told_ours(partition, step.view);
                if !ours.open && !theirs.open {
                    if ours.digest != theirs.digest {
                        step.commands.push(Command::Diverged(sender, partition));
                    }
                    continue;
                }
            }
            if ours != *theirs {
                peer.want(partition, Want::Differs(*theirs));
            }
        }
        Ok(())
    }

    /// A peer asks for a page, and tells by it what it holds itself.
    fn serve(
        &mut self,
        step: &mut Step<'_>,
        sender: ReplicaId,
        request: PullRequest,
        theirs: grapevine_crdt::VersionVector,
        open: bool,
    ) -> Result<(), Violation> {
        let partition = request.partition;
        validate::vector(partition, &theirs, step.view)?;
        if request.base.len() > validate::MAX_VECTOR_ENTRIES {
            return Err(Violation::LongVector(partition));
        }
        let Some(peer) = self.peers.up(sender) else {
            return Ok(());
        };
        if request.page == 0 {
            if !step.view.partition(partition).vector.includes(&theirs) {
                peer.want(partition, Want::Told);
            } else if open {
                peer.want(partition, Want::Open);
            }
        }
        peer.told_vector(partition, theirs, step.view);
        step.commands.push(Command::Serve(sender, request));
        Ok(())
    }

    fn applied(&mut self, step: &mut Step<'_>, ticket: Ticket, outcome: Outcome) {
        match self.tickets.open.remove(&ticket) {
            Some(Purpose::Page(pull)) => self.page_applied(step, pull),
            Some(Purpose::Claim(pull)) => self.completed(step, pull),
            Some(Purpose::Push(peer, partition)) => {
                push::applied(self, peer, partition, outcome);
            }
            None => {}
        }
        self.fill(step);
    }

    fn apply_failed(&mut self, step: &mut Step<'_>, ticket: Ticket) {
        match self.tickets.open.remove(&ticket) {
            Some(Purpose::Page(pull) | Purpose::Claim(pull)) => self.abandon(pull),
            Some(Purpose::Push(peer, _)) => push::failed(self, peer),
            None => {}
        }
        self.fill(step);
    }

    fn tick(&mut self, step: &mut Step<'_>, rng: &mut dyn Rng) {
        self.abandon_stalled(step.now);
        self.fill(step);
        self.recheck(step);
        self.probe_random(step, rng);
    }
}
