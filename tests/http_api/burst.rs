//! The danger: more comes than the disk takes, and waits in memory without end.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use grapevine::{
    clock::SystemClock,
    model::{Collection, EntityId},
    store::{Store, StoreOptions},
};
use tokio::task::JoinSet;

use crate::support::{NO_CONTENT, TestServer, expect_problem, send};

const WRITERS: usize = 2_000;
const QUEUE: usize = 256;
const DEADLINE: Duration = Duration::from_secs(60);

/// The thread that writes to the disk stands still until the sender is dropped.
async fn stall(store: &Store) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (entered, has_entered) = tokio::sync::oneshot::channel();
    let id = EntityId::new(Collection::Kv, "stall").expect("a good key");
    let store = store.clone();
    tokio::spawn(async move {
        let write = store.write(id, move |_| {
            let _waits = entered.send(());
            let _released = held.recv();
            Ok::<_, Infallible>((Vec::new(), ()))
        });
        write.await.expect("nothing is written")
    });
    has_entered.await.expect("the writer takes it");
    release
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_on_a_slow_disk_waits_without_end_or_loses_what_was_acknowledged() {
    let server = TestServer::start_tuned(Duration::from_secs(120), |options| {
        options.queue_length = QUEUE;
        options.queue_wait_ms = 200;
    })
    .await;
    let release = stall(&server.store).await;
    let refused = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let key = format!("burst-{number}");
        let request = server.request("PUT", &format!("/v1/kv/{key}"));
        let refused = refused.clone();
        writers.spawn(async move {
            let answer = send(request.body(vec![7; 1_024])).await;
            if answer.status() == NO_CONTENT {
                return Some(key);
            }
            let retry_after = answer.headers().get("retry-after").cloned();
            assert!(retry_after.is_some(), "when to come back");
            let problem = expect_problem(answer, 503, None).await;
            assert_eq!(problem["type"], "urn:problem-type:grapevine:overloaded");
            refused.fetch_add(1, Ordering::Relaxed);
            None
        });
    }
    // Whoever finds no room in the queue is told so while the disk still stands.
    let waited = tokio::time::timeout(DEADLINE, async {
        while refused.load(Ordering::Relaxed) < WRITERS - QUEUE {
            tokio::task::yield_now().await;
        }
    });
    waited.await.expect("they are refused in time");
    // Reads go on.
    assert_eq!(server.get("/v1/kv/burst-0").await.status(), 404);
    drop(release);
    let acknowledged: Vec<String> = writers.join_all().await.into_iter().flatten().collect();
    assert_eq!(acknowledged.len(), QUEUE);
    let options = StoreOptions::new(server.directory());
    server.store.close().await;
    let again = Store::open(options, Arc::new(SystemClock)).expect("it was closed");
    for key in acknowledged {
        let id = EntityId::new(Collection::Kv, key).expect("a good key");
        let held = again.snapshot().entity(&id).expect("it can be read");
        assert!(held.is_some(), "{id} was acknowledged");
    }
    again.close().await;
}
