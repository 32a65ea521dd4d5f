//! The one task that owns the engine.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use grapevine_crdt::{ReplicaId, Timestamp, VersionVector};
use rand::rngs::StdRng;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval},
};

use super::{
    Health, PeerReport,
    apply::{Applied, Step},
    clocks::base_ms,
    peers::Peers,
    probed::Probed,
    serve::Asked,
    shared::{Inbound, Room, Shared},
    tasks::{Desk, Done, Task},
};
use crate::{
    model::{CommitRecord, PartitionId, PartitionState, PartitionSummary, Root},
    store::Snapshot,
    sync::{
        Message,
        engine::{Command, Engine, Event, Expelled, View},
        transport::{Frame, FrameError},
    },
};

/// How often the engine hears that time went on.
const TICK_PERIOD: Duration = Duration::from_millis(50);

/// A clock that was moved by less is not compared again, in milliseconds.
const LEAST_MOVE_MS: u64 = 1_000;

/// About how many bytes of records travel in one frame; a group commit with more is split.
const PUSH_FRAME_BYTES: usize = 256 * 1024;

/// What is asked of the driver from above.
#[derive(Debug)]
pub(super) enum Control {
    Peers(oneshot::Sender<Vec<PeerReport>>),
    ProbeAll,
    Gossiped(Vec<(ReplicaId, Root)>),
    Carry(SocketAddr, Bytes),
    Roster(RosterRead),
    Health(oneshot::Sender<Health>),
}

/// What the roster says, as it was read last.
#[derive(Clone, Debug, Default)]
pub struct RosterRead {
    /// The lives in it.
    pub members: Arc<BTreeSet<ReplicaId>>,
    /// Who was expelled and has not come back yet.
    pub expelled: Arc<Expelled>,
    /// What of the roster's partition had been taken in before it was read.
    pub read: VersionVector,
    /// Whether this node was given no seeds.
    pub alone: bool,
}

/// Where events come from.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) control: mpsc::Receiver<Control>,
    pub(super) inbound: mpsc::Receiver<Inbound>,
    pub(super) commits: mpsc::Receiver<Arc<[CommitRecord]>>,
    pub(super) applied: mpsc::Receiver<Applied>,
    pub(super) done: mpsc::Receiver<Done>,
}

pub(super) struct EventLoop {
    pub(super) shared: Arc<Shared>,
    pub(super) engine: Engine,
    pub(super) rng: StdRng,
    pub(super) peers: Peers,
    pub(super) steps: mpsc::Sender<Step>,
    /// Steps for which `steps` had no room. While there are any, nothing is taken from the links, so they
    /// are at most what one event yields.
    pub(super) backlog: VecDeque<Step>,
    pub(super) requests: mpsc::Sender<Asked>,
    /// Work of the engine that reads the store for itself.
    pub(super) tasks: Desk,
    /// What was asked of each peer that is up, and what it told.
    pub(super) probed: BTreeMap<ReplicaId, Probed>,
    /// Numbers the times that peers came up.
    pub(super) epochs: u64,
    /// Rises with every change of what is known of peers.
    pub(super) changes: watch::Sender<u64>,
    pub(super) commands: Vec<Command>,
    /// Whether it was last said that our clock is off.
    pub(super) clock_is_off: bool,
}

/// The local store as the engine may see it.
struct StoreView {
    snapshot: Arc<Snapshot>,
    replica: Option<ReplicaId>,
}

impl View for StoreView {
    fn root(&self) -> Root {
        self.snapshot.state().root()
    }

    fn summary(&self, partition: PartitionId) -> PartitionSummary {
        self.snapshot.state().partition(partition).summary()
    }

    fn partition(&self, partition: PartitionId) -> Arc<PartitionState> {
        Arc::clone(self.snapshot.state().partition(partition))
    }

    fn replica(&self) -> Option<ReplicaId> {
        self.replica
    }
}

