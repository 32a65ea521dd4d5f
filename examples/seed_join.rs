//! Three nodes that find each other through a seed: what is written on one is read on the others.
//!
//! `cargo run --example seed_join`

use std::{
    error::Error,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use grapevine::{
    client::{Client, ClientOptions},
    config::NodeConfig,
    node::Node,
};

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
    // A client for each, so that it is known who answers; one client of all would ask the next when one is down.
    let clients = urls
        .iter()
        .map(|url| ClientOptions::default().node(url)?.connect())
        .collect::<Result<Vec<_>, _>>()?;
    let started = Instant::now();
    for client in &clients {
        everybody_is_there(client, urls.len()).await?;
    }
    println!("All see all after {:?}", started.elapsed());

    let greeting = "hello from the first";
    clients[0]
        .kv()
        .put("greeting", "text/plain", greeting)
        .await?;
    for client in &clients {
        client.counters().increment("visits", 1).await?;
    }
    for (client, url) in clients.iter().zip(urls) {
        // Answers as soon as all live members agree with this one.
        let disagreeing = client.cluster().converged(Duration::from_secs(10)).await?;
        if !disagreeing.is_empty() {
            return Err(format!("{url} and {disagreeing:?} do not agree").into());
        }
        let greeting = client.kv().get("greeting").await?;
        let greeting = greeting.ok_or("there is no greeting")?.value;
        let visits = client.counters().get("visits").await?.value;
        println!(
            "{url} says {:?} and counts {}",
            greeting.bytes, visits.value
        );
    }
    Ok(())
}

/// Asks a node for its members until all of them live.
async fn everybody_is_there(client: &Client, count: usize) -> Result<(), Box<dyn Error>> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        let status = client.cluster().status().await?;
        let alive = status.members.iter().filter(|member| member.alive);
        if alive.count() == count {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(format!("a node does not see {count} members").into())
}
