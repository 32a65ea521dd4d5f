//! The danger: what is moved to another cluster as text arrives changed, twice, or in part.

mod support;

use std::{fs, path::Path, process::Output};

use reqwest::Method;
use serde_json::{Value, json};
use support::{
    client::NodeClient,
    process::{NodeProcess, Start},
    program::{complaint, grapevine, run},
};

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn said(output: &Output) -> Value {
    assert!(output.status.success(), "{}", complaint(output));
    serde_json::from_slice(&output.stdout).expect("it answers with JSON")
}

fn dump(node: &NodeProcess, file: &Path) -> Value {
    said(&run(grapevine().args([
        "dump",
        "--node",
        &node.url(),
        "-o",
        text(file),
    ])))
}

fn load(node: &NodeProcess, file: &Path) -> Output {
    run(grapevine().args(["load", text(file), "--node", &node.url()]))
}

/// The items of a dump, without what each cluster says of itself.
fn items(file: &Path) -> Vec<Value> {
    let dump = fs::read_to_string(file).expect("a file");
    let lines = dump.lines().skip(1);
    let lines = lines.map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines
        .map(|mut line| {
            for kind in ["contact", "kv", "message"] {
                if let Some(item) = line.get_mut(kind).and_then(Value::as_object_mut) {
                    for member in ["created_at", "updated_at", "at", "expires_at"] {
                        item.remove(member);
                    }
                    if kind == "message" {
                        item.remove("id");
                    }
                }
            }
            line
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dumped_and_loaded_twice_is_the_same_once() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let home = NodeProcess::start(Start::new("home", directory.path(), &[]));
    let mut elsewhere = Start::new("elsewhere", directory.path(), &[]);
    elsewhere.cluster = "elsewhere".to_owned();
    let elsewhere = NodeProcess::start(elsewhere);
    let (at_home, there) = (
        NodeClient::new(home.url()),
        NodeClient::new(elsewhere.url()),
    );
    for number in 0..30 {
        let contact = json!({
            "name": format!("Nguyễn {number}"), "groups": ["a"], "birthday": "1815-12-10",
            "phones": [{"label": "work", "number": "+44 20 7946 0000"}],
        });
        at_home.create_contact(contact).await.expect("acknowledged");
        let message = json!({ "author": "ann", "body": format!("message {number}") });
        at_home
            .json(Method::POST, "/v1/topics/news/messages", Some(message))
            .await
            .expect("acknowledged");
    }
    let keep = json!({ "retain_count": 50, "retain_seconds": null });
    at_home
        .json(Method::PUT, "/v1/topics/news", Some(keep))
        .await
        .expect("acknowledged");
    at_home.increment("up", 12).await.expect("acknowledged");
    at_home.decrement("down", 5).await.expect("acknowledged");
    at_home
        .put_kv("text", "näive\n\"")
        .await
        .expect("acknowledged");
    let bytes = Some(("image/png", vec![0xff, 0, 1]));
    for path in ["/v1/kv/bytes", "/v1/kv/a%2Fb%20c?ttl=86400"] {
        at_home
            .bytes(Method::PUT, path, bytes.clone())
            .await
            .expect("acknowledged");
    }
    let file = directory.path().join("dump");
    let counts = dump(&home, &file);
    assert_eq!(
        counts,
        json!({"contact": 30, "counter": 2, "kv": 3, "topic": 1, "message": 30})
    );
    // Cut off, it is refused before anything is written.
    let cut = directory.path().join("cut");
    let whole = fs::read(&file).expect("a file");
    fs::write(&cut, &whole[..whole.len() / 2]).expect("it can be written");
    assert_eq!(load(&elsewhere, &cut).status.code(), Some(1));
    let nothing = there.whole_list("/v1/contacts").await.expect("a list");
    assert!(nothing.is_empty(), "{nothing:?}");
    for _ in 0..2 {
        assert_eq!(said(&load(&elsewhere, &file)), counts);
    }
    assert_eq!(there.counter("up").await.expect("it answers"), 12);
    assert_eq!(there.counter("down").await.expect("it answers"), -5);
    let again = directory.path().join("again");
    dump(&elsewhere, &again);
    assert_eq!(items(&again), items(&file));
    // What is refused is named, and keeps nothing else away.
    let mut lines: Vec<String> = fs::read_to_string(&file)
        .expect("a file")
        .lines()
        .map(str::to_owned)
        .collect();
    lines[1] = json!({"contact": {"id": "nameless", "name": ""}}).to_string();
    let wrong = directory.path().join("wrong");
    fs::write(&wrong, lines.join("\n") + "\n").expect("it can be written");
    let refused = load(&elsewhere, &wrong);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        complaint(&refused).contains("nameless"),
        "{}",
        complaint(&refused)
    );
}
