//! The danger: somebody who looks into a node that is ill must restart it to see more, and what made it ill is gone.

mod support;

use std::fs;

use reqwest::Method;
use serde_json::{Value, json};
use support::{
    client::NodeClient,
    process::{NodeProcess, Start},
};

const PATH: &str = "/v1/admin/log-level";

async fn set(node: &NodeClient, level: Value) -> Value {
    node.json(Method::PUT, PATH, Some(json!({ "level": level })))
        .await
        .expect("it is set")["level"]
        .clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_logged_changes_while_a_node_runs() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut start = Start::new("ann", directory.path(), &[]);
    start.more.extend(["--log-level", "warn"].map(Into::into));
    let node = NodeProcess::start(start);
    let client = NodeClient::new(node.url());
    let told = |what: &str| {
        let entries = fs::read_dir(directory.path()).expect("a directory");
        let files = entries.map(|entry| entry.expect("an entry").path());
        let logs = files.filter(|path| path.is_file());
        logs.map(|path| fs::read_to_string(path).unwrap_or_default())
            .any(|log| log.contains(what))
    };
    let level = client.get(PATH).await.expect("it answers");
    assert_eq!(level["level"], "warn");
    assert_eq!(set(&client, json!("error")).await, "error");
    assert!(!told("what is logged was changed"));
    let detailed = "info,grapevine::http=debug";
    let answer = set(&client, json!(detailed)).await;
    assert!(answer.as_str().is_some_and(|level| level.contains("info")));
    assert!(told("what is logged was changed"));
    assert_eq!(set(&client, Value::Null).await, "warn");
    for wrong in [json!("loud"), json!("grapevine=loud"), json!(7)] {
        let body = json!({ "level": wrong }).to_string();
        let body = Some(("application/json", body.into_bytes()));
        let refused = client.send(Method::PUT, PATH, body).await;
        assert_eq!(
            refused.expect("it answers").status().as_u16(),
            422,
            "{wrong}"
        );
    }
    assert_eq!(client.get(PATH).await.expect("it answers")["level"], "warn");
}
