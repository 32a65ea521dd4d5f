//! A contact book over HTTP: what any program in any language would do with a node.
//!
//! `cargo run --example contact_book` starts a node of its own with a temporary directory;
//! `cargo run --example contact_book -- http://127.0.0.1:7801` uses one that runs, and removes what it added.

use std::{env, error::Error, net::SocketAddr};

use grapevine::{config::NodeConfig, node::Node};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if let Some(url) = env::args().nth(1) {
        return keep_contacts(url.trim_end_matches('/')).await;
    }
    let directory = tempfile::tempdir()?;
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = NodeConfig::new("book", directory.path().join("book"), free, free);
    let node = Node::start(config).await?;
    let result = keep_contacts(&format!("http://{}", node.http_addr())).await;
    node.shutdown().await;
    result
}

async fn keep_contacts(node: &str) -> Result<(), Box<dyn Error>> {
    let http = Client::new();
    let contacts = format!("{node}/v1/contacts");

    println!("Add three contacts to {node}");
    let mut ids = Vec::new();
    for contact in [
        json!({
            "name": "Nguyễn Thị Minh",
            "organization": "Harbour Office",
            "phones": [{ "label": "work", "number": "+84 24 3825 0000" }],
            "emails": [{ "label": "work", "address": "minh@harbour.example" }],
        }),
        json!({ "name": "Ada Byron", "title": "Analyst", "groups": ["friends"] }),
        json!({ "name": "Joshua Slocum", "note": "Sails alone" }),
    ] {
        let made = answer(http.post(&contacts).json(&contact)).await?;
        let id = made["id"].as_str().ok_or("a contact without an id")?;
        println!("  {} is {id}", made["name"]);
        ids.push(id.to_owned());
    }

    println!("Edit one: a title is set, a note is taken away, the rest stays");
    let patch = json!({ "title": "Captain", "note": null });
    let request = http
        .patch(format!("{contacts}/{}", ids[2]))
        .header("content-type", "application/merge-patch+json")
        .body(patch.to_string());
    let edited = answer(request).await?;
    println!(
        "  {}: title {}, note {}",
        edited["name"], edited["title"], edited["note"]
    );

    println!("Read one");
    let minh = answer(http.get(format!("{contacts}/{}", ids[0]))).await?;
    println!("  {}: {}", minh["name"], minh["phones"][0]["number"]);

    println!("List all, page by page");
    let mut cursor: Option<String> = None;
    loop {
        let mut request = http.get(&contacts).query(&[("limit", "2")]);
        if let Some(cursor) = &cursor {
            request = request.query(&[("cursor", cursor)]);
        }
        let page = answer(request).await?;
        for contact in page["items"].as_array().into_iter().flatten() {
            println!("  {}", contact["name"]);
        }
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }

    println!("Remove them again");
    for id in &ids {
        let url = format!("{contacts}/{id}");
        http.delete(&url).send().await?.error_for_status()?;
        let gone = http.get(&url).send().await?;
        println!("  {id}: {}", gone.status());
    }
    Ok(())
}

/// Sends a request; an answer that is no success is an error that says what the node says.
async fn answer(request: RequestBuilder) -> Result<Value, Box<dyn Error>> {
    let response = request.send().await?;
    let status = response.status();
    let body: Value = response.json().await?;
    if status.is_success() {
        return Ok(body);
    }
    Err(format!("{status}: {body}").into())
}
