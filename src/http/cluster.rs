//! `/v1/cluster`: who is a member, and whether they agree.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use grapevine_crdt::Timestamp;
use serde_json::{Value, json};

use super::{
    HttpState,
    body::json,
    problem::{Problem, ProblemKind},
    query::Parameters,
};
use crate::{
    cluster::{MemberStatus, NodeStatus, RefusedStatus},
    model::rfc3339,
};

/// The longest that a request may wait for agreement.
pub(super) const MAX_CONVERGENCE_WAIT: Duration = Duration::from_secs(60);

pub(super) async fn get(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    Parameters::read(request.uri(), &[])?;
    let members: Vec<Value> = state.cluster.members().await.iter().map(member).collect();
    let refused: Vec<Value> = state.cluster.refused().iter().map(refused).collect();
    let body = json!({
        "node": node(&state.cluster.node(), state.cluster.clock_fault().as_deref()),
        "members": members,
        "refused": refused,
    });
    json(StatusCode::OK, &body)
}

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
        "replica": peer.replica.to_string(),
        "address": peer.address,
        "reason": peer.reason,
        "offset_ms": peer.offset_ms,
        "since": rfc3339(Timestamp::from_unix_ms(peer.since_unix_ms)),
    })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
