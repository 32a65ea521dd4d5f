//! `/v1/cluster`: who is a member, and whether they agree.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use grapevine_crdt::{ReplicaId, Timestamp};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    HttpState,
    body::json,
    problem::{Problem, ProblemKind, path_text},
    query::Parameters,
};
use crate::{
    cluster::{
        BlockedWhy, Blocker, Collection, Divergence, ForgetError, MemberStatus, NodeStatus,
        RefusedStatus,
    },
    model::rfc3339,
};

/// The longest that a request may wait for agreement.
pub(super) const MAX_CONVERGENCE_WAIT: Duration = Duration::from_secs(60);

/// The cluster
///
/// This node, the members and how far they are, and what is wrong.
#[utoipa::path(get, path = "/v1/cluster", tag = "cluster", operation_id = "getCluster",
    responses((status = 200, description = "As this node sees it", body = ClusterShown)))]
pub(super) async fn get(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    Parameters::read(request.uri(), &[])?;
    let members: Vec<Value> = state.cluster.members().await.iter().map(member).collect();
    let health = state.cluster.health().await;
    let divergences: Vec<Value> = health.divergences.iter().map(divergence).collect();
    let refused: Vec<Value> = state.cluster.refused().iter().map(refused).collect();
    let namesakes = state.cluster.namesakes().await;
    let namesakes: Vec<Value> = namesakes.iter().map(namesake).collect();
    let body = json!({
        "node": node(&state.cluster.node(), state.cluster.clock_fault().as_deref()),
        "members": members,
        "refused": refused,
        "namesakes": namesakes,
        "collection": collection(&health.collection),
        "divergences": divergences,
        "alarms": {
            "damaged": health.alarms.damaged,
            "divergences": health.alarms.divergences,
            "clashes": health.alarms.clashes,
        },
    });
    json(StatusCode::OK, &body)
}

/// Whether all live members agree
#[utoipa::path(get, path = "/v1/cluster/convergence", tag = "cluster", operation_id = "getConvergence",
    params(("wait" = Option<String>, Query, description = "How long to wait for agreement: 500ms, 10s or 1m, at most 60s", example = "10s", pattern = "^[0-9]{1,2}ms$")),
    responses((status = 200, description = "All live members agree", body = Converged, example = json!({"converged": true})), (status = 504, description = "`disagreeing` are those who do not")))]
pub(super) async fn convergence(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let parameters = Parameters::read(request.uri(), &["wait"])?;
    let wait = parameters.duration("wait", MAX_CONVERGENCE_WAIT)?;
    match state.cluster.converged(wait.unwrap_or_default()).await {
        Ok(()) => json(StatusCode::OK, &json!({ "converged": true })),
        Err(members) => {
            let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
            let detail = format!("these do not agree with this node: {}", names.join(", "));
            let disagreeing: Vec<Value> = members.iter().map(member).collect();
            Err(Problem::new(ProblemKind::NotConverged, detail)
                .with("converged", Value::Bool(false))
                .with("disagreeing", Value::Array(disagreeing)))
        }
    }
}

/// Takes a member off the roster that will not come back
#[utoipa::path(delete, path = "/v1/cluster/members/{id}", tag = "cluster", operation_id = "forgetMember",
    params(("id" = String, Path, description = "The replica of the member", example = "01974c2e-8a00-7000-8000-00000000000a", pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")),
    responses((status = 204, description = "It is off the roster"), (status = 404, description = "The roster does not name it"), (status = 409, description = "It is alive")))]
pub(super) async fn forget(
    State(state): State<Arc<HttpState>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    Parameters::read(request.uri(), &[])?;
    let id = path_text("id", path)?;
    let replica = Uuid::parse_str(&id)
        .map_err(|_| Problem::malformed("id", format!("{id:?} is not the replica of a member")))?;
    let replica = ReplicaId::from_bytes(*replica.as_bytes());
    match state.cluster.forget(replica).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(error @ ForgetError::Unknown) => Err(Problem::not_found(error.to_string())),
        Err(error @ ForgetError::Alive) => {
            Err(Problem::new(ProblemKind::Conflict, error.to_string()))
        }
        Err(error @ ForgetError::Roster(_)) => {
            Err(Problem::new(ProblemKind::Unavailable, error.to_string()))
        }
    }
}

