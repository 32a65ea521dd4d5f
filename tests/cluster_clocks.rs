//! The danger: the clock of a node is wrong, by a century, an hour, or more and more, and its times spoil what
//! the others hold, or win over every later edit.

mod nodes;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use grapevine::{
    clock::{SystemClock, WallClock},
    config::NodeConfig,
    node::Node,
};
use nodes::{Site, all_equal, eventually, get, put, sees_alive};
use reqwest::StatusCode;
use serde_json::Value;

const MAX_SKEW_MS: u64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
const CENTURY_MS: i64 = 75 * 365 * 24 * HOUR_MS;

/// The clock of the system, moved.
#[derive(Debug, Default)]
struct MovedClock(AtomicI64);

impl MovedClock {
    fn moved_by(offset_ms: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(offset_ms)))
    }

    fn move_to(&self, offset_ms: i64) {
        self.0.store(offset_ms, Ordering::SeqCst);
    }
}

impl WallClock for MovedClock {
    fn unix_ms(&self) -> u64 {
        let moved = self.0.load(Ordering::SeqCst);
        SystemClock.unix_ms().saturating_add_signed(moved)
    }
}

async fn start(config: NodeConfig, clock: &Arc<MovedClock>) -> Node {
    let clock: Arc<dyn WallClock> = clock.clone();
    let started = Node::start_with_clock(config, clock).await;
    started.expect("the node starts")
}

/// A write as a client makes it: its status, and the problem if there is one.
async fn client_put(node: &Node, key: &str) -> (StatusCode, Option<String>, Value) {
    let url = format!("http://{}/v1/kv/{key}", node.http_addr());
    let request = reqwest::Client::new().put(url).body("value");
    let answer = request.send().await.expect("it answers");
    let retry_after = answer.headers().get("retry-after").cloned();
    let retry_after = retry_after.and_then(|value| value.to_str().ok().map(str::to_owned));
    let status = answer.status();
    (status, retry_after, answer.json().await.unwrap_or_default())
}

async fn cluster(node: &Node) -> Value {
    let url = format!("http://{}/v1/cluster", node.http_addr());
    let answer = reqwest::get(url).await.expect("it answers");
    answer.json().await.expect("JSON")
}

/// What `node` says of `name`, which it refuses.
async fn refused(node: &Node, name: &str) -> Value {
    eventually("a peer refused by name", async || {
        let cluster = cluster(node).await;
        let refused = cluster["refused"].as_array().expect("a list");
        refused.iter().find(|peer| peer["name"] == name).cloned()
    })
    .await
}

/// No time that any of them holds is further ahead than a sane clock may be.
fn nobody_is_poisoned(nodes: &[&Node]) {
    let latest_ms = SystemClock.unix_ms() + MAX_SKEW_MS;
    for node in nodes {
        let clock = node.store().snapshot().state().clock();
        assert!(clock.unix_ms() <= latest_ms, "{} is poisoned", node.name());
    }
}

async fn takes_writes_again(node: &Node, key: &str) {
    eventually("writes are taken again", async || {
        let (status, _, _) = client_put(node, key).await;
        (status == StatusCode::NO_CONTENT).then_some(())
    })
    .await;
}

struct Three {
    _site: Site,
    ann: Node,
    bob: Node,
    carol: Node,
    clock: Arc<MovedClock>,
}

impl Three {
    /// Three nodes that agree; the clock of the third can be moved.
    async fn start() -> Self {
        let site = Site::new();
        let clock = MovedClock::moved_by(0);
        let ann = site.start("ann", &[]).await;
        let bob = site.start("bob", &[&ann]).await;
        let carol = start(site.config("carol", &[&ann]), &clock).await;
        let names = ["ann", "bob", "carol"];
        for node in [&ann, &bob, &carol] {
            sees_alive(node, &names).await;
            eventually("links to both", async || {
                let members = node.cluster().members().await;
                let known = members
                    .iter()
                    .filter(|member| member.clock_offset_ms.is_some());
                (known.count() == names.len()).then_some(())
            })
            .await;
        }
        all_equal(&[&ann, &bob, &carol]).await;
        Self {
            _site: site,
            ann,
            bob,
            carol,
            clock,
        }
    }

    async fn agree_again(self) {
        let Self {
            _site,
            ann,
            bob,
            carol,
            ..
        } = self;
        put(carol.store(), "last-of-carol", b"value").await;
        put(ann.store(), "last-of-ann", b"value").await;
        all_equal(&[&ann, &bob, &carol]).await;
        nobody_is_poisoned(&[&ann, &bob, &carol]);
        eventually("nobody is refused", async || {
            let refused = cluster(&ann).await["refused"].as_array().map(Vec::len);
            (refused == Some(0)).then_some(())
        })
        .await;
        for node in [ann, bob, carol] {
            node.shutdown().await;
        }
    }
}

