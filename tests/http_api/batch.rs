//! Many writes in one request: durable together, each judged alone.

use serde_json::{Value, json};

use crate::support::{MAX_BODY_BYTES, TestServer, expect, expect_problem, send};

async fn batch(server: &TestServer, writes: &Value) -> Vec<Value> {
    let answer = server
        .json("POST", "/v1/batch", &json!({ "writes": writes }))
        .await;
    let answer = expect(answer, 200).await;
    answer["results"].as_array().expect("results").clone()
}

fn statuses(results: &[Value]) -> Vec<u64> {
    let statuses = results.iter().map(|result| result["status"].as_u64());
    statuses.map(|status| status.expect("a status")).collect()
}

#[tokio::test]
async fn writes_of_every_kind_share_one_commit_and_see_those_before_them() {
    let server = TestServer::start().await;
    let commits = server.store.stats().commits;
    let results = batch(
        &server,
        &json!([
            {"collection": "contacts", "op": "create", "contact": {"name": "Grace"}},
            {"collection": "contacts", "op": "put", "key": "ada", "contact": {"name": "Ada"}},
            {"collection": "contacts", "op": "patch", "key": "ada", "patch": {"title": "Countess"}},
            {"collection": "contacts", "op": "delete", "key": "nobody"},
            {"collection": "counters", "op": "increment", "key": "visits", "by": 3},
            {"collection": "counters", "op": "decrement", "key": "visits"},
            {"collection": "kv", "op": "put", "key": "a", "text": "hi", "content_type": "text/plain", "ttl": 60},
            {"collection": "kv", "op": "put", "key": "a", "base64": "aG8=", "if_none_match": "*"},
            {"collection": "kv", "op": "delete", "key": "a"},
            {"collection": "topics", "op": "post", "key": "news", "message": {"author": "ada", "body": "hi"}},
            {"collection": "counters", "op": "delete", "key": "untouched"},
            {"collection": "counters", "op": "reset", "key": "visits"},
        ]),
    )
    .await;
    assert_eq!(
        statuses(&results),
        [201, 201, 200, 404, 200, 200, 204, 412, 204, 201, 404, 200]
    );
    assert_eq!(server.store.stats().commits, commits + 1);
    assert_eq!(results[2]["value"]["title"], "Countess");
    assert_eq!(
        results[3]["problem"]["type"],
        "urn:problem-type:grapevine:not-found"
    );
    assert_eq!(results[5]["value"], json!({"name": "visits", "value": 2}));
    assert!(results[6]["etag"].is_string());
    assert_eq!(results[7]["problem"]["field"], "If-None-Match");
    let ada = expect(server.get("/v1/contacts/ada").await, 200).await;
    assert_eq!(ada, results[2]["value"]);
    expect_problem(server.get("/v1/kv/a").await, 404, None).await;
    let messages = expect(server.get("/v1/topics/news/messages").await, 200).await;
    assert_eq!(messages["items"][0], results[9]["value"]);
}

#[tokio::test]
async fn a_batch_that_is_retried_counts_twice() {
    let server = TestServer::start().await;
    let writes = json!({"writes": [
        {"collection": "contacts", "op": "create", "contact": {"name": "Grace"}},
        {"collection": "counters", "op": "increment", "key": "visits"},
        {"collection": "counters", "op": "increment", "key": "visits"},
        {"collection": "topics", "op": "post", "key": "news", "message": {"author": "a", "body": "b"}},
        {"collection": "topics", "op": "post", "key": "news", "message": {"author": "a", "body": "b"}},
    ]});
    let send_it = async || {
        let request = server
            .request("POST", "/v1/batch")
            .header("Idempotency-Key", "k");
        expect(send(request.json(&writes)).await, 200).await
    };
    let first = send_it().await;
    let again = send_it().await;
    assert_eq!(
        first["results"][0]["value"]["id"],
        again["results"][0]["value"]["id"]
    );
    assert_eq!(first["results"][3], again["results"][3]);
    let visits = expect(server.get("/v1/counters/visits").await, 200).await;
    assert_eq!(visits["value"], 2);
    let messages = expect(server.get("/v1/topics/news/messages").await, 200).await;
    assert_eq!(messages["items"].as_array().expect("items").len(), 2);
}

