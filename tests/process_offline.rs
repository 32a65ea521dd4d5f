//! The danger: sites that were cut off from each other counted and edited the same things, and when they
//! meet something is lost, counted twice, or shown differently on different nodes.

mod support;

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use support::{
    client::NodeClient,
    cluster::{all_agree, clients, same_bytes},
    process::{NodeProcess, Start},
};

/// The ids of the contacts that both sides know before they part.
struct Known {
    /// Different fields of it are edited on both sides.
    different: String,
    /// One field of it is edited on both sides, the ship's last.
    same: String,
    /// It is deleted at home and edited on the ship.
    revived: String,
    /// It is deleted at home and left alone on the ship.
    deleted: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_made_apart_all_survive_and_every_node_answers_the_same_bytes() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let (home, ship, known) = know_each_other(directory.path()).await;
    // They part: each goes on alone, on another port than the other remembers.
    let (home, ship) = (home.terminate(), ship.terminate());
    let (home, ship) = (alone(home), alone(ship));
    let (at_home, at_sea) = (NodeClient::new(home.url()), NodeClient::new(ship.url()));
    edit_apart(&at_home, &at_sea, &known).await;
    let (new_at_home, new_at_sea) = (
        create(&at_home, json!({ "name": "Hired at home" })).await,
        create(&at_sea, json!({ "name": "Met at sea" })).await,
    );

    // They meet through a third node that knows both, and that had nothing.
    let seeds = [home.seed(), ship.seed()];
    let nodes = [
        NodeProcess::start(Start::new("harbour", directory.path(), &seeds)),
        home,
        ship,
    ];
    let clients = clients(&nodes);
    all_agree(&clients).await;

    for node in &clients {
        let contact = node.contact(&known.different).await.expect("it is there");
        assert_eq!(contact["title"], "Captain");
        assert_eq!(contact["note"], "Knows the reef");
        let contact = node.contact(&known.same).await.expect("it is there");
        assert_eq!(contact["title"], "Admiral", "the later edit wins");
        let contact = node.contact(&known.revived).await.expect("it is back");
        assert_eq!(contact["revived"], true);
        assert_eq!(contact["note"], "Still with us");
        assert_eq!(contact["name"], "Deleted at home");
        let answer = node
            .send(
                Method::GET,
                &format!("/v1/contacts/{}", known.deleted),
                None,
            )
            .await
            .expect("it answers");
        assert_eq!(answer.status().as_u16(), 404);
        assert_eq!(
            node.counter("cargo").await.expect("it answers"),
            10 + 5 - 3 + 20 - 7
        );
        for id in [&new_at_home, &new_at_sea] {
            node.contact(id).await.expect("it is there");
        }
    }
    same_bytes(&clients, "/v1/contacts?limit=1000").await;
    same_bytes(&clients, "/v1/counters").await;
    same_bytes(&clients, "/v1/kv/notice").await;
    for id in [&known.different, &known.same, &known.revived] {
        same_bytes(&clients, &format!("/v1/contacts/{id}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_serves_while_no_seed_answers_and_joins_when_one_does() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let seed = NodeProcess::start(Start::new("seed", directory.path(), &[]));
    let seeds = [
        seed.seed(),
        "no-such-host.invalid:7901".to_owned(),
        // The same seed by a DNS name.
        seed.seed().replace("127.0.0.1", "localhost"),
    ];
    let seed = seed.terminate();
    let joining = NodeProcess::start(Start::new("joining", directory.path(), &seeds));
    let client = NodeClient::new(joining.url());
    client.put_kv("early", "bird").await.expect("acknowledged");

    let nodes = [NodeProcess::start(seed), joining];
    let clients = clients(&nodes);
    all_agree(&clients).await;
    let value = clients[0].get_kv("early").await.expect("it answers");
    assert_eq!(value.as_deref(), Some("bird"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_may_be_a_dns_name() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let first = NodeProcess::start(Start::new("first", directory.path(), &[]));
    let seed = first.seed().replace("127.0.0.1", "localhost");
    let second = NodeProcess::start(Start::new("second", directory.path(), &[seed]));
    let nodes = [first, second];
    let clients = clients(&nodes);
    clients[1].put_kv("by", "name").await.expect("acknowledged");
    all_agree(&clients).await;
    same_bytes(&clients, "/v1/kv/by").await;
}

/// Two nodes that were joined and know the same contacts.
async fn know_each_other(directory: &Path) -> (NodeProcess, NodeProcess, Known) {
    let home = NodeProcess::start(Start::new("home", directory, &[]));
    let ship = NodeProcess::start(Start::new("ship", directory, &[home.seed()]));
    let client = NodeClient::new(home.url());
    let known = Known {
        different: create(&client, json!({ "name": "Different fields" })).await,
        same: create(&client, json!({ "name": "Same field", "title": "Mate" })).await,
        revived: create(&client, json!({ "name": "Deleted at home" })).await,
        deleted: create(&client, json!({ "name": "Deleted for good" })).await,
    };
    client.increment("cargo", 10).await.expect("acknowledged");
    all_agree(&[client, NodeClient::new(ship.url())]).await;
    (home, ship, known)
}

async fn edit_apart(at_home: &NodeClient, at_sea: &NodeClient, known: &Known) {
    patch(at_home, &known.different, json!({ "title": "Captain" })).await;
    patch(
        at_sea,
        &known.different,
        json!({ "note": "Knows the reef" }),
    )
    .await;
    patch(at_home, &known.same, json!({ "title": "Captain" })).await;
    patch(at_sea, &known.same, json!({ "title": "Admiral" })).await;
    for id in [&known.revived, &known.deleted] {
        at_home.delete_contact(id).await.expect("acknowledged");
    }
    patch(at_sea, &known.revived, json!({ "note": "Still with us" })).await;
    at_home.increment("cargo", 5).await.expect("acknowledged");
    at_home.decrement("cargo", 3).await.expect("acknowledged");
    at_sea.increment("cargo", 20).await.expect("acknowledged");
    at_sea.decrement("cargo", 7).await.expect("acknowledged");
    at_home
        .put_kv("notice", "home")
        .await
        .expect("acknowledged");
    at_sea.put_kv("notice", "sea").await.expect("acknowledged");
}

/// Starts a node again on other ports and without seeds.
fn alone(stopped: Start) -> NodeProcess {
    NodeProcess::start(Start {
        http: "127.0.0.1:0".to_owned(),
        peer: "127.0.0.1:0".to_owned(),
        seeds: Vec::new(),
        ..stopped
    })
}

async fn create(node: &NodeClient, contact: Value) -> String {
    node.create_contact(contact).await.expect("acknowledged")
}

async fn patch(node: &NodeClient, id: &str, patch: Value) {
    node.patch_contact(id, patch).await.expect("acknowledged");
}
