//! The danger: a later version of this program cannot read the directories of an earlier one, or reads something else.
//!
//! `tests/data/stores` has a directory of each format that was ever released, made by the program of that time. Where a
//! format changes, the old directory stays as it is and a new one joins it:
//!
//! ```sh
//! cargo test --test golden_store -- --ignored make    # writes target/golden-store
//! ```

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use grapevine::{config::NodeConfig, node::Node, store};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

const ADA: &str = "0198c000-0000-7000-8000-000000000001";
const GONE: &str = "0198c000-0000-7000-8000-000000000002";

/// A node that keeps messages for a hundred years.
async fn start(data: &Path) -> Node {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = NodeConfig::new("golden", data.to_owned(), free, free);
    "golden".clone_into(&mut config.cluster);
    config.topic_max_age_s = 3_153_600_000;
    Node::start(config).await.expect("the node starts")
}

struct Asked {
    http: Client,
    url: String,
}

impl Asked {
    fn new(node: &Node) -> Self {
        Self {
            http: Client::builder().no_proxy().build().expect("a client"),
            url: format!("http://{}", node.http_addr()),
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let request = self.http.request(method, format!("{}{path}", self.url));
        let request = if body.is_null() {
            request
        } else {
            request.json(&body)
        };
        let response = request.send().await.expect("it answers");
        let status = response.status();
        let bytes = response.bytes().await.expect("it answers");
        let value = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        (status, value)
    }

    async fn write(&self, method: Method, path: &str, body: Value) {
        let (status, answer) = self.ask(method, path, body).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask(Method::GET, path, Value::Null).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }
}

/// A closed directory with some of everything.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it makes the files that the other test reads"]
async fn make() {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/golden-store");
    let _none_before = fs::remove_dir_all(&target);
    fs::create_dir_all(&target).expect("it can be made");
    for life in 0..3 {
        let node = start(&target.join("golden")).await;
        let asked = Asked::new(&node);
        if life == 0 {
            let ada = json!({
                "name": "Ada Byron", "birthday": "1815-12-10", "groups": ["engines"],
                "phones": [{"id": "p1", "label": "work", "number": "+44 20 7946 0000"}],
            });
            asked
                .write(Method::PUT, &format!("/v1/contacts/{ADA}"), ada)
                .await;
            let gone = json!({"name": "Nobody"});
            asked
                .write(Method::PUT, &format!("/v1/contacts/{GONE}"), gone)
                .await;
            asked
                .write(Method::DELETE, &format!("/v1/contacts/{GONE}"), Value::Null)
                .await;
            let first = json!({"author": "ann", "body": "first"});
            asked
                .write(Method::POST, "/v1/topics/news/messages", first)
                .await;
            let keep = json!({"retain_count": 10, "retain_seconds": null});
            asked.write(Method::PUT, "/v1/topics/news", keep).await;
        }
        let patch = json!({"note": format!("life {life}")});
        asked
            .write(Method::PATCH, &format!("/v1/contacts/{ADA}"), patch)
            .await;
        asked
            .write(
                Method::POST,
                "/v1/counters/visits/increment",
                json!({"by": 7}),
            )
            .await;
        asked
            .write(
                Method::POST,
                "/v1/counters/visits/decrement",
                json!({"by": 1}),
            )
            .await;
        asked
            .write(
                Method::PUT,
                "/v1/counters/visits/tallies/kiosk",
                json!({"value": 100 + life}),
            )
            .await;
        asked
            .write(Method::PUT, "/v1/kv/greeting", json!({"life": life}))
            .await;
        asked
            .write(
                Method::PUT,
                "/v1/kv/later?ttl=3153600000",
                json!("it expires"),
            )
            .await;
        node.shutdown().await;
    }
    let made = target.join("golden");
    store::compact(&made).expect("it is closed");
    println!("copy the files of {} to tests/data/stores", made.display());
}

fn copied(from: &Path) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("golden");
    fs::create_dir(&data).expect("it can be made");
    for name in ["data.redb", "journal.redb"] {
        fs::copy(from.join(name), data.join(name)).expect("it is committed");
    }
    (directory, data)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_an_earlier_version_opens_and_holds_what_it_held() {
    let stores = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/stores");
    let mut versions = 0;
    for entry in fs::read_dir(stores).expect("it is committed") {
        let path = entry.expect("an entry").path();
        if !path.is_dir() {
            continue;
        }
        versions += 1;
        let (_directory, data) = copied(&path);
        let mut findings = Vec::new();
        let mut find = |finding| findings.push(format!("{finding:?}"));
        store::verify(&data, &mut find, &mut |_| {}).expect("it can be opened");
        assert_eq!(findings, [""; 0], "{}", path.display());
        for opened in 0..2 {
            let node = start(&data).await;
            let asked = Asked::new(&node);
            let ada = asked.get(&format!("/v1/contacts/{ADA}")).await;
            for (field, value) in [
                ("name", json!("Ada Byron")),
                ("birthday", json!("1815-12-10")),
                ("note", json!("life 2")),
                ("groups", json!(["engines"])),
                (
                    "phones",
                    json!([{"id": "p1", "label": "work", "number": "+44 20 7946 0000", "e164": null}]),
                ),
            ] {
                assert_eq!(ada[field], value, "{ada}");
            }
            let found = asked.get("/v1/contacts?q=byr").await;
            assert_eq!(found["items"][0]["id"], ADA, "{found}");
            let (status, _) = asked
                .ask(Method::GET, &format!("/v1/contacts/{GONE}"), Value::Null)
                .await;
            assert_eq!(status, StatusCode::NOT_FOUND);
            let visits = asked.get("/v1/counters/visits").await;
            assert_eq!(visits["value"], 3 * 6 + 102 + opened, "{visits}");
            assert_eq!(asked.get("/v1/kv/greeting").await, json!({"life": 2}));
            assert_eq!(asked.get("/v1/kv/later").await, json!("it expires"));
            let news = asked.get("/v1/topics/news/messages").await;
            assert_eq!(news["items"][0]["body"], "first", "{news}");
            // And it goes on.
            asked
                .write(
                    Method::POST,
                    "/v1/counters/visits/increment",
                    json!({"by": 1}),
                )
                .await;
            node.shutdown().await;
        }
    }
    assert!(versions > 0);
}