/// Moves a clock while everything runs; it is refused, knows it, and is well again when its clock is.
async fn a_clock_jumps(offset_ms: i64) {
    let three = Three::start().await;
    let Three {
        ann,
        bob,
        carol,
        clock,
        ..
    } = &three;
    clock.move_to(offset_ms);
    // At once: not a single write is made with such a time.
    let (status, retry_after, problem) = client_put(carol, "wrong").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert_eq!(problem["type"], "urn:problem-type:grapevine:clock-off");
    assert!(retry_after.is_some());
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("clock of this node is off"), "{detail}");
    let told = refused(ann, "carol").await;
    let told_ms = told["offset_ms"].as_i64().expect("a number");
    assert!((told_ms - offset_ms).abs() < 30_000, "{told}");
    assert!(
        told["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("wall clock"))
    );
    assert!(
        told["since"].is_string() && told["replica"].is_string(),
        "{told}"
    );
    // It goes on knowing, reads go on, and so do the others.
    let (status, _, problem) = client_put(carol, "wrong").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert!(cluster(carol).await["node"]["clock_fault"].is_string());
    let (status, _, problem) = client_put(ann, "right").await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{problem}");
    all_equal(&[ann, bob]).await;
    clock.move_to(0);
    takes_writes_again(carol, "again").await;
    assert_eq!(get(carol.store(), "wrong"), None);
    three.agree_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_in_the_year_2100_poisons_the_others() {
    a_clock_jumps(CENTURY_MS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_back_an_hour_goes_unnoticed() {
    a_clock_jumps(-HOUR_MS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_drifts_is_compared_only_once() {
    let three = Three::start().await;
    let Three {
        ann, carol, clock, ..
    } = &three;
    for drift_ms in [15_000, 30_000, 45_000] {
        clock.move_to(drift_ms);
        let (status, _, problem) = client_put(carol, "drifting").await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{problem}");
    }
    eventually("its offset is shown", async || {
        let cluster = cluster(ann).await;
        let members = cluster["members"].as_array().expect("a list");
        let carol = members.iter().find(|member| member["name"] == "carol")?;
        let offset_ms = carol["clock_offset_ms"].as_i64()?;
        (35_000..=46_000).contains(&offset_ms).then_some(())
    })
    .await;
    clock.move_to(75_000);
    let (status, _, problem) = client_put(carol, "drifted").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    refused(ann, "carol").await;
    clock.move_to(0);
    takes_writes_again(carol, "again").await;
    three.agree_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_in_1970_is_lost_to_the_cluster() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let bob = site.start("bob", &[&ann]).await;
    let epoch_ms = -i64::try_from(SystemClock.unix_ms()).expect("it fits");
    let clock = MovedClock::moved_by(epoch_ms);
    let carol = start(site.config("carol", &[&ann]), &clock).await;
    // It knows nobody yet, so it takes what comes.
    put(carol.store(), "early", b"value").await;
    refused(&ann, "carol").await;
    refused(&bob, "carol").await;
    eventually("it knows", async || {
        let (status, _, _) = client_put(&carol, "later").await;
        (status == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    assert_eq!(get(ann.store(), "early"), None);
    clock.move_to(0);
    takes_writes_again(&carol, "again").await;
    all_equal(&[&ann, &bob, &carol]).await;
    for node in [&ann, &bob, &carol] {
        assert!(get(node.store(), "early").is_some(), "{}", node.name());
    }
    nobody_is_poisoned(&[&ann, &bob, &carol]);
    for node in [ann, bob, carol] {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_in_2100_poisons_the_others() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let bob = site.start("bob", &[&ann]).await;
    let clock = MovedClock::moved_by(CENTURY_MS);
    let carol = start(site.config("carol", &[&ann]), &clock).await;
    refused(&ann, "carol").await;
    refused(&bob, "carol").await;
    // Its clock is right again, but not the times that it has written: it stays refused, and so does nobody else.
    clock.move_to(0);
    eventually("for the times that it wrote", async || {
        let told = refused(&ann, "carol").await;
        let reason = told["reason"].as_str().unwrap_or_default();
        reason.contains("logical clock").then_some(())
    })
    .await;
    put(bob.store(), "sane", b"value").await;
    all_equal(&[&ann, &bob]).await;
    nobody_is_poisoned(&[&ann, &bob]);
    for node in [ann, bob, carol] {
        node.shutdown().await;
    }
}

/// A leap, but no more than what peers tolerate: a logical clock never goes back, and theirs refuse one far ahead.
const LEAP_MS: i64 = 30_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_time_leaps_writes_on_under_names_it_may_have_given_before() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let clock = MovedClock::moved_by(0);
    let bob = start(site.config("bob", &[&ann]), &clock).await;
    put(bob.store(), "before", b"value").await;
    let mut lives = vec![bob.store().replica().expect("it wrote")];
    // Nothing was written between: the very next write is under a new life.
    for (leap_ms, key) in [(LEAP_MS, "ahead"), (0, "back")] {
        clock.move_to(leap_ms);
        let (status, _, problem) = client_put(&bob, key).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{problem}");
        let life = bob.store().replica().expect("it wrote");
        assert!(!lives.contains(&life), "{life} goes on after {leap_ms} ms");
        lives.push(life);
    }
    // What is less is an adjustment.
    clock.move_to(1_000);
    put(bob.store(), "adjusted", b"value").await;
    assert_eq!(bob.store().replica(), lives.last().copied());
    clock.move_to(0);
    put(ann.store(), "of-ann", b"value").await;
    sees_alive(&ann, &["ann", "bob"]).await;
    let members = ann.cluster().members().await;
    assert_eq!(members.len(), 2, "the lives before left the roster");
    for node in [ann, bob] {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_of_which_neither_can_know_stop_writing() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let clock = MovedClock::moved_by(-HOUR_MS);
    let bob = start(site.config("bob", &[&ann]), &clock).await;
    refused(&ann, "bob").await;
    refused(&bob, "ann").await;
    for node in [&ann, &bob] {
        let (status, _, problem) = client_put(node, "key").await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{problem}");
    }
    clock.move_to(0);
    all_equal(&[&ann, &bob]).await;
    tokio::time::timeout(Duration::from_secs(60), ann.shutdown())
        .await
        .expect("it ends");
    bob.shutdown().await;
}
