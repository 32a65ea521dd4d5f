//! Web pages ask from a browser: those whose origin is let in, and no others.

use crate::support::{TestServer, expect, send};

const LET_IN: &str = "https://a.example";
const OTHER: &str = "https://b.example";

#[tokio::test]
async fn a_page_that_is_let_in_counts_a_visit_with_one_request() {
    let server = TestServer::start().await;
    let count = async |origin: &str| {
        let request = server.request("POST", "/v1/counters/visits/increment");
        send(request.header("Origin", origin)).await
    };
    let counted = count(LET_IN).await;
    assert_eq!(counted.headers()["access-control-allow-origin"], LET_IN);
    assert_eq!(counted.headers()["vary"], "Origin");
    let exposed = counted.headers()["access-control-expose-headers"]
        .to_str()
        .expect("ASCII");
    assert!(exposed.contains("Grapevine-Token"), "{exposed}");
    assert_eq!(expect(counted, 200).await["value"], 1);
    let other = count(OTHER).await;
    assert!(!other.headers().contains_key("access-control-allow-origin"));
    let problem = server
        .request("GET", "/v1/kv/none")
        .header("Origin", LET_IN);
    let problem = send(problem).await;
    assert_eq!(problem.headers()["access-control-allow-origin"], LET_IN);
    assert_eq!(problem.status().as_u16(), 404);
}

#[tokio::test]
async fn a_browser_asks_before_it_asks() {
    let server = TestServer::start().await;
    let ask = async |origin: &str| {
        let request = server.request("OPTIONS", "/v1/kv/a");
        let request = request.header("Origin", origin);
        send(request.header("Access-Control-Request-Method", "PUT")).await
    };
    let allowed = ask(LET_IN).await;
    assert_eq!(allowed.status().as_u16(), 204);
    assert_eq!(allowed.headers()["access-control-allow-origin"], LET_IN);
    let methods = allowed.headers()["access-control-allow-methods"]
        .to_str()
        .expect("ASCII");
    assert!(methods.contains("PUT"), "{methods}");
    let headers = allowed.headers()["access-control-allow-headers"]
        .to_str()
        .expect("ASCII");
    assert!(headers.contains("Idempotency-Key"), "{headers}");
    let refused = ask(OTHER).await;
    assert!(
        !refused
            .headers()
            .contains_key("access-control-allow-origin")
    );
}
