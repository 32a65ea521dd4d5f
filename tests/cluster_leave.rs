//! A node that leaves for good: nothing that it alone held is lost, nobody waits for it, and it can come back.

mod nodes;

use std::time::Duration;

use grapevine::{
    client::{Client, ClientError, ClientOptions},
    cluster::LeaveError,
    node::Node,
};
use nodes::{Site, all_equal, eventually, sees_alive};
use serde_json::Value;

fn client(node: &Node) -> Client {
    let url = format!("http://{}", node.http_addr());
    let options = ClientOptions::default()
        .rounds(1)
        .node(&url)
        .expect("an address");
    options
        .connect()
        .expect("a client needs nothing from outside")
}

/// The status of `/readyz`, and what it says.
async fn readiness(node: &Node) -> (u16, Value) {
    let told = reqwest::get(format!("http://{}/readyz", node.http_addr())).await;
    let told = told.expect("it answers");
    let status = told.status().as_u16();
    (status, told.json().await.expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_one_who_left_had_written_last_is_nowhere() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let bob = site.start("bob", &[&ann]).await;
    for node in [&ann, &bob] {
        sees_alive(node, &["ann", "bob"]).await;
    }
    let (at_ann, at_bob) = (client(&ann), client(&bob));
    for number in 0..200 {
        let key = format!("k{number}");
        at_bob
            .kv()
            .put(&key, "text/plain", "v")
            .await
            .expect("it is taken");
    }
    at_bob
        .cluster()
        .leave(Duration::from_secs(30))
        .await
        .expect("it leaves");
    for number in 0..200 {
        let value = at_ann
            .kv()
            .get(&format!("k{number}"))
            .await
            .expect("it answers");
        assert!(value.is_some(), "k{number}");
    }
    // It reads, and takes no writes.
    assert!(at_bob.kv().get("k0").await.expect("it answers").is_some());
    let refused = at_bob.kv().put("late", "text/plain", "v").await;
    assert!(
        matches!(&refused, Err(ClientError::Problem(problem)) if problem.status == 503),
        "{refused:?}"
    );
    let (status, told) = readiness(&bob).await;
    assert_eq!(
        (status, &told["checks"]["leaving"]["ok"]),
        (503, &false.into()),
        "{told}"
    );
    let detail = told["detail"].as_str();
    assert!(
        detail.is_some_and(|detail| detail.contains("leaving its cluster")),
        "{told}"
    );
    // Nobody names it any more, and nothing waits for it.
    eventually("the roster without it", || async {
        let members = ann.cluster().members().await;
        let mut members = members.iter();
        let gone = members.all(|member| member.name != "bob" || !member.alive);
        gone.then_some(())
    })
    .await;
    bob.shutdown().await;
    let bob = site.start("bob", &[&ann]).await;
    for node in [&ann, &bob] {
        sees_alive(node, &["ann", "bob"]).await;
    }
    let at_bob = client(&bob);
    at_bob
        .kv()
        .put("again", "text/plain", "v")
        .await
        .expect("it takes part anew");
    all_equal(&[&ann, &bob]).await;
    ann.shutdown().await;
    bob.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_alone_leaves_and_takes_everything_along() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let left = ann.cluster().leave(Duration::ZERO).await;
    assert_eq!(left, Err(LeaveError::Alone));
    let (_, told) = readiness(&ann).await;
    assert_eq!(told["checks"]["leaving"]["ok"], true, "{told}");
    client(&ann)
        .kv()
        .put("k", "text/plain", "v")
        .await
        .expect("it takes part as before");
    ann.shutdown().await;
}
