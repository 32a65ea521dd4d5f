//! What the cluster looks like from here, as the layers above ask for it.

use std::time::Duration;

use grapevine_crdt::ReplicaId;

use crate::model::Root;

/// The answering node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// The cluster it belongs to.
    pub cluster: String,
    /// The life under which it writes; `None` before its first write.
    pub replica: Option<ReplicaId>,
    /// Where it serves HTTP (`host:port`).
    pub http: String,
    /// Where it listens for peers (`host:port`).
    pub peer: String,
    /// The hash over everything it holds.
    pub root: Root,
    /// How long it has been running.
    pub uptime: Duration,
}

/// A member of the roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its name.
    pub name: String,
    /// The life it writes under.
    pub replica: ReplicaId,
    /// Where it serves HTTP (`host:port`).
    pub http: String,
    /// Where it listens for peers (`host:port`).
    pub peer: String,
    /// Whether gossip or a connection says that it runs. The answering node is alive.
    pub alive: bool,
    /// Whether everything it holds is what we hold, by the root it last told.
    pub agrees: bool,
    /// How many writes that we hold it lacked when it last told; `None` if it never told.
    pub lag: Option<u64>,
    /// How long ago it was last heard of; `None` if never since this node started.
    pub last_heard: Option<Duration>,
}

/// Tells what the cluster looks like from here.
#[async_trait::async_trait]
pub trait ClusterView: Send + Sync + 'static {
    /// This node.
    fn node(&self) -> NodeStatus;

    /// All members, this node among them, in the order of their names.
    async fn members(&self) -> Vec<MemberStatus>;

    /// Waits until every live member agrees with this node, `wait` at most; else the live members that do
    /// not. Without peers it is true at once.
    async fn converged(&self, wait: Duration) -> Result<(), Vec<MemberStatus>>;

    /// Asks every peer at once what it has, and fetches what is missing here. Waits for nothing.
    fn ask_peers(&self);
}
