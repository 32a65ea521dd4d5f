//! The dangers: a command says that something is done which is not, writes what a program cannot read, stops because
//! one node is down, or leaves a script without a code to tell why.

#[path = "../support/mod.rs"]
mod support;

mod contacts;

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use grapevine::node::Node;
use serde_json::{Value, json};
use support::{
    local::{Mute, nobody, node, url},
    program::{complaint, grapevine, run},
};

/// A command that asks these nodes.
fn asking(nodes: &[&str], arguments: &[&str]) -> Command {
    let mut command = grapevine();
    command.args(arguments);
    for node in nodes {
        command.args(["--node", node]);
    }
    command
}

fn ask(node: &str, arguments: &[&str]) -> Output {
    run(&mut asking(&[node], arguments))
}

/// What a command that succeeds answers.
fn said(node: &str, arguments: &[&str]) -> String {
    answer(&ask(node, arguments))
}

fn answer(output: &Output) -> String {
    assert!(output.status.success(), "{}", complaint(output));
    String::from_utf8(output.stdout.clone()).expect("it is UTF-8")
}

/// The lines of JSON that a command that succeeds answers.
fn told(node: &str, arguments: &[&str]) -> Vec<Value> {
    let arguments = [arguments, &["--json"]].concat();
    said(node, &arguments)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect()
}

