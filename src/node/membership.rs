//! Brings together who gossip and the roster say there is: tells the driver whom to connect to, gossip what
//! this node holds, and keeps this node's own entry of the roster right.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use grapevine_crdt::{ReplicaId, VersionVector};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{absence::Absence, leaving::Leaving};
use crate::{
    cluster::{Expulsion, Gossip, GossipPeer, Listed, MAX_EXPULSIONS, Member, Roster, RosterError},
    model::{PartitionId, Root},
    store::{Store, StoreError},
    sync::{
        driver::{Driver, RosterRead},
        engine::{Expelled, Expelling},
    },
};

/// The least time between two readings of the roster, which is read when the root has changed.
const ROSTER_READ_PERIOD: Duration = Duration::from_millis(500);

/// The most bytes of an address that is dialled.
const MAX_ADDRESS_BYTES: usize = 256;

/// Who there is, as read last.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) roster: BTreeMap<ReplicaId, Member>,
    /// The lives in it, those whose entries cannot be read among them.
    pub(super) lives: BTreeSet<ReplicaId>,
    pub(super) expulsions: Vec<Expulsion>,
    pub(super) gossip: Vec<GossipPeer>,
    /// Whether the roster was read since the start.
    pub(super) read: bool,
}

/// The loop that runs at every gossip interval.
pub(super) struct Membership {
    pub(super) ourselves: Member,
    pub(super) replica: ReplicaId,
    pub(super) seeds: Vec<String>,
    pub(super) store: Store,
    pub(super) roster: Roster,
    pub(super) gossip: Arc<Gossip>,
    pub(super) driver: Driver,
    pub(super) known: watch::Sender<Arc<Known>>,
    /// How long a member may be silent before it is taken off the roster.
    pub(super) max_offline: Duration,
    pub(super) absence: Absence,
    /// The lives of other nodes of our name, as named last.
    pub(super) namesakes: BTreeSet<ReplicaId>,
    pub(super) leaving: Leaving,
}

/// When the roster was read last, and what the root was.
struct Reading {
    at: Instant,
    root: Root,
}

