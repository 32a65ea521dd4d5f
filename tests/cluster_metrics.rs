//! What a running cluster tells Prometheus, and whether dashboard, alerts and documentation speak of the same.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use reqwest::Method;
use serde_json::{Value, json};
use support::{
    client::{NodeClient, Refused},
    cluster::{all_agree, clients, joined},
    wait::until,
};

/// One scrape: the kind of each metric, and the value of each series.
#[derive(Debug, Default)]
struct Scrape {
    kinds: BTreeMap<String, String>,
    series: BTreeMap<String, f64>,
}

impl Scrape {
    fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a name and a kind");
                scrape.kinds.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').expect("a series and a value");
                let value = value.parse().expect("a number");
                assert!(scrape.series.insert(series.to_owned(), value).is_none());
            }
        }
        scrape
    }

    /// Every name that a query may ask for.
    fn names(&self) -> BTreeSet<String> {
        let names = self.kinds.iter().flat_map(|(name, kind)| {
            let parts: &[&str] = match kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            parts.iter().map(move |part| format!("{name}{part}"))
        });
        names.collect()
    }

    fn value(&self, series: &str) -> Option<f64> {
        self.series.get(series).copied()
    }
}

async fn scrape(node: &NodeClient) -> Result<Scrape, Refused> {
    let text = node.bytes(Method::GET, "/metrics", None).await?;
    Ok(Scrape::parse(&String::from_utf8_lossy(&text)))
}

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every name of a metric of ours or of the process in a text.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("grapevine_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str() {
                    Some(text) if name == "expr" || name == "query" => found.push(text.to_owned()),
                    _ => expressions(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_or_an_alert_that_asks_for_what_no_node_tells() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let nodes = joined(directory.path(), &["ann", "bob", "cyd"]).await;
    let nodes_of = clients(&nodes);
    let ann = &nodes_of[0];
    let contact = json!({"name": "Ada Byron"});
    ann.json(Method::POST, "/v1/contacts", Some(contact))
        .await
        .expect("it is written");
    ann.bytes(Method::GET, "/v1/kv/nothing-of-the-sort", None)
        .await
        .expect_err("there is none");
    all_agree(&nodes_of).await;
    let told = until("a count that has seen the contact", async || {
        let told = scrape(ann).await?;
        let contacts = r#"grapevine_entities{collection="contacts",state="visible"}"#;
        let agrees = |peer| told.value(&format!(r#"grapevine_peer_agrees{{peer="{peer}"}}"#));
        let as_wished = told.value(contacts) == Some(1.0)
            && agrees("bob") == Some(1.0)
            && agrees("cyd") == Some(1.0);
        if as_wished {
            Ok(told)
        } else {
            Err(Refused(format!("{told:?}")))
        }
    })
    .await;
    for (series, least) in [
        (
            r#"grapevine_http_requests_total{method="POST",route="/v1/contacts",status="2xx"}"#,
            1.0,
        ),
        (
            r#"grapevine_http_requests_total{method="GET",route="/v1/kv/{*key}",status="4xx"}"#,
            1.0,
        ),
        ("grapevine_store_commits_total", 1.0),
        ("grapevine_store_commit_duration_seconds_count", 1.0),
        ("grapevine_store_commit_steps_sum", 1.0),
        ("grapevine_store_writable", 1.0),
        (r#"grapevine_store_file_bytes{file="data.redb"}"#, 1.0),
        (r#"grapevine_peer_received_bytes_total{peer="bob"}"#, 1.0),
        (r#"grapevine_peer_sent_bytes_total{peer="cyd"}"#, 1.0),
        (r#"grapevine_peer_alive{peer="bob"}"#, 1.0),
        ("grapevine_members", 3.0),
        ("grapevine_sync_handshakes_total", 2.0),
        ("grapevine_sync_rounds_total", 1.0),
        ("grapevine_gossip_received_messages_total", 1.0),
        ("grapevine_caught_up", 1.0),
        (r#"grapevine_collection_cells_total{kind="values"}"#, 0.0),
        (r#"grapevine_build_info{version="0.1.0"}"#, 1.0),
    ] {
        let value = told.value(series);
        assert!(
            value.is_some_and(|value| value >= least),
            "{series}: {value:?} in {told:?}"
        );
    }
    let clock = told.value(r#"grapevine_peer_clock_offset_seconds{peer="bob"}"#);
    assert!(clock.is_some_and(|offset| offset.abs() < 30.0), "{clock:?}");
    assert_eq!(
        told.value(r#"grapevine_alarms_total{kind="damaged"}"#),
        Some(0.0)
    );

    let names = told.names();
    let mut asked = Vec::new();
    let dashboard: Value =
        serde_json::from_str(&file("deploy/grafana/grapevine.json")).expect("JSON");
    expressions(&dashboard, &mut asked);
    assert!(asked.len() > 20, "{asked:?}");
    let alerts = file("deploy/prometheus/grapevine.rules.yml");
    asked.push(alerts.clone());
    let asked: BTreeSet<String> = asked.iter().flat_map(|text| metrics_in(text)).collect();
    let wrong: Vec<_> = asked.difference(&names).collect();
    assert!(wrong.is_empty(), "nobody tells {wrong:?}");

    let documentation = file("docs/operations.md");
    let documented = metrics_in(&documentation);
    let undocumented: Vec<_> = told
        .kinds
        .keys()
        .filter(|name| !documented.contains(*name))
        .collect();
    assert!(
        undocumented.is_empty(),
        "docs/operations.md does not say what these are: {undocumented:?}"
    );
    let known = |name: &String| names.contains(name) || told.kinds.contains_key(name);
    let invented: Vec<_> = documented.iter().filter(|name| !known(name)).collect();
    assert!(
        invented.is_empty(),
        "docs/operations.md tells of {invented:?}, and no node does"
    );
    let alerts = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    for alert in alerts {
        assert!(
            documentation.contains(alert),
            "docs/operations.md does not say what to do for {alert}"
        );
    }
}
