//! `/v1/counters`: counters that count on every node.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    http::StatusCode,
    response::Response,
};
use grapevine_crdt::Entity;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;

use super::{
    HttpState,
    body::{empty, json, json_bytes, read_json, to_json},
    conditions::{Conditions, ETag},
    describe::{Conditional, CounterPath, Nothing, Once, Page, Paged, Prefixed, Seen},
    idempotency,
    page::{self, PageRequest},
    problem::{Problem, ProblemKind, invalid_key, path_text},
    query::Parameters,
    session::{Session, tracked},
};
use crate::model::{Collection, Counter, Direction, EntityId};

/// The longest that a read waits for a counter.
pub(super) const MAX_COUNTER_WAIT: Duration = Duration::from_secs(60);
/// The most reads that wait for counters at once.
pub(super) const MAX_WAITING_FOR_COUNTERS: usize = 1_024;

type NamePath = Result<Path<String>, PathRejection>;

/// The counters
#[utoipa::path(get, path = "/v1/counters", tag = "counters", operation_id = "listCounters",
    params(Prefixed, Paged, Seen),
    responses((status = 200, description = "A page, in the order of the names", body = Page<Counter>, example = json!({"items": [{"name": "visits", "value": 42}], "next": null}))))]
pub(super) async fn list(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    Session::of_read(request.headers(), &state).await?;
    let request = PageRequest::read(&request, Collection::Counters)?;
    page::answer(&state.store, request, |id, entity| {
        entity
            .is_visible()
            .then(|| to_json(&Counter::read(id.key(), entity)))
            .transpose()
    })
    .await
}

/// A counter
///
/// One that nobody has touched reads 0.
#[utoipa::path(get, path = "/v1/counters/{name}", tag = "counters", operation_id = "getCounter",
    params(CounterPath,
        ("at-least" = Option<i64>, Query, description = "Waits until the counter stands there or higher", example = 0),
        ("wait" = Option<String>, Query, description = "How long to wait for that: 500ms, 10s or 1m, at most 60s", example = "100ms", pattern = "^[0-9]{1,2}ms$"),
        Conditional, Seen),
    responses((status = 200, description = "The counter", body = Counter, example = json!({"name": "visits", "value": 42})), (status = 504, description = "It did not get that far; `value` says how far it is")))]
pub(super) async fn get(
    State(state): State<Arc<HttpState>>,
    path: NamePath,
    request: Request,
) -> Result<Response, Problem> {
    let id = read_id(path)?;
    let parameters = Parameters::read(request.uri(), &["at-least", "wait"])?;
    let least = parameters.number("at-least", i128::MIN..=i128::MAX)?;
    let wait = parameters.duration("wait", MAX_COUNTER_WAIT)?;
    if wait.is_some() && least.is_none() {
        let detail = "there is nothing to wait for without at-least";
        return Err(Problem::malformed("wait", detail));
    }
    let conditions = Conditions::read(request.headers())?;
    Session::of_read(request.headers(), &state).await?;
    let counter = match least {
        None => read(&state, &id)?,
        Some(least) => wait_for(&state, &id, least, wait.unwrap_or_default()).await?,
    };
    let bytes = to_json(&counter)?;
    let tag = ETag::of(&bytes);
    conditions.answer_read(tag, || json_bytes(StatusCode::OK, bytes))
}

fn read(state: &HttpState, id: &EntityId) -> Result<Counter, Problem> {
    let entity = state.store.snapshot().entity(id)?.unwrap_or_default();
    Ok(Counter::read(id.key(), &entity))
}

