//! Topics: messages that are posted, listed in one order, removed; and how much of a topic is kept.

use grapevine_crdt::{FieldKey, LwwMap};
use serde_json::{Value, json};

use crate::support::{NO_CONTENT, TestServer, body, etag, expect, expect_problem, send};

async fn post(server: &TestServer, topic: &str, text: &str) -> Value {
    let message = json!({"author": "ada", "body": text});
    let path = format!("/v1/topics/{topic}/messages");
    expect(server.json("POST", &path, &message).await, 201).await
}

async fn bodies(server: &TestServer, path: &str) -> Vec<String> {
    let list = expect(server.get(path).await, 200).await;
    let items = list["items"].as_array().expect("items").iter();
    items
        .map(|item| item["body"].as_str().expect("a text").to_owned())
        .collect()
}

#[tokio::test]
async fn messages_are_listed_in_the_order_in_which_they_were_posted() {
    let server = TestServer::start().await;
    for number in 0..25 {
        let message = post(&server, "news", &number.to_string()).await;
        assert_eq!(message["topic"], "news");
        assert_eq!(message["author"], "ada");
        assert!(message["at"].as_str().expect("a time").ends_with('Z'));
    }
    post(&server, "news!", "another topic").await;
    post(&server, "news0", "another topic").await;
    let all: Vec<String> = (0..25).map(|number| number.to_string()).collect();
    assert_eq!(bodies(&server, "/v1/topics/news/messages").await, all);
    let mut path = "/v1/topics/news/messages?limit=7".to_owned();
    let mut paged = Vec::new();
    loop {
        let page = expect(server.get(&path).await, 200).await;
        for item in page["items"].as_array().expect("items") {
            paged.push(item["body"].as_str().expect("a text").to_owned());
        }
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/v1/topics/news/messages?limit=7&cursor={next}");
        let foreign = format!("/v1/topics/news0/messages?cursor={next}");
        expect_problem(server.get(&foreign).await, 400, Some("cursor")).await;
    }
    assert_eq!(paged, all);
    server.stop().await;
}

#[tokio::test]
async fn the_newest_first_leaves_none_out_and_tells_none_twice() {
    let server = TestServer::start().await;
    post(&server, "new", "another topic").await;
    post(&server, "news0", "another topic").await;
    let mut posted = Vec::new();
    for number in 0..25 {
        posted.push(post(&server, "news", &number.to_string()).await);
    }
    let gone = posted[20]["id"].as_str().expect("an id");
    let gone = server
        .delete(&format!("/v1/topics/news/messages/{gone}"))
        .await;
    assert_eq!(gone.status(), NO_CONTENT);
    let left = (0..25).rev().filter(|number| *number != 20);
    let all: Vec<String> = left.map(|number| number.to_string()).collect();
    let path = "/v1/topics/news/messages?order=newest";
    assert_eq!(bodies(&server, path).await, all);
    let (mut at, mut paged) = (format!("{path}&limit=7"), Vec::new());
    loop {
        let page = expect(server.get(&at).await, 200).await;
        let items = page["items"].as_array().expect("items").iter();
        paged.extend(items.map(|item| item["body"].as_str().expect("a text").to_owned()));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        // What comes meanwhile is in front of the place.
        post(&server, "news", "later").await;
        at = format!("{path}&limit=7&cursor={next}");
        for foreign in [
            format!("/v1/topics/news/messages?cursor={next}"),
            format!("/v1/topics/new/messages?order=newest&cursor={next}"),
        ] {
            expect_problem(server.get(&foreign).await, 400, Some("cursor")).await;
        }
    }
    assert_eq!(paged, all);
    let since = posted[23]["at"].as_str().expect("a time");
    let since = bodies(&server, &format!("{path}&since={since}")).await;
    assert_eq!(since[..2], ["later", "later"]);
    assert!(since.contains(&"23".to_owned()), "{since:?}");
    let oldest = bodies(&server, "/v1/topics/news/messages?order=oldest&limit=2").await;
    assert_eq!(oldest, ["0", "1"]);
    let bad = server.get("/v1/topics/news/messages?order=random").await;
    expect_problem(bad, 400, Some("order")).await;
    server.stop().await;
}

#[tokio::test]
async fn a_list_begins_at_a_time() {
    let server = TestServer::start().await;
    post(&server, "news", "early").await;
    let late = post(&server, "news", "late").await;
    let at = late["at"].as_str().expect("a time");
    let since = bodies(&server, &format!("/v1/topics/news/messages?since={at}")).await;
    assert!(since.contains(&"late".to_owned()), "{since:?}");
    let none = bodies(
        &server,
        "/v1/topics/news/messages?since=2999-01-01T00:00:00Z",
    )
    .await;
    assert_eq!(none, [""; 0]);
    assert_eq!(
        bodies(&server, "/v1/topics/news/messages?since=0")
            .await
            .len(),
        2
    );
    let bad = server.get("/v1/topics/news/messages?since=yesterday").await;
    expect_problem(bad, 400, Some("since")).await;
    server.stop().await;
}

