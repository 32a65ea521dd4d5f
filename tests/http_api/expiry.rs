//! Key-values that expire.

use std::time::Duration;

use serde_json::json;

use crate::support::{NO_CONTENT, TestServer, etag, expect, expect_problem, send};

async fn put(server: &TestServer, path: &str) -> reqwest::Response {
    let put = send(server.request("PUT", path).body("value")).await;
    assert_eq!(put.status(), NO_CONTENT);
    put
}

#[tokio::test]
async fn a_value_outlives_its_time() {
    let server = TestServer::start().await;
    put(&server, "/v1/kv/stays").await;
    let expires = put(&server, "/v1/kv/goes?ttl=60").await;
    let expires = expires.headers()["grapevine-expires"]
        .to_str()
        .expect("ASCII")
        .to_owned();
    let got = server.get("/v1/kv/goes").await;
    assert_eq!(got.headers()["grapevine-expires"], expires.as_str());
    let tag = etag(&got);
    let listed = expect(server.get("/v1/kv").await, 200).await;
    assert_eq!(listed["items"][0]["key"], "goes");
    assert_eq!(listed["items"][0]["expires_at"], expires.as_str());
    assert_eq!(listed["items"][1].get("expires_at"), None);
    server.clock.go_on(Duration::from_secs(61));
    expect_problem(server.get("/v1/kv/goes").await, 404, None).await;
    let head = send(server.request("HEAD", "/v1/kv/goes")).await;
    assert_eq!(head.status().as_u16(), 404);
    let listed = expect(server.get("/v1/kv").await, 200).await;
    assert_eq!(listed["items"].as_array().expect("items").len(), 1);
    assert_eq!(listed["items"][0]["key"], "stays");
    let changes = expect(server.get("/v1/changes").await, 200).await;
    let gone = json!({"collection": "kv", "key": "goes", "deleted": true});
    let items = changes["items"].as_array().expect("items");
    assert!(items.contains(&gone), "{items:?}");
    // It has no tag any more, and whoever wants to be the first to put it may.
    let guarded = server.request("PUT", "/v1/kv/goes").header("If-Match", tag);
    expect_problem(send(guarded.body("new")).await, 412, Some("If-Match")).await;
    let first = server
        .request("PUT", "/v1/kv/goes")
        .header("If-None-Match", "*");
    assert_eq!(send(first.body("new")).await.status(), NO_CONTENT);
    let got = server.get("/v1/kv/goes").await;
    assert!(!got.headers().contains_key("grapevine-expires"));
    assert_eq!(got.text().await.expect("text"), "new");
}

#[tokio::test]
async fn a_renewal_is_forgotten() {
    let server = TestServer::start().await;
    put(&server, "/v1/kv/lease?ttl=60").await;
    server.clock.go_on(Duration::from_secs(40));
    put(&server, "/v1/kv/lease?ttl=60").await;
    server.clock.go_on(Duration::from_secs(40));
    assert_eq!(server.get("/v1/kv/lease").await.status().as_u16(), 200);
    put(&server, "/v1/kv/lease").await;
    server.clock.go_on(Duration::from_secs(4_000));
    assert_eq!(server.get("/v1/kv/lease").await.status().as_u16(), 200);
}

#[tokio::test]
async fn times_that_cannot_be_are_refused_by_name() {
    let server = TestServer::start().await;
    for ttl in [
        "0",
        "-1",
        "1.5",
        "x",
        "",
        "3153600001",
        "99999999999999999999",
    ] {
        let refused = send(server.request("PUT", &format!("/v1/kv/a?ttl={ttl}"))).await;
        expect_problem(refused, 422, Some("ttl")).await;
    }
    let unknown = send(server.request("PUT", "/v1/kv/a?tll=1")).await;
    expect_problem(unknown, 400, Some("tll")).await;
    expect_problem(server.get("/v1/kv/a").await, 404, None).await;
}