impl Membership {
    /// Runs until `stopping`.
    pub(super) async fn run(mut self, period: Duration, stopping: CancellationToken) {
        let started = Instant::now();
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reading = None;
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.round(&mut reading, started.elapsed()).await {
                tracing::warn!(%error, "the roster cannot be kept");
            }
        }
    }

    async fn round(
        &mut self,
        reading: &mut Option<Reading>,
        uptime: Duration,
    ) -> Result<(), RosterError> {
        // What is written while the clock is off has a time that is off.
        // Nor does a node that leaves enter itself again.
        let may_write = self.driver.clock_fault().is_none() && !self.leaving.is_set();
        if may_write && self.store.replica() != Some(self.replica) {
            self.replica = self.roster.enter(&self.ourselves).await?;
            tracing::warn!(replica = %self.replica, "this node began a new life");
        }
        let root = self.store.snapshot().state().root();
        self.gossip.publish(self.replica, root).await;
        let peers = self.gossip.peers().await;
        let roots = peers.iter().map(|peer| (peer.replica, peer.root));
        self.driver.gossiped(roots.collect());
        let read_again = reading.as_ref().is_none_or(|reading| {
            reading.root != root && reading.at.elapsed() >= ROSTER_READ_PERIOD
        });
        let mut known = Known::clone(&self.known.borrow());
        known.gossip = peers;
        let mut read = VersionVector::default();
        if read_again {
            *reading = Some(Reading {
                at: Instant::now(),
                root,
            });
            // Before the entries are: they may say more than this, and never less.
            let state = self.store.snapshot();
            let roster = state.state().partition(PartitionId::of_roster());
            read.clone_from(&roster.vector);
            known.take(read_roster(&self.roster).await?);
        }
        self.driver.set_addresses(self.addresses(&known));
        let known = Arc::new(known);
        self.known.send_replace(Arc::clone(&known));
        let alive = self.alive(&known).await;
        if read_again {
            let roster = RosterRead {
                members: Arc::new(known.lives.clone()),
                expelled: Arc::new(expelled(&known.expulsions)),
                read,
                alone: self.seeds.is_empty(),
            };
            self.driver.set_roster(roster).await;
            if may_write {
                self.tidy(&known, &alive).await?;
            }
        }
        if may_write {
            self.expel(&known, &alive, uptime).await?;
            self.clear(&known).await?;
        }
        Ok(())
    }

    /// Wherever a peer may be found: all that gossip or the roster name, and the seeds.
    fn addresses(&self, known: &Known) -> BTreeSet<String> {
        let roster = known.roster.values().map(|member| &member.peer);
        let gossip = known.gossip.iter().map(|peer| &peer.peer);
        roster
            .chain(gossip)
            .chain(&self.seeds)
            .filter(|address| **address != self.ourselves.peer)
            .filter(|address| address.len() <= MAX_ADDRESS_BYTES)
            .cloned()
            .collect()
    }

    /// Whoever gossip or a connection says is there.
    async fn alive(&self, known: &Known) -> BTreeSet<ReplicaId> {
        let gossip = known.gossip.iter().filter(|peer| peer.alive);
        let reports = self.driver.peers().await;
        let up = reports.iter().filter(|report| report.status.up);
        gossip
            .map(|peer| peer.replica)
            .chain(up.map(|report| report.status.replica))
            .collect()
    }

    /// Strikes the entries of earlier lives of this node, and enters it again if somebody struck it: a copy
    /// of its directory, say, or everybody else after it was away for too long. Whoever is alive is not struck,
    /// so two copies do not fight.
    ///
    /// Who has our name and another store is somebody else: that is told, and nothing more. If it was this node before its
    /// directory was lost, somebody has to say so, by forgetting it.
    ///
    /// It does no harm to be entered before every partition was rejoined: members wait for what we tell, and
    /// collect nothing meanwhile.
    async fn tidy(
        &mut self,
        known: &Known,
        alive: &BTreeSet<ReplicaId>,
    ) -> Result<(), RosterError> {
        if !known.roster.contains_key(&self.replica) {
            self.roster.enter(&self.ourselves).await?;
        }
        for (replica, member) in &known.roster {
            let same_store = member.store_id == self.ourselves.store_id;
            if *replica != self.replica && same_store && !alive.contains(replica) {
                tracing::info!(%replica, "an earlier life leaves the roster");
                self.roster.strike(*replica).await?;
            }
        }
        self.warn_of_namesakes(known);
        Ok(())
    }

    /// Names each life of another node that has our name, once.
    fn warn_of_namesakes(&mut self, known: &Known) {
        let others = known.roster.iter().filter(|(_, member)| {
            member.name == self.ourselves.name && member.store_id != self.ourselves.store_id
        });
        let namesakes: BTreeSet<ReplicaId> = others.map(|(replica, _)| *replica).collect();
        for replica in namesakes.difference(&self.namesakes) {
            let (name, peer) = (&self.ourselves.name, &known.roster[replica].peer);
            tracing::warn!(name, %replica, peer, "another node has our name: rename one, or forget it if it is gone");
        }
        self.namesakes = namesakes;
    }

    /// Strikes who has been silent for too long while this node ran.
    async fn expel(
        &mut self,
        known: &Known,
        alive: &BTreeSet<ReplicaId>,
        uptime: Duration,
    ) -> Result<(), RosterError> {
        let others = known.lives.iter().filter(|member| **member != self.replica);
        self.absence.note(others, alive, uptime);
        for replica in self.absence.longer_than(self.max_offline, uptime) {
            let name = known.roster.get(&replica).map(|member| &member.name);
            tracing::warn!(%replica, name, "a member that was silent for too long leaves the roster");
            self.roster.expel(replica).await?;
        }
        Ok(())
    }

    /// Clears our own name once we have taken part anew, and the names of whom nobody expects any more.
    async fn clear(&self, known: &Known) -> Result<(), RosterError> {
        let returned = self.driver.returned();
        let ours = |expulsion: &&Expulsion| {
            expulsion.store == self.ourselves.store_id && returned.contains(&expelling(expulsion))
        };
        for expulsion in known.expulsions.iter().filter(ours) {
            let by = expulsion.by;
            tracing::info!(%by, "this node was expelled, and has taken part anew");
            self.roster.clear(*expulsion).await?;
        }
        let too_many = known.expulsions.len().saturating_sub(MAX_EXPULSIONS);
        for expulsion in known.expulsions.iter().take(too_many) {
            self.roster.clear(*expulsion).await?;
        }
        Ok(())
    }
}

impl Known {
    pub(super) fn take(&mut self, listed: Listed) {
        self.lives = listed.lives();
        self.expulsions = listed.expulsions;
        self.roster = listed.members;
        self.read = true;
    }
}

/// The stores that were expelled, each with those that expelled it.
fn expelled(expulsions: &[Expulsion]) -> Expelled {
    let mut stores = Expelled::new();
    for expulsion in expulsions {
        let by = stores.entry(expulsion.store).or_default();
        by.insert(expelling(expulsion));
    }
    stores
}

/// An expulsion as the engine knows it.
const fn expelling(expulsion: &Expulsion) -> Expelling {
    Expelling {
        by: expulsion.by,
        mark: expulsion.mark,
    }
}

/// Reads the roster without keeping a thread of the runtime waiting.
pub(super) async fn read_roster(roster: &Roster) -> Result<Listed, RosterError> {
    let roster = roster.clone();
    match spawn_blocking(move || roster.read()).await {
        Ok(listed) => Ok(listed?),
        Err(_it_was_not_read) => Err(StoreError::Closed.into()),
    }
}