#[tokio::test]
async fn a_message_is_read_and_removed_by_its_id() {
    let server = TestServer::start().await;
    let message = json!({"author": "a", "body": "b"});
    let created = server
        .json("POST", "/v1/topics/caf%C3%A9/messages", &message)
        .await;
    let path = created.headers()["location"]
        .to_str()
        .expect("ASCII")
        .to_owned();
    let message = expect(created, 201).await;
    assert_eq!(
        path,
        format!(
            "/v1/topics/caf%C3%A9/messages/{}",
            message["id"].as_str().expect("an id")
        )
    );
    let read = server.get(&path).await;
    let tag = etag(&read);
    assert_eq!(expect(read, 200).await, message);
    let unchanged = send(server.request("GET", &path).header("If-None-Match", tag)).await;
    assert_eq!(unchanged.status().as_u16(), 304);
    assert_eq!(server.delete(&path).await.status(), NO_CONTENT);
    expect_problem(server.get(&path).await, 404, None).await;
    expect_problem(server.delete(&path).await, 404, None).await;
    assert_eq!(
        bodies(&server, "/v1/topics/caf%C3%A9/messages").await,
        [""; 0]
    );
    let none = server.get("/v1/topics/t/messages/nonsense").await;
    expect_problem(none, 400, Some("id")).await;
    server.stop().await;
}

#[tokio::test]
async fn a_post_that_is_retried_posts_twice() {
    let server = TestServer::start().await;
    let post = |key: &'static str, text: &'static str| {
        let request = server.request("POST", "/v1/topics/news/messages");
        let message = json!({"author": "ada", "body": text});
        send(request.header("Idempotency-Key", key).json(&message))
    };
    let first = expect(post("k1", "one").await, 201).await;
    assert_eq!(expect(post("k1", "one").await, 201).await, first);
    expect_problem(post("k1", "other").await, 409, Some("Idempotency-Key")).await;
    let second = expect(post("k2", "one").await, 201).await;
    assert_ne!(second["id"], first["id"]);
    assert_eq!(bodies(&server, "/v1/topics/news/messages").await.len(), 2);
    let path = format!(
        "/v1/topics/news/messages/{}",
        first["id"].as_str().expect("an id")
    );
    assert_eq!(server.delete(&path).await.status(), NO_CONTENT);
    expect_problem(post("k1", "one").await, 409, Some("Idempotency-Key")).await;
    server.stop().await;
}

#[tokio::test]
async fn bad_messages_name_what_is_wrong_with_them() {
    let server = TestServer::start().await;
    let path = "/v1/topics/news/messages";
    for (message, status, field) in [
        (json!({"author": "a"}), 422, "body"),
        (json!({"body": "a"}), 422, "author"),
        (json!({"author": "", "body": "b"}), 422, "author"),
        (json!({"author": "a\n", "body": "b"}), 422, "author"),
        (
            json!({"author": "a".repeat(257), "body": "b"}),
            422,
            "author",
        ),
        (json!({"author": "a", "body": 7}), 422, "body"),
        (json!({"author": "a", "body": ""}), 422, "body"),
        (json!({"author": "a", "body": "b", "at": 1}), 422, "at"),
        (json!([]), 422, "body"),
    ] {
        expect_problem(
            server.json("POST", path, &message).await,
            status,
            Some(field),
        )
        .await;
    }
    let message = json!({"author": "a", "body": "b"});
    for topic in ["a%2Fb", "a%0A", &"x".repeat(129)] {
        let path = format!("/v1/topics/{topic}/messages");
        let refused = server.json("POST", &path, &message).await;
        expect_problem(refused, 400, Some("topic")).await;
    }
    assert_eq!(
        body(server.get("/v1/topics").await).await["items"],
        json!([])
    );
    server.stop().await;
}

