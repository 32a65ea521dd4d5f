//! Three nodes that find each other through a seed: what is written on one is read on the others.
//!
//! `cargo run --example seed_join`

use std::{
    error::Error,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use grapevine::{config::NodeConfig, node::Node};
use reqwest::Client;
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let first = start("first", directory.path(), vec![]).await?;
    // Everyone else needs one address to find everybody.
    let seed = first.peer_addr().to_string();
    let second = start("second", directory.path(), vec![seed.clone()]).await?;
    let third = start("third", directory.path(), vec![seed]).await?;
    let nodes = [first, second, third];
    let urls: Vec<String> = nodes
        .iter()
        .map(|node| format!("http://{}", node.http_addr()))
        .collect();

    let result = use_cluster(&urls).await;
    for node in nodes {
        node.shutdown().await;
    }
    result
}

async fn start(name: &str, directory: &Path, seeds: Vec<String>) -> Result<Node, Box<dyn Error>> {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = NodeConfig::new(name, directory.join(name), free, free);
    config.seeds = seeds;
    Ok(Node::start(config).await?)
}

async fn use_cluster(urls: &[String]) -> Result<(), Box<dyn Error>> {
    let http = Client::new();
    let started = Instant::now();
    for url in urls {
        everybody_is_there(&http, url, urls.len()).await?;
    }
    println!("All see all after {:?}", started.elapsed());

    let key = "/v1/kv/greeting";
    http.put(format!("{}{key}", urls[0]))
        .header("content-type", "text/plain")
        .body("hello from the first")
        .send()
        .await?
        .error_for_status()?;
    for url in urls {
        http.post(format!("{url}/v1/counters/visits/increment"))
            .send()
            .await?
            .error_for_status()?;
    }
    for url in urls {
        // Answers as soon as all live members agree with this one.
        http.get(format!("{url}/v1/cluster/convergence?wait=10s"))
            .send()
            .await?
            .error_for_status()?;
        let greeting = http.get(format!("{url}{key}")).send().await?.text().await?;
        let visits: Value = http
            .get(format!("{url}/v1/counters/visits"))
            .send()
            .await?
            .json()
            .await?;
        println!("{url} says {greeting:?} and counts {}", visits["value"]);
    }
    Ok(())
}

/// Asks a node for its members until all of them live.
async fn everybody_is_there(http: &Client, url: &str, count: usize) -> Result<(), Box<dyn Error>> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        let cluster: Value = http
            .get(format!("{url}/v1/cluster"))
            .send()
            .await?
            .json()
            .await?;
        let members = cluster["members"].as_array().into_iter().flatten();
        if members.filter(|member| member["alive"] == true).count() == count {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(format!("{url} does not see {count} members").into())
}
