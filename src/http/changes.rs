//! `/v1/changes`: what an offline client has not seen, from any node, with a token to go on from.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use grapevine_crdt::Entity;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    HttpState, MAX_PAGE_LIMIT,
    body::{json, require_json},
    describe::Seen,
    problem::{Problem, ProblemKind},
    query::Parameters,
    session::Session,
    within::Within,
};
use crate::{
    model::{
        ChangesToken, Collection, Contact, Counter, EntityId, PartitionId,
        kv::{KeyValue, MAX_VALUE_BYTES},
        kv_json,
    },
    store::{ChangesError, DeltaBudget, Snapshot, Store, read_changes},
};

/// How many entities a page has if nothing else is asked for.
const DEFAULT_PAGE_LIMIT: usize = 100;
/// A page ends with the entity that reaches this many bytes.
const PAGE_BYTES: usize = 8 * 1_024 * 1_024;

/// What changed since a token
///
/// Of contacts, counters and key-values, deletions too.
#[utoipa::path(get, path = "/v1/changes", tag = "offline", operation_id = "getChanges",
    params(("since" = Option<String>, Query, description = "The `token` of the last page: only what changed since"), ("limit" = Option<u16>, Query, description = "How many entities a page may have; 100 if nothing is said", example = 10, minimum = 1, maximum = 1000), Seen),
    responses((status = 200, description = "A page; while `next` is not null, ask again with it", body = Changes), (status = 410, description = "Fetch everything anew")))]
pub(super) async fn get(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let parameters = Parameters::read(request.uri(), &["since", "limit"])?;
    let since = parameters.text("since").map(read_token).transpose()?;
    let limit = parameters.number("limit", 1..=MAX_PAGE_LIMIT)?;
    Session::of_read(request.headers(), &state).await?;
    let within = Within::of(request.extensions());
    answer(&state, since, limit, within).await
}

/// What changed since a token that no URL can carry
#[utoipa::path(post, path = "/v1/changes", tag = "offline", operation_id = "askChanges",
    params(Seen),
    request_body(content = ChangesBody, example = json!({"limit": 10})),
    responses((status = 200, description = "A page; while `next` is not null, ask again with it", body = Changes), (status = 410, description = "Fetch everything anew")))]
pub(super) async fn post(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let body = require_json(&parts.headers, body, state.limits.max_body_bytes).await?;
    let object = body
        .as_object()
        .ok_or_else(|| Problem::invalid("body", "the body is a JSON object"))?;
    if let Some(name) = object
        .keys()
        .find(|name| !["since", "limit"].contains(&name.as_str()))
    {
        return Err(Problem::invalid(
            name,
            format!("{name} is not a field here"),
        ));
    }
    let since = match object.get("since") {
        None | Some(Value::Null) => None,
        Some(since) => Some(read_token(since.as_str().unwrap_or_default())?),
    };
    let limit = match object.get("limit") {
        None | Some(Value::Null) => None,
        Some(limit) => {
            let limit = limit.as_u64().and_then(|limit| usize::try_from(limit).ok());
            let limit = limit.filter(|limit| (1..=MAX_PAGE_LIMIT).contains(limit));
            let detail = || format!("limit is a whole number from 1 to {MAX_PAGE_LIMIT}");
            Some(limit.ok_or_else(|| Problem::malformed("limit", detail()))?)
        }
    };
    Session::of_read(&parts.headers, &state).await?;
    let within = Within::of(&parts.extensions);
    answer(&state, since, limit, within).await
}

/// The token that a client gives as what it has seen.
pub(super) fn read_token(text: &str) -> Result<ChangesToken, Problem> {
    ChangesToken::from_text(text).map_err(|error| Problem::malformed("since", error.to_string()))
}

/// Waits until this node holds what `token` covers of the partitions `of`: less would be told as if it were news,
/// and what is written upon it would be ranked without knowing it.
pub(super) async fn wait_for(
    state: &HttpState,
    token: &ChangesToken,
    of: impl Fn(PartitionId) -> bool,
) -> Result<(), Problem> {
    let lacking = |snapshot: &Snapshot| {
        let held = snapshot.state();
        token.lacking(&of, |partition| &held.partition(partition).vector)
    };
    let waited = state.waiting.until(state, lacking).await;
    waited.map_err(|problem| problem.about("since"))
}

/// The answer to a token that is too old.
pub(super) fn gone() -> Problem {
    let detail = "what was deleted since this token was given is forgotten; \
                  fetch everything anew, without a token";
    Problem::new(ProblemKind::Gone, detail).about("since")
}

async fn answer(
    state: &HttpState,
    since: Option<ChangesToken>,
    limit: Option<usize>,
    within: Option<Within>,
) -> Result<Response, Problem> {
    let token = since.unwrap_or_default();
    wait_for(state, &token, |_| true).await?;
    let snapshot = state.store.snapshot();
    let source = source(&state.store);
    let budget = DeltaBudget {
        entities: limit.unwrap_or(DEFAULT_PAGE_LIMIT),
        bytes: PAGE_BYTES,
    };
    let read = move || read_changes(&*snapshot, snapshot.state(), source, token, budget);
    let page = tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| Problem::internal(&error))?
        .map_err(|error| match error {
            ChangesError::Gone => gone(),
            ChangesError::Store(error) => error.into(),
        })?;
    let items = page.entities.iter();
    let now_ms = state.clock.unix_ms();
    let items: Vec<Value> = items
        .filter(|(id, _)| within.as_ref().is_none_or(|within| within.takes(id)))
        .filter_map(|(id, entity)| item(id, entity, now_ms))
        .collect();
    let token = page.token.to_text();
    let next = page.more.then(|| token.clone());
    json(
        StatusCode::OK,
        &json!({ "items": items, "next": next, "token": token }),
    )
}

/// To whom a place in the log of this store means something.
pub(super) fn source(store: &Store) -> u64 {
    let identity = store.identity();
    let mut hasher = blake3::Hasher::new();
    hasher.update(identity.store_id.as_bytes());
    hasher.update(&identity.boots.to_be_bytes());
    let hash = hasher.finalize();
    hash.as_bytes()
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// An entity as it stands; `None` if it is the system's own.
fn item(id: &EntityId, entity: &Entity, now_ms: u64) -> Option<Value> {
    let shown = match id.collection() {
        Collection::Contacts => Contact::read(id.key(), entity).map(|contact| json!(contact)),
        Collection::Counters => entity
            .is_visible()
            .then(|| json!(Counter::read(id.key(), entity))),
        Collection::Kv => {
            KeyValue::read(entity, now_ms).map(|value| kv_json(&value, MAX_VALUE_BYTES))
        }
        Collection::Topics | Collection::Roster | Collection::Tokens => return None,
    };
    let mut item = json!({
        "collection": id.collection().name(),
        "key": id.key(),
        "deleted": shown.is_none(),
    });
    if let Some(shown) = shown {
        item["value"] = shown;
    }
    Some(item)
}

/// What a client asks for.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "it describes what `post` reads")]
struct ChangesBody {
    since: Option<String>,
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// An entity as it stands.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `item` tells")]
struct ChangeShown {
    collection: String,
    key: String,
    deleted: bool,
    /// What it is; missing if it is deleted.
    #[schema(nullable = false, value_type = Option<Object>)]
    value: Option<Value>,
}

/// What a client has not seen.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `answer` tells")]
struct Changes {
    items: Vec<ChangeShown>,
    /// As `token`, if there is more.
    #[schema(required)]
    next: Option<String>,
    /// What the client has seen with this page.
    token: String,
}
