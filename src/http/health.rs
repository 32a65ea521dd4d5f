//! Liveness and readiness.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use serde_json::json;
use utoipa::ToSchema;

use super::{HttpState, body::json, problem::Problem};
use crate::model::{Collection, EntityId};

/// A key that is read to see that the store can be; nobody needs to have written it.
const PROBE_KEY: &str = "readiness";

/// Whether the process answers
#[utoipa::path(get, path = "/ping", tag = "health", operation_id = "ping",
    responses((status = 200, description = "`pong`", body = String, content_type = "text/plain; charset=utf-8")))]
#[allow(clippy::unused_async, reason = "handlers are async")]
pub(super) async fn ping() -> &'static str {
    "pong"
}

/// Whether the process answers, as JSON
#[utoipa::path(get, path = "/healthz", tag = "health", operation_id = "getHealth",
    responses((status = 200, description = "It does", body = StatusShown, example = json!({"status": "ok"}))))]
#[allow(clippy::unused_async, reason = "handlers are async")]
pub(super) async fn live() -> Result<Response, Problem> {
    json(StatusCode::OK, &json!({ "status": "ok" }))
}

/// Whether the store can be read
#[utoipa::path(get, path = "/readyz", tag = "health", operation_id = "getReadiness",
    responses((status = 200, description = "It can", body = StatusShown, example = json!({"status": "ready"}))))]
#[allow(clippy::unused_async, reason = "handlers are async")]
pub(super) async fn ready(State(state): State<Arc<HttpState>>) -> Result<Response, Problem> {
    let probe =
        EntityId::new(Collection::Roster, PROBE_KEY).map_err(|error| Problem::internal(&error))?;
    state.store.snapshot().entity(&probe)?;
    json(StatusCode::OK, &json!({ "status": "ready" }))
}

/// How it is.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what is told")]
struct StatusShown {
    status: String,
}
