//! The dangers: a write cannot be followed from the request that made it to the nodes that took it in; spans tell what was
//! written; a collector that is away holds a node up. `.ci/otlp` runs them.

#![cfg(feature = "otlp")]

mod support;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::KeyValue,
    common::v1::any_value::Value as AnyValue, trace::v1::Span,
};
use prost::Message as _;
use reqwest::{Client, Response};
use serde_json::json;
use support::{
    client::NodeClient,
    cluster::{all_agree, all_see_all},
    process::{NodeProcess, Start},
    program::{complaint, grapevine_behind, run},
    wait::until,
};
use tokio::net::TcpListener;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const KEY: &str = "hush-hush-key";
const VALUE: &str = "hush-hush-value";

/// A span, and the node that told it.
type Told = (String, Span);

/// A collector, which keeps what it is told.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Told>>>);

impl Collector {
    /// One, and its address.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let router = Router::new().route("/v1/traces", post(take));
        let router = router.with_state(collector.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it has one");
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, format!("http://{address}"))
    }

    fn told(&self) -> Vec<Told> {
        self.0.lock().expect("no holder panics").clone()
    }

    /// The first span of `node` that `wanted` picks, once it is there.
    async fn span(&self, node: &str, what: &str, wanted: impl Fn(&Span) -> bool) -> Span {
        until(what, async || {
            let told = self.told();
            let mut of_node = told.iter().filter(|(teller, _)| teller == node);
            let found = of_node.find(|(_, span)| wanted(span));
            found.map(|(_, span)| span.clone()).ok_or_else(|| {
                told.iter()
                    .map(|(node, span)| format!("{node}: {}", span.name))
                    .collect::<Vec<_>>()
            })
        })
        .await
    }

    /// The span of a request by `method` below the trace of the test, from its commits to where they were taken in on
    /// `other`.
    async fn follow(&self, node: &str, name: &str, other: &str) {
        let request = self
            .span(node, "a span of the request", |span| {
                span.name == name && hex(&span.trace_id) == TRACE
            })
            .await;
        assert_eq!(hex(&request.parent_span_id), PARENT);
        assert!(!request.links.is_empty(), "{request:?}");
        for link in &request.links {
            let commit = self
                .span(node, "a span of the commit", |span| {
                    span.span_id == link.span_id
                })
                .await;
            assert_eq!(
                (commit.name.as_str(), &commit.trace_id),
                ("commit", &link.trace_id)
            );
            assert_eq!(commit.links.len(), 1);
            assert_eq!(commit.links[0].span_id, request.span_id);
            assert_eq!(commit.links[0].trace_id, request.trace_id);
            let apply = self
                .span(other, "a span of taking it in", |span| {
                    span.parent_span_id == link.span_id
                })
                .await;
            assert_eq!(
                (apply.name.as_str(), &apply.trace_id),
                ("apply", &link.trace_id)
            );
            let write = |of: &[KeyValue]| texts(of).remove("grapevine.write");
            assert_eq!(write(&apply.attributes), write(&link.attributes));
            assert!(write(&link.attributes).is_some(), "{link:?}");
        }
    }
}

async fn take(State(collector): State<Collector>, body: Bytes) -> &'static str {
    let told = ExportTraceServiceRequest::decode(body).expect("it is a message");
    let mut spans = collector.0.lock().expect("no holder panics");
    for of_node in told.resource_spans {
        let attributes = texts(&of_node.resource.unwrap_or_default().attributes);
        assert_eq!(attributes["service.name"], "grapevine");
        let node = &attributes["service.instance.id"];
        let told = of_node
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans);
        spans.extend(told.map(|span| (node.clone(), span)));
    }
    ""
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        AnyValue::StringValue(text) => Some((attribute.key.clone(), text.clone())),
        _ => None,
    };
    attributes.iter().filter_map(text).collect()
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