impl EventLoop {
    /// Runs until the driver stops; then what was committed is still pushed, and every link sends what
    /// waits.
    pub(super) async fn run(mut self, mut sources: Sources) {
        let mut ticks = interval(TICK_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shared = Arc::clone(&self.shared);
        let steps = self.steps.clone();
        loop {
            tokio::select! {
                biased;
                () = shared.stopping.cancelled() => break,
                _ = ticks.tick() => self.tick(),
                Some(control) = sources.control.recv() => self.control(control),
                Some((ticket, outcome)) = sources.applied.recv() => {
                    let event = match outcome {
                        Some(outcome) => Event::Applied(ticket, outcome),
                        None => Event::ApplyFailed(ticket),
                    };
                    self.step(event, None);
                }
                Some(done) = sources.done.recv() => self.step(done.into_event(), None),
                Some(records) = sources.commits.recv() => self.step(Event::Committed(records), None),
                Ok(place) = steps.reserve(), if !self.backlog.is_empty() => {
                    if let Some(step) = self.backlog.pop_front() {
                        place.send(step);
                    }
                }
                Some(inbound) = sources.inbound.recv(), if self.backlog.is_empty() => {
                    self.inbound(inbound);
                }
            }
        }
        while let Ok(records) = sources.commits.try_recv() {
            self.step(Event::Committed(records), None);
        }
        self.peers.finish();
        self.shared.stopped.cancel();
    }

    fn tick(&mut self) {
        if let Some(replica) = self.shared.store.replica() {
            self.peers.break_off_outdated(replica);
        }
        self.peers.break_off_unaccepted(&self.shared.config.keyring);
        self.watch_clock();
        for done in self.tasks.take_put_off() {
            self.step(done.into_event(), None);
        }
        self.step(Event::Tick, None);
    }

    /// Clocks were compared when links came up. If ours has moved since, they are compared again.
    fn watch_clock(&mut self) {
        self.shared.store.watch_clock();
        let now = self.shared.now();
        let tolerated_ms = (self.shared.config.max_clock_skew_ms / 6).max(LEAST_MOVE_MS);
        let base_ms = base_ms(now);
        if self.peers.break_off_measured(base_ms, tolerated_ms) {
            self.warn("the clock of this node was moved; peers are asked for theirs again");
            self.shared.clocks.moved(now);
        }
        let fault = self.shared.clocks.fault(now);
        if fault.is_some() != self.clock_is_off {
            self.clock_is_off = fault.is_some();
            match fault {
                Some(fault) => tracing::error!("{fault}; client writes are refused"),
                None => {
                    tracing::info!("the clock of this node agrees again; client writes are taken");
                }
            }
        }
    }

    fn control(&mut self, control: Control) {
        match control {
            Control::Peers(answer) => {
                let _asker_gone = answer.send(self.reports());
            }
            Control::Roster(roster) => {
                let RosterRead {
                    members,
                    expelled,
                    read,
                    alone,
                } = roster;
                if !expelled.contains_key(&self.shared.store.identity().store_id) {
                    self.shared.returned.send_replace(BTreeSet::new());
                }
                let event = Event::Roster {
                    members,
                    expelled,
                    read,
                    alone,
                };
                self.step(event, None);
            }
            Control::Health(answer) => {
                let (view, now) = (self.view(), self.shared.now());
                let _asker_gone = answer.send(Health {
                    collection: self.engine.collection(&view, now),
                    divergences: self.engine.divergences(now),
                });
            }
            Control::Carry(to, message) => self.carry(to, message),
            Control::ProbeAll => self.step(Event::ProbeAll, None),
            Control::Gossiped(roots) => {
                for (replica, root) in roots {
                    self.step(Event::Gossiped(replica, root), None);
                }
            }
        }
    }

    fn reports(&self) -> Vec<PeerReport> {
        let peers = self.engine.peers(&self.view(), self.shared.now());
        peers
            .into_iter()
            .map(|status| PeerReport {
                info: self.peers.info(status.replica).cloned(),
                probed: self.probed.get(&status.replica).copied(),
                clock_offset_ms: self
                    .peers
                    .info(status.replica)
                    .and_then(|info| self.shared.clocks.offset_ms(&info.peer, self.shared.now())),
                waiting_bytes: self.peers.waiting_bytes(status.replica),
                status,
            })
            .collect()
    }

    fn inbound(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Up {
                link,
                ours,
                base_ms,
                sealed_with,
                info,
                sender,
            } => {
                let event = Event::PeerUp(info.clone());
                let (name, replica) = (info.name.clone(), info.replica);
                if self
                    .peers
                    .open(link, ours, base_ms, sealed_with, info, sender)
                {
                    self.epochs += 1;
                    let probed = Probed::new(self.epochs);
                    self.probed.insert(replica, probed);
                    tracing::info!(peer = name, %replica, "a peer is up");
                    self.step(event, None);
                    self.peers_changed();
                }
            }
            Inbound::Message {
                link,
                message,
                room,
            } => {
                let Some(replica) = self.peers.peer_of(link) else {
                    return;
                };
                if let Message::Gossip { message } = message {
                    if let Some(info) = self.peers.info(replica) {
                        self.take_carried(&info.peer, message);
                    }
                    return;
                }
                if matches!(message, Message::Pull { .. } | Message::InStep { .. })
                    && let Some(sender) = self.peers.sender(replica)
                {
                    sender.has_asked();
                }
                let told = self
                    .probed
                    .get_mut(&replica)
                    .is_some_and(|probed| probed.hear(&message));
                self.step(Event::Received(replica, message), Some(&room));
                if told {
                    self.changes.send_modify(|number| *number += 1);
                }
            }
            Inbound::Down(link) => {
                if let Some(replica) = self.peers.close(link) {
                    tracing::info!(%replica, "a peer is down");
                    self.step(Event::PeerDown(replica), None);
                    self.probed.remove(&replica);
                    self.peers_changed();
                }
            }
        }
    }

