//! Nodes in one process that find each other, lose each other, and come to hold the same.

mod nodes;

use std::time::{Duration, Instant};

use grapevine::{
    config::NodeConfig,
    node::{Node, NodeError},
    secret::{Secret, Secrets},
};
use nodes::{DEADLINE, Site, all_equal, eventually, get, put, put_many, root, sees_alive, start};

async fn close(nodes: Vec<Node>) {
    for node in nodes {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_join_through_one_seed_and_see_each_write() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let began = Instant::now();
    let bob = site.start("bob", &[&ann]).await;
    let cat = site.start("cat", &[&ann]).await;
    for node in [&ann, &bob, &cat] {
        sees_alive(node, &["ann", "bob", "cat"]).await;
    }
    println!("joined after {:?}", began.elapsed());
    for (number, writer) in [&ann, &bob, &cat].into_iter().enumerate() {
        let key = format!("key-{number}");
        put(writer.store(), &key, b"value").await;
        for reader in [&ann, &bob, &cat] {
            eventually("the write is visible", async || get(reader.store(), &key)).await;
        }
    }
    all_equal(&[&ann, &bob, &cat]).await;
    close(vec![ann, bob, cat]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_visible_long_before_the_next_pull() {
    let site = Site::new();
    let mut config = site.config("ann", &[]);
    config.pull_interval_ms = 60_000;
    let ann = start(config).await;
    let mut config = site.config("bob", &[&ann]);
    config.pull_interval_ms = 60_000;
    let bob = start(config).await;
    sees_alive(&ann, &["ann", "bob"]).await;
    all_equal(&[&ann, &bob]).await;
    let mut took = Vec::new();
    for number in 0..200 {
        let key = format!("key-{number}");
        put(ann.store(), &key, b"value").await;
        let written = Instant::now();
        let mut roots = bob.store().roots();
        while get(bob.store(), &key).is_none() {
            let changed = tokio::time::timeout(DEADLINE, roots.changed()).await;
            changed.expect("a push comes").expect("the store is open");
        }
        took.push(written.elapsed());
    }
    took.sort();
    println!(
        "visible after {:?} (median), {:?} (99 %)",
        took[100], took[198]
    );
    assert!(took[100] < Duration::from_millis(500), "{:?}", took[100]);
    close(vec![ann, bob]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_catches_up_under_a_new_life() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let bob = site.start("bob", &[&ann]).await;
    put(bob.store(), "before", b"1").await;
    sees_alive(&ann, &["ann", "bob"]).await;
    all_equal(&[&ann, &bob]).await;
    let earlier = bob.store().replica().expect("it wrote");
    bob.shutdown().await;

    put(ann.store(), "while-away", b"2").await;
    // Without a seed: the roster tells where the others are.
    let bob = site.start("bob", &[]).await;
    eventually("caught up", async || get(bob.store(), "while-away")).await;
    assert_eq!(get(bob.store(), "before").as_deref(), Some(&b"1"[..]));
    let now = bob.store().replica().expect("it entered the roster");
    assert_ne!(now, earlier);
    for node in [&ann, &bob] {
        let members = sees_alive(node, &["ann", "bob"]).await;
        assert!(members.iter().any(|member| member.replica == now));
    }
    all_equal(&[&ann, &bob]).await;
    close(vec![ann, bob]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_that_never_met_become_one() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let bob = site.start("bob", &[]).await;
    for number in 0..50 {
        put(ann.store(), &format!("ann-{number}"), b"ann").await;
        put(bob.store(), &format!("bob-{number}"), b"bob").await;
        put(ann.store(), &format!("both-{number}"), b"ann").await;
        put(bob.store(), &format!("both-{number}"), b"bob").await;
    }
    assert_ne!(root(&ann), root(&bob));
    bob.shutdown().await;
    let bob = site.start("bob", &[&ann]).await;
    sees_alive(&ann, &["ann", "bob"]).await;
    all_equal(&[&ann, &bob]).await;
    assert_eq!(get(ann.store(), "bob-7").as_deref(), Some(&b"bob"[..]));
    assert_eq!(get(bob.store(), "ann-7").as_deref(), Some(&b"ann"[..]));
    // The later write.
    assert_eq!(get(ann.store(), "both-7").as_deref(), Some(&b"bob"[..]));
    close(vec![ann, bob]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_alone_and_joins_when_its_seed_appears() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let seed = ann.peer_addr();
    ann.shutdown().await;
    let mut config = site.config("bob", &[]);
    config.seeds = vec![seed.to_string()];
    let bob = start(config).await;
    put(bob.store(), "alone", b"1").await;

    let mut config = site.config("ann", &[]);
    config.peer = seed;
    let ann = start(config).await;
    eventually("joined", async || get(ann.store(), "alone")).await;
    all_equal(&[&ann, &bob]).await;
    close(vec![ann, bob]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_that_is_a_name_is_resolved_and_one_that_cannot_be_delays_nothing() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let mut config = site.config("bob", &[]);
    config.seeds = vec![
        "no-such-host.invalid:7901".to_owned(),
        format!("localhost:{}", ann.peer_addr().port()),
    ];
    let bob = start(config).await;
    for node in [&ann, &bob] {
        sees_alive(node, &["ann", "bob"]).await;
    }
    all_equal(&[&ann, &bob]).await;
    close(vec![ann, bob]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_catch_up_comes_in_pages() {
    const WRITES: usize = 10_000;
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let keys = (0..WRITES).map(|number| format!("key-{number}"));
    put_many(ann.store(), keys, &[7; 100]).await;
    // One partition far above the budget of a page.
    for number in 0..5 {
        put(ann.store(), &format!("large-{number}"), &vec![7; 1_000_000]).await;
    }
    let began = Instant::now();
    let bob = site.start("bob", &[&ann]).await;
    all_equal(&[&ann, &bob]).await;
    let totals = bob.sync_totals();
    println!(
        "caught up with {WRITES} writes after {:?}: {} bytes in, {} pages asked",
        began.elapsed(),
        totals.traffic.bytes_in,
        totals.pulls,
    );
    assert_eq!(get(bob.store(), "key-9999"), Some(vec![7; 100]));
    assert_eq!(get(bob.store(), "large-4"), Some(vec![7; 1_000_000]));
    assert_eq!(totals.steps_failed, 0);
    close(vec![ann, bob]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_another_cluster_are_refused() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    put(ann.store(), "secret", b"1").await;
    let mut config = site.config("eve", &[&ann]);
    config.cluster = "another".to_owned();
    let eve = start(config).await;
    eventually("refused by both", async || {
        let refused = |node: &Node| node.sync_totals().refusals > 0;
        (refused(&ann) && refused(&eve)).then_some(())
    })
    .await;
    assert_eq!(get(eve.store(), "secret"), None);
    assert_eq!(ann.sync_totals().handshakes, 0);
    sees_alive(&ann, &["ann"]).await;
    sees_alive(&eve, &["eve"]).await;
    close(vec![ann, eve]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_is_told_with_its_setting_and_leaves_nothing_open() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let mut config = site.config("bob", &[]);
    config.peer = ann.peer_addr();
    let error = Node::start(config).await.expect_err("the port is taken");
    assert!(
        matches!(error, NodeError::AddressInUse { what: "peer", .. }),
        "{error}"
    );
    assert!(!site.data("bob").exists());
    let mut config = site.config("bob", &[]);
    config.data = site.data("ann");
    let error = Node::start(config)
        .await
        .expect_err("the directory is in use");
    assert!(matches!(error, NodeError::DataInUse(_)), "{error}");
    ann.shutdown().await;
    let again = site.start("ann", &[]).await;
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_listens_everywhere_is_reached_where_it_says() {
    let site = Site::new();
    let secrets = Secrets::new(vec![Secret::random()]).expect("one");
    let sealed = |name, seeds: &[&Node]| NodeConfig {
        cluster_secrets: secrets.clone(),
        ..site.config(name, seeds)
    };
    let ann = start(sealed("ann", &[])).await;
    let mut config = sealed("bob", &[&ann]);
    config.http = "0.0.0.0:0".parse().expect("an address");
    config.peer = config.http;
    config.advertise_http = "127.0.0.2:0".parse().ok();
    config.advertise_peer = "127.0.0.3:0".parse().ok();
    let bob = start(config).await;
    // He hears of Bob from Ann alone.
    let cid = start(sealed("cid", &[&ann])).await;
    for node in [&ann, &bob, &cid] {
        let members = sees_alive(node, &["ann", "bob", "cid"]).await;
        let http = format!("127.0.0.2:{}", bob.http_addr().port());
        let peer = format!("127.0.0.3:{}", bob.peer_addr().port());
        assert_eq!((&members[1].http, &members[1].peer), (&http, &peer));
    }
    put(bob.store(), "key", b"value").await;
    all_equal(&[&ann, &bob, &cid]).await;
    // Ann is away: what Cid writes reaches Bob by the address that he gave.
    ann.shutdown().await;
    put(cid.store(), "other", b"value").await;
    eventually("the write", async || get(bob.store(), "other")).await;
    close(vec![bob, cid]).await;
}
