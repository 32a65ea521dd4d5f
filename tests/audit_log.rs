//! The dangers: a secret stands in a log, in an answer or in what a process says as it ends; and nobody can tell
//! afterwards who changed what.

mod support;

use std::{fs, path::Path};

use reqwest::{Client, Response};
use serde_json::{Value, json};
use support::{
    process::{NodeProcess, Start},
    program::{complaint, grapevine, run},
};

const VALUE: &str = "hush-hush-value";

struct Logged {
    node: NodeProcess,
    http: Client,
}

impl Logged {
    fn start(directory: &Path, more: &[&str]) -> Self {
        let mut start = Start::new("one", directory, &[]);
        start.more = [&["--log-format", "json"], more]
            .concat()
            .iter()
            .map(Into::into)
            .collect();
        let http = Client::builder().no_proxy().build();
        Self {
            node: NodeProcess::start(start),
            http: http.expect("a client needs nothing from outside"),
        }
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: Value) -> Response {
        let method = method.parse().expect("a method");
        let url = format!("{}{path}", self.node.url());
        let request = self
            .http
            .request(method, url)
            .header("x-request-id", "trace-7");
        let request = if token.is_empty() {
            request
        } else {
            request.bearer_auth(token)
        };
        let request = if body.is_null() {
            request
        } else {
            request.json(&body)
        };
        request.send().await.expect("it answers")
    }

    async fn told(&self, token: &str, method: &str, path: &str, body: Value) -> Value {
        let answer = self.ask(token, method, path, body).await;
        answer.json().await.unwrap_or_default()
    }

    /// The node ends in good order, and this is what it logged.
    fn log(self, directory: &Path) -> String {
        self.node.terminate();
        fs::read_to_string(directory.join("one.log")).expect("it logged")
    }
}

/// The events of the audit log.
fn audited(log: &str) -> Vec<Value> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["target"] == "audit")
        .collect()
}

fn secret_of(token: &str) -> &str {
    token.rsplit('.').next().expect("it has parts")
}

#[tokio::test]
async fn no_secret_is_logged_or_answered_however_much_is_logged() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let logged = Logged::start(
        directory.path(),
        &["--log-level", "trace", "--audit-log", "writes"],
    );
    let admin = logged
        .told("", "POST", "/v1/tokens/first", Value::Null)
        .await;
    let admin = admin["token"].as_str().expect("it is told").to_owned();
    let made = logged
        .told(
            &admin,
            "POST",
            "/v1/tokens",
            json!({"role": "write", "name": "till"}),
        )
        .await;
    let till = made["token"].as_str().expect("it is told").to_owned();
    let id = made["id"].as_str().expect("it has one");
    let mut answers = String::new();
    let wrong = format!("{till}x");
    for (token, method, path, body) in [
        (&till, "PUT", "/v1/kv/a", json!({"v": VALUE})),
        (
            &till,
            "POST",
            "/v1/batch",
            json!({"writes": [
            {"collection": "kv", "op": "put", "key": "b", "text": VALUE}]}),
        ),
        (&till, "DELETE", "/v1/tokens/0123456789abcdef", Value::Null),
        (&till, "GET", "/v1/nowhere", Value::Null),
        (&wrong, "GET", "/v1/kv", Value::Null),
        (&admin, "GET", "/v1/cluster", Value::Null),
        (&admin, "GET", "/v1/tokens", Value::Null),
        (&admin, "POST", "/v1/tokens", json!({"role": "root"})),
    ] {
        let answer = logged.ask(token, method, path, body).await;
        let headers = format!("{:?}", answer.headers());
        let body = answer.text().await.expect("it is text");
        answers.extend([headers, body]);
    }
    let query = format!("/v1/kv?token={till}");
    let _refused = logged.ask("", "GET", &query, Value::Null).await;
    let mut command = grapevine();
    command.args(["kv", "get", "none", "--node", &logged.node.url()]);
    let said = run(command.env("GRAPEVINE_TOKEN", &wrong));
    assert_eq!(said.status.code(), Some(1));
    answers.push_str(&complaint(&said));
    let path = format!("/v1/tokens/{id}");
    assert_eq!(
        logged
            .ask(&admin, "DELETE", &path, Value::Null)
            .await
            .status()
            .as_u16(),
        204
    );
    let log = logged.log(directory.path());
    for secret in [secret_of(&admin), secret_of(&till)] {
        assert!(!log.contains(secret), "{log}");
        assert!(!answers.contains(secret), "{answers}");
    }
    assert!(log.contains("\"level\":\"DEBUG\""), "all of it was logged");
    let audited = audited(&log);
    assert!(!audited.is_empty());
    assert!(
        !audited
            .iter()
            .any(|event| event.to_string().contains(VALUE))
    );
}

