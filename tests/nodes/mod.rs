//! Nodes in this process, on free ports of loopback, and waiting for what they come to.

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub(crate) mod stranger;

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use grapevine::{
    cluster::MemberStatus,
    config::NodeConfig,
    model::{Collection, EntityId, Root},
    node::Node,
    store::Store,
};
use grapevine_crdt::{CausalContext, Cell, FieldCell, FieldKey, Rank, Value};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// How long a test waits for what must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

const FIELD: &str = "value";

/// A directory per node, gone with the test.
pub(crate) struct Site {
    directory: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The settings of a node on free ports.
    pub(crate) fn config(&self, name: &str, seeds: &[&Node]) -> NodeConfig {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = NodeConfig::new(name, self.data(name), free, free);
        config.seeds = seeds
            .iter()
            .map(|seed| seed.peer_addr().to_string())
            .collect();
        config
    }

    pub(crate) async fn start(&self, name: &str, seeds: &[&Node]) -> Node {
        start(self.config(name, seeds)).await
    }
}

pub(crate) async fn start(config: NodeConfig) -> Node {
    Node::start(config).await.expect("the node starts")
}

/// Waits until `condition` yields something; tells `what` if it does not in time.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(crate) async fn put(store: &Store, key: &str, value: &[u8]) {
    let id = EntityId::new(Collection::Kv, key).expect("a good key");
    let value = value.to_vec();
    store
        .write(id, move |edit| {
            let cell = Cell {
                rank: Rank::at(edit.time),
                dot: edit.dot,
                seen: CausalContext::default(),
                value: Value::Bytes(value),
            };
            let field = FieldKey::Register(FIELD.to_owned());
            Ok::<_, Infallible>((vec![FieldCell { field, cell }], ()))
        })
        .await
        .expect("the write is durable");
}

/// Many writes that share commits.
pub(crate) async fn put_many(store: &Store, keys: impl Iterator<Item = String>, value: &[u8]) {
    const WRITERS: usize = 256;
    let mut writers = JoinSet::new();
    for key in keys {
        if writers.len() >= WRITERS {
            writers
                .join_next()
                .await
                .expect("there are some")
                .expect("it wrote");
        }
        let (store, value) = (store.clone(), value.to_vec());
        writers.spawn(async move { put(&store, &key, &value).await });
    }
    writers.join_all().await;
}

pub(crate) fn get(store: &Store, key: &str) -> Option<Vec<u8>> {
    let id = EntityId::new(Collection::Kv, key).expect("a good key");
    let entity = store.snapshot().entity(&id).expect("it can be read")?;
    let field = entity.field(&FieldKey::Register(FIELD.to_owned()))?;
    field.shown().bytes().map(<[u8]>::to_vec)
}

pub(crate) fn root(node: &Node) -> Root {
    node.store().snapshot().state().root()
}

/// Waits until all hold the same.
pub(crate) async fn all_equal(nodes: &[&Node]) {
    eventually("equal roots", async || {
        let first = root(nodes[0]);
        nodes.iter().all(|node| root(node) == first).then_some(())
    })
    .await;
}

/// Waits until `node` sees exactly `names`, all alive.
pub(crate) async fn sees_alive(node: &Node, names: &[&str]) -> Vec<MemberStatus> {
    eventually("members that are alive", async || {
        let members = node.cluster().members().await;
        let found: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
        (found == names && members.iter().all(|member| member.alive)).then_some(members)
    })
    .await
}