fn fed(node: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = asking(&[node], arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program can be run");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

async fn alone(directory: &Path) -> Node {
    node(directory, "one", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_in_and_come_out_as_they_are() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = alone(directory.path()).await;
    let node = url(&node);
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let file = directory.path().join("bytes");
    fs::write(&file, &bytes).expect("it can be written");
    let path = file.to_str().expect("a path in UTF-8");
    said(&node, &["kv", "put", "a/file", path]);
    assert_eq!(ask(&node, &["kv", "get", "a/file"]).stdout, bytes);
    answer(&fed(&node, &["kv", "put", "a/pipe"], b"\xff\x00"));
    assert_eq!(ask(&node, &["kv", "get", "a/pipe"]).stdout, b"\xff\x00");
    assert_eq!(told(&node, &["kv", "get", "a/pipe"])[0]["base64"], "/wA=");
    said(&node, &["kv", "put", "a/text", "--value", "hello"]);
    let text = &told(&node, &["kv", "get", "a/text"])[0];
    assert_eq!(text["text"], "hello");
    assert_eq!(text["content_type"], "text/plain; charset=utf-8");
    let keys: Vec<Value> = told(&node, &["kv", "ls", "a/"])
        .into_iter()
        .map(|entry| entry["key"].clone())
        .collect();
    assert_eq!(keys, ["a/file", "a/pipe", "a/text"]);
    assert_eq!(told(&node, &["kv", "ls", "--limit", "2"]).len(), 2);

    said(&node, &["kv", "put", "b\u{1b}[2J", "--value", ""]);
    let listed = said(&node, &["kv", "ls", "b"]);
    assert!(!listed.contains('\u{1b}'), "it would steer the terminal");

    let refused = ask(
        &node,
        &["kv", "put", "a/text", "--value", "x", "--if-absent"],
    );
    assert_eq!(refused.status.code(), Some(1), "{}", complaint(&refused));
    let tag = text["etag"].as_str().expect("a tag");
    said(
        &node,
        &["kv", "put", "a/text", "--value", "y", "--if-match", tag],
    );
    said(&node, &["kv", "rm", "a/text", "a/text"]);
    let gone = ask(&node, &["kv", "get", "a/text"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(gone.stdout.is_empty());
    assert_eq!(complaint(&gone).lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_count_and_a_key_counts_once() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = alone(directory.path()).await;
    let node = url(&node);
    assert_eq!(said(&node, &["counter", "get", "visits"]), "0\n");
    assert_eq!(said(&node, &["counter", "incr", "visits"]), "1\n");
    assert_eq!(said(&node, &["counter", "incr", "visits", "41"]), "42\n");
    assert_eq!(said(&node, &["counter", "decr", "visits", "2"]), "40\n");
    for _ in 0..2 {
        let arguments = [
            "counter",
            "incr",
            "sold",
            "18446744073709551615",
            "--key",
            "k",
        ];
        assert_eq!(said(&node, &arguments), "18446744073709551615\n");
    }
    let counters = told(&node, &["counter", "ls"]);
    assert_eq!(
        counters,
        [
            json!({ "name": "sold", "value": u64::MAX }),
            json!({ "name": "visits", "value": 40 })
        ]
    );
    assert!(said(&node, &["counter", "ls", "vi"]).contains("visits"));
    assert_eq!(said(&node, &["counter", "reset", "visits"]), "0\n");
    for wrong in ["0", "-1", "many", "18446744073709551616"] {
        let refused = ask(&node, &["counter", "incr", "visits", wrong]);
        assert_eq!(refused.status.code(), Some(2), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_is_shown_waited_for_and_left_by_those_who_will_not_return() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let first = node(directory.path(), "first", &[]).await;
    let second = node(directory.path(), "second", &[&first]).await;
    let at = url(&first);
    said(&at, &["kv", "put", "k", "--value", "v"]);
    said(&at, &["cluster", "wait", "--members", "2", "--for", "30"]);
    assert_eq!(said(&url(&second), &["kv", "get", "k"]), "v");
    let members = told(&at, &["cluster", "members"]);
    assert_eq!(members.len(), 2);
    assert!(members.iter().all(|member| member["alive"] == true));
    let status = &told(&at, &["cluster", "status"])[0];
    assert_eq!(status["node"]["name"], "first");
    assert!(
        status["alarms"].is_object(),
        "nothing that the node says is lost"
    );
    let text = said(&at, &["cluster", "status"]);
    assert!(text.contains("first") && text.contains("second"), "{text}");
    let alive = ask(&at, &["cluster", "forget", "second"]);
    assert_eq!(alive.status.code(), Some(1), "{}", complaint(&alive));
    let unknown = ask(&at, &["cluster", "forget", "third"]);
    assert!(complaint(&unknown).contains("third"));
    let few = ask(&at, &["cluster", "wait", "--members", "3", "--for", "0"]);
    assert_eq!(few.status.code(), Some(1));
    assert!(complaint(&few).contains("2 members"), "{}", complaint(&few));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_down_is_passed_over() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = alone(directory.path()).await;
    let (up, down) = (url(&node), nobody());
    let counted = run(&mut asking(&[&down, &up], &["counter", "incr", "visits"]));
    assert_eq!(answer(&counted), "1\n");
    let both = format!("{down},{up}");
    let by_variable = run(grapevine()
        .env("GRAPEVINE_NODE", both)
        .args(["counter", "get", "visits"]));
    assert_eq!(answer(&by_variable), "1\n");
    let pinged = run(&mut asking(&[&down, &up], &["ping"]));
    assert_eq!(pinged.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&pinged.stdout).lines().count(), 2);
    assert!(said(&up, &["ping"]).contains("answers"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_tells_no_node_from_a_wrong_line_from_a_write_that_nobody_knows_of() {
    let down = nobody();
    for arguments in [
        &["kv", "get", "k"][..],
        &["counter", "incr", "c"],
        &["contacts", "list"],
        &["cluster", "status"],
        &["bundle", "token"],
    ] {
        let output = ask(&down, arguments);
        let said = complaint(&output);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(&down), "{said}");
    }
    for wrong in ["ftp://ship", "http://", "ship:7801/v1", "::::"] {
        let output = ask(wrong, &["kv", "get", "k"]);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{wrong}: {}",
            complaint(&output)
        );
    }
    let mute = Mute::start(false).await;
    let unknown = ask(&mute.url, &["counter", "incr", "visits"]);
    assert_eq!(unknown.status.code(), Some(4), "{}", complaint(&unknown));
    assert!(complaint(&unknown).contains("unknown"));
    let unanswered = ask(&mute.url, &["counter", "get", "visits"]);
    assert_eq!(
        unanswered.status.code(),
        Some(3),
        "{}",
        complaint(&unanswered)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_a_command_without_a_word() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = alone(directory.path()).await;
    let node = url(&node);
    let large = vec![b'x'; 4_000_000];
    answer(&fed(&node, &["kv", "put", "large"], &large));
    let mut command = asking(&[&node], &["kv", "get", "large"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be run");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(complaint(&output), "");
    assert!(output.status.success(), "{}", output.status);
}

#[test]
fn shells_complete_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = answer(&run(grapevine().args(["completions", shell])));
        for word in ["contacts", "counter", "members", "node"] {
            assert!(script.contains(word), "no {word} for {shell}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_changes_are_told_as_they_come() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = alone(directory.path()).await;
    let node = url(&node);
    let post = |body: &str| said(&node, &["topic", "post", "news", body, "--author", "ada"]);
    post("one");
    let read = told(&node, &["topic", "read", "news"]);
    assert_eq!((read.len(), &read[0]["body"]), (1, &json!("one")));
    post("other");
    let newest = told(
        &node,
        &["topic", "read", "news", "--newest", "--limit", "1"],
    );
    assert_eq!((newest.len(), &newest[0]["body"]), (1, &json!("other")));
    let mut follow = asking(&[&node], &["topic", "follow", "news", "--json"]);
    follow.args(["--since", "2020-01-01T00:00:00Z"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().expect("it runs");
    let lines = support::process::lines_of(follow.stdout.take().expect("it is piped"));
    let next = || {
        let line = lines.recv_timeout(support::wait::DEADLINE);
        let line = line.expect("it comes at once");
        serde_json::from_str::<Value>(&line).expect("a line is JSON")["body"].clone()
    };
    assert_eq!(next(), "one");
    assert_eq!(next(), "other");
    post("two");
    assert_eq!(next(), "two");
    follow.kill().expect("it runs");
    follow.wait().expect("it was killed");

    let watch = ["watch", "--collection", "kv", "--prefix", "seen/", "--json"];
    let mut watch = asking(&[&node], &watch);
    let mut watch = watch.stdout(Stdio::piped()).spawn().expect("it runs");
    let lines = support::process::lines_of(watch.stdout.take().expect("it is piped"));
    // It tells from when it listens; nobody knows when that is.
    let change = support::wait::until("change", async || {
        said(&node, &["kv", "put", "seen/it", "--value", "x"]);
        lines.try_recv().map_err(|error| error.to_string())
    })
    .await;
    let change: Value = serde_json::from_str(&change).expect("a line is JSON");
    assert_eq!(change["key"], "seen/it");
    assert_eq!(change["value"]["text"], "x");
    watch.kill().expect("it runs");
    watch.wait().expect("it was killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_that_asks_a_node_shows_its_token() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = node(directory.path(), "alone", &[]).await;
    let url = url(&node);
    let first = said(&url, &["token", "bootstrap"]);
    let first = first.trim();
    let asked = |token: &str, arguments: &[&str]| {
        let mut command = asking(&[&url], arguments);
        run(command.env("GRAPEVINE_TOKEN", token))
    };
    let file = directory.path().join("till.token");
    let path = file.display().to_string();
    let new = [
        "token", "new", "--role", "write", "--days", "1", "--json", "--out", &path,
    ];
    let made: Value = serde_json::from_str(&answer(&asked(first, &new))).expect("it is JSON");
    let id = made["id"].as_str().expect("it has one");
    assert!(made.get("token").is_none(), "{made}");
    let again = asked(first, &new);
    assert!(
        complaint(&again).contains("cannot make"),
        "{}",
        complaint(&again)
    );
    let listed = answer(&asked(first, &["token", "list"]));
    assert!(listed.contains(id) && listed.contains("first"), "{listed}");
    let bundle = directory.path().join("bundle").display().to_string();
    let stress = ["stress", "--connections", "2", "--duration", "200ms"];
    for arguments in [
        &["kv", "put", "a", "--value", "x"][..],
        &["counter", "incr", "visits"],
        &["contacts", "add", "Ada"],
        &["topic", "post", "news", "hello", "--author", "ada"],
        &["cluster", "wait"],
        &["bundle", "token"],
        &["bundle", "export", "-o", &bundle],
        &stress,
    ] {
        let refused = ask(&url, arguments);
        // What cannot be asked is not done, and says so.
        assert!(!refused.status.success(), "{arguments:?}");
        let arguments = [arguments, &["--token-file", &path]].concat();
        let done = ask(&url, &arguments);
        assert!(done.status.success(), "{arguments:?}: {}", complaint(&done));
    }
    let import = asked(
        &std::fs::read_to_string(&file).expect("it is there"),
        &["bundle", "import", &bundle],
    );
    assert!(
        complaint(&import).contains("role admin"),
        "{}",
        complaint(&import)
    );
    answer(&asked(first, &["bundle", "import", &bundle]));
    answer(&asked(first, &["token", "revoke", id]));
    let revoked = ask(&url, &["kv", "get", "a", "--token-file", &path]);
    assert_eq!(revoked.status.code(), Some(1), "{}", complaint(&revoked));
    // A token is never the value of a flag.
    let flag = ask(&url, &["kv", "get", "a", "--token", first]);
    assert_eq!(flag.status.code(), Some(2));
}