    fn peers_changed(&self) {
        self.shared.up.send_replace(self.peers.up());
        self.changes.send_modify(|number| *number += 1);
    }

    fn view(&self) -> StoreView {
        StoreView {
            snapshot: self.shared.store.snapshot(),
            replica: self.shared.store.replica(),
        }
    }

    /// One step of the engine, and everything it commands.
    fn step(&mut self, event: Event, room: Option<&Room>) {
        let view = self.view();
        let mut commands = std::mem::take(&mut self.commands);
        let now = self.shared.now();
        self.engine
            .step(now, event, &view, &mut self.rng, &mut commands);
        for command in commands.drain(..) {
            self.execute(command, &view, room);
        }
        self.commands = commands;
    }

    fn execute(&mut self, command: Command, view: &StoreView, room: Option<&Room>) {
        match command {
            Command::Send(replica, message) => self.send(replica, &message),
            Command::Push(replicas, records) => {
                self.push(&replicas, view.snapshot.state().clock(), &records);
            }
            Command::Serve(replica, request) => {
                let Some(sender) = self.peers.sender(replica).cloned() else {
                    return;
                };
                if self.requests.try_send(Asked { request, sender }).is_err() {
                    self.shared.counters.pages_dropped.increment();
                }
            }
            Command::Apply {
                ticket,
                op,
                announced,
            } => {
                let room = room.cloned();
                self.apply(Step {
                    ticket,
                    op,
                    announced,
                    room,
                });
            }
            Command::NewLife => {
                self.warn("a peer holds writes of this life that it never made; a new life begins");
                self.shared.store.begin_new_life();
            }
            Command::Returned(by) => {
                self.shared.returned.send_replace(by);
            }
            Command::Disconnect(replica, reason) => self.disconnect(replica, &reason),
            Command::Diverged(replica, partition) => {
                self.shared.counters.divergences.increment();
                let warning = format!(
                    "partition {partition} differs from that of {replica} although both took in the same writes; it is being repaired"
                );
                self.warn(&warning);
            }
            Command::Collect { partition, stable } => {
                self.hand_on(Task::Collect { partition, stable });
            }
            Command::Compare(comparison) => self.hand_on(Task::Compare(comparison)),
            Command::Warn(warning) => self.warn(&warning),
        }
    }

    fn send(&mut self, replica: ReplicaId, message: &Message) {
        let Some(sender) = self.peers.sender(replica) else {
            return;
        };
        match Frame::encode(message) {
            Ok(frame) => {
                let taken = sender.reply(frame);
                if let Some(probed) = self.probed.get_mut(&replica) {
                    probed.say(message, taken);
                }
            }
            Err(error) => self.warn(&format!("a message could not be sent: {error}")),
        }
        if let Message::Pull { .. } = message {
            self.shared.counters.pulls.increment();
        } else if let Message::Probe { .. } = message {
            self.shared.counters.probes.increment();
        }
    }

