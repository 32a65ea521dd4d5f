//! `POST /v1/cluster/leave`: the answering node leaves its cluster for good.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use serde_json::json as object;
use utoipa::ToSchema;

use super::{
    HttpState,
    body::{json, read_json},
    counters::only_fields,
    describe::Nothing,
    problem::{Problem, ProblemKind},
    query::Parameters,
};
use crate::cluster::LeaveError;

/// The longest that leaving may wait for the live members.
pub(super) const MAX_LEAVE_WAIT: Duration = Duration::from_secs(60);
const DEFAULT_WAIT: Duration = Duration::from_secs(10);

/// That the node has left.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `post` tells")]
struct Left {
    left: bool,
}

/// Lets the answering node leave the cluster for good
///
/// It takes no more writes, waits until the live members hold all that it holds, takes its entry off the roster and takes
/// part no longer; reads go on until it is stopped. Started again, it takes part anew.
#[utoipa::path(post, path = "/v1/cluster/leave", tag = "cluster", operation_id = "leaveCluster",
    params(("wait" = Option<String>, Query, description = "How long the live members may take: 500ms, 10s or 1m, at most 60s; 10s if nothing is said", example = "30s", pattern = "^[0-9]{1,2}ms$")),
    request_body(content = Option<Nothing>),
    responses((status = 200, description = "It has left", body = Left, example = json!({"left": true})), (status = 409, description = "No other member is alive, or it is leaving already"), (status = 504, description = "Live members lack something still; it takes part as before")))]
pub(super) async fn post(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let parameters = Parameters::read(&parts.uri, &["wait"])?;
    let wait = parameters.duration("wait", MAX_LEAVE_WAIT)?;
    if let Some(body) = read_json(&parts.headers, body, state.limits.max_body_bytes).await? {
        only_fields(&body, &[])?;
    }
    let left = state.cluster.leave(wait.unwrap_or(DEFAULT_WAIT)).await;
    left.map_err(|error| {
        let kind = match error {
            LeaveError::Alone | LeaveError::Leaving => ProblemKind::Conflict,
            LeaveError::Behind(_) => ProblemKind::NotConverged,
            LeaveError::Roster(_) => ProblemKind::Unavailable,
        };
        Problem::new(kind, error.to_string())
    })?;
    json(StatusCode::OK, &object!({ "left": true }))
}
