//! Keeps trying the addresses of peers to which there is no link.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use grapevine_crdt::ReplicaId;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::task::TaskTracker;

use super::{
    DriverConfig,
    session::{self, Ending},
    shared::{Shared, UpPeers},
};
use crate::sync::transport::{Connector, Role};

/// The most addresses that are tried; of more, the first in their order.
const MAX_CANDIDATES: usize = 4_096;

/// The most attempts to connect under way.
const MAX_ATTEMPTS: usize = 64;

/// A link that lasted this long shows that the address is good: the next attempt is soon.
const GOOD_AFTER: Duration = Duration::from_secs(5);

/// After this time an address that turned out to be this node itself is tried again.
const OURSELVES_RETRIED_AFTER: Duration = Duration::from_secs(60);

/// What is known of one address.
#[derive(Debug)]
struct Candidate {
    /// Whether an attempt, or the link that came of it, is under way.
    busy: bool,
    /// When to try next.
    due: Instant,
    /// How long to wait at most after the next failure.
    backoff: Duration,
    /// How many attempts failed at the handshake since the last that did not.
    refused: usize,
    /// Who was found there the last time.
    known_as: Option<ReplicaId>,
}

/// What became of an attempt.
enum Attempt {
    Unreachable,
    Ended(Ending),
}

/// Dials until the driver stops. `addresses` may change at any time.
pub(super) async fn run(
    shared: Arc<Shared>,
    connector: Arc<dyn Connector>,
    mut addresses: watch::Receiver<Arc<BTreeSet<String>>>,
    tasks: TaskTracker,
) {
    let (ended_sender, mut ended) = mpsc::channel(MAX_ATTEMPTS);
    let mut up = shared.up.subscribe();
    let mut candidates = BTreeMap::new();
    loop {
        let wanted = Arc::clone(&addresses.borrow_and_update());
        keep_wanted(&mut candidates, &wanted, &shared.config);
        let connected = Arc::clone(&up.borrow_and_update());
        for (address, number) in due(&mut candidates, &connected) {
            let (shared, connector) = (Arc::clone(&shared), Arc::clone(&connector));
            let ended = ended_sender.clone();
            tasks.spawn(async move {
                let attempt = attempt(&shared, &*connector, &address, number).await;
                let _stopping = ended.send((address, attempt)).await;
            });
        }
        // What is due and was not begun has a link, or waits for the end of an attempt: both wake us.
        let now = Instant::now();
        let later = candidates.values().map(|candidate| candidate.due);
        let next = later.filter(|due| *due > now).min();
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            changed = addresses.changed() => if changed.is_err() { return },
            changed = up.changed() => if changed.is_err() { return },
            Some((address, attempt)) = ended.recv() => {
                if let Some(candidate) = candidates.get_mut(&address) {
                    candidate.record(&attempt, &shared.config);
                }
            }
            () = wait_until(next) => {}
        }
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn attempt(
    shared: &Shared,
    connector: &dyn Connector,
    address: &str,
    number: usize,
) -> Attempt {
    let connecting = timeout(shared.config.connect_timeout, connector.connect(address));
    let connected = tokio::select! {
        () = shared.stopping.cancelled() => return Attempt::Unreachable,
        connected = connecting => connected,
    };
    match connected {
        Ok(Ok(connection)) => {
            let role = Role::Dialled { attempt: number };
            Attempt::Ended(session::run(shared, connection, role, None).await)
        }
        Ok(Err(error)) => {
            tracing::debug!(address, %error, "a peer cannot be reached");
            Attempt::Unreachable
        }
        Err(_late) => {
            tracing::debug!(address, "a peer cannot be reached in time");
            Attempt::Unreachable
        }
    }
}

/// Begins with new addresses, forgets those that are gone (a link that is up stays).
fn keep_wanted(
    candidates: &mut BTreeMap<String, Candidate>,
    wanted: &BTreeSet<String>,
    config: &DriverConfig,
) {
    candidates.retain(|address, candidate| candidate.busy || wanted.contains(address));
    for address in wanted {
        if candidates.len() >= MAX_CANDIDATES {
            return;
        }
        if !candidates.contains_key(address) {
            let candidate = Candidate {
                busy: false,
                due: Instant::now(),
                backoff: config.min_redial_period,
                refused: 0,
                known_as: None,
            };
            candidates.insert(address.clone(), candidate);
        }
    }
}

/// The addresses to try now, marked as busy, and how many attempts there were refused.
fn due(candidates: &mut BTreeMap<String, Candidate>, connected: &UpPeers) -> Vec<(String, usize)> {
    let now = Instant::now();
    let listening: BTreeSet<&String> = connected.values().collect();
    let is_linked = |address: &String, candidate: &Candidate| {
        listening.contains(address) || candidate.is_connected(connected)
    };
    // A busy candidate with a link that is up is no attempt.
    let attempts = candidates
        .iter()
        .filter(|(address, candidate)| candidate.busy && !is_linked(address, candidate))
        .count();
    // Who has waited longest comes first, so that many dead addresses cannot starve the others.
    let mut waiting: Vec<(&String, &mut Candidate)> = candidates
        .iter_mut()
        .filter(|(address, candidate)| {
            !candidate.busy && candidate.due <= now && !is_linked(address, candidate)
        })
        .collect();
    waiting.sort_by_key(|(_, candidate)| candidate.due);
    let room = MAX_ATTEMPTS.saturating_sub(attempts);
    let due = waiting.into_iter().take(room);
    due.map(|(address, candidate)| {
        candidate.busy = true;
        (address.clone(), candidate.refused)
    })
    .collect()
}

impl Candidate {
    fn is_connected(&self, connected: &UpPeers) -> bool {
        self.known_as
            .is_some_and(|replica| connected.contains_key(&replica))
    }

    fn record(&mut self, attempt: &Attempt, config: &DriverConfig) {
        self.busy = false;
        let wait = match attempt {
            Attempt::Ended(Ending::Closed { peer, lasted }) => {
                self.known_as = Some(*peer);
                self.refused = 0;
                if *lasted >= GOOD_AFTER {
                    self.backoff = config.min_redial_period;
                }
                self.next_wait(config)
            }
            Attempt::Ended(Ending::Refused) => {
                self.refused = self.refused.wrapping_add(1);
                self.next_wait(config)
            }
            Attempt::Unreachable => self.next_wait(config),
            Attempt::Ended(Ending::Ourselves) => OURSELVES_RETRIED_AFTER,
        };
        self.due = Instant::now() + wait;
    }

    /// Between half of the backoff and all of it, so that nodes do not try in step.
    fn next_wait(&mut self, config: &DriverConfig) -> Duration {
        let wait = self.backoff.mul_f64(rand::random_range(0.5..=1.0));
        self.backoff = (self.backoff * 2).min(config.max_redial_period);
        wait
    }
}