/// The counter as soon as it stands at `least` or higher.
async fn wait_for(
    state: &HttpState,
    id: &EntityId,
    least: i128,
    wait: Duration,
) -> Result<Counter, Problem> {
    let deadline = Instant::now() + wait;
    let mut roots = state.store.roots();
    let _place = state
        .counting
        .try_acquire()
        .map_err(|_full| Problem::overloaded("as many wait for counters of this node as may"))?;
    loop {
        roots.borrow_and_update();
        let counter = read(state, id)?;
        if counter.value >= least {
            return Ok(counter);
        }
        let changed = timeout_at(deadline, roots.changed()).await;
        if !matches!(changed, Ok(Ok(()))) {
            let detail = format!("it stands at {}, not at {least}", counter.value);
            let problem = Problem::new(ProblemKind::NotReached, detail).about("at-least");
            return Err(problem.with("value", value_json(counter.value)));
        }
    }
}

/// A number as JSON, exactly.
fn value_json(value: i128) -> Value {
    serde_json::from_str(&value.to_string()).unwrap_or(Value::Null)
}

/// Counts up
///
/// Without a body, by 1.
#[utoipa::path(post, path = "/v1/counters/{name}/increment", tag = "counters", operation_id = "incrementCounter",
    params(CounterPath, Once, Seen),
    request_body(content = Option<CountBody>, example = json!({"by": 3})),
    responses((status = 200, description = "What it stands at now", body = Counter, example = json!({"name": "visits", "value": 42})), (status = 409, description = "It would overflow, or is full of keys, or the key was used for another count")))]
pub(super) async fn increment(
    state: State<Arc<HttpState>>,
    path: NamePath,
    request: Request,
) -> Result<Response, Problem> {
    count(state, path, request, Direction::Increment).await
}

/// Counts down
///
/// Without a body, by 1.
#[utoipa::path(post, path = "/v1/counters/{name}/decrement", tag = "counters", operation_id = "decrementCounter",
    params(CounterPath, Once, Seen),
    request_body(content = Option<CountBody>, example = json!({"by": 3})),
    responses((status = 200, description = "What it stands at now", body = Counter, example = json!({"name": "visits", "value": 42})), (status = 409, description = "It would overflow, or is full of keys, or the key was used for another count")))]
pub(super) async fn decrement(
    state: State<Arc<HttpState>>,
    path: NamePath,
    request: Request,
) -> Result<Response, Problem> {
    count(state, path, request, Direction::Decrement).await
}

async fn count(
    State(state): State<Arc<HttpState>>,
    path: NamePath,
    request: Request,
    direction: Direction,
) -> Result<Response, Problem> {
    let id = read_id(path)?;
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let request = idempotency::key(&parts.headers)?.map(idempotency::request_key);
    let body = read_json(&parts.headers, body, state.limits.max_body_bytes).await?;
    let by = body.as_ref().map_or(Ok(1), read_by)?;
    let name = id.key().to_owned();
    // A count is added to whatever is there, and a keyed one counts once wherever it comes.
    let session = Session::of_blind_write(&parts.headers, &state).await?;
    let (counter, written) = state
        .store
        .write(
            id.clone(),
            tracked(id, move |edit| {
                let (entity, dot) = (edit.entity, edit.dot);
                let cells = match request {
                    None => Counter::count(entity, direction, by, dot),
                    Some(request) => Counter::count_once(entity, direction, by, request, dot),
                }?;
                let counter = Counter::after(&name, edit.entity, &cells);
                Ok::<_, Problem>((cells, counter))
            }),
        )
        .await?;
    Ok(session.answer(written).put(answer(&counter)?))
}

/// Sets a counter to 0
///
/// Counts that this node has not seen survive it.
#[utoipa::path(post, path = "/v1/counters/{name}/reset", tag = "counters", operation_id = "resetCounter",
    params(CounterPath, Conditional, Seen),
    request_body(content = Option<Nothing>),
    responses((status = 200, description = "What it stands at now", body = Counter)))]
