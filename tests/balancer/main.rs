//! Three nodes behind nginx, with the settings that `deploy/nginx` ships. The dangers: a node that dies fails requests
//! that were not under way on it, or a retry of the balancer does something twice; what is told live is held back.
//!
//! By hand, for it needs nginx: `.ci/balancer`.

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/events.rs"]
mod events;

mod nginx;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use events::Events;
use futures_util::StreamExt as _;
use nginx::Nginx;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use support::{
    client::{NodeClient, Refused},
    cluster::{all_agree, clients, joined},
    wait::until,
};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

const CLIENTS: i64 = 16;
/// How many requests succeed before the node dies, and how many after.
const REQUESTS: u64 = 4_000;

/// What the clients share.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    answered: AtomicU64,
    /// Counts without a key: what was acknowledged, and what nobody knows.
    counted: AtomicI64,
    doubtful: AtomicI64,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx; see .ci/balancer"]
async fn a_node_that_dies_fails_only_what_was_under_way_on_it() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut nodes = joined(directory.path(), &["one", "two", "three"]).await;
    let nginx = Nginx::start(&directory.path().join("nginx"), &nodes).await;
    let load = Arc::new(Load::default());
    let mut running = JoinSet::new();
    for number in 0..CLIENTS {
        running.spawn(client(number, nginx.url(), Arc::clone(&load)));
    }
    answered(&load, REQUESTS).await;
    nodes.remove(2).kill_nine();
    answered(&load, load.answered.load(Ordering::Relaxed) + REQUESTS).await;
    load.stop.store(true, Ordering::Relaxed);
    let mut keys = Vec::new();
    let mut keyed = BTreeMap::new();
    while let Some(ended) = running.join_next().await {
        let (last, counts) = ended.expect("a client fails nothing but counts without a key");
        keys.push(last);
        keyed.extend(counts);
    }
    let survivors = clients(&nodes);
    all_agree(&survivors).await;
    let (acknowledged, doubtful) = (
        load.counted.load(Ordering::Relaxed),
        load.doubtful.load(Ordering::Relaxed),
    );
    println!(
        "{} requests answered, {doubtful} counts without a key torn off",
        load.answered.load(Ordering::Relaxed)
    );
    // Each client has one request under way.
    assert!(doubtful <= CLIENTS, "{doubtful} failed");
    for node in &survivors {
        for (key, value) in &keys {
            let held = node.get_kv(key).await.expect("it answers");
            assert_eq!(held.as_deref(), Some(value.as_str()), "{key}");
        }
        let value = async |name: &str| {
            let answer = node.get(&format!("/v1/counters/{name}")).await;
            answer.expect("it answers")["value"]
                .as_i64()
                .expect("a count")
        };
        for (counter, counts) in &keyed {
            let held = value(counter).await;
            assert_eq!(held, *counts, "a retry counted twice, or never");
        }
        let plain = value("plain").await;
        assert!(
            (acknowledged..=acknowledged + doubtful).contains(&plain),
            "{plain} of {acknowledged} and {doubtful}"
        );
    }
}

/// Puts, reads and counts through nginx until it is told to stop. Yields the key that it wrote last, with its value,
/// and its counts under keys.
async fn client(
    number: i64,
    url: String,
    load: Arc<Load>,
) -> ((String, String), BTreeMap<String, i64>) {
    let node = NodeClient::new(url.clone());
    let http = Client::builder()
        .no_proxy()
        .build()
        .expect("a client needs nothing from outside");
    let key = format!("balanced/{number}");
    let (mut round, mut keyed) = (0_u64, BTreeMap::new());
    loop {
        round += 1;
        let value = round.to_string();
        node.put_kv(&key, &value)
            .await
            .expect("nginx asks another node");
        node.bytes(Method::GET, "/v1/counters/plain", None)
            .await
            .expect("nginx asks another node");
        // A counter remembers 1,024 keys.
        let counter = format!("keyed-{number}-{}", round / 1_000);
        let sent = http
            .post(format!("{url}/v1/counters/{counter}/increment"))
            .header("idempotency-key", round.to_string())
            .send()
            .await
            .expect("nginx answers");
        assert_eq!(sent.status(), StatusCode::OK, "with a key it is repeated");
        *keyed.entry(counter).or_default() += 1;
        let plain = node
            .json(Method::POST, "/v1/counters/plain/increment", None)
            .await;
        match plain {
            Ok(_) => load.counted.fetch_add(1, Ordering::Relaxed),
            Err(Refused(_)) => load.doubtful.fetch_add(1, Ordering::Relaxed),
        };
        load.answered.fetch_add(4, Ordering::Relaxed);
        if load.stop.load(Ordering::Relaxed) {
            return ((key, value), keyed);
        }
    }
}

async fn answered(load: &Load, target: u64) {
    until("load", async || {
        let answered = load.answered.load(Ordering::Relaxed);
        if answered >= target {
            Ok(())
        } else {
            Err(answered)
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx; see .ci/balancer"]
async fn what_is_told_live_is_held_back_or_lost_when_a_node_dies() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut nodes = joined(directory.path(), &["one", "two", "three"]).await;
    let nginx = Nginx::start(&directory.path().join("nginx"), &nodes).await;
    let http = Client::builder()
        .no_proxy()
        .build()
        .expect("a client needs nothing from outside");
    let post = async |body: &str| {
        let message = json!({"author": "ann", "body": body});
        let sent = http
            .post(format!("{}/v1/topics/news/messages", nginx.url()))
            .json(&message)
            .send();
        let status = sent.await.expect("nginx answers").status();
        assert_eq!(status, StatusCode::CREATED);
    };
    let stream = format!("{}/v1/topics/news/stream?since=0", nginx.url());
    let mut listeners = Vec::new();
    for _ in 0..6 {
        listeners.push(Events::open(http.get(&stream)).await);
    }
    let watch = format!(
        "{}/v1/watch?collection=topics",
        nginx.url().replace("http", "ws")
    );
    let (mut socket, _) = tokio_tungstenite::connect_async(watch)
        .await
        .expect("nginx passes WebSockets on");
    post("first").await;
    for events in &mut listeners {
        assert_eq!(events.expect().await.data["body"], "first");
    }
    let told = loop {
        let message = socket.next().await.expect("it goes on").expect("no error");
        if let Message::Text(text) = message {
            let change: Value = serde_json::from_str(&text).expect("JSON");
            if change["collection"] == "topics" {
                break change;
            }
        }
    };
    assert_eq!(told["value"]["body"], "first");
    // Everybody has what was posted, so whoever comes back to another node misses nothing.
    all_agree(&clients(&nodes)).await;
    nodes.remove(0).kill_nine();
    post("second").await;
    let mut came_back = 0;
    for mut events in listeners {
        let next = events.next().await;
        let told = if let Some(event) = next {
            event
        } else {
            came_back += 1;
            let last = events.last_id.clone().expect("it was told where it is");
            let again = http.get(&stream).header("last-event-id", last);
            let mut events = Events::open(again).await;
            let mut event = events.expect().await;
            // What came before may be told again.
            while event.data["body"] == "first" {
                event = events.expect().await;
            }
            event
        };
        assert_eq!(told.data["body"], "second");
    }
    assert!(came_back > 0, "some listened to the node that died");
}
