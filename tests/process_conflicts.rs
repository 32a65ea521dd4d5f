//! The danger: of edits to one field made apart all but one vanish, or each node tells of others, or a conflict
//! that was settled comes back.

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use support::{
    client::NodeClient,
    cluster::{all_agree, clients, joined, same_bytes},
    process::{NodeProcess, Start},
};

#[tokio::test(flavor = "multi_thread")]
async fn after_a_split_every_node_lists_the_same_conflicts_and_one_choice_settles_them() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let nodes = joined(directory.path(), &["ann", "bob", "cat"]).await;
    let first = &clients(&nodes)[0];
    let phones = json!([{"id": "home", "number": "1"}]);
    let contact = json!({"name": "Ada", "note": "known", "phones": phones});
    let id = first.create_contact(contact).await.expect("acknowledged");
    all_agree(&clients(&nodes)).await;

    // Each goes on alone, on other ports than the others remember.
    let stopped: Vec<Start> = nodes.into_iter().map(NodeProcess::terminate).collect();
    let mut nodes: Vec<NodeProcess> = stopped.into_iter().map(alone).collect();
    for (number, node) in clients(&nodes).iter().enumerate() {
        let note = json!({"note": format!("note {number}")});
        node.patch_contact(&id, note).await.expect("acknowledged");
    }
    let [ann, bob, _] = three(&nodes);
    let phones = json!({"phones": [{"id": "home", "number": "9"}]});
    ann.patch_contact(&id, phones).await.expect("acknowledged");
    let phones = json!({"phones": [{"id": "home", "number": "2"}]});
    bob.patch_contact(&id, phones).await.expect("acknowledged");

    let seeds: Vec<String> = nodes.iter().map(NodeProcess::seed).collect();
    nodes.push(NodeProcess::start(Start::new(
        "dan",
        directory.path(),
        &seeds,
    )));
    let clients = clients(&nodes);
    all_agree(&clients).await;
    let of_contact = format!("/v1/contacts/{id}/conflicts");
    let listed = same_bytes(&clients, &of_contact).await;
    let listed: Value = serde_json::from_slice(&listed).expect("JSON");
    let items = listed["items"].as_array().expect("items");
    let overall = same_bytes(&clients, "/v1/conflicts").await;
    let overall: Value = serde_json::from_slice(&overall).expect("JSON");
    assert_eq!(overall["items"], listed["items"]);
    let told: Vec<(&str, &Value, &Value)> = items
        .iter()
        .map(|item| {
            (
                item["field"].as_str().expect("text"),
                &item["value"],
                &item["shown"]["value"],
            )
        })
        .collect();
    let two = json!("note 2");
    let phone = |number: &str| json!({"label": null, "number": number});
    assert_eq!(
        told,
        [
            ("note", &json!("note 1"), &two),
            ("note", &json!("note 0"), &two),
            ("phones", &phone("9"), &phone("2")),
        ]
    );
    assert_eq!(items[0]["node"], "bob");
    assert_eq!(items[1]["node"], "ann");
    assert_eq!(items[0]["shown"]["node"], "cat");
    for node in &clients {
        assert_eq!(
            node.contact(&id).await.expect("it is there")["conflicts"],
            3
        );
    }

    let chosen = items[1]["id"].as_str().expect("text");
    let choose = format!("{of_contact}/{chosen}/choose");
    let contact = clients[2].json(Method::POST, &choose, None).await;
    assert_eq!(contact.expect("acknowledged")["note"], "note 0");
    all_agree(&clients).await;
    for node in &clients {
        let contact = node.contact(&id).await.expect("it is there");
        assert_eq!(
            (&contact["note"], &contact["conflicts"]),
            (&json!("note 0"), &json!(1))
        );
    }
    same_bytes(&clients, &of_contact).await;
}

fn three(nodes: &[NodeProcess]) -> [NodeClient; 3] {
    clients(nodes).try_into().expect("there are three")
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
