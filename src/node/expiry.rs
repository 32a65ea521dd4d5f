//! Removes key-values that have expired, so that they can be collected. Nobody sees it: they were shown no more.
//!
//! A value is removed only when it has been expired for as long as the clocks of two nodes may be apart, so nobody
//! shows it still. One of the live members is chosen for each key; what two remove merges to the same. The removal
//! covers what this node holds: a renewal that it has not seen stays.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::task::spawn_blocking;

use super::trimming::{Rounds, alive, is_chosen};
use crate::{
    clock::WallClock,
    cluster::ClusterView,
    model::{EntityId, kv},
    store::{Store, StoreError, WriteError, expired},
};

/// How long a node rests between two looks at what has expired.
const EXPIRY_PERIOD: Duration = Duration::from_secs(60);
/// How many key-values are removed in one step, with one snapshot.
const KEYS_PER_STEP: usize = 1_000;
/// How long it rests between two steps.
const STEP_PERIOD: Duration = Duration::from_millis(50);

/// The loop that removes what has expired.
pub(super) struct Expiry {
    pub(super) store: Store,
    pub(super) cluster: Arc<dyn ClusterView>,
    pub(super) clock: Arc<dyn WallClock>,
    /// How far the clocks of two nodes may be apart.
    pub(super) max_clock_skew_ms: u64,
}

impl Rounds for Expiry {
    fn period(&self) -> Duration {
        EXPIRY_PERIOD
    }

    fn failure(&self) -> &'static str {
        "expired key-values cannot be removed"
    }

    /// Removes what has expired and this node is chosen for.
    async fn round(&self) -> Result<(), StoreError> {
        let Some(ours) = self.store.replica() else {
            return Ok(());
        };
        let alive = alive(&*self.cluster).await;
        let before_ms = self.clock.unix_ms().saturating_sub(self.max_clock_skew_ms);
        let mut after = None;
        loop {
            let (expired, next) = self.step(after, before_ms).await?;
            for id in expired {
                if is_chosen(ours, &alive, id.key()) {
                    self.remove(id, before_ms).await?;
                }
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
            tokio::time::sleep(STEP_PERIOD).await;
        }
    }
}

impl Expiry {
    /// The next of what had expired by `before_ms`, and behind which row to go on.
    async fn step(
        &self,
        after: Option<Vec<u8>>,
        before_ms: u64,
    ) -> Result<(Vec<EntityId>, Option<Vec<u8>>), StoreError> {
        let snapshot = self.store.snapshot();
        spawn_blocking(move || expired(&*snapshot, before_ms, after.as_deref(), KEYS_PER_STEP))
            .await
            .unwrap_or(Err(StoreError::Closed))
    }

    async fn remove(&self, id: EntityId, before_ms: u64) -> Result<(), StoreError> {
        let removed = self.store.write(id, move |edit| {
            let cells = kv::remove_expired(edit.entity, before_ms, edit.dot);
            Ok::<_, Infallible>((cells, ()))
        });
        match removed.await {
            Ok(()) => Ok(()),
            Err(WriteError::Rejected(never)) => match never {},
            Err(WriteError::Store(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::SystemClock,
        model::{Collection, kv::KeyValue},
        node::trimming::tests::Alive,
        store::StoreOptions,
    };

    #[tokio::test]
    async fn what_has_expired_is_kept_for_ever_or_goes_too_soon() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = StoreOptions::new(directory.path());
        let store = Store::open(options, Arc::new(SystemClock)).expect("a new store opens");
        let now = SystemClock.unix_ms();
        for (key, expires) in [
            ("long ago", Some(now - 60_001)),
            ("just now", Some(now - 1)),
            ("later", Some(now + 600_000)),
            ("never", None),
        ] {
            let id = EntityId::new(Collection::Kv, key).expect("a good key");
            let encoded = kv::encode("a/b", b"hi", expires).expect("within the bounds");
            let put = store.write(id, move |edit| {
                let cell = kv::put(encoded, edit.dot, edit.time);
                Ok::<_, Infallible>((vec![cell], ()))
            });
            put.await.expect("it is written");
        }
        let held = |key: &str| {
            let id = EntityId::new(Collection::Kv, key).expect("a good key");
            let entity = store.snapshot().entity(&id).expect("it can be read");
            let entity = entity.expect("something is held");
            (entity.is_visible(), KeyValue::read(&entity, now).is_some())
        };
        let cluster = Arc::new(Alive::default());
        cluster.set(vec![store.replica().expect("it has written")]);
        let expiry = Expiry {
            store: store.clone(),
            cluster,
            clock: Arc::new(SystemClock),
            max_clock_skew_ms: 60_000,
        };
        expiry.round().await.expect("it can be removed");
        assert_eq!(held("long ago"), (false, false));
        assert_eq!(
            held("just now"),
            (true, false),
            "another's clock may be behind"
        );
        assert_eq!(held("later"), (true, true));
        assert_eq!(held("never"), (true, true));
        let root = store.snapshot().state().root();
        expiry.round().await.expect("it can be read");
        assert_eq!(
            store.snapshot().state().root(),
            root,
            "nothing is written twice"
        );
        store.close().await;
    }
}
