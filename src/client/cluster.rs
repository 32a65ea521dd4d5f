//! The cluster: who is a member, and whether all agree.

use std::time::Duration;

use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    call::{Call, escaped},
    client::Client,
    error::ClientError,
    problem::ProblemKind,
};

/// How much longer than the node may wait its answer may take.
const WAIT_MARGIN: Duration = Duration::from_secs(10);

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// The cluster that it belongs to.
    pub cluster: String,
    /// Where it serves HTTP.
    pub http: Option<String>,
    /// Where it listens for peers.
    pub peer: Option<String>,
    /// Why it takes no writes, if its clock is off.
    pub clock_fault: Option<String>,
    /// How long it has been running.
    pub uptime_ms: u64,
    /// What it runs.
    pub version: String,
    /// What else it says.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// What a node says of a member, itself among them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The life of it that the node knows.
    pub replica: String,
    /// Where it serves HTTP.
    pub http: Option<String>,
    /// Where it listens for peers.
    pub peer: Option<String>,
    /// Whether it is heard of.
    pub alive: bool,
    /// Whether all its data are as the node's.
    pub agrees: bool,
    /// How many writes that the node holds it lacked when it last told.
    pub lag: Option<u64>,
    /// How long ago it was heard of.
    pub last_heard_ms: Option<u64>,
    /// How far its clock is ahead of the node's.
    pub clock_offset_ms: Option<i64>,
    /// What else is said of it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The cluster as one node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClusterStatus {
    /// The node that answers.
    pub node: NodeStatus,
    /// All members.
    pub members: Vec<Member>,
    /// What else it says: who is refused, what is collected, what differs, alarms.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The cluster behind a client.
#[derive(Clone, Copy, Debug)]
pub struct ClusterOf<'a>(&'a Client);

impl<'a> ClusterOf<'a> {
    pub(super) const fn of(client: &'a Client) -> Self {
        Self(client)
    }

    /// The cluster as the node that answers sees it.
    pub async fn status(&self) -> Result<ClusterStatus, ClientError> {
        self.0.send(Call::get("/v1/cluster")).await?.json()
    }

    /// Waits until all live members agree with the node that answers, as long as `wait` (60 s at most). Yields the
    /// names of those who do not.
    pub async fn converged(&self, wait: Duration) -> Result<Vec<String>, ClientError> {
        let mut call = Call::get("/v1/cluster/convergence")
            .parameter("wait", &format!("{}ms", wait.as_millis()));
        call.timeout = Some(wait + WAIT_MARGIN);
        match self.0.send(call).await {
            Ok(_) => Ok(Vec::new()),
            Err(ClientError::Problem(problem)) if problem.kind == ProblemKind::NotConverged => {
                let disagreeing = problem.body["disagreeing"].as_array();
                Ok(disagreeing
                    .into_iter()
                    .flatten()
                    .map(|member| member["name"].as_str().unwrap_or("?").to_owned())
                    .collect())
            }
            Err(error) => Err(error),
        }
    }

    /// Lets the node that answers leave the cluster for good, once the live members hold all that it holds; `wait` at
    /// most (60 s). Of a client of several nodes nobody knows which leaves: use one of a single node.
    pub async fn leave(&self, wait: Duration) -> Result<(), ClientError> {
        let path = "/v1/cluster/leave".to_owned();
        let mut call =
            Call::new(Method::POST, path).parameter("wait", &format!("{}ms", wait.as_millis()));
        call.timeout = Some(wait + WAIT_MARGIN);
        self.0.send(call).await.map(drop)
    }

    /// Takes the member whose life is `replica` off the roster: it will not come back.
    pub async fn forget(&self, replica: &str) -> Result<(), ClientError> {
        let path = format!("/v1/cluster/members/{}", escaped(replica));
        self.0.send(Call::new(Method::DELETE, path)).await.map(drop)
    }
}
