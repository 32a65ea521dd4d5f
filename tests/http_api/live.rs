//! What is told live: nothing is missed, whoever comes back and wherever; who reads too slowly is cut, alone.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    events::Events,
    support::{NO_CONTENT, TestServer, expect, expect_problem, send},
};

async fn post(server: &TestServer, topic: &str, text: &str) -> Value {
    let message = json!({"author": "ada", "body": text});
    let path = format!("/v1/topics/{topic}/messages");
    expect(server.json("POST", &path, &message).await, 201).await
}

async fn put(server: &TestServer, key: &str, value: &str) {
    let request = server.request("PUT", &format!("/v1/kv/{key}"));
    let put = request
        .header("Content-Type", "text/plain")
        .body(value.to_owned());
    assert_eq!(send(put).await.status(), NO_CONTENT);
}

async fn stream(server: &TestServer, path: &str, last: Option<&str>) -> Events {
    let request = server.request("GET", path);
    Events::open(match last {
        Some(last) => request.header("Last-Event-ID", last),
        None => request,
    })
    .await
}

#[tokio::test]
async fn a_message_comes_to_who_listens_to_its_topic_and_to_nobody_else() {
    let server = TestServer::start().await;
    let mut news = stream(&server, "/v1/topics/news/stream", None).await;
    news.position().await;
    post(&server, "other", "not for you").await;
    let first = post(&server, "news", "one").await;
    let second = post(&server, "news", "two").await;
    let event = news.expect().await;
    assert_eq!((event.name.as_str(), &event.data), ("message", &first));
    assert_eq!(news.expect().await.data, second);
    server.stop().await;
}

#[tokio::test]
async fn who_comes_back_misses_what_was_posted_meanwhile() {
    let server = TestServer::start().await;
    let path = "/v1/topics/news/stream";
    let mut listener = stream(&server, path, None).await;
    listener.position().await;
    post(&server, "news", "heard").await;
    listener.expect().await;
    let last = listener.last_id.clone().expect("a position");
    drop(listener);
    let mut missed = Vec::new();
    for number in 0..600 {
        missed.push(post(&server, "news", &number.to_string()).await);
    }
    let mut listener = stream(&server, path, Some(&last)).await;
    for message in &missed {
        assert_eq!(listener.expect().await.data, *message);
    }
    let live = post(&server, "news", "live").await;
    assert_eq!(listener.expect().await.data, live);
    let foreign = stream(&server, "/v1/topics/else/stream", None)
        .await
        .position()
        .await;
    let refused = server.request("GET", path).header("Last-Event-ID", foreign);
    expect_problem(send(refused).await, 400, Some("Last-Event-ID")).await;
    // From a time on, in order, and then live.
    let since = missed[300]["at"].as_str().expect("a time");
    let mut listener = stream(&server, &format!("{path}?since={since}"), None).await;
    loop {
        let event = listener.expect().await;
        if event.data == live {
            break;
        }
        assert!(event.data["at"].as_str() >= Some(since));
    }
    server.stop().await;
}

#[tokio::test]
async fn every_kind_of_change_is_watched_and_filters_hold() {
    let server = TestServer::start().await;
    let mut all = stream(&server, "/v1/watch", None).await;
    let mut some = stream(&server, "/v1/watch?collection=kv&prefix=a/", None).await;
    all.position().await;
    some.position().await;
    put(&server, "a/1", "one").await;
    put(&server, "b/1", "two").await;
    post(&server, "news", "hi").await;
    expect(
        server
            .json("POST", "/v1/counters/visits/increment", &json!({}))
            .await,
        200,
    )
    .await;
    expect(
        server
            .json("PUT", "/v1/contacts/ada", &json!({"name": "Ada"}))
            .await,
        201,
    )
    .await;
    assert_eq!(server.delete("/v1/kv/a/1").await.status(), NO_CONTENT);
    let mut seen = Vec::new();
    for _ in 0..6 {
        let event = all.expect().await;
        assert_eq!(event.name, "change");
        let collection = event.data["collection"]
            .as_str()
            .expect("a name")
            .to_owned();
        let key = event.data["key"].as_str().expect("a key");
        seen.push((collection, key.to_owned(), event.data["deleted"] == true));
        if key == "a/1" && seen.len() == 1 {
            assert_eq!(event.data["value"]["text"], "one");
        }
    }
    assert!(seen[2].1.starts_with("news/"));
    seen[2].1 = "news".to_owned();
    let expected = [
        ("kv", "a/1", false),
        ("kv", "b/1", false),
        ("topics", "news", false),
        ("counters", "visits", false),
        ("contacts", "ada", false),
        ("kv", "a/1", true),
    ];
    let expected =
        expected.map(|(collection, key, deleted)| (collection.to_owned(), key.to_owned(), deleted));
    assert_eq!(seen, expected);
    assert_eq!(some.expect().await.data["value"]["text"], "one");
    assert_eq!(some.expect().await.data["deleted"], true);
    let bad = server.get("/v1/watch?collection=roster").await;
    expect_problem(bad, 400, Some("collection")).await;
    let bad = server.get("/v1/watch?since=nonsense").await;
    expect_problem(bad, 400, Some("since")).await;
    server.stop().await;
}

