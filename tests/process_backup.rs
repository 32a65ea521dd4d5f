//! The danger: a node is restored from a backup while its cluster has moved on, and something is lost, counted twice, or
//! comes back that was deleted.

mod support;

use std::{fs, path::Path, process::Output, time::Instant};

use reqwest::Method;
use serde_json::{Value, json};
use support::{
    client::{NodeClient, Refused},
    cluster::{all_agree, clients, joined, same_bytes},
    process::{NodeProcess, Start},
    program::{complaint, grapevine, run},
    wait::until,
};

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn said(output: &Output) -> Value {
    assert!(output.status.success(), "{}", complaint(output));
    serde_json::from_slice(&output.stdout).expect("it answers with JSON")
}

fn backup(node: &NodeProcess, file: &Path) -> Value {
    let url = node.url();
    said(&run(grapevine().args([
        "backup",
        "--node",
        &url,
        "-o",
        text(file),
    ])))
}

fn restore(file: &Path, data: &Path) -> Output {
    run(grapevine().args(["restore", text(file), "--data", text(data)]))
}

/// Waits until nothing that was deleted is held any more on any node.
async fn all_is_collected(nodes: &[NodeClient]) {
    for node in nodes {
        until("collection of what was deleted", async || {
            let cluster = node.get("/v1/cluster").await?;
            let garbage = cluster["collection"]["garbage"].as_u64();
            if garbage == Some(0) {
                Ok(())
            } else {
                Err(Refused(cluster.to_string()))
            }
        })
        .await;
    }
}

const PATHS: [&str; 3] = [
    "/v1/contacts?limit=1000",
    "/v1/kv?limit=1000",
    "/v1/counters?limit=1000",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_node_restored_after_its_cluster_moved_on_loses_repeats_and_revives_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut nodes = joined(directory.path(), &["ann", "bob", "cyd"]).await;
    let mut of_nodes = clients(&nodes);
    let (ann, cyd) = (of_nodes[0].clone(), of_nodes[2].clone());
    let mut ids = Vec::new();
    for number in 0..60 {
        let contact = json!({ "name": format!("Contact {number}") });
        ids.push(ann.create_contact(contact).await.expect("acknowledged"));
        cyd.increment("cargo", 10).await.expect("acknowledged");
        cyd.put_kv(&format!("key-{number}"), "old")
            .await
            .expect("acknowledged");
    }
    let body = Some(json!({ "author": "ann", "body": "before" }));
    ann.json(Method::POST, "/v1/topics/news/messages", body)
        .await
        .expect("acknowledged");
    all_agree(&of_nodes).await;
    let file = directory.path().join("cyd.backup");
    let told = backup(&nodes[2], &file);
    assert!(told["entities"].as_u64().expect("a count") > 120, "{told}");
    // The cluster moves on: with the node, and then without it.
    for number in 0..20 {
        ann.delete_contact(&ids[number])
            .await
            .expect("acknowledged");
        let patch = json!({ "note": "after" });
        cyd.patch_contact(&ids[20 + number], patch)
            .await
            .expect("acknowledged");
        cyd.increment("cargo", 1).await.expect("acknowledged");
        cyd.decrement("cargo", 3).await.expect("acknowledged");
        ann.put_kv(&format!("key-{number}"), "new")
            .await
            .expect("acknowledged");
        let gone = format!("/v1/kv/key-{}", 30 + number);
        ann.bytes(Method::DELETE, &gone, None)
            .await
            .expect("acknowledged");
    }
    all_agree(&of_nodes).await;
    all_is_collected(&of_nodes).await;
    let lost = nodes.pop().expect("there are three").kill_nine();
    of_nodes.pop();
    fs::remove_dir_all(&lost.data).expect("its disk is gone");
    ann.increment("cargo", 100).await.expect("acknowledged");
    let told = said(&restore(&file, &lost.data));
    assert_eq!(told["node"], "cyd");
    let cyd = NodeProcess::start(lost);
    let client = NodeClient::new(cyd.url());
    // It takes writes from the first moment on, of old and of new.
    client
        .increment("cargo", 1_000)
        .await
        .expect("acknowledged");
    client
        .put_kv("key-59", "restored")
        .await
        .expect("acknowledged");
    nodes.push(cyd);
    of_nodes.push(client);
    all_agree(&of_nodes).await;
    for path in PATHS {
        same_bytes(&of_nodes, path).await;
    }
    for node in &of_nodes {
        let cargo = node.counter("cargo").await.expect("it answers");
        assert_eq!(cargo, 60 * 10 + 20 - 60 + 100 + 1_000);
        for id in &ids[..20] {
            node.contact(id).await.expect_err("it was deleted");
        }
        for id in &ids[20..40] {
            assert_eq!(
                node.contact(id).await.expect("it is there")["note"],
                "after"
            );
        }
        for (key, value) in [
            ("key-0", Some("new")),
            ("key-40", None),
            ("key-59", Some("restored")),
        ] {
            let held = node.get_kv(key).await.expect("it answers");
            assert_eq!(held.as_deref(), value, "{key}");
        }
        let news = node
            .get("/v1/topics/news/messages")
            .await
            .expect("it answers");
        assert_eq!(news["items"].as_array().map(Vec::len), Some(1), "{news}");
        let cluster = node.get("/v1/cluster").await.expect("it answers");
        assert_eq!(cluster["alarms"]["clashes"], 0, "{cluster}");
    }
    // Another backup of what came of it is as good.
    let again = directory.path().join("again.backup");
    backup(&nodes[2], &again);
    said(&restore(&again, &directory.path().join("alone")));
    let alone = NodeProcess::start(Start::new("alone", directory.path(), &[]));
    let alone = NodeClient::new(alone.url());
    assert_eq!(alone.counter("cargo").await.expect("it answers"), 1_660);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_makes_nothing_and_a_directory_in_use_is_kept() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = NodeProcess::start(Start::new("ann", directory.path(), &[]));
    let client = NodeClient::new(node.url());
    client.put_kv("a", "1").await.expect("acknowledged");
    let file = directory.path().join("backup");
    backup(&node, &file);
    let mut bytes = fs::read(&file).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    let (wrong, data) = (
        directory.path().join("wrong"),
        directory.path().join("data"),
    );
    fs::write(&wrong, bytes).expect("it can be written");
    let refused = restore(&wrong, &data);
    assert_eq!(refused.status.code(), Some(1));
    assert!(!data.exists());
    let refused = restore(&file, node.data());
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        complaint(&refused).contains("not empty"),
        "{}",
        complaint(&refused)
    );
    assert_eq!(
        client.get_kv("a").await.expect("it answers").as_deref(),
        Some("1")
    );
}

