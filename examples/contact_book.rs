//! A contact book over HTTP, with the client for Rust: what a program does that knows some nodes of a cluster.
//!
//! `cargo run --example contact_book` starts a node of its own with a temporary directory;
//! `cargo run --example contact_book -- http://127.0.0.1:7801 http://127.0.0.1:7802` uses those that run, the next when
//! one is down, and removes what it added.

use std::{env, error::Error, net::SocketAddr};

use grapevine::{
    client::{Client, ClientOptions, Condition, ContactDraft, Email, Phone},
    config::NodeConfig,
    node::Node,
};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nodes: Vec<String> = env::args().skip(1).collect();
    if !nodes.is_empty() {
        return keep_contacts(&client(&nodes)?).await;
    }
    let directory = tempfile::tempdir()?;
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = NodeConfig::new("book", directory.path().join("book"), free, free);
    let node = Node::start(config).await?;
    let result = keep_contacts(&client(&[format!("http://{}", node.http_addr())])?).await;
    node.shutdown().await;
    result
}

fn client(nodes: &[String]) -> Result<Client, Box<dyn Error>> {
    let mut options = ClientOptions::default();
    for node in nodes {
        options = options.node(node)?;
    }
    Ok(options.connect()?)
}

async fn keep_contacts(client: &Client) -> Result<(), Box<dyn Error>> {
    let contacts = client.contacts();

    println!("Add three contacts through {}", client.ping().await?);
    let mut ids = Vec::new();
    for contact in three() {
        // Asked again through another node if no answer comes, it is still made once.
        let made = contacts.create(&contact).await?;
        println!("  {} is {}", made.fields.name, made.id);
        ids.push(made.id);
    }

    println!("Edit one: a title is set, a note is taken away, the rest stays");
    let patch = json!({ "title": "Captain", "note": null });
    let before = contacts.get(&ids[2]).await?;
    let edited = contacts.patch(&ids[2], &patch, &before.unchanged()).await?;
    let fields = &edited.value.fields;
    println!(
        "  {}: title {:?}, note {:?}",
        fields.name, fields.title, fields.note
    );

    println!("Whoever edits what has changed in the meantime hears of it");
    let late = contacts.patch(&ids[2], &patch, &before.unchanged()).await;
    if let Err(error) = late {
        println!("  {error}");
    }
    let unconditional = contacts.patch(&ids[2], &patch, &Condition::None).await?;
    println!("  title {:?}", unconditional.value.fields.title);

    println!("Read one");
    let minh = contacts.get(&ids[0]).await?.value;
    println!("  {}: {}", minh.fields.name, minh.fields.phones[0].number);

    println!("List all, page by page");
    let mut all = contacts.list();
    while let Some(contact) = all.next().await? {
        println!("  {}", contact.fields.name);
    }

    println!("Remove them again");
    for id in &ids {
        contacts.delete(id).await?;
        let gone = contacts.get(id).await;
        let gone = gone.is_err_and(|error| error.is_not_found());
        println!("  {id}: {}", if gone { "gone" } else { "still there" });
    }
    Ok(())
}

fn three() -> [ContactDraft; 3] {
    [
        ContactDraft {
            name: "Nguyễn Thị Minh".to_owned(),
            organization: Some("Harbour Office".to_owned()),
            phones: vec![Phone {
                label: Some("work".to_owned()),
                number: "+84 24 3825 0000".to_owned(),
                ..Phone::default()
            }],
            emails: vec![Email {
                label: Some("work".to_owned()),
                address: "minh@harbour.example".to_owned(),
                ..Email::default()
            }],
            ..ContactDraft::default()
        },
        ContactDraft {
            name: "Ada Byron".to_owned(),
            title: Some("Analyst".to_owned()),
            groups: vec!["friends".to_owned()],
            ..ContactDraft::default()
        },
        ContactDraft {
            name: "Joshua Slocum".to_owned(),
            note: Some("Sails alone".to_owned()),
            ..ContactDraft::default()
        },
    ]
}
