//! The engine: takes one event apart and hands it to those whose matter it is.

use grapevine_crdt::ReplicaId;
use rand::Rng;
use uuid::Uuid;

use super::{
    Command, Divergence, EngineConfig, Event, FetchRequest, ListRequest, Now, PeerStatus,
    PullRequest, Request, View,
    collection::Collecting,
    divergence::Divergences,
    peer::{Peers, Want},
    probes::Probes,
    pulls::Pulls,
    push,
    rejoin::Rejoining,
    repair::Repairing,
    standing::{Standing, Standings},
    tickets::Tickets,
    validate::{self, Violation},
};
use crate::{
    model::{Cursor, HashedVector, Outline, PartitionId, PartitionSummary, Root},
    sync::{Message, Terms},
};

/// The state of sync between this node and its peers.
#[derive(Debug)]
pub struct Engine {
    pub(super) config: EngineConfig,
    pub(super) peers: Peers,
    pub(super) pulls: Pulls,
    pub(super) probes: Probes,
    pub(super) collecting: Collecting,
    pub(super) rejoining: Option<Rejoining>,
    /// After one that failed, no other is begun before this.
    pub(super) rejoin_not_before_ms: u64,
    pub(super) repairing: Option<Repairing>,
    pub(super) divergences: Divergences,
    pub(super) standings: Standings,
    pub(super) tickets: Tickets,
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

/// What a peer tells of itself when it asks for a page.
struct Told {
    vector: Outline,
    base: Outline,
    open: bool,
    unclaimed: bool,
    fresh: bool,
    terms: Terms,
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
            collecting: Collecting::default(),
            rejoining: None,
            rejoin_not_before_ms: 0,
            repairing: None,
            divergences: Divergences::default(),
            standings: Standings::default(),
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
            Event::PeerUp(info) => self.peer_up(step, info.replica, info.store),
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
            Event::Roster {
                members,
                expelled,
                read,
                alone,
            } => {
                self.note_expulsions(step, &expelled, &read);
                self.learn_standings(step.view, &members, expelled);
                self.roster(members, read, alone);
            }
            Event::Collected(partition, whole) => self.collected(step, partition, whole),
            Event::Compared(repair, ids) => self.compared(step, repair, ids),
            Event::Tick => self.tick(step, rng),
        }
    }

    /// What is known of each peer ever up since the start, in the order of their replica ids.
    #[must_use]
    pub fn peers(&self, view: &dyn View, now: Now) -> Vec<PeerStatus> {
        self.peers.statuses(view, now)
    }

    /// The closed partitions that differ from a peer's although both took in the same writes.
    #[must_use]
    pub fn divergences(&self, now: Now) -> Vec<Divergence> {
        self.divergences.list(now)
    }

    /// A peer tells what it holds of a partition.
    pub(super) fn told_vector(
        &mut self,
        step: &Step<'_>,
        peer: ReplicaId,
        partition: PartitionId,
        vector: HashedVector,
        unclaimed: bool,
    ) {
        let replaces = self.config.rules.replaces_reports;
        if let Some(peer) = self.peers.up(peer) {
            if replaces {
                peer.told_vector(partition, vector, step.view, step.now, unclaimed);
            } else {
                peer.told_as_well(partition, vector, step.view, step.now, unclaimed);
            }
        }
    }

    fn peer_up(&mut self, step: &mut Step<'_>, peer: ReplicaId, store: Uuid) {
        self.forget_work(peer);
        let forgets = self.config.rules.replaces_reports;
        self.peers.connect(peer, store, step.now, forgets);
        self.probe(step, peer);
        self.fill(step);
    }

    fn peer_down(&mut self, step: &mut Step<'_>, peer: ReplicaId) {
        self.forget_work(peer);
        self.fill(step);
    }

    /// Nothing is wanted of a peer whose frames may have been lost with its connection.
    fn forget_work(&mut self, peer: ReplicaId) {
        self.pulls.tear_off(peer);
        self.forget_rejoin(peer);
        self.forget_repair(peer);
        self.divergences.forget_peer(peer);
        self.peers.disconnect(peer);
    }

    fn received(&mut self, step: &mut Step<'_>, sender: ReplicaId, message: Message) {
        let Some(peer) = self.peers.up(sender) else {
            return;
        };
        peer.last_heard_ms = step.now.monotonic_ms;
        let taken = self.take(step, sender, message);
        if let Err(violation) = taken {
            self.forget_work(sender);
            self.pulls.forget_torn_of(sender);
            if matches!(violation, Violation::OurWrites(_)) {
                step.commands.push(Command::NewLife);
            }
            let reason = violation.to_string();
            step.commands.push(Command::Disconnect(sender, reason));
        }
        self.fill(step);
    }

    #[expect(
        clippy::too_many_lines,
        reason = "an arm for each message, which only says who takes it"
    )]
    fn take(
        &mut self,
        step: &mut Step<'_>,
        sender: ReplicaId,
        message: Message,
    ) -> Result<(), Violation> {
        match message {
            Message::Hello(_) => return Err(Violation::Hello),
            Message::Gossip { .. } => {}
            Message::Probe { root } => self.probed(step, sender, root),
            Message::InStep { root } => {
                self.told_root(step, sender, root);
            }
            Message::Summaries { root, partitions } => {
                self.summaries(step, sender, root, &partitions)?;
            }
            Message::Pull {
                pull,
                page,
                partition,
                vector,
                open,
                unclaimed,
                fresh,
                base,
                cursor,
                terms,
            } => {
                let told = Told {
                    vector,
                    base,
                    open,
                    unclaimed,
                    fresh,
                    terms,
                };
                self.serve(step, sender, (pull, page, partition), cursor, &told)?;
            }
            Message::Delta {
                pull,
                page,
                partition,
                clock,
                unclaimed,
                delta,
            } => {
                let name = (pull, page, partition);
                self.page(step, sender, name, clock, unclaimed, delta)?;
            }
            Message::Push { clock, records } => push::take(self, step, sender, clock, records)?,
            Message::Behind {
                pull,
                page,
                partition,
                vector,
                floor,
            } => self.behind(step, sender, (pull, page, partition), &vector, &floor)?,
            Message::RejoinPull {
                pull,
                page,
                partition,
                vector,
                cursor,
                terms,
            } => {
                let name = (pull, page, partition);
                self.serve_state(step, sender, name, (&vector, terms), cursor)?;
            }
            Message::Unknown {
                pull,
                page,
                partition,
                unclaimed,
                table,
            } => self.unknown(step, sender, (pull, page, partition), unclaimed, table)?,
            Message::State {
                pull,
                page,
                partition,
                clock,
                state,
            } => self.state_page(step, sender, (pull, page, partition), clock, state)?,
            Message::List {
                pull,
                page,
                partition,
                cursor,
            } => {
                let request = ListRequest {
                    pull,
                    page,
                    partition,
                    cursor,
                };
                Self::serve_listing(step, sender, request)?;
            }
            Message::Listing {
                pull,
                page,
                partition,
                listing,
            } => self.listed(step, sender, (pull, page, partition), listing)?,
            Message::Fetch {
                pull,
                page,
                partition,
                ids,
            } => {
                let request = FetchRequest {
                    pull,
                    page,
                    partition,
                    ids,
                };
                Self::serve_cells(step, sender, request)?;
            }
            Message::Cells {
                pull,
                page,
                partition,
                clock,
                answered,
                entities,
            } => {
                let name = (pull, page, partition);
                self.fetched(step, sender, name, clock, (answered, entities))?;
            }
        }
        Ok(())
    }

    /// A peer tells its root; says whether it is ours.
    fn told_root(&mut self, step: &mut Step<'_>, sender: ReplicaId, root: Root) -> bool {
        let Some(peer) = self.peers.up(sender) else {
            return false;
        };
        let agrees = peer.told_root(root, step.view, step.now);
        if agrees {
            self.met();
            self.divergences.forget_peer(sender);
            self.agrees_apart(step, sender);
        }
        agrees
    }

    /// A peer asks whether we agree.
    fn probed(&mut self, step: &mut Step<'_>, sender: ReplicaId, root: Root) {
        let ours = step.view.root();
        let answer = if self.told_root(step, sender, root) {
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
        if self.told_root(step, sender, root) {
            return Ok(());
        }
        let standing = self.standing(sender);
        if standing != Standing::Even {
            self.summaries_apart(step, sender, standing, partitions);
        }
        let Some(peer) = self.peers.up(sender) else {
            return Ok(());
        };
        for (partition, theirs) in PartitionId::all().zip(partitions) {
            let ours = step.view.summary(partition);
            if ours.vector_hash == theirs.vector_hash {
                peer.told_ours(partition, step.view, step.now, theirs.open);
                if standing != Standing::Even {
                    continue;
                }
                if !ours.open && !theirs.open {
                    if ours.digest == theirs.digest {
                        self.divergences.agree(sender, partition);
                    } else {
                        self.divergences.differ(step, sender, partition);
                    }
                    continue;
                }
            }
            if ours != *theirs && standing == Standing::Even {
                peer.want(partition, Want::Differs(*theirs));
            }
        }
        if self.repairing.is_none()
            && let Some(partition) = self.divergences.due(step, sender)
        {
            self.begin_repair(step, sender, partition);
        }
        Ok(())
    }

    /// A peer asks for a page, and tells by it what it holds itself.
    fn serve(
        &mut self,
        step: &mut Step<'_>,
        sender: ReplicaId,
        name: (u64, u32, PartitionId),
        cursor: Option<Cursor>,
        told: &Told,
    ) -> Result<(), Violation> {
        let (pull, page, partition) = name;
        let whom = (sender, partition);
        validate::outline(partition, &told.base)?;
        let vector = self.understand(step.view, whom, &told.vector)?;
        let ours = step.view.partition(partition);
        let base = vector.as_ref().and_then(|vector| {
            let base = told.base.resolve(vector);
            base.or_else(|| told.base.resolve(&ours.hashed()))
        });
        let (Some(vector), Some(base)) = (vector, base) else {
            self.tell_unknown(step, sender, name);
            if ours.vector.is_empty()
                && let Some(peer) = self.peers.up(sender)
            {
                peer.want(partition, Want::Told);
            }
            return Ok(());
        };
        validate::vector(partition, vector.vector(), step.view)?;
        if base.vector().len() > validate::MAX_VECTOR_ENTRIES {
            return Err(Violation::LongVector(partition));
        }
        let Some(peer) = self.peers.up(sender) else {
            return Ok(());
        };
        if !told.terms.seen {
            if !ours.vector.includes(vector.vector()) {
                peer.want(partition, Want::Told);
            } else if told.open {
                peer.want(partition, Want::Open);
            }
        }
        let request = PullRequest {
            pull,
            page,
            partition,
            base: base.into_vector(),
            cursor,
            telling: self.telling(step.view, whom, vector.clone(), told.terms),
        };
        let fresh = told.fresh && vector.vector().is_empty();
        let lacks = Self::lacks_our_floor(step.view, partition, vector.vector());
        self.told_vector(step, sender, partition, vector, told.unclaimed);
        let checks = self.config.rules.checks_floor_of_pulls;
        let apart = !self.exchanges(sender, partition);
        if !fresh && (apart || (lacks && checks)) {
            Self::tell_behind(step, sender, &request);
        } else {
            let request = Request::Page(request);
            step.commands.push(Command::Serve(sender, request));
        }
        Ok(())
    }

    fn tick(&mut self, step: &mut Step<'_>, rng: &mut dyn Rng) {
        self.abandon_stalled(step.now);
        self.abandon_stalled_rejoin(step.now);
        self.abandon_stalled_repair(step.now);
        self.fill(step);
        self.recheck(step);
        self.collect(step);
        self.probe_random(step, rng);
    }
}
