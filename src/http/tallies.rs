//! `/v1/counters/{name}/tallies`: what writers that are no nodes counted themselves, as absolute counts.
//!
//! A tally only rises, so the same request again, late, or through another node changes nothing.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    http::StatusCode,
    response::Response,
};
use grapevine_crdt::{CounterError, Entity, MAX_WRITER_BYTES};
use serde_json::{Value, json as object};
use utoipa::ToSchema;

use super::{
    HttpState,
    body::{json, json_bytes, require_json, to_json},
    conditions::{Conditions, ETag},
    counters::{counter_id, only_fields},
    cursor::{self, ListKind},
    describe::{Conditional, CounterPath, Page, Paged, Seen, WriterPath as WriterParameter},
    page::{foreign_cursor, read_limit},
    problem::{Problem, path_text, path_texts},
    query::Parameters,
    session::{Session, tracked},
};
use crate::model::{EntityId, Tally};

type NamePath = Result<Path<String>, PathRejection>;
type WriterPath = Result<Path<(String, String)>, PathRejection>;

/// The tallies of a counter
#[utoipa::path(get, path = "/v1/counters/{name}/tallies", tag = "counters", operation_id = "listTallies",
    params(CounterPath, Paged, Seen),
    responses((status = 200, description = "A page, in the order of the writers", body = Page<Tally>)))]
pub(super) async fn list(
    State(state): State<Arc<HttpState>>,
    path: NamePath,
    request: Request,
) -> Result<Response, Problem> {
    let id = counter_id(path_text("name", path)?)?;
    let parameters = Parameters::read(request.uri(), &["limit", "cursor"])?;
    let limit = read_limit(&parameters)?;
    let after = parameters
        .text("cursor")
        .map(|text| {
            cursor::read_text(ListKind::Tallies, text, MAX_WRITER_BYTES).ok_or_else(foreign_cursor)
        })
        .transpose()?;
    Session::of_read(request.headers(), &state).await?;
    let entity = state.store.snapshot().entity(&id)?.unwrap_or_default();
    let mut tallies = Tally::read_all(&entity);
    if let Some(after) = after {
        tallies.retain(|tally| tally.writer > after);
    }
    let more = tallies.len() > limit;
    tallies.truncate(limit);
    let last = tallies.last().filter(|_| more);
    let next = last.map(|tally| cursor::write(ListKind::Tallies, tally.writer.as_bytes()));
    json(StatusCode::OK, &object!({ "items": tallies, "next": next }))
}

/// A tally
#[utoipa::path(get, path = "/v1/counters/{name}/tallies/{writer}", tag = "counters", operation_id = "getTally",
    params(CounterPath, WriterParameter, Conditional, Seen),
    responses((status = 200, description = "The tally", body = Tally, example = json!({"writer": "kiosk-7", "value": 12, "counted": 12})), (status = 404, description = "The writer has told no count")))]
pub(super) async fn get(
    State(state): State<Arc<HttpState>>,
    path: WriterPath,
    request: Request,
) -> Result<Response, Problem> {
    let (id, writer) = read_path(path)?;
    Parameters::read(request.uri(), &[])?;
    let conditions = Conditions::read(request.headers())?;
    Session::of_read(request.headers(), &state).await?;
    let entity = state.store.snapshot().entity(&id)?.unwrap_or_default();
    let tally = Tally::read(&entity, &writer)
        .ok_or_else(|| Problem::not_found("this writer has told no count"))?;
    let bytes = to_json(&tally)?;
    let tag = ETag::of(&bytes);
    conditions.answer_read(tag, || json_bytes(StatusCode::OK, bytes))
}

/// Tells a writer's own absolute count
///
/// It only rises, so the same request again changes nothing.
#[utoipa::path(put, path = "/v1/counters/{name}/tallies/{writer}", tag = "counters", operation_id = "putTally",
    params(CounterPath, WriterParameter, Conditional, Seen),
    request_body(content = TallyBody, example = json!({"value": 12})),
    responses((status = 200, description = "The tally: the greatest count told", body = Tally, example = json!({"writer": "kiosk-7", "value": 12, "counted": 12})), (status = 409, description = "The counter is full of tallies, or would overflow")))]
pub(super) async fn put(
    State(state): State<Arc<HttpState>>,
    path: WriterPath,
    request: Request,
) -> Result<Response, Problem> {
    let (id, writer) = read_path(path)?;
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let conditions = Conditions::read(&parts.headers)?;
    let body = require_json(&parts.headers, body, state.limits.max_body_bytes).await?;
    let value = read_value(&body)?;
    // A tally only rises, whatever is there; only a condition is about what is there.
    let session = if conditions.is_empty() {
        Session::of_blind_write(&parts.headers, &state).await?
    } else {
        Session::of_write(&parts.headers, &state, &id).await?
    };
    let edit = tracked(id.clone(), move |edit| {
        check(&conditions, edit.entity, &writer)?;
        Tally::raise(edit.entity, &writer, value, edit.dot).map_err(|error| {
            let out_of_range = error == CounterError::OutOfRange;
            let problem = Problem::from(error);
            if out_of_range {
                return problem.about("value");
            }
            problem
        })
    });
    let (tally, written) = state.store.write(id, edit).await?;
    let mut response = json(StatusCode::OK, &tally)?;
    ETag::of(&to_json(&tally)?).put(&mut response);
    Ok(session.answer(written).put(response))
}

fn check(conditions: &Conditions, entity: &Entity, writer: &str) -> Result<(), Problem> {
    if conditions.is_empty() {
        return Ok(());
    }
    let tag = Tally::read(entity, writer)
        .map(|tally| to_json(&tally).map(|bytes| ETag::of(&bytes)))
        .transpose()?;
    conditions.check_write(tag.as_ref())
}

fn read_path(path: WriterPath) -> Result<(EntityId, String), Problem> {
    let (name, writer) = path_texts(path)?;
    let id = counter_id(name)?;
    if Tally::is_writer(&writer) {
        Ok((id, writer))
    } else {
        let detail = format!(
            "the name of a writer has 1 to {MAX_WRITER_BYTES} bytes and no control characters"
        );
        Err(Problem::malformed("writer", detail))
    }
}

/// `{"value": 3}`: a whole number from 0.
fn read_value(body: &Value) -> Result<u64, Problem> {
    only_fields(body, &["value"])?;
    body.get("value").and_then(Value::as_u64).ok_or_else(|| {
        let detail = format!("value is a whole number from 0 to {}", u64::MAX);
        Problem::invalid("value", detail)
    })
}

/// What a writer counted.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "it describes what `read_value` reads")]
struct TallyBody {
    #[schema(minimum = 0)]
    value: u64,
}
