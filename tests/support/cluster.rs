//! Several nodes: joined through the first as seed, and asked whether they agree.

use std::path::Path;

use serde_json::Value;

use super::{
    client::{NodeClient, Refused},
    process::{NodeProcess, Start},
    wait::until,
};

/// Starts a node for each name, joined through the first, and waits until each sees all.
pub async fn joined(directory: &Path, names: &[&str]) -> Vec<NodeProcess> {
    let mut nodes: Vec<NodeProcess> = Vec::new();
    for name in names {
        let seeds: Vec<String> = nodes.first().map(NodeProcess::seed).into_iter().collect();
        nodes.push(NodeProcess::start(Start::new(name, directory, &seeds)));
    }
    all_see_all(&clients(&nodes)).await;
    nodes
}

/// A client for each.
pub fn clients(nodes: &[NodeProcess]) -> Vec<NodeClient> {
    nodes
        .iter()
        .map(|node| NodeClient::new(node.url()))
        .collect()
}

/// Waits until every node says that as many members live as there are nodes.
pub async fn all_see_all(nodes: &[NodeClient]) {
    for node in nodes {
        until("member of every node", async || {
            let cluster = node.get("/v1/cluster").await?;
            if alive(&cluster).count() == nodes.len() {
                return Ok(());
            }
            Err(Refused(cluster.to_string()))
        })
        .await;
    }
}

/// Waits until every node sees all, and says that all agree with it. A node that sees nobody agrees with
/// everybody it sees, so convergence alone is not enough.
pub async fn all_agree(nodes: &[NodeClient]) {
    for node in nodes {
        until("agreement of all", async || {
            node.get("/v1/cluster/convergence?wait=5s").await?;
            let cluster = node.get("/v1/cluster").await?;
            let agreeing = alive(&cluster)
                .filter(|member| member["agrees"] == true)
                .count();
            if agreeing == nodes.len() && alive(&cluster).count() == nodes.len() {
                return Ok(());
            }
            Err(Refused(cluster.to_string()))
        })
        .await;
    }
}

/// Asserts that all nodes answer this path with the same bytes, and yields them.
pub async fn same_bytes(nodes: &[NodeClient], path: &str) -> Vec<u8> {
    let mut answers = Vec::new();
    for node in nodes {
        let bytes = node
            .bytes(reqwest::Method::GET, path, None)
            .await
            .expect("every node answers");
        answers.push(bytes);
    }
    for answer in &answers[1..] {
        assert_eq!(
            String::from_utf8_lossy(answer),
            String::from_utf8_lossy(&answers[0]),
            "nodes differ on {path}"
        );
    }
    answers.swap_remove(0)
}

/// The members that live, as an answer of `/v1/cluster` tells them.
fn alive(cluster: &Value) -> impl Iterator<Item = &Value> {
    cluster["members"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|member| member["alive"] == true)
}
