//! `/v1/admin/log-level`: how much this node logs, from now until it ends or is told otherwise.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    HttpState,
    body::{json, require_json},
    counters::only_fields,
    problem::{Problem, ProblemKind},
    query::Parameters,
};
use crate::logging::{self, LogLevelError};

/// How much this node logs
#[utoipa::path(get, path = "/v1/admin/log-level", tag = "cluster", operation_id = "getLogLevel",
    responses((status = 200, description = "The level, or levels by module", body = LogLevel), (status = 409, description = "This process logs by other means")))]
pub(super) async fn get(request: Request) -> Result<Response, Problem> {
    Parameters::read(request.uri(), &[])?;
    tell()
}

/// Sets how much this node logs, until it ends or is told otherwise
///
/// `null` takes back whatever was set since the start.
#[utoipa::path(put, path = "/v1/admin/log-level", tag = "cluster", operation_id = "setLogLevel",
    request_body(content = LogLevel, example = json!({"level": null})),
    responses((status = 200, description = "The level, or levels by module", body = LogLevel), (status = 409, description = "This process logs by other means")))]
pub(super) async fn put(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let body = require_json(&parts.headers, body, state.limits.max_body_bytes).await?;
    only_fields(&body, &["level"])?;
    let level = match body.get("level") {
        Some(Value::String(level)) => Some(level.as_str()),
        Some(Value::Null) => None,
        Some(_) | None => {
            let detail = "level is a text, or null for that of the start";
            return Err(Problem::invalid("level", detail));
        }
    };
    logging::set_level(level)?;
    tell()
}

/// How much is logged.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what is told and taken")]
struct LogLevel {
    /// Such as `info`, or `info,grapevine=debug`; null for that of the start.
    level: Option<String>,
}

fn tell() -> Result<Response, Problem> {
    json(StatusCode::OK, &json!({ "level": logging::level()? }))
}

impl From<LogLevelError> for Problem {
    fn from(error: LogLevelError) -> Self {
        let detail = error.to_string();
        match error {
            LogLevelError::NotAllowed(_) => Self::invalid("level", detail),
            LogLevelError::NotOurs => Self::new(ProblemKind::Conflict, detail),
        }
    }
}