fn collection(collection: &Collection) -> Value {
    let blocker = |blocker: &Blocker| {
        json!({
            "name": blocker.name,
            "replica": blocker.replica.to_string(),
            "why": match blocker.why {
                BlockedWhy::Silent => "silent",
                BlockedWhy::Open => "open",
                BlockedWhy::Ahead => "ahead",
                BlockedWhy::Unwarned => "unwarned",
            },
            "blocked_ms": milliseconds(blocker.lasted),
        })
    };
    let blocked_by: Vec<Value> = collection.blocked_by.iter().map(blocker).collect();
    json!({
        "partitions_collected": collection.partitions_collected,
        "garbage": collection.garbage,
        "blocked_by": blocked_by,
    })
}

fn divergence(divergence: &Divergence) -> Value {
    json!({
        "name": divergence.name,
        "replica": divergence.replica.to_string(),
        "partition": divergence.partition,
        "lasted_ms": milliseconds(divergence.lasted),
    })
}

fn node(node: &NodeStatus, clock_fault: Option<&str>) -> Value {
    json!({
        "name": node.name,
        "cluster": node.cluster,
        "replica": node.replica.map(|replica| replica.to_string()),
        "http": node.http,
        "peer": node.peer,
        "root": node.root.to_string(),
        "clock_fault": clock_fault,
        "uptime_ms": milliseconds(node.uptime),
        "version": env!("CARGO_PKG_VERSION"),
    })
}

fn member(member: &MemberStatus) -> Value {
    json!({
        "name": member.name,
        "replica": member.replica.to_string(),
        "http": member.http,
        "peer": member.peer,
        "alive": member.alive,
        "agrees": member.agrees,
        "lag": member.lag,
        "last_heard_ms": member.last_heard.map(milliseconds),
        "clock_offset_ms": member.clock_offset_ms,
    })
}

fn refused(peer: &RefusedStatus) -> Value {
    json!({
        "name": peer.name,
        "replica": peer.replica.map(|replica| replica.to_string()),
        "address": peer.address,
        "reason": peer.reason,
        "offset_ms": peer.offset_ms,
        "since": rfc3339(Timestamp::from_unix_ms(peer.since_unix_ms)),
    })
}

fn namesake((name, replicas): (&String, &BTreeSet<ReplicaId>)) -> Value {
    let replicas: Vec<String> = replicas.iter().map(ToString::to_string).collect();
    json!({ "name": name, "replicas": replicas })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A member.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `member` tells")]
struct MemberShown {
    name: String,
    replica: String,
    http: Value,
    peer: Value,
    alive: bool,
    /// Whether all data is the same, by digest.
    agrees: bool,
    /// How many writes that this node holds it lacked when it last told; null if it never did.
    lag: Option<u64>,
    last_heard_ms: Option<u64>,
    /// How far its clock is ahead; null without a link.
    clock_offset_ms: Option<i64>,
}

/// The answering node.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `node` tells")]
struct NodeShown {
    name: String,
    cluster: String,
    /// Null until it writes.
    replica: Option<String>,
    http: Value,
    peer: Value,
    /// The hash of all its data.
    root: String,
    /// Why it takes no writes, if its clock is off.
    clock_fault: Option<String>,
    uptime_ms: u64,
    version: String,
}

/// The cluster as one node sees it.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `get` tells")]
struct ClusterShown {
    node: NodeShown,
    members: Vec<MemberShown>,
    /// Peers that this node does not talk to, and why.
    refused: Vec<Value>,
    /// Names that more than one node uses, with the members that do.
    namesakes: Vec<Value>,
    /// What holds up that what was deleted goes for good.
    #[schema(value_type = Object)]
    collection: Value,
    /// What differs from a member although both took in the same writes.
    divergences: Vec<Value>,
    #[schema(value_type = Object)]
    alarms: Value,
}

/// That all live members agree.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `convergence` tells")]
struct Converged {
    converged: bool,
}
