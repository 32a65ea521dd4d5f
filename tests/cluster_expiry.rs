//! A value that expires goes on every node, when it was told to.

mod nodes;

use grapevine::node::Node;
use nodes::{Site, eventually, sees_alive};

fn url(node: &Node) -> String {
    format!("http://{}/v1/kv/lease", node.http_addr())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_expires_on_one_node_and_stays_on_another() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let bob = site.start("bob", &[&ann]).await;
    sees_alive(&ann, &["ann", "bob"]).await;
    let client = reqwest::Client::new();
    let put = client.put(format!("{}?ttl=2", url(&ann))).body("hi");
    let put = put.send().await.expect("answered");
    let expires = put.headers()["grapevine-expires"].clone();
    eventually("the value is told, with when it goes", async || {
        let got = client.get(url(&bob)).send().await.expect("answered");
        let told = got.headers().get("grapevine-expires").cloned();
        (told.as_ref() == Some(&expires)).then_some(())
    })
    .await;
    for node in [&ann, &bob] {
        eventually("it goes", async || {
            let got = client.get(url(node)).send().await.expect("answered");
            (got.status().as_u16() == 404).then_some(())
        })
        .await;
    }
    ann.shutdown().await;
    bob.shutdown().await;
}