#[tokio::test]
async fn topics_are_listed_while_anything_of_them_is_there() {
    let server = TestServer::start().await;
    let list = async || {
        let list = expect(server.get("/v1/topics?limit=1000").await, 200).await;
        let items = list["items"].as_array().expect("items").clone();
        items
            .iter()
            .map(|item| item["topic"].as_str().expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    let mut ids = Vec::new();
    for topic in ["b", "a", "c"] {
        ids.push(
            post(&server, topic, "hi").await["id"]
                .as_str()
                .expect("an id")
                .to_owned(),
        );
        post(&server, topic, "again").await;
    }
    assert_eq!(list().await, ["a", "b", "c"]);
    let page = expect(server.get("/v1/topics?limit=2").await, 200).await;
    let next = page["next"].as_str().expect("there is more");
    let rest = expect(server.get(&format!("/v1/topics?cursor={next}")).await, 200).await;
    assert_eq!(rest["items"][0]["topic"], "c");
    assert_eq!(
        server
            .delete(&format!("/v1/topics/b/messages/{}", ids[0]))
            .await
            .status(),
        NO_CONTENT
    );
    assert_eq!(list().await, ["a", "b", "c"], "one is left");
    let left = expect(server.get("/v1/topics/b/messages").await, 200).await;
    let left = left["items"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        server
            .delete(&format!("/v1/topics/b/messages/{left}"))
            .await
            .status(),
        NO_CONTENT
    );
    assert_eq!(list().await, ["a", "c"]);
    server.stop().await;
}

#[tokio::test]
async fn a_topic_keeps_what_it_is_told_and_no_more_than_the_node() {
    let server = TestServer::start().await;
    let unset = expect(server.get("/v1/topics/news").await, 200).await;
    assert_eq!(
        unset,
        json!({"topic": "news", "retain_count": null, "retain_seconds": null})
    );
    let set = server
        .json("PUT", "/v1/topics/news", &json!({"retain_count": 10}))
        .await;
    let tag = etag(&set);
    assert_eq!(expect(set, 200).await["retain_count"], 10);
    let read = server.get("/v1/topics/news").await;
    assert_eq!(etag(&read), tag);
    assert_eq!(expect(read, 200).await["retain_count"], 10);
    let guarded = server
        .request("PUT", "/v1/topics/news")
        .header("If-Match", "\"x\"");
    let refused = send(guarded.json(&json!({}))).await;
    expect_problem(refused, 412, Some("If-Match")).await;
    for (bad, field) in [
        (json!({"retain_count": 0}), "retain_count"),
        (json!({"retain_count": 1_000_000_000}), "retain_count"),
        (json!({"retain_seconds": -1}), "retain_seconds"),
        (json!({"retain_seconds": "1"}), "retain_seconds"),
        (json!({"keep": 1}), "keep"),
    ] {
        let refused = server.json("PUT", "/v1/topics/news", &bad).await;
        expect_problem(refused, 422, Some(field)).await;
    }
    assert_eq!(
        expect(server.get("/v1/topics").await, 200).await["items"][0]["topic"],
        "news"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_message_posted_twice_under_one_key_by_nodes_apart_is_listed_twice() {
    let server = TestServer::start().await;
    let request = server.request("POST", "/v1/topics/news/messages");
    let message = json!({"author": "ada", "body": "one"});
    let first = send(request.header("Idempotency-Key", "k").json(&message)).await;
    let first = expect(first, 201).await;
    // Another node had named the message `second` under the key, and its record merges over ours.
    let record = "news/~";
    let snapshot = server.store.snapshot();
    let mut found = None;
    let listing = grapevine::store::Listing {
        collection: grapevine::model::Collection::Topics,
        prefix: record,
        after: None,
    };
    snapshot
        .list(&listing, &mut |id, _| {
            found = Some(id);
            std::ops::ControlFlow::Break(())
        })
        .expect("it can be read");
    let record = found.expect("there is a record");
    let removed = server.store.write(record.clone(), |edit| {
        Ok::<_, std::convert::Infallible>((LwwMap::new(edit.entity).remove(edit.dot), ()))
    });
    removed.await.expect("it is written");
    // Without a record both would be listed; with one, only what it names.
    assert_eq!(bodies(&server, "/v1/topics/news/messages").await, ["one"]);
    let other = grapevine::model::PostedUnder {
        id: grapevine::model::MessageId::new(grapevine_crdt::Timestamp::from_unix_ms(1), 1),
        digest: [0; 16],
    };
    let renamed = server.store.write(record, move |edit| {
        let cell = other.put(edit.dot, edit.time);
        assert!(matches!(cell.field, FieldKey::Register(_)));
        Ok::<_, std::convert::Infallible>((vec![cell], ()))
    });
    renamed.await.expect("it is written");
    assert_eq!(bodies(&server, "/v1/topics/news/messages").await, [""; 0]);
    let path = format!(
        "/v1/topics/news/messages/{}",
        first["id"].as_str().expect("an id")
    );
    expect(server.get(&path).await, 200).await;
    server.stop().await;
}
