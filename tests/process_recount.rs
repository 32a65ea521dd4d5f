//! The danger: a count that is sent again through another node, because the first one is cut off, counts twice;
//! or a reset or a deletion made apart takes what it had not seen, or forgets twice.

mod support;

use support::{
    client::NodeClient,
    cluster::{all_agree, clients, joined, same_bytes},
    process::{NodeProcess, Start},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_through_another_node_while_the_first_is_cut_off_counts_once() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let nodes = joined(directory.path(), &["ann", "bob", "cat"]).await;
    let [ann, _, _] = three(&nodes);
    for counter in ["reset", "deleted"] {
        ann.increment_keyed(counter, "known", 100)
            .await
            .expect("acknowledged");
        ann.tally(counter, "kiosk", 10).await.expect("acknowledged");
    }
    all_agree(&clients(&nodes)).await;

    // Each goes on alone, on other ports than the others remember.
    let stopped: Vec<Start> = nodes.into_iter().map(NodeProcess::terminate).collect();
    let mut nodes: Vec<NodeProcess> = stopped.into_iter().map(alone).collect();
    let [ann, bob, cat] = three(&nodes);
    for counter in ["once", "reset", "deleted"] {
        ann.increment_keyed(counter, "order 1", 5)
            .await
            .expect("acknowledged");
        // The client hears nothing of ann any more and tries bob.
        bob.increment_keyed(counter, "order 1", 5)
            .await
            .expect("acknowledged");
        bob.increment_keyed(counter, "order 1", 5)
            .await
            .expect("acknowledged");
        ann.tally(counter, "kiosk", 12).await.expect("acknowledged");
        bob.tally(counter, "kiosk", 11).await.expect("acknowledged");
        bob.increment(counter, 1).await.expect("acknowledged");
    }
    // Two resets that saw different counts, both what was known before; and a deletion, with a retry of what
    // it knew elsewhere.
    cat.reset("reset").await.expect("acknowledged");
    bob.increment_keyed("reset", "order 2", 3)
        .await
        .expect("acknowledged");
    bob.reset("reset").await.expect("acknowledged");
    bob.increment("reset", 20).await.expect("acknowledged");
    cat.delete_counter("deleted").await.expect("acknowledged");
    bob.increment_keyed("deleted", "known", 100)
        .await
        .expect("acknowledged");

    let seeds: Vec<String> = nodes.iter().map(NodeProcess::seed).collect();
    nodes.push(NodeProcess::start(Start::new(
        "dan",
        directory.path(),
        &seeds,
    )));
    let clients = clients(&nodes);
    all_agree(&clients).await;
    for node in &clients {
        let value = async |counter| node.counter(counter).await.expect("it answers");
        assert_eq!(value("once").await, 5 + 12 + 1);
        // Forgotten by cat: 100 and a tally of 10. By bob: those, order 1, 1 of the tally, 1, order 2.
        assert_eq!(value("reset").await, (12 - 11) + 20);
        // Deleted by cat: 100 and a tally of 10. Unseen by it: order 1, 2 of the tally, 1.
        assert_eq!(value("deleted").await, 5 + 2 + 1);
    }
    same_bytes(&clients, "/v1/counters").await;
    same_bytes(&clients, "/v1/counters/reset/tallies").await;
    for node in &clients {
        node.increment_keyed("once", "order 1", 5)
            .await
            .expect("acknowledged");
        assert_eq!(node.counter("once").await.expect("it answers"), 18);
    }
}

fn three(nodes: &[NodeProcess]) -> [NodeClient; 3] {
    let clients = clients(nodes);
    clients.try_into().expect("there are three")
}

/// Starts a node again on other ports and without seeds.
fn alone(stopped: Start) -> NodeProcess {
    NodeProcess::start(Start {
        http: "127.0.0.1:0".to_owned(),
        peer: "127.0.0.1:0".to_owned(),
        seeds: Vec::new(),
        ..stopped
    })
}
