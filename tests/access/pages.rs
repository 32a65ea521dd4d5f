//! A web page in somebody's browser gets a node to do nothing.

use crate::world::{World, sent};

const EVIL: &str = "https://evil.example";

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing_on_a_node_that_lets_everybody_in() {
    let world =
        World::set(|config| config.cors_origins = vec!["https://good.example".to_owned()]).await;
    let count = async |origin: &str| {
        let request = world.ask(0, "", "POST", "/v1/counters/visits/increment");
        sent(request.header("origin", origin))
            .await
            .status()
            .as_u16()
    };
    assert_eq!(count(EVIL).await, 403);
    assert_eq!(count("null").await, 403);
    assert_eq!(count("https://good.example").await, 200);
    let own = format!("http://127.0.0.1:{}", world.nodes[0].http_addr().port());
    assert_eq!(count(&own).await, 200);
    // A WebSocket is a GET that any page may make.
    let socket = world.ask(0, "", "GET", "/v1/watch").header("origin", EVIL);
    let socket = socket
        .header("connection", "upgrade")
        .header("upgrade", "websocket");
    assert_eq!(sent(socket).await.status().as_u16(), 403);
    let read = world
        .ask(0, "", "GET", "/v1/counters/visits")
        .header("origin", EVIL);
    let read = sent(read).await;
    assert!(!read.headers().contains_key("access-control-allow-origin"));
    assert_eq!(
        read.headers()["cross-origin-resource-policy"],
        "same-origin"
    );
    let first = world
        .ask(0, "", "POST", "/v1/tokens/first")
        .header("origin", EVIL);
    assert_eq!(sent(first).await.status().as_u16(), 403);
}

#[tokio::test]
async fn a_stored_page_is_not_run_by_a_browser_that_opens_it() {
    let world = World::of(1).await;
    let page = "<script>fetch('/v1/tokens/first', {method: 'POST'})</script>";
    let put = world
        .ask(0, "", "PUT", "/v1/kv/page.html")
        .header("content-type", "text/html");
    assert_eq!(sent(put.body(page)).await.status().as_u16(), 204);
    let read = sent(world.ask(0, "", "GET", "/v1/kv/page.html")).await;
    let policy = read.headers()["content-security-policy"]
        .to_str()
        .expect("ASCII");
    assert!(
        policy.contains("sandbox") && policy.contains("default-src 'none'"),
        "{policy}"
    );
    assert!(!policy.contains("allow-"), "{policy}");
    assert_eq!(read.headers()["x-content-type-options"], "nosniff");
    assert_eq!(read.headers()["content-type"], "text/html");
    assert_eq!(read.headers()["cache-control"], "private, no-cache");
    assert!(!read.headers().contains_key("strict-transport-security"));
    for path in ["/v1/kv", "/v1/nowhere", "/ping", "/v1/cluster"] {
        let answer = sent(world.ask(0, "", "GET", path)).await;
        for name in [
            "x-content-type-options",
            "content-security-policy",
            "cache-control",
        ] {
            assert!(answer.headers().contains_key(name), "{path}: {name}");
        }
    }
}

#[tokio::test]
async fn the_id_of_a_request_is_in_its_problem() {
    let world = World::of(1).await;
    let missing = async |id: Option<&str>| {
        let mut request = world.ask(0, "", "GET", "/v1/kv/none");
        if let Some(id) = id {
            request = request.header("x-request-id", id);
        }
        let answer = sent(request).await;
        let header = answer.headers()["x-request-id"]
            .to_str()
            .expect("ASCII")
            .to_owned();
        let problem: serde_json::Value = answer.json().await.expect("a problem");
        assert_eq!(problem["request_id"], header);
        header
    };
    assert_eq!(missing(Some("trace-7")).await, "trace-7");
    let (one, other) = (missing(None).await, missing(Some("a b")).await);
    assert_ne!(one, other);
    assert_eq!((one.len(), other.len()), (16, 16));
    let found = world
        .ask(0, "", "GET", "/v1/kv")
        .header("x-request-id", "trace-8");
    assert_eq!(sent(found).await.headers()["x-request-id"], "trace-8");
}
