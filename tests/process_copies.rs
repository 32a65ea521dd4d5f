//! The danger: a data directory exists twice. An old copy is put back while the cluster moved on, or two
//! processes open one directory: increments must be neither lost nor repeated.

mod support;

use std::fs;

use support::{
    client::NodeClient,
    cluster::{all_agree, clients, joined, same_bytes},
    process::{NodeProcess, Start, copy_directory},
    program::{complaint, grapevine, run},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_put_back_neither_loses_nor_repeats_an_increment() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut nodes = joined(directory.path(), &["one", "two", "three"]).await;
    let mut expected = 0;
    for (node, by) in clients(&nodes).iter().zip([5, 7, 11]) {
        node.increment("visits", by).await.expect("acknowledged");
        expected += by;
    }
    all_agree(&clients(&nodes)).await;

    // The copy is what a backup would take of a node that is down.
    let third = nodes.pop().expect("the third node runs").kill_nine();
    let copy = directory.path().join("copy");
    copy_directory(&third.data, &copy);
    nodes.push(NodeProcess::start(third));

    // The cluster moves on, the third node most of all.
    for (node, by) in clients(&nodes).iter().zip([1, 2, 100]) {
        node.increment("visits", by).await.expect("acknowledged");
        node.put_kv("latest", &format!("by {by}"))
            .await
            .expect("acknowledged");
        expected += by;
    }
    all_agree(&clients(&nodes)).await;

    let third = nodes.pop().expect("the third node runs").terminate();
    fs::remove_dir_all(&third.data).expect("it can be removed");
    copy_directory(&copy, &third.data);
    nodes.push(NodeProcess::start(third));
    // It counts before it has heard anything of what it once knew.
    let restored = NodeClient::new(nodes[2].url());
    restored
        .increment("visits", 1_000)
        .await
        .expect("acknowledged");
    expected += 1_000;

    let clients = clients(&nodes);
    all_agree(&clients).await;
    for node in &clients {
        let value = node.counter("visits").await.expect("it answers");
        assert_eq!(value, i64::try_from(expected).expect("it is small"));
    }
    same_bytes(&clients, "/v1/counters/visits").await;
    assert_eq!(same_bytes(&clients, "/v1/kv/latest").await, b"by 100");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_one_directory_refuses_and_harms_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = NodeProcess::start(Start::new("one", directory.path(), &[]));
    let client = NodeClient::new(node.url());
    client.put_kv("before", "it").await.expect("acknowledged");

    let output = run(grapevine()
        .args(["serve", "--name", "two", "--http", "127.0.0.1:0"])
        .args(["--peer", "127.0.0.1:0", "--data"])
        .arg(node.data()));
    let said = complaint(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty(), "it said that it serves");
    let last = said.lines().last().expect("it says why");
    for part in ["grapevine: ", &node.data().display().to_string(), "process"] {
        assert!(last.contains(part), "no {part:?} in {said:?}");
    }
    assert!(!said.contains("panicked"), "{said}");

    client.put_kv("after", "it").await.expect("acknowledged");
    let node = NodeProcess::start(node.kill_nine());
    let client = NodeClient::new(node.url());
    for key in ["before", "after"] {
        let value = client.get_kv(key).await.expect("it answers");
        assert_eq!(value.as_deref(), Some("it"));
    }
}