/// How fast a backup is, and what it costs those who write: `cargo test --release --test process_backup -- --ignored
/// --nocapture`. `BACKUP_CONTACTS` says how many contacts there are (1,000,000).
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures, for a minute or more"]
async fn how_fast_a_backup_is_while_writes_go_on() {
    let contacts = std::env::var("BACKUP_CONTACTS").ok();
    let contacts = contacts
        .and_then(|number| number.parse().ok())
        .unwrap_or(1_000_000_usize);
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = NodeProcess::start(Start::new("ann", directory.path(), &[]));
    let client = NodeClient::new(node.url());
    let began = Instant::now();
    for first in (0..contacts).step_by(1_000) {
        let one = |number| {
            let draft = json!({
                "name": format!("Contact {number}"), "organization": "Analytical Engines",
                "phones": [{"label": "work", "number": format!("+44 20 {number:08}")}],
            });
            json!({ "collection": "contacts", "op": "create", "contact": draft })
        };
        let writes: Vec<Value> = (first..contacts.min(first + 1_000)).map(one).collect();
        let body = Some(json!({ "writes": writes }));
        let answer = client
            .json(Method::POST, "/v1/batch", body)
            .await
            .expect("acknowledged");
        assert_eq!(answer["results"][0]["status"], 201, "{answer}");
    }
    println!("{contacts} contacts were written in {:?}", began.elapsed());
    let rate =
        |writes: u64, seconds: f64| u32::try_from(writes).map(f64::from).expect("few") / seconds;
    let alone = written_for(&client, std::time::Duration::from_secs(10)).await;
    println!("without a backup: {:.0} writes/s", rate(alone, 10.0));
    let file = directory.path().join("backup");
    let (url, output) = (node.url(), file.clone());
    let began = Instant::now();
    let backing_up = tokio::task::spawn_blocking(move || {
        run(grapevine().args(["backup", "--node", &url, "-o", text(&output)]))
    });
    let mut beside = 0;
    while !backing_up.is_finished() {
        beside += written_for(&client, std::time::Duration::from_millis(100)).await;
    }
    let took = began.elapsed().as_secs_f64();
    let told = said(&backing_up.await.expect("it does not panic"));
    let bytes = fs::metadata(&file).expect("a file").len();
    println!(
        "backup of {told}: {took:.1} s, {bytes} bytes, {:.0} contacts/s; beside it {:.0} writes/s",
        rate(contacts as u64, took),
        rate(beside, took)
    );
    let began = Instant::now();
    said(&restore(&file, &directory.path().join("restored")));
    println!("restored in {:?}", began.elapsed());
}

/// How many writes of 16 connections were acknowledged within `time`.
async fn written_for(client: &NodeClient, time: std::time::Duration) -> u64 {
    let until = Instant::now() + time;
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut written = 0;
                while Instant::now() < until {
                    let key = format!("beside-{writer}-{}", written % 100);
                    client.put_kv(&key, "x").await.expect("acknowledged");
                    written += 1;
                }
                written
            })
        })
        .collect();
    let mut all = 0;
    for writer in writers {
        all += writer.await.expect("it does not panic");
    }
    all
}