#[tokio::test]
async fn who_watches_goes_on_where_it_stopped() {
    let server = TestServer::start().await;
    let mut listener = stream(&server, "/v1/watch", None).await;
    let last = listener.position().await;
    drop(listener);
    for number in 0..700 {
        put(&server, &format!("key-{number:03}"), "value").await;
    }
    let mut listener = stream(&server, "/v1/watch?collection=kv", Some(&last)).await;
    let mut missing: Vec<String> = (0..700).map(|number| format!("key-{number:03}")).collect();
    while !missing.is_empty() {
        let event = listener.expect().await;
        missing.retain(|key| event.data["key"] != key.as_str());
    }
    put(&server, "live", "value").await;
    while listener.expect().await.data["key"] != "live" {}
    // A position comes behind what was told.
    listener.last_id = None;
    listener.position().await;
    server.stop().await;
}

#[tokio::test]
async fn nothing_happens_and_still_something_comes() {
    let server = TestServer::start_limited(
        |_| {},
        |limits| {
            limits.heartbeat = Duration::from_millis(50);
        },
    )
    .await;
    let mut topic = stream(&server, "/v1/topics/quiet/stream", None).await;
    let mut watch = stream(&server, "/v1/watch", None).await;
    for listener in [&mut topic, &mut watch] {
        listener.position().await;
        while listener.beats < 3 {
            listener.last_id = None;
            listener.beat().await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn more_listen_than_may() {
    let server = TestServer::start_limited(|_| {}, |limits| limits.max_listeners = 2).await;
    let first = stream(&server, "/v1/watch", None).await;
    let mut second = stream(&server, "/v1/topics/news/stream", None).await;
    second.position().await;
    expect_problem(server.get("/v1/watch").await, 503, None).await;
    drop(first);
    loop {
        let again = server.get("/v1/watch").await;
        if again.status().as_u16() == 200 {
            break;
        }
        tokio::task::yield_now().await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_reads_too_slowly_holds_up_the_others() {
    let server = TestServer::start().await;
    let mut quick = stream(&server, "/v1/topics/news/stream", None).await;
    quick.position().await;
    // It asks, and then reads nothing.
    let mut slow = TcpStream::connect(server.address)
        .await
        .expect("it listens");
    slow.write_all(b"GET /v1/topics/news/stream HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("sent");
    let mut head = [0; 15];
    slow.read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    // More than waits for it, and more than the buffers of its connection take.
    let text = "x".repeat(60_000);
    for _ in 0..450 {
        let message = post(&server, "news", &text).await;
        assert_eq!(quick.expect().await.data, message);
    }
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).await.expect("it ends");
    let rest = String::from_utf8(rest).expect("events are text");
    let last = rest.rsplit_once("event: ").expect("events came").1;
    assert!(last.starts_with("overflow"), "{last}");
    server.stop().await;
}

#[tokio::test]
async fn a_web_socket_is_told_the_same() {
    let server = TestServer::start().await;
    put(&server, "before", "1").await;
    let connect = async |query: &str| {
        let url = format!("ws://{}/v1/watch{query}", server.address);
        tokio_tungstenite::connect_async(url)
            .await
            .expect("it is accepted")
            .0
    };
    let mut socket = connect("?collection=kv").await;
    let mut next = async || loop {
        match socket.next().await.expect("it goes on").expect("no error") {
            Message::Text(text) => break serde_json::from_str::<Value>(&text).expect("JSON"),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    };
    let position = next().await["position"]
        .as_str()
        .expect("a position")
        .to_owned();
    put(&server, "key", "value").await;
    let change = next().await;
    assert_eq!(
        (&change["key"], &change["value"]["text"]),
        (&json!("key"), &json!("value"))
    );
    socket.close(None).await.expect("it closes");
    put(&server, "later", "value").await;
    let mut socket = connect(&format!("?since={position}")).await;
    let mut missing = vec!["key", "later"];
    while !missing.is_empty() {
        let text = socket.next().await.expect("it goes on").expect("no error");
        let change: Value = serde_json::from_str(text.to_text().expect("text")).expect("JSON");
        assert_ne!(change["key"], "before");
        missing.retain(|key| change["key"] != *key);
    }
    socket
        .send(Message::text("hello"))
        .await
        .expect("nobody minds");
    server.stop().await;
}
