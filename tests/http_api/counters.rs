use grapevine::model::{Collection, Counter, Direction, EntityId};
use grapevine_crdt::{
    CounterError, Dot, Entity, MAX_REQUESTS, ReplicaId, RequestKey, Seq, Timestamp,
};
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
    let reset = server.request("POST", "/v1/counters/visits/reset");
    let keyed = reset.header("idempotency-key", "k");
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

async fn keyed(server: &TestServer, path: &str, key: &str, body: &Value) -> reqwest::Response {
    let request = server.request("POST", path).header("idempotency-key", key);
    send(request.json(body)).await
}

#[tokio::test]
async fn a_keyed_count_that_is_sent_again_counts_once() {
    let server = TestServer::start().await;
    let (up, down) = ("/v1/counters/k/increment", "/v1/counters/k/decrement");
    let five = json!({"by": 5});
    for _ in 0..3 {
        let counter = expect(keyed(&server, up, "first", &five).await, 200).await;
        assert_eq!(counter, json!({"name": "k", "value": 5}));
    }
    for _ in 0..2 {
        let counter = expect(keyed(&server, down, "second", &json!({})).await, 200).await;
        assert_eq!(counter["value"], 4);
    }
    for (path, body) in [
        (up, json!({"by": 6})),
        (up, json!({})),
        (down, five.clone()),
    ] {
        let refused = keyed(&server, path, "first", &body).await;
        let problem = expect_problem(refused, 409, Some("Idempotency-Key")).await;
        assert_eq!(problem["detail"], "this key was used for another count");
    }
    // A key is one of its counter alone.
    let other = keyed(
        &server,
        "/v1/counters/l/increment",
        "first",
        &json!({"by": 6}),
    )
    .await;
    assert_eq!(expect(other, 200).await["value"], 6);
    // A retry counts nothing after a reset, and brings nothing back after a deletion.
    count(&server, "/v1/counters/k/reset", &json!({})).await;
    let retry = keyed(&server, up, "first", &five).await;
    assert_eq!(expect(retry, 200).await["value"], 0);
    assert_eq!(server.delete("/v1/counters/k").await.status(), NO_CONTENT);
    let retry = keyed(&server, up, "first", &five).await;
    assert_eq!(expect(retry, 200).await["value"], 0);
    expect_problem(server.delete("/v1/counters/k").await, 404, None).await;
}

#[tokio::test]
async fn a_counter_full_of_keys_refuses_more_and_still_counts() {
    let server = TestServer::start().await;
    let up = "/v1/counters/full/increment";
    let counter = keyed(&server, up, "key 0", &json!({})).await;
    assert_eq!(expect(counter, 200).await["value"], 1);
    let id = EntityId::new(Collection::Counters, "full").expect("a good key");
    let fill = server.store.write(id, |edit| {
        let mut cells = Vec::new();
        for number in (1_u64..).take(MAX_REQUESTS - 1) {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&number.to_be_bytes());
            let key = RequestKey::from_bytes(key);
            cells.extend(Counter::count_once(
                edit.entity,
                Direction::Increment,
                1,
                key,
                edit.dot,
            )?);
        }
        Ok::<_, CounterError>((cells, ()))
    });
    fill.await.expect("there is room");
    let refused = keyed(&server, up, "one more", &json!({})).await;
    expect_problem(refused, 409, Some("Idempotency-Key")).await;
    let known = keyed(&server, up, "key 0", &json!({})).await;
    assert_eq!(expect(known, 200).await["value"], MAX_REQUESTS);
    let plain = count(&server, up, &json!({})).await;
    assert_eq!(plain["value"], MAX_REQUESTS + 1);
}

async fn tell(server: &TestServer, writer: &str, value: u64) -> Value {
    let at = format!("/v1/counters/t/tallies/{writer}");
    expect(
        server.json("PUT", &at, &json!({ "value": value })).await,
        200,
    )
    .await
}

#[tokio::test]
async fn tallies_only_rise_and_a_reset_keeps_what_they_told() {
    let server = TestServer::start().await;
    let first = tell(&server, "kiosk", 7).await;
    assert_eq!(first, json!({"writer": "kiosk", "value": 7, "counted": 7}));
    // Again, and late: nothing new.
    assert_eq!(tell(&server, "kiosk", 7).await, first);
    assert_eq!(tell(&server, "kiosk", 3).await, first);
    tell(&server, "a%2Fb", 0).await;
    tell(&server, "phone", 2).await;
    let listed = expect(server.get("/v1/counters/t/tallies").await, 200).await;
    let writers: Vec<&Value> = listed["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| &item["writer"])
        .collect();
    assert_eq!(writers, ["a/b", "kiosk", "phone"]);
    assert_eq!(listed["next"], Value::Null);
    let counter = expect(server.get("/v1/counters/t").await, 200).await;
    assert_eq!(counter["value"], 9);
    count(&server, "/v1/counters/t/reset", &json!({})).await;
    let kiosk = expect(server.get("/v1/counters/t/tallies/kiosk").await, 200).await;
    assert_eq!(kiosk, json!({"writer": "kiosk", "value": 7, "counted": 0}));
    let more = tell(&server, "kiosk", 10).await;
    assert_eq!(more, json!({"writer": "kiosk", "value": 10, "counted": 3}));
    assert_eq!(
        expect(server.get("/v1/counters/t").await, 200).await["value"],
        3
    );
    let most = json!({"value": u64::MAX});
    let beyond = server
        .json("PUT", "/v1/counters/t/tallies/more", &most)
        .await;
    expect_problem(beyond, 409, Some("value")).await;
}

#[tokio::test]
async fn tallies_are_listed_in_pages() {
    let server = TestServer::start().await;
    for number in 0..5 {
        tell(&server, &format!("w{number}"), number).await;
    }
    let mut path = "/v1/counters/t/tallies?limit=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = expect(server.get(&path).await, 200).await;
        let items = page["items"].as_array().expect("items").clone();
        assert!(items.len() <= 2);
        seen.extend(items.into_iter().map(|item| item["value"].clone()));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/v1/counters/t/tallies?limit=2&cursor={next}");
    }
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    expect_problem(
        server.get("/v1/counters/t/tallies?cursor=00").await,
        400,
        Some("cursor"),
    )
    .await;
}