    /// Encodes once, whoever it is for.
    fn push(&self, replicas: &[ReplicaId], clock: Timestamp, records: &[CommitRecord]) {
        let mut frames = Vec::new();
        if let Err(error) = push_frames(clock, records, &mut frames) {
            self.warn(&format!("a push could not be sent: {error}"));
        }
        for sender in replicas.iter().filter_map(|peer| self.peers.sender(*peer)) {
            for frame in &frames {
                sender.push(frame.clone());
            }
        }
    }

    /// There is room, unless repairs that were given up wait in great number.
    fn hand_on(&mut self, task: Task) {
        if !self.tasks.hand_on(task) {
            self.shared.counters.tasks_dropped.increment();
            self.warn("too much work on the store waits; some of it is put off");
        }
    }

    /// Steps stay in order: none passes those that wait.
    fn apply(&mut self, step: Step) {
        if !self.backlog.is_empty() {
            self.backlog.push_back(step);
            return;
        }
        match self.steps.try_send(step) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(step)) => self.backlog.push_back(step),
            Err(mpsc::error::TrySendError::Closed(_)) => {
                debug_assert!(false, "the task that applies outlives the loop");
            }
        }
    }

    fn disconnect(&mut self, replica: ReplicaId, reason: &str) {
        self.shared.counters.disconnects.increment();
        let name = self.peers.info(replica).map(|info| info.name.clone());
        let name = name.unwrap_or_default();
        self.warn(&format!(
            "the peer {name} ({replica}) is disconnected: {reason}"
        ));
        self.peers.disconnect(replica);
        self.probed.remove(&replica);
        self.peers_changed();
    }

    pub(super) fn warn(&self, warning: &str) {
        if self.shared.warnings.is_due(warning) {
            tracing::warn!("{warning}");
        }
    }
}

/// The frames of `records`, in order; a frame exceeds [`PUSH_FRAME_BYTES`] only with a single record.
fn push_frames(
    clock: Timestamp,
    records: &[CommitRecord],
    frames: &mut Vec<Frame>,
) -> Result<(), FrameError> {
    let encoded = Frame::encode(&Message::Push {
        clock,
        records: records.to_vec(),
    });
    let splits = match &encoded {
        Ok(frame) => frame.bytes().len() > PUSH_FRAME_BYTES,
        Err(_) => true,
    };
    if splits && records.len() > 1 {
        let (first, second) = records.split_at(records.len() / 2);
        push_frames(clock, first, frames)?;
        return push_frames(clock, second, frames);
    }
    frames.push(encoded?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use grapevine_crdt::{CausalContext, Seq};

    use super::*;
    use crate::model::{Collection, EntityCells, EntityId};

    fn record(seq: u64, key: usize) -> CommitRecord {
        let id = EntityId::new(Collection::Kv, "k".repeat(key)).expect("a good key");
        CommitRecord {
            partition: id.partition(),
            replica: ReplicaId::from_bytes([1; 16]),
            after: Seq::new(seq),
            upto: Seq::new(seq + 1),
            needs: CausalContext::default(),
            entities: vec![EntityCells {
                id,
                cells: Vec::new(),
            }],
        }
    }

    #[test]
    fn a_large_group_commit_is_pushed_in_small_frames_in_order() {
        let records: Vec<_> = (0..1_000).map(|seq| record(seq, 1_000)).collect();
        let mut frames = Vec::new();
        push_frames(Timestamp::ZERO, &records, &mut frames).expect("they fit");
        let mut pushed = Vec::new();
        for frame in &frames {
            assert!(frame.bytes().len() <= PUSH_FRAME_BYTES);
            let message = crate::codec::decode(&frame.bytes()[4..]).expect("a message");
            let Message::Push { records, .. } = message else {
                panic!("{message:?} is no push");
            };
            pushed.extend(records);
        }
        assert!(frames.len() > 3);
        assert_eq!(pushed, records);
    }
}
