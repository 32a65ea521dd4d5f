//! What the cluster looks like from this node.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use grapevine_crdt::ReplicaId;
use tokio::{
    sync::watch,
    time::{sleep, sleep_until},
};

use super::{
    catching_up::CatchingUp,
    census::LastCount,
    leaving::{Departure, Leaving},
    measures,
    membership::{Known, read_roster},
};
use crate::{
    cluster::{
        Alarms, BlockedWhy, Blocker, ClusterView, Collection, Divergence, ForgetError, Gossip,
        GossipPeer, Health, LeaveError, MemberStatus, NodeStatus, RefusedStatus, Roster,
        RosterError,
    },
    metrics::Exposition,
    model::Root,
    store::Store,
    sync::{
        driver::{Driver, LocalPeer, PeerReport, Probed},
        engine::Blocked,
    },
};

/// How often peers are asked again while somebody waits for agreement.
const REPROBE_PERIOD: Duration = Duration::from_millis(50);

/// The cluster from here.
pub(super) struct View {
    pub(super) local: LocalPeer,
    pub(super) started: Instant,
    pub(super) store: Store,
    pub(super) roster: Roster,
    pub(super) driver: Driver,
    pub(super) known: watch::Receiver<Arc<Known>>,
    pub(super) gossip: Arc<Gossip>,
    pub(super) leaving: Leaving,
    pub(super) count: LastCount,
    pub(super) catching_up: CatchingUp,
}

#[async_trait::async_trait]
impl ClusterView for View {
    fn node(&self) -> NodeStatus {
        NodeStatus {
            name: self.local.name.clone(),
            cluster: self.local.cluster.clone(),
            replica: self.store.replica(),
            http: self.local.http.clone(),
            peer: self.local.peer.clone(),
            root: self.root(),
            uptime: self.started.elapsed(),
        }
    }

    async fn members(&self) -> Vec<MemberStatus> {
        let cached = Arc::clone(&self.known.borrow());
        let known = match read_roster(&self.roster).await {
            Ok(listed) => {
                let mut known = Known::clone(&cached);
                known.take(listed);
                known
            }
            Err(error) => {
                tracing::warn!(%error, "the roster cannot be read");
                return self.compose(&cached, &self.driver.peers().await);
            }
        };
        self.compose(&known, &self.driver.peers().await)
    }

    async fn health(&self) -> Health {
        let known = Arc::clone(&self.known.borrow());
        let name = |replica| {
            let member = known.roster.get(&replica);
            member.map_or_else(String::new, |member| member.name.clone())
        };
        let health = self.driver.health().await;
        let totals = self.driver.totals();
        let blocked_by = health.collection.blocked_by.iter().map(|blocker| Blocker {
            name: name(blocker.replica),
            replica: blocker.replica,
            why: match blocker.why {
                Blocked::Silent => BlockedWhy::Silent,
                Blocked::Open => BlockedWhy::Open,
                Blocked::Ahead => BlockedWhy::Ahead,
                Blocked::Unwarned => BlockedWhy::Unwarned,
            },
            lasted: Duration::from_millis(blocker.blocked_ms),
        });
        let divergences = health.divergences.iter().map(|divergence| Divergence {
            name: name(divergence.peer),
            replica: divergence.peer,
            partition: divergence.partition.get(),
            lasted: Duration::from_millis(divergence.lasted_ms),
        });
        Health {
            collection: Collection {
                partitions_collected: health.collection.partitions_collected,
                garbage: health.collection.garbage,
                blocked_by: blocked_by.collect(),
            },
            divergences: divergences.collect(),
            alarms: Alarms {
                damaged: totals.damaged,
                divergences: totals.divergences,
                clashes: self.store.stats().clashes,
            },
        }
    }

    async fn forget(&self, replica: ReplicaId) -> Result<(), ForgetError> {
        let failed = |error: RosterError| ForgetError::Roster(error.to_string());
        let roster = read_roster(&self.roster).await.map_err(failed)?;
        if !roster.lives().contains(&replica) {
            return Err(ForgetError::Unknown);
        }
        let members = self.members().await;
        let is_alive = |member: &MemberStatus| member.replica == replica && member.alive;
        if members.iter().any(is_alive) {
            return Err(ForgetError::Alive);
        }
        self.roster.expel(replica).await.map_err(failed)
    }

    async fn leave(&self, wait: Duration) -> Result<(), LeaveError> {
        let departure = Departure {
            view: self,
            leaving: &self.leaving,
            roster: &self.roster,
            driver: &self.driver,
            gossip: &self.gossip,
        };
        departure.run(wait).await
    }

    fn is_leaving(&self) -> bool {
        self.leaving.is_set()
    }

    async fn namesakes(&self) -> BTreeMap<String, BTreeSet<ReplicaId>> {
        match read_roster(&self.roster).await {
            Ok(listed) => listed.namesakes(),
            Err(error) => {
                tracing::warn!(%error, "the roster cannot be read");
                BTreeMap::new()
            }
        }
    }

    fn refused(&self) -> Vec<RefusedStatus> {
        let refused = self.driver.refused().into_iter();
        refused
            .map(|peer| RefusedStatus {
                name: peer.name,
                replica: peer.replica,
                address: peer.address,
                reason: peer.reason,
                offset_ms: peer.offset_ms,
                since_unix_ms: peer.since_unix_ms,
            })
            .collect()
    }

