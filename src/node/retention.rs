//! Removes the messages of topics that are too many or too old, oldest first, every few seconds.
//!
//! One of the live members is chosen for each topic, as for conflicts; if two think they are, both remove the same
//! messages, which merges to the same. Removing is a write as any other: it covers what this node holds, and what
//! is hidden is collected later.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    ops::ControlFlow,
    sync::{Arc, Mutex},
    time::Duration,
};

use grapevine_crdt::{LwwMap, ReplicaId, Timestamp};
use tokio::task::{JoinSet, spawn_blocking};

use super::trimming::{Rounds, alive, is_chosen};
use crate::{
    clock::WallClock,
    cluster::ClusterView,
    model::{
        Collection, EntityId, MessageId, PartitionId, PostedUnder, Retention, Topic, TopicEntity,
        read_topic_key,
    },
    store::{HeldRow, Range, Snapshot, Store, StoreError, WriteError, list_groups, list_within},
};

/// How long a node rests between two looks at its topics.
const RETENTION_PERIOD: Duration = Duration::from_secs(5);
/// The most entities of a topic that are removed in one round.
const MAX_REMOVED_PER_TOPIC: usize = 10_000;
/// How many removals are under way at once.
const REMOVALS_AT_ONCE: usize = 64;

/// Between which ends of keys the messages of a topic are.
const MESSAGES: [&str; 2] = ["0", "g"];
/// And what is known of idempotency keys.
const REQUESTS: [&str; 2] = ["~", "\u{7f}"];
const NOT_POISONED: &str = "no holder of the lock panics";

/// The loop that keeps topics within their bounds.
pub(super) struct Keeping {
    pub(super) store: Store,
    pub(super) cluster: Arc<dyn ClusterView>,
    pub(super) clock: Arc<dyn WallClock>,
    /// What is kept of any topic.
    pub(super) most: Retention,
    /// The content of each topic's partition when it was looked at and nothing had to go.
    pub(super) counted: Mutex<BTreeMap<Topic, u64>>,
}

impl Rounds for Keeping {
    fn period(&self) -> Duration {
        RETENTION_PERIOD
    }

    fn failure(&self) -> &'static str {
        "old messages cannot be removed"
    }

    /// Looks at every topic for which this node is chosen, and removes what exceeds its bounds.
    async fn round(&self) -> Result<(), StoreError> {
        let Some(ours) = self.store.replica() else {
            return Ok(());
        };
        let alive = alive(&*self.cluster).await;
        let topics = self.topics(ours, alive).await?;
        let before = core::mem::take(&mut *self.counted.lock().expect(NOT_POISONED));
        for (topic, partition) in topics {
            let snapshot = self.store.snapshot();
            let content = snapshot.state().partition(partition).steps;
            let look = Look {
                is_new: before.get(&topic) != Some(&content),
                topic: topic.clone(),
                partition,
                most: self.most,
                now: self.clock.unix_ms(),
            };
            let ids = blocking(move || look.excess(&snapshot)).await?;
            if ids.is_empty() {
                let mut counted = self.counted.lock().expect(NOT_POISONED);
                counted.insert(topic, content);
            }
            for ids in ids.chunks(REMOVALS_AT_ONCE) {
                remove(&self.store, ids).await?;
            }
        }
        Ok(())
    }
}

impl Keeping {
    async fn topics(
        &self,
        ours: ReplicaId,
        alive: Vec<ReplicaId>,
    ) -> Result<Vec<(Topic, PartitionId)>, StoreError> {
        let snapshot = self.store.snapshot();
        blocking(move || {
            let mut topics = Vec::new();
            list_groups(
                &*snapshot,
                Collection::Topics,
                "",
                None,
                &mut |name, partition| {
                    if let Ok(topic) = Topic::new(name)
                        && is_chosen(ours, &alive, name)
                    {
                        topics.push((topic, partition));
                    }
                    ControlFlow::Continue(())
                },
            )?;
            Ok(topics)
        })
        .await
    }
}

/// A look at one topic.
struct Look {
    topic: Topic,
    partition: PartitionId,
    /// Whether something was written since its messages were counted.
    is_new: bool,
    most: Retention,
    now: u64,
}

