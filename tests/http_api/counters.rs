use serde_json::{Value, json};

use crate::support::{NO_CONTENT, TestServer, etag, expect, expect_problem, send};

async fn count(server: &TestServer, path: &str, body: &Value) -> Value {
    expect(server.json("POST", path, body).await, 200).await
}

#[tokio::test]
async fn counters_count_both_ways_from_nothing() {
    let server = TestServer::start().await;
    let at = "/v1/counters/visits";
    let untouched = expect(server.get(at).await, 200).await;
    assert_eq!(untouched, json!({"name": "visits", "value": 0}));
    let one = send(server.request("POST", "/v1/counters/visits/increment")).await;
    assert_eq!(expect(one, 200).await["value"], 1);
    let more = count(&server, "/v1/counters/visits/increment", &json!({"by": 41})).await;
    assert_eq!(more, json!({"name": "visits", "value": 42}));
    let less = count(&server, "/v1/counters/visits/decrement", &json!({"by": 50})).await;
    assert_eq!(less["value"], -8);
    assert_eq!(expect(server.get(at).await, 200).await["value"], -8);
    let reset = send(server.request("POST", "/v1/counters/visits/reset")).await;
    assert_eq!(expect(reset, 200).await["value"], 0);
    let on = count(&server, "/v1/counters/visits/increment", &json!({})).await;
    assert_eq!(on["value"], 1);
}

#[tokio::test]
async fn a_deleted_counter_is_hidden_until_somebody_counts_on() {
    let server = TestServer::start().await;
    let at = "/v1/counters/a%2Fb";
    expect_problem(server.delete(at).await, 404, None).await;
    count(&server, "/v1/counters/a%2Fb/increment", &json!({"by": 5})).await;
    let listed = expect(server.get("/v1/counters").await, 200).await;
    assert_eq!(listed["items"], json!([{"name": "a/b", "value": 5}]));
    assert_eq!(server.delete(at).await.status(), NO_CONTENT);
    let listed = expect(server.get("/v1/counters").await, 200).await;
    assert_eq!(listed["items"], json!([]));
    assert_eq!(expect(server.get(at).await, 200).await["value"], 0);
    let on = count(&server, "/v1/counters/a%2Fb/increment", &json!({"by": 2})).await;
    assert_eq!(on, json!({"name": "a/b", "value": 2}));
}

#[tokio::test]
async fn counts_that_cannot_be_are_refused() {
    let server = TestServer::start().await;
    let at = "/v1/counters/visits/increment";
    for by in [
        json!(0),
        json!(-1),
        json!(1.5),
        json!("3"),
        Value::Null,
        json!(18_446_744_073_709_551_616.0),
    ] {
        let response = server.json("POST", at, &json!({ "by": by })).await;
        expect_problem(response, 422, Some("by")).await;
    }
    let unknown = server.json("POST", at, &json!({"amount": 3})).await;
    expect_problem(unknown, 422, Some("amount")).await;
    expect_problem(
        server.json("POST", at, &json!([3])).await,
        422,
        Some("body"),
    )
    .await;
    let keyed = server.request("POST", at).header("idempotency-key", "k");
    expect_problem(send(keyed).await, 422, Some("Idempotency-Key")).await;
    assert_eq!(
        expect(server.get("/v1/counters/visits").await, 200).await["value"],
        0
    );
    let long = format!("/v1/counters/{}", "x".repeat(1_025));
    expect_problem(server.get(&long).await, 400, Some("name")).await;
}

#[tokio::test]
async fn an_overflow_is_refused_and_changes_nothing() {
    let server = TestServer::start().await;
    let at = "/v1/counters/big/increment";
    let most = json!({"by": u64::MAX});
    assert_eq!(count(&server, at, &most).await["value"], u64::MAX);
    expect_problem(
        server.json("POST", at, &json!({"by": 1})).await,
        409,
        Some("by"),
    )
    .await;
    assert_eq!(
        expect(server.get("/v1/counters/big").await, 200).await["value"],
        u64::MAX
    );
    // Two slots of 64 bits each: the value has more.
    let down = "/v1/counters/low/decrement";
    let least = server.json("POST", down, &most).await;
    let text = least.text().await.expect("text");
    assert_eq!(text, "{\"name\":\"low\",\"value\":-18446744073709551615}");
}

#[tokio::test]
async fn a_reset_can_be_guarded() {
    let server = TestServer::start().await;
    let read = server.get("/v1/counters/c").await;
    let stale = etag(&read);
    count(&server, "/v1/counters/c/increment", &json!({"by": 3})).await;
    let reset = server
        .request("POST", "/v1/counters/c/reset")
        .header("if-match", &stale);
    expect_problem(send(reset).await, 412, Some("If-Match")).await;
    let fresh = etag(&server.get("/v1/counters/c").await);
    let same = send(
        server
            .request("GET", "/v1/counters/c")
            .header("if-none-match", &fresh),
    )
    .await;
    assert_eq!(same.status().as_u16(), 304);
    let reset = server
        .request("POST", "/v1/counters/c/reset")
        .header("if-match", &fresh);
    assert_eq!(expect(send(reset).await, 200).await["value"], 0);
}
