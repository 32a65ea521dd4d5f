use serde_json::json;

use crate::support::{MAX_BODY_BYTES, NO_CONTENT, TestServer, etag, expect, expect_problem, send};

#[tokio::test]
async fn bytes_come_back_as_they_were_put() {
    let server = TestServer::start().await;
    let bytes: Vec<u8> = (0..=255).collect();
    let put = server
        .request("PUT", "/v1/kv/a")
        .header("content-type", "image/x-icon");
    let put = send(put.body(bytes.clone())).await;
    assert_eq!(put.status(), NO_CONTENT);
    let tag = etag(&put);
    let got = server.get("/v1/kv/a").await;
    assert_eq!(got.headers()["content-type"], "image/x-icon");
    assert_eq!(etag(&got), tag);
    assert_eq!(got.bytes().await.expect("bytes"), bytes);
    let head = send(server.request("HEAD", "/v1/kv/a")).await;
    assert_eq!(head.status().as_u16(), 200);
    assert_eq!(head.headers()["content-length"], "256");
    let empty = send(server.request("PUT", "/v1/kv/empty")).await;
    assert_eq!(empty.status(), NO_CONTENT);
    let got = server.get("/v1/kv/empty").await;
    assert_eq!(got.headers()["content-type"], "application/octet-stream");
    assert_eq!(got.bytes().await.expect("bytes").len(), 0);
}

#[tokio::test]
async fn a_deleted_key_is_absent_and_deleting_it_again_is_no_error() {
    let server = TestServer::start().await;
    expect_problem(server.get("/v1/kv/a").await, 404, None).await;
    send(server.request("PUT", "/v1/kv/a").body("1")).await;
    assert_eq!(server.delete("/v1/kv/a").await.status(), NO_CONTENT);
    expect_problem(server.get("/v1/kv/a").await, 404, None).await;
    let root = server.store.snapshot().state().root();
    assert_eq!(server.delete("/v1/kv/a").await.status(), NO_CONTENT);
    assert_eq!(
        server.store.snapshot().state().root(),
        root,
        "nothing was written"
    );
}

#[tokio::test]
async fn keys_are_any_text_and_slashes_are_part_of_them() {
    let server = TestServer::start().await;
    for (path, key) in [
        ("a/b/c", "a/b/c"),
        ("a%2Fb", "a/b"),
        ("caf%C3%A9", "café"),
        ("%E2%82%AC%20%3F%23", "€ ?#"),
        ("a+b", "a+b"),
        ("trailing/", "trailing/"),
    ] {
        let at = format!("/v1/kv/{path}");
        assert_eq!(
            send(server.request("PUT", &at).body(key)).await.status(),
            NO_CONTENT
        );
        assert_eq!(server.get(&at).await.text().await.expect("text"), key);
        let query = [("prefix", key), ("limit", "1000")];
        let listed = expect(
            send(server.request("GET", "/v1/kv").query(&query)).await,
            200,
        )
        .await;
        let keys = listed["items"].as_array().expect("items").iter();
        assert!(
            keys.map(|item| &item["key"]).any(|listed| listed == key),
            "{key}"
        );
    }
    assert_eq!(
        server.get("/v1/kv/a/b").await.text().await.expect("text"),
        "a/b",
        "an escaped slash is a slash"
    );
}

#[tokio::test]
async fn keys_out_of_bounds_are_refused() {
    let server = TestServer::start().await;
    for key in ["%FF%FE".to_owned(), "x".repeat(1_025), "%C3%A9".repeat(513)] {
        let at = format!("/v1/kv/{key}");
        expect_problem(server.get(&at).await, 400, Some("key")).await;
        let put = send(server.request("PUT", &at).body("1")).await;
        expect_problem(put, 400, Some("key")).await;
        expect_problem(server.delete(&at).await, 400, Some("key")).await;
    }
    let longest = format!("/v1/kv/{}", "x".repeat(1_024));
    assert_eq!(
        send(server.request("PUT", &longest)).await.status(),
        NO_CONTENT
    );
    let unknown = send(server.request("PUT", "/v1/kv/a?tll=5")).await;
    expect_problem(unknown, 400, Some("tll")).await;
}

#[tokio::test]
async fn a_body_at_its_bound_goes_in_and_one_above_does_not() {
    let server = TestServer::start().await;
    let most = send(
        server
            .request("PUT", "/v1/kv/a")
            .body(vec![7; MAX_BODY_BYTES]),
    )
    .await;
    assert_eq!(most.status(), NO_CONTENT);
    for bytes in [MAX_BODY_BYTES + 1, 20 * MAX_BODY_BYTES] {
        let above = send(server.request("PUT", "/v1/kv/a").body(vec![8; bytes])).await;
        expect_problem(above, 413, Some("body")).await;
    }
    let held = server.get("/v1/kv/a").await.bytes().await.expect("bytes");
    assert_eq!(held, vec![7; MAX_BODY_BYTES]);
}

#[tokio::test]
async fn content_types_that_could_not_be_answered_are_refused() {
    let server = TestServer::start().await;
    for content_type in ["x".repeat(256), "text/\u{e9}".to_owned()] {
        let put = server
            .request("PUT", "/v1/kv/a")
            .header("content-type", content_type);
        expect_problem(send(put.body("1")).await, 422, Some("Content-Type")).await;
    }
}

#[tokio::test]
async fn conditions_guard_keys() {
    let server = TestServer::start().await;
    let put = |header: &'static str, tag: String| {
        send(
            server
                .request("PUT", "/v1/kv/a")
                .header(header, tag)
                .body("1"),
        )
    };
    expect_problem(put("if-match", "*".to_owned()).await, 412, Some("If-Match")).await;
    let tag = etag(&put("if-none-match", "*".to_owned()).await);
    expect_problem(
        put("if-none-match", "*".to_owned()).await,
        412,
        Some("If-None-Match"),
    )
    .await;
    let next = etag(&put("if-match", tag.clone()).await);
    assert_ne!(next, tag, "the same bytes put again are another write");
    expect_problem(put("if-match", tag.clone()).await, 412, Some("If-Match")).await;
    let same = send(
        server
            .request("GET", "/v1/kv/a")
            .header("if-none-match", &next),
    )
    .await;
    assert_eq!(same.status().as_u16(), 304);
    let stale = server
        .request("DELETE", "/v1/kv/a")
        .header("if-match", &tag);
    expect_problem(send(stale).await, 412, Some("If-Match")).await;
    let fresh = server
        .request("DELETE", "/v1/kv/a")
        .header("if-match", &next);
    assert_eq!(send(fresh).await.status(), NO_CONTENT);
}

#[tokio::test]
async fn a_list_tells_what_is_under_each_key() {
    let server = TestServer::start().await;
    for key in ["b", "a/1", "a/2", "A"] {
        let put = server
            .request("PUT", &format!("/v1/kv/{key}"))
            .header("content-type", "text/plain");
        send(put.body("12345")).await;
    }
    server.delete("/v1/kv/a/2").await;
    let listed = expect(server.get("/v1/kv?prefix=a").await, 200).await;
    assert_eq!(listed["next"], json!(null));
    let items = listed["items"].as_array().expect("items");
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["key"], "a/1");
    assert_eq!(items[0]["content_type"], "text/plain");
    assert_eq!(items[0]["size"], 5);
    assert!(
        items[0]["updated_at"]
            .as_str()
            .expect("a time")
            .ends_with('Z')
    );
}