#[tokio::test]
async fn tallies_that_cannot_be_are_refused() {
    let server = TestServer::start().await;
    let at = "/v1/counters/t/tallies/kiosk";
    for value in [json!(-1), json!(1.5), json!("3"), Value::Null] {
        let refused = server.json("PUT", at, &json!({ "value": value })).await;
        expect_problem(refused, 422, Some("value")).await;
    }
    expect_problem(server.json("PUT", at, &json!({})).await, 422, Some("value")).await;
    let unknown = server.json("PUT", at, &json!({"value": 1, "by": 1})).await;
    expect_problem(unknown, 422, Some("by")).await;
    expect_problem(server.get(at).await, 404, None).await;
    let long = format!("/v1/counters/t/tallies/{}", "x".repeat(129));
    let refused = server.json("PUT", &long, &json!({"value": 1})).await;
    expect_problem(refused, 400, Some("writer")).await;
    tell(&server, "kiosk", 1).await;
    let stale = etag(&server.get(at).await);
    tell(&server, "kiosk", 2).await;
    let guarded = server
        .request("PUT", at)
        .header("if-match", &stale)
        .json(&json!({"value": 3}));
    expect_problem(send(guarded).await, 412, Some("If-Match")).await;
}

/// Two nodes that count apart may add up to more than either would take.
#[tokio::test]
async fn a_sum_beyond_its_range_is_shown_exactly_and_moves_only_back() {
    let server = TestServer::start().await;
    for replica in [1, 2] {
        let id = EntityId::new(Collection::Counters, "sum").expect("a good key");
        let dot = Dot::new(ReplicaId::from_bytes([replica; 16]), Seq::new(1));
        let empty = Entity::default();
        let cells = Counter::count(&empty, Direction::Increment, u64::MAX, dot);
        let cells = cells.expect("an empty slot has room");
        server.arrives(id, cells, Timestamp::default()).await;
    }
    let text = server
        .get("/v1/counters/sum")
        .await
        .text()
        .await
        .expect("text");
    assert_eq!(text, "{\"name\":\"sum\",\"value\":36893488147419103230}");
    let listed = server.get("/v1/counters").await.text().await.expect("text");
    assert!(listed.contains("36893488147419103230"), "{listed}");
    let up = server
        .json("POST", "/v1/counters/sum/increment", &json!({}))
        .await;
    let problem = expect_problem(up, 409, Some("by")).await;
    assert!(
        problem["detail"]
            .as_str()
            .expect("text")
            .starts_with("overflow")
    );
    let down = server
        .json("POST", "/v1/counters/sum/decrement", &json!({"by": 30}))
        .await;
    let text = down.text().await.expect("text");
    assert_eq!(text, "{\"name\":\"sum\",\"value\":36893488147419103200}");
}

#[tokio::test]
async fn a_read_waits_until_a_counter_gets_there() {
    let server = TestServer::start().await;
    let at = "/v1/counters/visits";
    let there = server.get("/v1/counters/visits?at-least=0&wait=10s").await;
    assert_eq!(expect(there, 200).await["value"], 0);
    let waiting = server.request("GET", "/v1/counters/visits?at-least=3&wait=60s");
    let waiting = tokio::spawn(send(waiting));
    for _ in 0..3 {
        assert!(!waiting.is_finished());
        count(&server, "/v1/counters/visits/increment", &json!({})).await;
    }
    let reached = waiting.await.expect("no panic");
    assert!(reached.headers().contains_key("etag"));
    assert_eq!(
        expect(reached, 200).await,
        json!({"name": "visits", "value": 3})
    );
    let late = server.get("/v1/counters/visits?at-least=4&wait=1ms").await;
    let problem = expect_problem(late, 504, Some("at-least")).await;
    assert_eq!(problem["value"], 3);
    expect_problem(
        server.get("/v1/counters/visits?at-least=4").await,
        504,
        Some("at-least"),
    )
    .await;
    for (query, field) in [
        ("at-least=x", "at-least"),
        ("at-least=1&wait=61s", "wait"),
        ("wait=1s", "wait"),
    ] {
        let refused = server.get(&format!("{at}?{query}")).await;
        expect_problem(refused, 400, Some(field)).await;
    }
    let listed = expect(server.get("/v1/counters?prefix=vis").await, 200).await;
    assert_eq!(listed["items"].as_array().expect("items").len(), 1);
}
