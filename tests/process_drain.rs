//! The danger: a node that is stopped for a change fails requests that it could have answered, forgets to pass on what it
//! acknowledged, or does not end.

mod support;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::Value;
use support::{
    client::{NodeClient, Refused},
    cluster::{all_see_all, clients},
    process::{NodeProcess, Start},
    wait::{DEADLINE, until},
};
use tokio::task::spawn_blocking;

const WRITERS: usize = 8;
const NOTICE: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(4);

fn start(name: &str, directory: &Path, seeds: &[String]) -> NodeProcess {
    let mut start = Start::new(name, directory, seeds);
    let (notice, timeout) = (NOTICE.as_millis(), TIMEOUT.as_millis());
    for (flag, value) in [
        ("--drain-notice-ms", notice),
        ("--drain-timeout-ms", timeout),
    ] {
        start.more.extend([flag.into(), value.to_string().into()]);
    }
    NodeProcess::start(start)
}

/// Writes to `node`, one after another, until it is told to go elsewhere; yields how many were acknowledged.
async fn write_until(node: NodeClient, writer: usize, elsewhere: Arc<AtomicBool>) -> u64 {
    let mut written = 0;
    while !elsewhere.load(Ordering::Relaxed) {
        let key = format!("{writer}-{written}");
        node.put_kv(&key, "x").await.expect("no request fails");
        written += 1;
    }
    written
}

/// What `/readyz` says once it says no.
async fn unready(node: &NodeClient) -> Value {
    until("node that is not ready any more", async || {
        let response = node.send(Method::GET, "/readyz", None).await?;
        if response.status().is_success() {
            return Err(Refused("it is ready".to_owned()));
        }
        let closes = response
            .headers()
            .get("connection")
            .is_some_and(|value| value == "close");
        assert!(closes, "a client is told to go elsewhere");
        response
            .json()
            .await
            .map_err(|error| Refused(error.to_string()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_heeds_readiness_sees_a_failure_when_a_node_is_stopped() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let ann = start("ann", directory.path(), &[]);
    let bob = start("bob", directory.path(), &[ann.seed()]);
    let nodes = [ann, bob];
    let of_nodes = clients(&nodes);
    all_see_all(&of_nodes).await;
    until("node that is ready", async || {
        of_nodes[1].get("/readyz").await
    })
    .await;
    let [ann, bob] = nodes;
    let elsewhere = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write_until(of_nodes[1].clone(), writer, elsewhere.clone())))
        .collect();
    until("writes under way", async || {
        of_nodes[1]
            .get_kv("0-5")
            .await?
            .ok_or(Refused(String::new()))
    })
    .await;
    // Under way when the node is stopped, and answered within the bound.
    let waiting = of_nodes[1].clone();
    let waiting = tokio::spawn(async move {
        waiting
            .send(Method::GET, "/v1/counters/slow?at-least=1&wait=3s", None)
            .await
    });
    // Whoever listens has no end and must not keep the node.
    let listening = of_nodes[1]
        .send(Method::GET, "/v1/watch", None)
        .await
        .expect("it listens");
    let began = Instant::now();
    let ending = spawn_blocking(move || bob.terminate());
    let problem = unready(&of_nodes[1]).await;
    assert_eq!(problem["checks"]["draining"]["ok"], false, "{problem}");
    assert_eq!(problem["status"], 503, "{problem}");
    assert!(began.elapsed() < NOTICE, "it says so before it stops");
    elsewhere.store(true, Ordering::Relaxed);
    let mut written = Vec::new();
    for writer in writers {
        written.push(writer.await.expect("no request fails"));
    }
    let answered = waiting.await.expect("it does not panic");
    assert!(answered.is_ok(), "{answered:?}");
    ending.await.expect("it ends, and well");
    assert!(
        began.elapsed() < NOTICE + TIMEOUT + Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    drop(listening);
    // What it acknowledged it also passed on.
    for (writer, written) in written.into_iter().enumerate() {
        assert!(written > 0);
        let last = format!("{writer}-{}", written - 1);
        until("the last acknowledged write", async || {
            of_nodes[0]
                .get_kv(&last)
                .await?
                .ok_or(Refused(last.clone()))
        })
        .await;
    }
    drop(ann);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_ends_does_not_keep_a_node_from_stopping() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut start = Start::new("ann", directory.path(), &[]);
    start
        .more
        .extend(["--drain-timeout-ms", "300"].map(Into::into));
    let ann = NodeProcess::start(start);
    let client = NodeClient::new(ann.url());
    let waiting = tokio::spawn(async move {
        client
            .send(Method::GET, "/v1/counters/slow?at-least=1&wait=20s", None)
            .await
    });
    let watcher = NodeClient::new(ann.url());
    until("a request under way", async || {
        let text = watcher.bytes(Method::GET, "/metrics", None).await?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let two = text.contains("grapevine_http_requests_under_way 2");
        if two { Ok(()) } else { Err(Refused(text)) }
    })
    .await;
    let began = Instant::now();
    spawn_blocking(move || ann.terminate())
        .await
        .expect("it ends, and well");
    assert!(began.elapsed() < DEADLINE / 2, "{:?}", began.elapsed());
    let cut_off = waiting.await.expect("it does not panic");
    assert!(cut_off.is_err(), "{cut_off:?}");
}
