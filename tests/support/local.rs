//! Nodes inside the test's own process, and addresses where none answers.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
};

use grapevine::{config::NodeConfig, node::Node};
use tokio::{io::AsyncReadExt as _, task::JoinHandle};

/// Starts a node on free ports with its data in `parent/name`, joined through `seeds`.
pub async fn node(parent: &Path, name: &str, seeds: &[&Node]) -> Node {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = NodeConfig::new(name, parent.join(name), free, free);
    let cluster = parent.file_name().expect("it has a name");
    config.cluster = cluster
        .to_string_lossy()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    config.seeds = seeds
        .iter()
        .map(|seed| seed.peer_addr().to_string())
        .collect();
    Node::start(config).await.expect("the node starts")
}

/// Where a node serves.
pub fn url(node: &Node) -> String {
    format!("http://{}", node.http_addr())
}

/// Where nobody listens.
pub fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    format!("http://{}", listener.local_addr().expect("it is bound"))
}

/// Where requests are taken and no answer comes: the connection is closed, or with `silent` it is left open.
#[derive(Debug)]
pub struct Mute {
    pub url: String,
    accepting: JoinHandle<()>,
}

impl Mute {
    pub async fn start(silent: bool) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("there is a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let accepting = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut request = [0; 4_096];
                let _read = connection.read(&mut request).await;
                if silent {
                    held.push(connection);
                }
            }
        });
        Self { url, accepting }
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
