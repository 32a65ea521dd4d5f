//! Leaving the cluster for good.
//!
//! The order matters: first no writes are taken, so that what must be held elsewhere stands still; then the live
//! members take it in; then the entry leaves the roster, which they must take in as well; then links and gossip end. Who
//! leaves within the wait has nothing that nobody else holds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{
    cluster::{ClusterView, Gossip, LeaveError, MemberStatus, Roster},
    sync::driver::Driver,
};

/// How often peers are asked again while somebody waits.
const ASK_PERIOD: Duration = Duration::from_millis(50);

const TAKES_PART: u8 = 0;
const LEAVING: u8 = 1;
const LEFT: u8 = 2;

/// Whether this node takes part, for all of its parts. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaving(Arc<AtomicU8>);

impl Leaving {
    /// Whether it is leaving or has left.
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst) != TAKES_PART
    }

    fn begin(&self) -> bool {
        let order = Ordering::SeqCst;
        let begun = self.0.compare_exchange(TAKES_PART, LEAVING, order, order);
        begun.is_ok()
    }

    fn end(&self, left: bool) {
        let state = if left { LEFT } else { TAKES_PART };
        self.0.store(state, Ordering::SeqCst);
    }
}

/// Takes back that the node is leaving, unless it left: whoever asked may be gone before the end.
struct Undecided<'a>(&'a Leaving);

impl Drop for Undecided<'_> {
    fn drop(&mut self) {
        if self.0.0.load(Ordering::SeqCst) == LEAVING {
            self.0.end(false);
        }
    }
}

/// What leaving takes.
pub(super) struct Departure<'a> {
    pub(super) view: &'a dyn ClusterView,
    pub(super) leaving: &'a Leaving,
    pub(super) roster: &'a Roster,
    pub(super) driver: &'a Driver,
    pub(super) gossip: &'a Arc<Gossip>,
}

impl Departure<'_> {
    /// Leaves, `wait` at most.
    pub(super) async fn run(&self, wait: Duration) -> Result<(), LeaveError> {
        if !self.leaving.begin() {
            return Err(LeaveError::Leaving);
        }
        let _undecided = Undecided(self.leaving);
        let deadline = Instant::now() + wait;
        self.handed_over(deadline).await?;
        let Some(replica) = self.view.node().replica else {
            return Err(LeaveError::Alone);
        };
        let struck = self.roster.strike(replica).await;
        struck.map_err(|error| LeaveError::Roster(error.to_string()))?;
        // Membership enters it again if this fails.
        self.handed_over(deadline).await?;
        self.leaving.end(true);
        self.driver.shutdown().await;
        self.gossip.shutdown().await;
        tracing::warn!(%replica, "this node has left its cluster");
        Ok(())
    }

    /// Waits until every live member holds what this node holds.
    async fn handed_over(&self, deadline: Instant) -> Result<(), LeaveError> {
        loop {
            let ours = self.view.node().replica;
            let members = self.view.members().await;
            let others = members.iter();
            let others = others.filter(|member| member.alive && Some(member.replica) != ours);
            let others: Vec<&MemberStatus> = others.collect();
            if others.is_empty() {
                return Err(LeaveError::Alone);
            }
            let behind = others.into_iter().filter(|member| member.lag != Some(0));
            let behind: Vec<String> = behind.map(|member| member.name.clone()).collect();
            if behind.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(LeaveError::Behind(behind));
            }
            self.view.ask_peers();
            sleep(ASK_PERIOD).await;
        }
    }
}
