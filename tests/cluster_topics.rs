//! Messages posted on one node come live to who listens on the others.

#[path = "support/events.rs"]
mod events;
mod nodes;

use std::time::{Duration, Instant};

use events::Events;
use grapevine::node::Node;
use nodes::{Site, all_equal, eventually, sees_alive};
use serde_json::{Value, json};

fn url(node: &Node, path: &str) -> String {
    format!("http://{}{path}", node.http_addr())
}

async fn post(client: &reqwest::Client, node: &Node, text: &str) -> Value {
    let message = json!({"author": node.name(), "body": text});
    let url = url(node, "/v1/topics/news/messages");
    let posted = client
        .post(url)
        .json(&message)
        .send()
        .await
        .expect("answered");
    assert_eq!(posted.status().as_u16(), 201);
    posted.json().await.expect("JSON")
}

async fn list(client: &reqwest::Client, node: &Node) -> Vec<Value> {
    let url = url(node, "/v1/topics/news/messages?limit=1000");
    let list: Value = client
        .get(url)
        .send()
        .await
        .expect("answered")
        .json()
        .await
        .expect("JSON");
    list["items"].as_array().expect("items").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_told_on_every_node_and_ordered_alike() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let bob = site.start("bob", &[&ann]).await;
    let cat = site.start("cat", &[&ann]).await;
    let nodes = [&ann, &bob, &cat];
    for node in nodes {
        sees_alive(node, &["ann", "bob", "cat"]).await;
    }
    all_equal(&nodes).await;
    let client = reqwest::Client::new();
    let mut streams = Vec::new();
    for node in nodes {
        let mut stream = Events::open(client.get(url(node, "/v1/topics/news/stream"))).await;
        stream.position().await;
        streams.push(stream);
    }
    // The links between all of them carry pushes.
    for node in nodes {
        let message = post(&client, node, "warm").await;
        for stream in &mut streams {
            assert_eq!(stream.expect().await.data, message);
        }
    }
    let mut took = Vec::new();
    for number in 0..100 {
        let began = Instant::now();
        let message = post(&client, &ann, &number.to_string()).await;
        for stream in &mut streams[1..] {
            assert_eq!(stream.expect().await.data, message);
        }
        took.push(began.elapsed());
    }
    took.sort_unstable();
    println!(
        "from post to delivery on both others: {:?} median, {:?} at most",
        took[50], took[99]
    );
    // Far below the period of pulls: it was pushed.
    assert!(took[50] < Duration::from_millis(500), "{:?}", took[50]);
    // Each posts at once; all list the same.
    let mut posts = tokio::task::JoinSet::new();
    for node in nodes {
        let (client, address) = (client.clone(), url(node, "/v1/topics/news/messages"));
        posts.spawn(async move {
            for number in 0..30 {
                let message = json!({"author": "all", "body": number.to_string()});
                let posted = client.post(&address).json(&message).send().await;
                assert_eq!(posted.expect("answered").status().as_u16(), 201);
            }
        });
    }
    posts.join_all().await;
    all_equal(&nodes).await;
    let expected = list(&client, &ann).await;
    assert_eq!(expected.len(), 193);
    for node in nodes {
        assert_eq!(list(&client, node).await, expected, "{}", node.name());
    }
    // Who listened on one node goes on at another.
    let last = streams[0].last_id.clone().expect("a position");
    drop(streams);
    let message = post(&client, &cat, "meanwhile").await;
    let request = client.get(url(&bob, "/v1/topics/news/stream"));
    let mut stream = Events::open(request.header("Last-Event-ID", last)).await;
    while stream.expect().await.data != message {}
    // The same post through two nodes is one message in the end.
    let retried = json!({"author": "eve", "body": "once"});
    for node in [&ann, &bob] {
        let request = client.post(url(node, "/v1/topics/news/messages"));
        let request = request.header("Idempotency-Key", "k").json(&retried);
        assert_eq!(
            request.send().await.expect("answered").status().as_u16(),
            201
        );
    }
    eventually("one of them is left", async || {
        let mut counts = Vec::new();
        for node in nodes {
            let listed = list(&client, node).await;
            let hers = listed.iter().filter(|message| message["author"] == "eve");
            counts.push(hers.count());
        }
        (counts == [1, 1, 1]).then_some(())
    })
    .await;
    drop(stream);
    for node in [ann, bob, cat] {
        node.shutdown().await;
    }
}
