//! The danger: a load test that says all is well although something acknowledged is gone.

mod support;

use grapevine::client::{Client, ClientOptions, Condition};
use serde_json::Value;
use support::{
    local::{nobody, node, url},
    program::{complaint, grapevine, run},
    wait::until,
};

fn client(node: &str) -> Client {
    let options = ClientOptions::default().node(node).expect("an address");
    options.connect().expect("there is a node")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_found_on_every_node_and_removed() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let first = node(directory.path(), "first", &[]).await;
    let second = node(directory.path(), "second", &[&first]).await;
    let nodes = [url(&first), url(&second)];
    let wait = ["cluster", "wait", "--members", "2", "--node", &nodes[0]];
    let joined = run(grapevine().args(wait));
    assert!(joined.status.success(), "{}", complaint(&joined));
    let output = run(grapevine().args([
        "stress",
        "--json",
        "--connections",
        "8",
        "--duration",
        "500ms",
        "--mix",
        "counter,kv,contacts,topic",
        "--node",
        &nodes[0],
        "--node",
        &nodes[1],
    ]));
    assert!(output.status.success(), "{}", complaint(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(report["wrong"], 0, "{report}");
    let acknowledged = report["acknowledged"].as_u64().expect("a number");
    let verified = report["verified"].as_u64().expect("a number");
    assert!(acknowledged > 8, "{report}");
    // Counters, values, contacts and topics, on two nodes.
    assert!(verified >= 2 * 4, "{report}");
    assert!(report["latency_ms"]["p99"].as_f64() >= report["latency_ms"]["p50"].as_f64());
    let client = client(&nodes[0]);
    assert_eq!(
        client.kv().list("stress/").take(1).await.expect("a list"),
        []
    );
    assert_eq!(client.contacts().list().take(1).await.expect("a list"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_during_the_load_is_found() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = node(directory.path(), "one", &[]).await;
    let node = url(&node);
    let arguments = [
        "stress",
        "--connections",
        "4",
        "--duration",
        "3s",
        "--mix",
        "counter,kv",
    ];
    let mut command = grapevine();
    command.args(arguments).args(["--node", &node]);
    let loading = tokio::task::spawn_blocking(move || run(&mut command));
    let client = client(&node);
    let counted = until("count", async || {
        let mut counters = client.counters().list("stress/");
        let counter = counters.next().await.map_err(|error| error.to_string())?;
        counter
            .filter(|counter| counter.value > 0)
            .ok_or_else(|| "none".to_owned())
    })
    .await;
    let counters = client.counters();
    let reset = counters.reset(&counted.name, &Condition::None).await;
    reset.expect("acknowledged");
    let output = loading.await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("1 wrong"), "{said}");
    assert!(said.contains(&counted.name), "{said}");
    assert!(complaint(&output).contains("acknowledged"));
}

#[test]
fn a_node_that_is_not_there_is_told_before_anything_is_written() {
    let output = run(grapevine().args(["stress", "--duration", "1s", "--node", &nobody()]));
    assert_eq!(output.status.code(), Some(3), "{}", complaint(&output));
    for wrong in ["", "10", "s", "-1s", "1h"] {
        let output = run(grapevine().args(["stress", "--duration", wrong]));
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}
