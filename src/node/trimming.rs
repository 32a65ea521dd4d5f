//! Trims the conflicts of contacts, now and then: see [`trim`](crate::model::trim) for what goes and why no
//! two nodes can trim against each other.
//!
//! One of the live members is chosen for each contact, so that not every node writes the same; if they do not
//! agree on who lives, more than one may trim a contact, or none until the next round.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use grapevine_crdt::{Dot, ReplicaId, Seq, Timestamp};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::WallClock,
    cluster::ClusterView,
    model::{EntityId, short_hash, trim},
    store::{Store, StoreError, WriteError},
};

/// How long a node waits before it looks for conflicts to trim, at its start and after it has looked.
const TRIM_PERIOD: Duration = Duration::from_secs(60 * 60);
/// How many contacts are looked at in one step, with one snapshot.
const CONTACTS_PER_STEP: usize = 1_000;
/// How long a node waits between two steps.
const STEP_PERIOD: Duration = Duration::from_millis(100);

/// The loop that trims.
pub(super) struct Trimming {
    store: Store,
    cluster: Arc<dyn ClusterView>,
    clock: Arc<dyn WallClock>,
}

/// What does something now and then.
pub(super) trait Rounds: Send + Sync + 'static {
    /// How long it rests before each round.
    fn period(&self) -> Duration;

    /// What the log says when a round fails.
    fn failure(&self) -> &'static str;

    /// Looks once, and does what is to be done.
    fn round(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The members that live.
pub(super) async fn alive(cluster: &dyn ClusterView) -> Vec<ReplicaId> {
    let members = cluster.members().await;
    let alive = members.iter().filter(|member| member.alive);
    alive.map(|member| member.replica).collect()
}

/// The task in which the loop runs.
pub(super) struct TrimmingTask {
    stopping: CancellationToken,
    running: JoinHandle<()>,
}

impl TrimmingTask {
    /// Does a round now and then.
    pub(super) fn start(rounds: impl Rounds) -> Self {
        let stopping = CancellationToken::new();
        let token = stopping.clone();
        let running = tokio::spawn(async move {
            let rounds = async {
                loop {
                    tokio::time::sleep(rounds.period()).await;
                    if let Err(error) = rounds.round().await {
                        tracing::warn!(%error, "{}", rounds.failure());
                    }
                }
            };
            token.run_until_cancelled(rounds).await;
        });
        Self { stopping, running }
    }

    /// Ends the loop, in the middle of a round if need be.
    pub(super) async fn stop(self) {
        self.stopping.cancel();
        let _panicked = self.running.await;
    }
}

/// What one step found.
#[derive(Debug, Default)]
struct Found {
    to_trim: Vec<EntityId>,
    /// The key of the last contact looked at, if there may be more.
    next: Option<String>,
}

impl Trimming {
    /// Starts the loop.
    pub(super) fn start(
        store: Store,
        cluster: Arc<dyn ClusterView>,
        clock: Arc<dyn WallClock>,
    ) -> TrimmingTask {
        let trimming = Self {
            store,
            cluster,
            clock,
        };
        let stopping = CancellationToken::new();
        let running = tokio::spawn(trimming.run(stopping.clone()));
        TrimmingTask { stopping, running }
    }

    async fn run(self, stopping: CancellationToken) {
        let rounds = async {
            loop {
                tokio::time::sleep(TRIM_PERIOD).await;
                if let Err(error) = self.round().await {
                    tracing::warn!(%error, "conflicts cannot be trimmed");
                }
            }
        };
        stopping.run_until_cancelled(rounds).await;
    }

    /// Looks at every contact that may have conflicts, and trims those for which this node is chosen.
    async fn round(&self) -> Result<(), StoreError> {
        let Some(ours) = self.store.replica() else {
            return Ok(());
        };
        let members = self.cluster.members().await;
        let alive: Vec<ReplicaId> = members
            .iter()
            .filter(|member| member.alive)
            .map(|member| member.replica)
            .collect();
        let mut after = None;
        loop {
            let found = self.step(after, ours, alive.clone()).await?;
            for id in found.to_trim {
                self.trim(id).await?;
            }
            after = found.next;
            if after.is_none() {
                return Ok(());
            }
            tokio::time::sleep(STEP_PERIOD).await;
        }
    }

    async fn step(
        &self,
        after: Option<String>,
        ours: ReplicaId,
        alive: Vec<ReplicaId>,
    ) -> Result<Found, StoreError> {
        let snapshot = self.store.snapshot();
        let now = Timestamp::from_unix_ms(self.clock.unix_ms());
        let read = move || {
            let mut found = Found::default();
            let mut left = CONTACTS_PER_STEP;
            snapshot.list_conflicting(after.as_deref(), &mut |id, entity| {
                let key = id.key().to_owned();
                let any_dot = Dot::new(ours, Seq::new(u64::MAX));
                if !trim(&entity, any_dot, now).is_empty() && is_chosen(ours, &alive, &key) {
                    found.to_trim.push(id);
                }
                left -= 1;
                if left == 0 {
                    found.next = Some(key);
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })?;
            Ok(found)
        };
        spawn_blocking(read)
            .await
            .unwrap_or(Err(StoreError::Closed))
    }

    async fn trim(&self, id: EntityId) -> Result<(), StoreError> {
        tracing::debug!(%id, "conflicts are trimmed");
        let trimmed = self.store.write(id, |edit| {
            let cells = trim(edit.entity, edit.dot, edit.time);
            Ok::<_, std::convert::Infallible>((cells, ()))
        });
        match trimmed.await {
            Ok(()) => Ok(()),
            Err(WriteError::Rejected(never)) => match never {},
            Err(WriteError::Store(error)) => Err(error),
        }
    }
}

/// Whether `ours` is the one among those `alive` that trims `key`, a contact or a topic (rendezvous hashing): every node
/// that knows of the same says the same, and when one goes, only its contacts change hands.
pub(super) fn is_chosen(ours: ReplicaId, alive: &[ReplicaId], key: &str) -> bool {
    let weight = |replica: ReplicaId| {
        let mut bytes = replica.as_bytes().to_vec();
        bytes.extend_from_slice(key.as_bytes());
        (short_hash(&bytes), replica)
    };
    alive.iter().all(|other| weight(*other) <= weight(ours))
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Mutex;

    use grapevine_crdt::{CausalContext, FieldCell};
    use serde_json::json;

    use super::*;
    use crate::{
        clock::SystemClock,
        cluster::{ForgetError, Health, MemberStatus, NodeStatus},
        model::{
            Claim, Collection, ContactDraft, EntityCells, MAX_CONFLICTS_PER_FIELD, Op, Root,
            WriteStamp, contact_conflict::conflicts, contact_edit,
        },
        store::StoreOptions,
    };

    fn replica(number: u8) -> ReplicaId {
        ReplicaId::from_bytes([number; 16])
    }

    #[test]
    fn exactly_one_of_those_alive_is_chosen_for_each_contact() {
        let alive = [1, 2, 3].map(replica);
        let mut chosen = [0; 3];
        for number in 0..300 {
            let key = format!("contact {number}");
            let who: Vec<usize> = (0..3)
                .filter(|place| is_chosen(alive[*place], &alive, &key))
                .collect();
            assert_eq!(who.len(), 1, "{key}");
            chosen[who[0]] += 1;
        }
        assert!(chosen.iter().all(|count| *count > 50), "{chosen:?}");
    }

    /// Says who lives.
    #[derive(Default)]
    pub(in crate::node) struct Alive(Mutex<Vec<ReplicaId>>);

    impl Alive {
        pub(in crate::node) fn set(&self, alive: Vec<ReplicaId>) {
            *self.0.lock().expect("nobody panicked") = alive;
        }
    }

    #[async_trait::async_trait]
    impl ClusterView for Alive {
        fn node(&self) -> NodeStatus {
            NodeStatus {
                name: String::new(),
                cluster: String::new(),
                replica: None,
                http: String::new(),
                peer: String::new(),
                root: Root(0),
                uptime: Duration::ZERO,
            }
        }

        fn ask_peers(&self) {}

        async fn health(&self) -> Health {
            Health::default()
        }

        async fn forget(&self, _replica: ReplicaId) -> Result<(), ForgetError> {
            Err(ForgetError::Unknown)
        }

        async fn members(&self) -> Vec<MemberStatus> {
            let alive = self.0.lock().expect("nobody panicked").clone();
            let member = |replica| MemberStatus {
                name: String::new(),
                replica,
                http: String::new(),
                peer: String::new(),
                alive: true,
                agrees: true,
                lag: None,
                last_heard: None,
                clock_offset_ms: None,
            };
            alive.into_iter().map(member).collect()
        }

        async fn converged(&self, _wait: Duration) -> Result<(), Vec<MemberStatus>> {
            Ok(())
        }
    }

    fn edit(number: u8) -> Vec<FieldCell> {
        let contact = json!({"name": "Ada", "note": format!("note {number}")});
        let draft = ContactDraft::from_json(None, &contact).expect("it is valid");
        let stamp = WriteStamp {
            dot: Dot::new(replica(number), Seq::new(1)),
            time: Timestamp::from_unix_ms(SystemClock.unix_ms() - u64::from(number)),
            collected: None,
            region: None,
        };
        contact_edit::put(&grapevine_crdt::Entity::default(), &draft, stamp).0
    }

    async fn torn(store: &Store, key: &str) -> EntityId {
        let id = EntityId::new(Collection::Contacts, key).expect("a good key");
        for number in 1..=40 {
            let cells = edit(number);
            let dot = cells[0].cell.dot;
            let op = Op {
                partition: id.partition(),
                entities: vec![EntityCells {
                    id: id.clone(),
                    cells,
                }],
                claim: Claim::Advance {
                    replica: dot.replica,
                    after: Seq::ZERO,
                    upto: dot.seq,
                    needs: CausalContext::default(),
                },
            };
            let announced = Timestamp::from_unix_ms(SystemClock.unix_ms());
            let outcome = store.enqueue(op, announced).await.expect("it is open");
            outcome.await.expect("answered").expect("taken in");
        }
        id
    }

    #[tokio::test]
    async fn the_chosen_member_trims_and_the_others_leave_it_to_that() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = StoreOptions::new(directory.path());
        let store = Store::open(options, Arc::new(SystemClock)).expect("a new store opens");
        let id = torn(&store, "ada").await;
        let count = || {
            let entity = store.snapshot().entity(&id).expect("readable");
            conflicts(&entity.expect("it is there")).len()
        };
        // A first write of its own, so that this life has a replica.
        let other = EntityId::new(Collection::Contacts, "own").expect("a good key");
        let draft = ContactDraft::from_json(None, &json!({"name": "Own"})).expect("valid");
        let own = store.write(other, move |edit| {
            let stamp = WriteStamp {
                dot: edit.dot,
                time: edit.time,
                collected: None,
                region: None,
            };
            let cells = contact_edit::put(edit.entity, &draft, stamp).0;
            Ok::<_, std::convert::Infallible>((cells, ()))
        });
        own.await.expect("it is written");
        let ours = store.replica().expect("it has written");
        let cluster = Arc::new(Alive::default());
        let trimming = Trimming {
            store: store.clone(),
            cluster: cluster.clone(),
            clock: Arc::new(SystemClock),
        };
        let chosen_before_us = (1..=255)
            .map(replica)
            .find(|other| !is_chosen(ours, &[*other], "ada"))
            .expect("about half of them");
        *cluster.0.lock().expect("nobody panicked") = vec![ours, chosen_before_us];
        trimming.round().await.expect("it can be read");
        assert_eq!(count(), 39);
        *cluster.0.lock().expect("nobody panicked") = vec![ours];
        trimming.round().await.expect("it can be trimmed");
        assert_eq!(count(), MAX_CONFLICTS_PER_FIELD);
        let root = store.snapshot().state().root();
        trimming.round().await.expect("it can be read");
        assert_eq!(store.snapshot().state().root(), root, "nothing is written");
        store.close().await;
    }
}
