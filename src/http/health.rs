//! Liveness and readiness, each with its reasons.
//!
//! A process that is not live is to be started again; one that is not ready is to be spared requests until it is.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, http::StatusCode, response::Response};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    HttpState,
    body::json,
    problem::{Problem, ProblemKind},
};
use crate::{
    model::{Collection, EntityId},
    store::StoreError,
};

/// A key that is read to see that the store can be; nobody needs to have written it.
const PROBE_KEY: &str = "readiness";

/// Who leaves takes no writes, and what it still reads grows old.
const LEAVES: &str = "this node is leaving its cluster, or has left it; it takes no writes";

/// One thing that was looked at.
struct Check {
    name: &'static str,
    /// What is wrong with it, if anything.
    fault: Option<String>,
}

/// Whether the process answers
#[utoipa::path(get, path = "/ping", tag = "health", operation_id = "ping",
    responses((status = 200, description = "`pong`", body = String, content_type = "text/plain; charset=utf-8")))]
#[allow(clippy::unused_async, reason = "handlers are async")]
pub(super) async fn ping() -> &'static str {
    "pong"
}

/// Whether the process answers, and its store has not ended
#[utoipa::path(get, path = "/healthz", tag = "health", operation_id = "getHealth",
    responses((status = 200, description = "It does", body = StatusShown, example = json!({"status": "ok", "checks": {"store": {"ok": true, "reason": null}}}))))]
#[allow(clippy::unused_async, reason = "handlers are async")]
pub(super) async fn live(State(state): State<Arc<HttpState>>) -> Result<Response, Problem> {
    let ended = state.store.has_ended();
    let fault = ended.then(|| StoreError::Closed.to_string());
    let name = "store";
    answer("ok", "failed", &[Check { name, fault }])
}

/// Whether requests can be sent here
///
/// The store reads and writes, the node has caught up since its start, its clock is not off, it is not
/// about to stop, and neither leaves its cluster nor has left it.
#[utoipa::path(get, path = "/readyz", tag = "health", operation_id = "getReadiness",
    responses((status = 200, description = "They can", body = StatusShown, example = json!({"status": "ready", "checks": {"clock": {"ok": true, "reason": null}}}))))]
pub(super) async fn ready(State(state): State<Arc<HttpState>>) -> Result<Response, Problem> {
    let check = |name, fault| Check { name, fault };
    let told = |fault: bool, reason: &str| fault.then(|| reason.to_owned());
    let stops = state.draining.is_cancelled();
    let leaves = state.cluster.is_leaving();
    let checks = [
        check("draining", told(stops, "this node stops")),
        check("leaving", told(leaves, LEAVES)),
        check("reads", unreadable(&state)?),
        check("writes", state.store.write_fault()),
        check("caught_up", state.cluster.catching_up()),
        check("clock", state.cluster.clock_fault()),
    ];
    answer("ready", "not ready", &checks)
}

fn unreadable(state: &HttpState) -> Result<Option<String>, Problem> {
    let probe =
        EntityId::new(Collection::Roster, PROBE_KEY).map_err(|error| Problem::internal(&error))?;
    let read = state.store.snapshot().entity(&probe);
    Ok(read.err().map(|error| error.to_string()))
}

/// 200 if nothing is wrong, else 503, either with what was looked at.
fn answer(well: &str, ill: &str, checks: &[Check]) -> Result<Response, Problem> {
    let reasons: Vec<String> = checks
        .iter()
        .filter_map(|check| Some(format!("{}: {}", check.name, check.fault.as_ref()?)))
        .collect();
    let told = |check: &Check| {
        let reason = check.fault.clone().map_or(Value::Null, Value::String);
        let told = json!({ "ok": reason.is_null(), "reason": reason });
        (check.name.to_owned(), told)
    };
    let checks = Value::Object(checks.iter().map(told).collect());
    if reasons.is_empty() {
        return json(StatusCode::OK, &json!({ "status": well, "checks": checks }));
    }
    let detail = format!("{ill}: {}", reasons.join("; "));
    Err(Problem::new(ProblemKind::Unavailable, detail).with("checks", checks))
}

/// How it is.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what is told")]
struct StatusShown {
    status: String,
    /// What was looked at, each with whether it is well and what is wrong with it.
    checks: BTreeMap<String, CheckShown>,
}

/// One thing that was looked at.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what is told")]
struct CheckShown {
    ok: bool,
    reason: Option<String>,
}