    fn clock_fault(&self) -> Option<String> {
        self.driver.clock_fault()
    }

    fn catching_up(&self) -> Option<String> {
        self.catching_up.borrow().clone()
    }

    async fn measure(&self, out: &mut Exposition) {
        measures::measure(self, out).await;
    }

    async fn converged(&self, wait: Duration) -> Result<(), Vec<MemberStatus>> {
        let began = Instant::now();
        let deadline = tokio::time::Instant::from_std(began + wait);
        let (mut changes, mut roots) = (self.driver.changes(), self.store.roots());
        let before = self.driver.peers().await;
        let mut asked: Option<Instant> = None;
        loop {
            changes.borrow_and_update();
            roots.borrow_and_update();
            let disagreeing = self.disagreeing(&before).await;
            if disagreeing.is_empty() {
                return Ok(());
            }
            if began.elapsed() >= wait {
                return Err(disagreeing);
            }
            if asked.is_none_or(|asked| asked.elapsed() >= REPROBE_PERIOD) {
                self.driver.probe_all();
                asked = Some(Instant::now());
            }
            tokio::select! {
                Ok(()) = changes.changed() => {}
                Ok(()) = roots.changed() => {}
                () = sleep(REPROBE_PERIOD) => {}
                () = sleep_until(deadline) => {}
            }
        }
    }

    fn ask_peers(&self) {
        self.driver.probe_all();
    }
}

impl View {
    fn root(&self) -> Root {
        self.store.snapshot().state().root()
    }

    /// The live members that have not, in answer to a probe sent since `before` was taken, told a root that
    /// is ours now.
    async fn disagreeing(&self, before: &[PeerReport]) -> Vec<MemberStatus> {
        let known = Arc::clone(&self.known.borrow());
        let reports = self.driver.peers().await;
        let root = self.root();
        let agreed = |replica| {
            probed(&reports, replica).is_some_and(|now| {
                now.told() == Some(root) && now.answered_since(probed(before, replica))
            })
        };
        let ourselves = self.store.replica();
        self.compose(&known, &reports)
            .into_iter()
            .filter(|member| member.alive && Some(member.replica) != ourselves)
            .filter(|member| !agreed(member.replica))
            .collect()
    }

    /// Roster, gossip and links in one list, in the order of names. Who is alive is listed even if the roster
    /// does not have them yet.
    fn compose(&self, known: &Known, reports: &[PeerReport]) -> Vec<MemberStatus> {
        let root = self.root();
        let mut members: BTreeMap<ReplicaId, MemberStatus> = BTreeMap::new();
        for (replica, member) in &known.roster {
            let entry = || silent(*replica, &member.name, &member.http, &member.peer);
            members.entry(*replica).or_insert_with(entry);
        }
        for peer in known.gossip.iter().filter(|peer| is_alive(peer, reports)) {
            let entry = || silent(peer.replica, &peer.name, &peer.http, &peer.peer);
            let member = members.entry(peer.replica).or_insert_with(entry);
            member.alive = true;
            member.agrees = peer.root == root;
        }
        for report in reports {
            let status = &report.status;
            if let Some(info) = &report.info {
                let entry = || silent(info.replica, &info.name, &info.http, &info.peer);
                members.entry(info.replica).or_insert_with(entry);
            }
            let Some(member) = members.get_mut(&status.replica) else {
                continue;
            };
            member.alive |= status.up;
            let told = report.probed.and_then(|probed| probed.told());
            member.agrees = told.map_or(status.agrees, |told| told == root);
            member.lag = status.lag;
            member.clock_offset_ms = report.clock_offset_ms;
            member.last_heard = Some(Duration::from_millis(status.last_heard_ms));
        }
        if let Some(replica) = self.store.replica() {
            let LocalPeer {
                name, http, peer, ..
            } = &self.local;
            let ourselves = MemberStatus {
                alive: true,
                agrees: true,
                lag: Some(0),
                last_heard: Some(Duration::ZERO),
                clock_offset_ms: Some(0),
                ..silent(replica, name, http, peer)
            };
            members.insert(replica, ourselves);
        }
        let mut members: Vec<_> = members.into_values().collect();
        members.sort_by(|one, other| (&one.name, one.replica).cmp(&(&other.name, other.replica)));
        members
    }
}

/// Whether gossip says so and no link says otherwise: that somebody else lives at its address now. Gossip
/// takes a second or two to notice a death.
fn is_alive(peer: &GossipPeer, reports: &[PeerReport]) -> bool {
    let mut infos = reports.iter().filter_map(|report| report.info.as_ref());
    let replaced = infos.any(|info| info.peer == peer.peer && info.replica != peer.replica);
    peer.alive && !replaced
}

fn probed(reports: &[PeerReport], replica: ReplicaId) -> Option<&Probed> {
    let mut reports = reports.iter();
    let report = reports.find(|report| report.status.replica == replica)?;
    report.probed.as_ref()
}

/// A member of which nothing was heard.
fn silent(replica: ReplicaId, name: &str, http: &str, peer: &str) -> MemberStatus {
    MemberStatus {
        name: name.to_owned(),
        replica,
        http: http.to_owned(),
        peer: peer.to_owned(),
        alive: false,
        agrees: false,
        lag: None,
        last_heard: None,
        clock_offset_ms: None,
    }
}
