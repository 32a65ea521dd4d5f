//! Whether this node has caught up, since its start, with the peers that it met.
//!
//! A node that was away serves what it has at once; this only says when it is no worse a choice than the others, for
//! whoever sends requests to one of many. Once it has caught up it has, until it ends: who falls behind later is told by
//! metrics, and must not make all nodes unready at once.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::membership::Known;
use crate::{
    store::Store,
    sync::driver::{Driver, PeerReport},
};

/// How often it is looked at.
const LOOK_PERIOD: Duration = Duration::from_millis(100);
/// How long peers are waited for of which gossip, the roster or the settings say that they should be there, and to which no
/// link is up.
const AWAITED_FOR: Duration = Duration::from_secs(10);

/// Why this node has not caught up; `None` once it has.
pub(super) type CatchingUp = watch::Receiver<Option<String>>;

/// What watches over it.
pub(super) struct CatchUp {
    pub(super) store: Store,
    pub(super) driver: Driver,
    pub(super) known: watch::Receiver<Arc<Known>>,
    /// Whether this node was given seeds.
    pub(super) has_seeds: bool,
}

impl CatchUp {
    /// Starts to watch, until it has caught up or `stopping`.
    pub(super) fn start(self, stopping: CancellationToken) -> CatchingUp {
        let first = Some("this node has just been started".to_owned());
        let (sender, receiver) = watch::channel(first);
        let began = Instant::now();
        let look = async move {
            loop {
                let reason = self.look(began.elapsed()).await;
                let is_done = reason.is_none();
                sender.send_replace(reason);
                if is_done {
                    return;
                }
                sleep(LOOK_PERIOD).await;
            }
        };
        tokio::spawn(async move { stopping.run_until_cancelled(look).await });
        receiver
    }

    async fn look(&self, uptime: Duration) -> Option<String> {
        let reports = self.driver.peers().await;
        let known = Arc::clone(&self.known.borrow());
        let up = || reports.iter().filter(|report| report.status.up);
        if let Some(behind) = up().find_map(behind) {
            return Some(behind);
        }
        if uptime >= AWAITED_FOR {
            return None;
        }
        let ours = self.store.replica();
        let others = known.lives.iter().filter(|life| Some(**life) != ours);
        let linked = |replica| up().any(|report| report.status.replica == replica);
        let silent = known.gossip.iter().filter(|peer| peer.alive);
        let silent = silent.filter(|peer| !linked(peer.replica)).count();
        let expected = self.has_seeds || others.count() > 0 || !known.read;
        if silent > 0 || (expected && up().next().is_none()) {
            return Some("no link to a peer that should be there yet".to_owned());
        }
        None
    }
}

/// What is still to be fetched from a peer.
fn behind(report: &PeerReport) -> Option<String> {
    let name = report.info.as_ref().map_or("?", |info| info.name.as_str());
    let told = report
        .probed
        .is_some_and(|probed| probed.answered_since(None));
    if report.status.agrees {
        return None;
    }
    if !told {
        return Some(format!("{name} has not told yet what it holds"));
    }
    let wanted = report.status.wanted;
    (wanted > 0).then(|| format!("{wanted} partitions are still to be fetched from {name}"))
}