#[tokio::test]
async fn who_changed_what_from_where_is_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let logged = Logged::start(directory.path(), &["--audit-log", "writes"]);
    logged.ask("", "PUT", "/v1/kv/open", json!("x")).await;
    let admin = logged
        .told("", "POST", "/v1/tokens/first", Value::Null)
        .await;
    let admin = admin["token"].as_str().expect("it is told").to_owned();
    let made = logged
        .told(&admin, "POST", "/v1/tokens", json!({"role": "write"}))
        .await;
    let (till, id) = (made["token"].as_str().expect("it is told"), &made["id"]);
    logged.ask(till, "PUT", "/v1/kv/a/b", json!("x")).await;
    logged.ask(till, "GET", "/v1/kv/a/b", Value::Null).await;
    let batch = json!({"writes": [{"collection": "kv", "op": "put", "key": "c", "text": "x"}]});
    logged.ask(till, "POST", "/v1/batch", batch).await;
    logged
        .ask(till, "DELETE", "/v1/cluster/members/x", Value::Null)
        .await;
    logged.ask("nonsense", "PUT", "/v1/kv/a", json!("x")).await;
    logged.ask("", "PUT", "/v1/kv/a", json!("x")).await;
    let log = logged.log(directory.path());
    let audited = audited(&log);
    let short: Vec<String> = audited
        .iter()
        .map(|event| {
            let text = |name: &str| event[name].as_str().unwrap_or("-").to_owned();
            let status = event["status"].to_string();
            [
                text("role"),
                text("method"),
                text("route"),
                text("key"),
                status,
            ]
            .join(" ")
        })
        .collect();
    assert_eq!(
        short,
        [
            "open PUT /v1/kv/{*key} open 204",
            "open POST /v1/tokens/first  201",
            "admin POST /v1/tokens  201",
            "write PUT /v1/kv/{*key} a/b 204",
            "- - - c null",
            "write POST /v1/batch  200",
            "write DELETE /v1/cluster/members/{id} x 403",
            "none PUT /v1/kv/{*key} a 401",
        ],
        "{audited:#?}"
    );
    assert_eq!(audited[3]["token"], *id);
    assert_eq!(
        audited[2]["made"],
        format!("/v1/tokens/{}", id.as_str().unwrap_or_default())
    );
    for event in &audited {
        assert_eq!(event["request_id"], "trace-7", "{event}");
    }
    let client = audited[3]["client"].as_str().expect("an address");
    assert!(client.starts_with("127.0.0.1:"), "{client}");
}

#[tokio::test]
async fn whoever_asks_through_a_proxy_is_told_as_the_proxy_or_as_whom_it_likes() {
    for (trusted, client) in [("10.0.0.0/8", "127.0.0.1:"), ("127.0.0.1", "192.0.2.1")] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let more = ["--audit-log", "writes", "--trusted-proxy", trusted];
        let logged = Logged::start(directory.path(), &more);
        let put = logged.http.put(format!("{}/v1/kv/a", logged.node.url()));
        let put = put.header("x-forwarded-for", "203.0.113.9, 192.0.2.1");
        put.body("x").send().await.expect("it answers");
        let audited = audited(&logged.log(directory.path()));
        let told = audited[0]["client"].as_str().expect("an address");
        assert!(told.starts_with(client), "{audited:?}");
        let proxy = audited[0]["proxy"].as_str();
        assert_eq!(proxy.is_some(), client == "192.0.2.1", "{audited:?}");
    }
}

#[tokio::test]
async fn the_audit_log_tells_what_it_is_asked_for() {
    for (what, expected) in [("off", 0), ("admin", 2)] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let logged = Logged::start(directory.path(), &["--audit-log", what]);
        logged.ask("", "PUT", "/v1/kv/a", json!("x")).await;
        let admin = logged
            .told("", "POST", "/v1/tokens/first", Value::Null)
            .await;
        let admin = admin["token"].as_str().expect("it is told").to_owned();
        logged.ask(&admin, "PUT", "/v1/kv/a", json!("x")).await;
        logged.ask("nonsense", "GET", "/v1/kv/a", Value::Null).await;
        let log = logged.log(directory.path());
        assert_eq!(audited(&log).len(), expected, "{what}: {log}");
    }
}

#[test]
fn a_misspelled_variable_does_not_tell_its_secret() {
    let mut command = grapevine();
    command.args(["serve", "--name", "a", "--data", "d"]);
    let ended = run(command.env("GRAPEVINE_TOKENS", "hush"));
    assert_eq!(ended.status.code(), Some(2));
    let complaint = complaint(&ended);
    assert!(
        complaint.contains("GRAPEVINE_TOKENS") && !complaint.contains("hush"),
        "{complaint}"
    );
    // What is meant for commands that ask nodes is no reason for a node not to start.
    let mut command = grapevine();
    command.args(["serve", "--name", "a/b", "--data", "d"]);
    for name in ["GRAPEVINE_TOKEN", "GRAPEVINE_TOKEN_FILE", "GRAPEVINE_CA"] {
        command.env(name, "hush");
    }
    let ended = run(&mut command);
    let complaint = support::program::complaint(&ended);
    assert!(
        complaint.contains("a/b") && !complaint.contains("hush"),
        "{complaint}"
    );
}
