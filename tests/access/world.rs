//! A node, or several, and requests with tokens.

use std::net::SocketAddr;

use grapevine::{config::NodeConfig, node::Node};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::local;

/// Some nodes of one cluster.
pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) http: Client,
    _directory: TempDir,
}

impl World {
    /// So many nodes, joined.
    pub(crate) async fn of(count: usize) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut nodes: Vec<Node> = Vec::new();
        for number in 0..count {
            let seeds: Vec<&Node> = nodes.first().into_iter().collect();
            let name = format!("node-{number}");
            nodes.push(local::node(directory.path(), &name, &seeds).await);
        }
        Self::with(nodes, directory)
    }

    /// One node, as `set` sets it.
    pub(crate) async fn set(set: impl FnOnce(&mut NodeConfig)) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = NodeConfig::new("alone", directory.path().join("alone"), free, free);
        set(&mut config);
        let node = Node::start(config).await.expect("the node starts");
        Self::with(vec![node], directory)
    }

    fn with(nodes: Vec<Node>, directory: TempDir) -> Self {
        let http = Client::builder().no_proxy().build();
        Self {
            nodes,
            http: http.expect("a client needs nothing from outside"),
            _directory: directory,
        }
    }

    /// A request to the node with this number.
    pub(crate) fn ask(&self, node: usize, token: &str, method: &str, path: &str) -> RequestBuilder {
        let port = self.nodes[node].http_addr().port();
        let method = method.parse().expect("a method");
        let request = self
            .http
            .request(method, format!("http://127.0.0.1:{port}{path}"));
        if token.is_empty() {
            request
        } else {
            request.bearer_auth(token)
        }
    }

    /// The status of a request to the first node.
    pub(crate) async fn status(&self, token: &str, method: &str, path: &str) -> u16 {
        sent(self.ask(0, token, method, path))
            .await
            .status()
            .as_u16()
    }

    /// The first token, made on the first node.
    pub(crate) async fn first(&self) -> String {
        let made = sent(self.ask(0, "", "POST", "/v1/tokens/first")).await;
        token_of(&told(made, 201).await)
    }

    /// A token as `draft` says.
    pub(crate) async fn token(&self, admin: &str, draft: Value) -> Value {
        let made = self.ask(0, admin, "POST", "/v1/tokens").json(&draft);
        told(sent(made).await, 201).await
    }

    /// A token for `role`, limited to the keys of `collection` that begin with `prefix`.
    pub(crate) async fn limited(
        &self,
        admin: &str,
        role: &str,
        collection: &str,
        prefix: &str,
    ) -> String {
        let draft = json!({"role": role, "collection": collection, "prefix": prefix});
        token_of(&self.token(admin, draft).await)
    }
}

pub(crate) fn token_of(made: &Value) -> String {
    made["token"].as_str().expect("it is told").to_owned()
}

pub(crate) async fn sent(request: RequestBuilder) -> Response {
    request.send().await.expect("the node answers")
}

/// The JSON of an answer that must have `status`.
pub(crate) async fn told(response: Response, status: u16) -> Value {
    let actual = response.status().as_u16();
    let text = response.text().await.expect("it is text");
    assert_eq!(actual, status, "{text}");
    serde_json::from_str(&text).unwrap_or_default()
}