#[tokio::test]
async fn writes_that_cannot_be_read_name_what_is_wrong_and_stop_no_others() {
    let server = TestServer::start().await;
    let bad = [
        (json!(7), "writes"),
        (json!({"op": "put"}), "collection"),
        (json!({"collection": "kv"}), "op"),
        (json!({"collection": "roster", "op": "put"}), "op"),
        (json!({"collection": "kv", "op": "burn", "key": "a"}), "op"),
        (json!({"collection": "kv", "op": "put", "key": "a"}), "text"),
        (
            json!({"collection": "kv", "op": "put", "key": "", "text": "x"}),
            "key",
        ),
        (
            json!({"collection": "kv", "op": "put", "key": "a", "base64": "?"}),
            "base64",
        ),
        (
            json!({"collection": "kv", "op": "put", "key": "a", "text": "x", "ttl": 0}),
            "ttl",
        ),
        (
            json!({"collection": "kv", "op": "put", "key": "a", "text": "x", "x": 1}),
            "x",
        ),
        (
            json!({"collection": "kv", "op": "put", "key": "a", "text": "x", "if_match": "x"}),
            "if-match",
        ),
        (
            json!({"collection": "counters", "op": "increment", "key": "a", "by": 0}),
            "by",
        ),
        (
            json!({"collection": "contacts", "op": "create", "contact": {}}),
            "name",
        ),
        (
            json!({"collection": "contacts", "op": "put", "key": "a"}),
            "contact",
        ),
        (
            json!({"collection": "topics", "op": "post", "key": "a/b", "message": {"author": "a", "body": "b"}}),
            "topic",
        ),
        (
            json!({"collection": "topics", "op": "post", "key": "a", "message": {"author": "a"}}),
            "body",
        ),
    ];
    let mut writes: Vec<Value> = bad.iter().map(|(write, _)| write.clone()).collect();
    writes.push(json!({"collection": "kv", "op": "put", "key": "good", "text": "x"}));
    let results = batch(&server, &json!(writes)).await;
    for ((write, field), result) in bad.iter().zip(&results) {
        let status = result["status"].as_u64().expect("a status");
        assert!((400..500).contains(&status), "{write}: {result}");
        assert_eq!(result["problem"]["field"], *field, "{write}: {result}");
    }
    assert_eq!(results.last().expect("the last")["status"], 204);
    assert_eq!(server.get("/v1/kv/good").await.status().as_u16(), 200);
    for (writes, status, field) in [
        (json!({}), 422, "writes"),
        (json!({"writes": []}), 422, "writes"),
        (json!({"writes": vec![json!({}); 1_001]}), 422, "writes"),
        (json!({"writes": [], "x": 1}), 422, "x"),
        (json!({"writes": ["x".repeat(MAX_BODY_BYTES)]}), 413, "body"),
    ] {
        let refused = server.json("POST", "/v1/batch", &writes).await;
        expect_problem(refused, status, Some(field)).await;
    }
    let thousand: Vec<Value> = (0..1_000)
        .map(|number| json!({"collection": "kv", "op": "put", "key": number.to_string(), "text": "x"}))
        .collect();
    let results = batch(&server, &json!(thousand)).await;
    assert!(statuses(&results).iter().all(|status| *status == 204));
}

#[tokio::test]
async fn the_token_of_a_batch_names_all_that_it_wrote() {
    let server = TestServer::start().await;
    let writes: Vec<Value> = (0..50)
        .map(|number| json!({"collection": "kv", "op": "put", "key": number.to_string(), "text": "x"}))
        .collect();
    let answer = server
        .json("POST", "/v1/batch", &json!({ "writes": writes }))
        .await;
    let token = answer.headers()["grapevine-token"].clone();
    let other = TestServer::start().await;
    let read = other
        .request("GET", "/v1/kv/49")
        .header("Grapevine-Token", token);
    expect_problem(send(read).await, 503, Some("Grapevine-Token")).await;
}