impl Look {
    /// What is to go: the oldest messages, and what is known of keys whose messages are gone.
    fn excess(&self, snapshot: &Snapshot) -> Result<Vec<EntityId>, StoreError> {
        let settings = snapshot.entity(&self.topic.settings_id())?;
        let retention = settings.as_ref().map(Retention::read).unwrap_or_default();
        let retention = retention.within(self.most);
        let mut too_many = 0;
        if let (true, Some(most)) = (self.is_new, retention.count) {
            let mut count: u64 = 0;
            self.visible(snapshot, MESSAGES, &mut |_, _| {
                count += 1;
                Ok(ControlFlow::Continue(()))
            })?;
            too_many = count.saturating_sub(most);
        }
        let kept_ms = retention
            .seconds
            .map(|seconds| seconds.saturating_mul(1_000));
        let oldest = kept_ms.map_or(0, |ms| self.now.saturating_sub(ms));
        let oldest = MessageId::first_at(Timestamp::from_unix_ms(oldest));
        let mut kept_from = oldest;
        let mut gone = Vec::new();
        self.visible(snapshot, MESSAGES, &mut |id, _| {
            let message = match read_topic_key(id.key()) {
                Some((_, TopicEntity::Message(message))) => message,
                Some((_, TopicEntity::Settings | TopicEntity::Request)) | None => {
                    return Ok(ControlFlow::Continue(()));
                }
            };
            let goes = too_many > 0 || message < oldest;
            if !goes || gone.len() == MAX_REMOVED_PER_TOPIC {
                kept_from = kept_from.max(message);
                return Ok(ControlFlow::Break(()));
            }
            too_many = too_many.saturating_sub(1);
            gone.push(id);
            Ok(ControlFlow::Continue(()))
        })?;
        if self.is_new || !gone.is_empty() {
            self.visible(snapshot, REQUESTS, &mut |id, row| {
                let posted = PostedUnder::read(&row.read()?);
                if posted.is_some_and(|posted| posted.id < kept_from) {
                    gone.push(id);
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(gone)
    }

    /// Calls `visit` for what is visible of the topic between these ends, until it breaks.
    fn visible(
        &self,
        snapshot: &Snapshot,
        [from, to]: [&str; 2],
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let prefix = self.topic.prefix();
        let range = Range {
            partition: self.partition,
            collection: Collection::Topics,
            from: &format!("{prefix}{from}"),
            exclusive: false,
            to: &format!("{prefix}{to}"),
        };
        let mut failed = Ok(());
        list_within(snapshot, &range, &mut |id, row| {
            if row.is_hidden() {
                return ControlFlow::Continue(());
            }
            visit(id, row).unwrap_or_else(|error| {
                failed = Err(error);
                ControlFlow::Break(())
            })
        })?;
        failed
    }
}

type Visit<'a> = dyn FnMut(EntityId, HeldRow<'_>) -> Result<ControlFlow<()>, StoreError> + 'a;

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    spawn_blocking(read)
        .await
        .unwrap_or(Err(StoreError::Closed))
}

/// Removes what is held of these entities, all at once.
pub(super) async fn remove(store: &Store, ids: &[EntityId]) -> Result<(), StoreError> {
    let mut removals = JoinSet::new();
    for id in ids {
        let (store, id) = (store.clone(), id.clone());
        removals.spawn(async move {
            let removed = store.write(id, |edit| {
                let is_visible = edit.entity.is_visible();
                let cells = is_visible.then(|| LwwMap::new(edit.entity).remove(edit.dot));
                Ok::<_, Infallible>((cells.unwrap_or_default(), ()))
            });
            match removed.await {
                Ok(()) => Ok(()),
                Err(WriteError::Rejected(never)) => match never {},
                Err(WriteError::Store(error)) => Err(error),
            }
        });
    }
    while let Some(removed) = removals.join_next().await {
        removed.unwrap_or(Err(StoreError::Closed))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::SystemClock,
        model::{Message, MessageDraft},
        node::trimming::tests::Alive,
        store::StoreOptions,
    };

    async fn post(store: &Store, topic: &Topic, ms: u64, request: Option<[u8; 16]>) {
        let id = MessageId::new(Timestamp::from_unix_ms(ms), 0);
        let draft = MessageDraft::new("ada".to_owned(), "hi".to_owned()).expect("good");
        if let Some(request) = request {
            let posted = PostedUnder {
                id,
                digest: draft.digest(),
            };
            let written = store.write(topic.request_id(&request), move |edit| {
                Ok::<_, Infallible>((vec![posted.put(edit.dot, edit.time)], ()))
            });
            written.await.expect("it is written");
        }
        let written = store.write(topic.message_id(&id), move |edit| {
            Ok::<_, Infallible>((vec![draft.post(edit.dot, edit.time)], ()))
        });
        written.await.expect("it is written");
    }

    /// When the messages were posted that are there, and for how many keys one is known.
    fn held(store: &Store, topic: &Topic) -> (Vec<u64>, usize) {
        let (mut times, mut requests) = (Vec::new(), 0);
        let look = Look {
            topic: topic.clone(),
            partition: topic.settings_id().partition(),
            is_new: true,
            most: Retention::default(),
            now: 0,
        };
        let snapshot = store.snapshot();
        let both = [MESSAGES[0], "\u{7f}"];
        look.visible(&snapshot, both, &mut |id, row| {
            match Message::read_key(id.key(), &row.read()?) {
                Some(_) => {
                    let (_, entity) = read_topic_key(id.key()).expect("it is a message");
                    if let TopicEntity::Message(id) = entity {
                        times.push(id.time().unix_ms());
                    }
                }
                None => requests += 1,
            }
            Ok(ControlFlow::Continue(()))
        })
        .expect("it can be read");
        (times, requests)
    }

    #[tokio::test]
    async fn topics_grow_beyond_their_bounds() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = StoreOptions::new(directory.path());
        let store = Store::open(options, Arc::new(SystemClock)).expect("a new store opens");
        let now = SystemClock.unix_ms();
        let [by_count, by_age] = ["count", "age"].map(|name| Topic::new(name).expect("good"));
        for number in 0..6 {
            let request = (number % 2 == 0).then_some([number; 16]);
            let ms = now - 1_000 * u64::from(6 - number);
            post(&store, &by_count, ms, request).await;
            post(&store, &by_age, ms - 3_000_000, request).await;
        }
        let own = Retention {
            count: Some(2),
            seconds: None,
        };
        let set = store.write(by_count.settings_id(), move |edit| {
            Ok::<_, Infallible>((vec![own.put(edit.dot, edit.time)], ()))
        });
        set.await.expect("it is written");
        let cluster = Arc::new(Alive::default());
        cluster.set(vec![store.replica().expect("it has written")]);
        let keeping = Keeping {
            store: store.clone(),
            cluster: cluster.clone(),
            clock: Arc::new(SystemClock),
            most: Retention {
                count: Some(5),
                seconds: Some(3_003),
            },
            counted: Mutex::default(),
        };
        keeping.round().await.expect("it can be trimmed");
        assert_eq!(held(&store, &by_count), (vec![now - 2_000, now - 1_000], 1));
        let (times, requests) = held(&store, &by_age);
        assert!(times.len() <= 3 && !times.is_empty(), "{times:?}");
        assert!(requests <= 2, "{requests}");
        // One more is seen although the rest was counted before.
        keeping.round().await.expect("it can be read");
        post(&store, &by_count, now, None).await;
        keeping.round().await.expect("it can be trimmed");
        assert_eq!(held(&store, &by_count).0, [now - 1_000, now]);
        // Another member is chosen.
        let other = (1..=255)
            .map(|number| ReplicaId::from_bytes([number; 16]))
            .find(|other| !is_chosen(store.replica().expect("ours"), &[*other], "count"));
        cluster.set(vec![other.expect("about half of them")]);
        post(&store, &by_count, now + 1, None).await;
        keeping.round().await.expect("it can be read");
        assert_eq!(held(&store, &by_count).0.len(), 3);
        store.close().await;
    }
}
