//! Liveness and readiness.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use serde_json::json;

use super::{HttpState, body::json, problem::Problem};
use crate::model::{Collection, EntityId};

/// A key that is read to see that the store can be; nobody needs to have written it.
const PROBE_KEY: &str = "readiness";

/// The process answers.
#[allow(clippy::unused_async, reason = "handlers are async")]
pub(super) async fn ping() -> &'static str {
    "pong"
}

/// The process answers, for those who expect JSON.
#[allow(clippy::unused_async, reason = "handlers are async")]
pub(super) async fn live() -> Result<Response, Problem> {
    json(StatusCode::OK, &json!({ "status": "ok" }))
}

/// The store can be read.
#[allow(clippy::unused_async, reason = "handlers are async")]
pub(super) async fn ready(State(state): State<Arc<HttpState>>) -> Result<Response, Problem> {
    let probe =
        EntityId::new(Collection::Roster, PROBE_KEY).map_err(|error| Problem::internal(&error))?;
    state.store.snapshot().entity(&probe)?;
    json(StatusCode::OK, &json!({ "status": "ready" }))
}
