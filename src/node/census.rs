//! The census: how many entities are held of each collection, and in how many bytes, counted in the background.
//!
//! Nobody keeps these numbers up to date with every write, and no scrape scans for them: a round reads all rows, page by
//! page, and rests after each page for many times as long as that took. So they are as old as a round takes.
//!
//! Invariant: it takes a small part of one processor ([`REST_FACTOR`]), however much is held.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{task::spawn_blocking, time::sleep};

use super::trimming::Rounds;
use crate::{
    clock::WallClock,
    model::{Collection, EntityId, PartitionId},
    store::{CensusPage, Held, Store, StoreError, Table, count_held, indexed},
};

/// How long it rests before each round but the first.
const ROUND_PERIOD: Duration = Duration::from_secs(60);
/// How long before the first.
const FIRST_AFTER: Duration = Duration::from_millis(500);
/// How many entities are read of one snapshot.
const PAGE_ENTITIES: usize = 2_000;
/// So many times as long as a page took it rests behind it.
const REST_FACTOR: u32 = 20;

/// What a round counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) held: BTreeMap<Collection, Held>,
    /// Contacts of which some field remembers a value that lost unseen.
    pub(super) conflicting: u64,
    /// When the round ended (milliseconds since 1970-01-01T00:00:00Z).
    pub(super) unix_ms: u64,
}

/// What the last round counted, shared with whoever tells it; nothing before the first has ended.
pub(super) type LastCount = Arc<Mutex<Option<Counted>>>;

/// What counts.
pub(super) struct Census {
    pub(super) store: Store,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) last: LastCount,
}

impl Rounds for Census {
    fn period(&self) -> Duration {
        let first = self.last.lock().expect("no holder panics").is_none();
        if first { FIRST_AFTER } else { ROUND_PERIOD }
    }

    fn failure(&self) -> &'static str {
        "entities cannot be counted"
    }

    async fn round(&self) -> Result<(), StoreError> {
        let mut counted = Counted::default();
        for partition in PartitionId::all() {
            self.count(partition, &mut counted).await?;
        }
        counted.unix_ms = self.clock.unix_ms();
        *self.last.lock().expect("no holder panics") = Some(counted);
        Ok(())
    }
}

impl Census {
    async fn count(&self, partition: PartitionId, counted: &mut Counted) -> Result<(), StoreError> {
        let mut after: Option<EntityId> = None;
        loop {
            let cursor = after.take();
            let page = self.page(move |store| {
                let snapshot = store.snapshot();
                count_held(&*snapshot, partition, cursor.as_ref(), PAGE_ENTITIES)
            });
            let CensusPage { held, next } = page.await?;
            for (collection, held) in held {
                *counted.held.entry(collection).or_default() += held;
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        loop {
            let cursor = after.take();
            let page = self.page(move |store| {
                let (snapshot, cursor) = (store.snapshot(), cursor.as_ref());
                indexed(
                    &*snapshot,
                    Table::Conflicts,
                    partition,
                    cursor,
                    PAGE_ENTITIES,
                )
            });
            let ids = page.await?;
            counted.conflicting += u64::try_from(ids.len()).unwrap_or(u64::MAX);
            if ids.len() < PAGE_ENTITIES {
                return Ok(());
            }
            after = ids.into_iter().last();
        }
    }

    /// Reads one page, and rests.
    async fn page<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.store.clone();
        let timed = move || {
            let began = Instant::now();
            (read(&store), began.elapsed())
        };
        let (page, took) = spawn_blocking(timed)
            .await
            .unwrap_or((Err(StoreError::Closed), Duration::ZERO));
        sleep(took * REST_FACTOR).await;
        page
    }
}