/// Starts a node that tells its spans to `collector`.
async fn start(name: &str, directory: &Path, seeds: &[String], collector: &str) -> NodeProcess {
    let mut start = Start::new(name, directory, seeds);
    start.prelude = Some(format!(
        "export OTEL_EXPORTER_OTLP_ENDPOINT={collector} OTEL_BSP_SCHEDULE_DELAY=100"
    ));
    tokio::task::spawn_blocking(|| NodeProcess::start(start))
        .await
        .expect("it starts")
}

/// A request as a client makes it that is traced itself.
async fn traced(request: reqwest::RequestBuilder) -> Response {
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let request = request.header("traceparent", parent);
    let answer = request
        .header("tracestate", "vendor=hush-hush-state")
        .send()
        .await;
    answer.expect("it answers")
}

fn http() -> Client {
    let client = Client::builder().no_proxy().build();
    client.expect("a client needs nothing from outside")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_lost_from_sight_on_its_way_to_another_node() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (collector, address) = Collector::start().await;
    let ann = start("ann", directory.path(), &[], &address).await;
    let bob = start("bob", directory.path(), &[ann.seed()], &address).await;
    let nodes = [NodeClient::new(ann.url()), NodeClient::new(bob.url())];
    all_see_all(&nodes).await;
    let put = http().put(format!("{}/v1/kv/{KEY}", ann.url())).body(VALUE);
    assert_eq!(traced(put).await.status().as_u16(), 204);
    collector.follow("ann", "PUT /v1/kv/{*key}", "bob").await;
    // And several at once.
    let writes = json!({"writes": [
        {"collection": "kv", "op": "put", "key": "a", "text": VALUE},
        {"collection": "kv", "op": "put", "key": "b", "text": VALUE},
    ]});
    let batch = http().post(format!("{}/v1/batch", bob.url())).json(&writes);
    assert_eq!(traced(batch).await.status().as_u16(), 200);
    collector.follow("bob", "POST /v1/batch", "ann").await;
    let told = collector.told();
    let batch = told.iter().find(|(_, span)| span.name == "POST /v1/batch");
    assert_eq!(batch.expect("it was followed").1.links.len(), 2);
    let told = format!("{told:?}");
    assert!(!told.contains("/readyz"), "{told}");
    assert!(!told.contains("hush-hush"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_a_node_fetches_later_is_lost_from_sight() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (collector, address) = Collector::start().await;
    let ann = start("ann", directory.path(), &[], &address).await;
    let put = http().put(format!("{}/v1/kv/{KEY}", ann.url())).body(VALUE);
    assert_eq!(traced(put).await.status().as_u16(), 204);
    let bob = start("bob", directory.path(), &[ann.seed()], &address).await;
    all_agree(&[NodeClient::new(ann.url()), NodeClient::new(bob.url())]).await;
    collector.follow("ann", "PUT /v1/kv/{*key}", "bob").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_holds_a_node_up() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", nobody.local_addr().expect("it has one"));
    // It takes connections and says nothing, and more spans are made than may wait for it.
    let ann = start("ann", directory.path(), &[], &address).await;
    let node = NodeClient::new(ann.url());
    for number in 0..1_200 {
        node.put_kv(&format!("k{}", number % 7), "v")
            .await
            .expect("it is taken");
    }
    tokio::task::spawn_blocking(move || ann.terminate())
        .await
        .expect("it ends, and well");
    drop(nobody);
}

#[tokio::test]
async fn spans_that_should_be_sealed_are_told_in_clear() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let prelude = "export OTEL_EXPORTER_OTLP_ENDPOINT=https://127.0.0.1:1";
    let mut command = grapevine_behind(prelude);
    command.args([
        "serve",
        "--name",
        "ann",
        "--http",
        "127.0.0.1:0",
        "--peer",
        "127.0.0.1:0",
    ]);
    let ended = run(command.arg("--data").arg(directory.path().join("ann")));
    assert_eq!(ended.status.code(), Some(1));
    let complaint = complaint(&ended);
    assert!(complaint.contains("http://"), "{complaint}");
}