pub(super) async fn reset(
    State(state): State<Arc<HttpState>>,
    path: NamePath,
    request: Request,
) -> Result<Response, Problem> {
    let id = read_id(path)?;
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    idempotency::refuse(&parts.headers)?;
    let conditions = Conditions::read(&parts.headers)?;
    let body = read_json(&parts.headers, body, state.limits.max_body_bytes).await?;
    if let Some(body) = body {
        only_fields(&body, &[])?;
    }
    let name = id.key().to_owned();
    let session = Session::of_write(&parts.headers, &state, &id).await?;
    let (counter, written) = state
        .store
        .write(
            id.clone(),
            tracked(id, move |edit| {
                check(&conditions, &name, edit.entity)?;
                let cells = Counter::reset(edit.entity, edit.dot);
                let counter = Counter::after(&name, edit.entity, &cells);
                Ok::<_, Problem>((cells, counter))
            }),
        )
        .await?;
    Ok(session.answer(written).put(answer(&counter)?))
}

/// Removes a counter
///
/// A reset that also hides it.
#[utoipa::path(delete, path = "/v1/counters/{name}", tag = "counters", operation_id = "deleteCounter",
    params(CounterPath, Conditional, Seen),
    responses((status = 204, description = "It is removed"), (status = 404, description = "")))]
pub(super) async fn delete(
    State(state): State<Arc<HttpState>>,
    path: NamePath,
    request: Request,
) -> Result<Response, Problem> {
    let id = read_id(path)?;
    Parameters::read(request.uri(), &[])?;
    let conditions = Conditions::read(request.headers())?;
    let name = id.key().to_owned();
    let session = Session::of_write(request.headers(), &state, &id).await?;
    let ((), written) = state
        .store
        .write(
            id.clone(),
            tracked(id, move |edit| {
                check(&conditions, &name, edit.entity)?;
                let cells = Counter::delete(edit.entity, edit.dot);
                if cells.is_empty() {
                    return Err(absent());
                }
                Ok((cells, ()))
            }),
        )
        .await?;
    Ok(session.answer(written).put(empty(StatusCode::NO_CONTENT)))
}

fn read_id(path: NamePath) -> Result<EntityId, Problem> {
    counter_id(path_text("name", path)?)
}

pub(super) fn counter_id(name: String) -> Result<EntityId, Problem> {
    EntityId::new(Collection::Counters, name).map_err(|error| invalid_key("name", error))
}

pub(super) fn absent() -> Problem {
    Problem::not_found("nobody has counted under this name")
}

/// `{"by": 3}`: a whole number from 1; without it, 1.
fn read_by(body: &Value) -> Result<u64, Problem> {
    only_fields(body, &["by"])?;
    by(body.get("by"))
}

/// By how much is counted.
pub(super) fn by(by: Option<&Value>) -> Result<u64, Problem> {
    match by {
        None => Ok(1),
        Some(by) => by.as_u64().filter(|by| *by > 0).ok_or_else(|| {
            let detail = format!("by is a whole number from 1 to {}", u64::MAX);
            Problem::invalid("by", detail)
        }),
    }
}

pub(super) fn only_fields(body: &Value, known: &[&str]) -> Result<(), Problem> {
    let object = body
        .as_object()
        .ok_or_else(|| Problem::invalid("body", "the body is a JSON object, or empty"))?;
    match object.keys().find(|field| !known.contains(&field.as_str())) {
        Some(field) => Err(Problem::invalid(
            field,
            format!("{field} is not a field here"),
        )),
        None => Ok(()),
    }
}

/// A counter always is: one that nobody has touched has the tag of its 0.
pub(super) fn check(conditions: &Conditions, name: &str, entity: &Entity) -> Result<(), Problem> {
    if conditions.is_empty() {
        return Ok(());
    }
    let tag = ETag::of(&to_json(&Counter::read(name, entity))?);
    conditions.check_write(Some(&tag))
}

fn answer(counter: &Counter) -> Result<Response, Problem> {
    let mut response = json(StatusCode::OK, counter)?;
    ETag::of(&to_json(counter)?).put(&mut response);
    Ok(response)
}

/// By how much is counted.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "it describes what `read_by` reads")]
struct CountBody {
    /// 1 if nothing is said.
    #[schema(minimum = 1)]
    #[serde(default)]
    by: u64,
}
