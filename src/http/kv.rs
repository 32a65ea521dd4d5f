//! `/v1/kv`: raw bytes under keys. The path that is asked for most, so nothing here does more than it must.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use grapevine_crdt::{Dot, Entity, Timestamp};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    HttpState,
    body::{self, empty, to_json},
    conditions::{Conditions, ETag},
    describe::{Conditional, KeyPath as KeyParameter, Page, Paged, Prefixed, Seen},
    page::{self, PageRequest},
    problem::{Problem, invalid_key, path_text},
    query::Parameters,
    session::{Session, tracked},
};
use crate::model::{
    Collection, EntityId,
    kv::{self, DEFAULT_CONTENT_TYPE, KeyValue, MAX_VALUE_BYTES},
    rfc3339,
};

/// When a value goes, on answers that carry one.
const EXPIRES: &str = "grapevine-expires";
/// The most seconds that a value may be given to live: a hundred years.
pub(super) const MAX_TTL_S: u64 = 3_153_600_000;

type KeyPath = Result<Path<String>, PathRejection>;

/// The key-values
///
/// Without their bytes.
#[utoipa::path(get, path = "/v1/kv", tag = "key-values", operation_id = "listKeyValues",
    params(Prefixed, Paged, Seen),
    responses((status = 200, description = "A page, in the order of the keys", body = Page<KeyValueShown>)))]
pub(super) async fn list(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    Session::of_read(request.headers(), &state).await?;
    let request = PageRequest::read(&request, Collection::Kv)?;
    let now_ms = state.clock.unix_ms();
    page::answer(&state.store, request, move |id, entity| {
        KeyValue::read(entity, now_ms)
            .map(|value| {
                let mut item = json!({
                    "key": id.key(),
                    "content_type": value.content_type,
                    "size": value.bytes.len(),
                    "updated_at": rfc3339(value.updated),
                });
                if let Some(expires) = value.expires_ms {
                    item["expires_at"] = rfc3339(Timestamp::from_unix_ms(expires)).into();
                }
                to_json(&item)
            })
            .transpose()
    })
    .await
}

/// The bytes under a key
#[utoipa::path(get, path = "/v1/kv/{*key}", tag = "key-values", operation_id = "getKeyValue",
    params(KeyParameter, Conditional, Seen),
    responses((status = 200, description = "The bytes, with the content type they were put with", content(("*/*")), headers(("Grapevine-Expires" = String, description = "When it goes, if it does (RFC 3339)"))), (status = 404, description = "")))]
pub(super) async fn get(
    State(state): State<Arc<HttpState>>,
    path: KeyPath,
    request: Request,
) -> Result<Response, Problem> {
    let id = read_id(path)?;
    no_parameters(&request)?;
    let conditions = Conditions::read(request.headers())?;
    Session::of_read(request.headers(), &state).await?;
    let entity = state.store.snapshot().entity(&id)?;
    let now_ms = state.clock.unix_ms();
    let value = entity
        .as_ref()
        .and_then(|entity| KeyValue::read(entity, now_ms));
    let value = value.ok_or_else(|| Problem::not_found("nothing is stored under this key"))?;
    conditions.answer_read(tag(value.dot), || {
        let mut response = Response::new(Body::from(value.bytes.to_vec()));
        let content_type = HeaderValue::try_from(value.content_type)
            .unwrap_or(HeaderValue::from_static(DEFAULT_CONTENT_TYPE));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
        if let Some(expires) = value.expires_ms {
            put_expiry(&mut response, expires);
        }
        response
    })
}

/// Stores bytes under a key
///
/// With their content type; 8 MiB at most.
#[utoipa::path(put, path = "/v1/kv/{*key}", tag = "key-values", operation_id = "putKeyValue",
    params(KeyParameter, ("ttl" = Option<u64>, Query, description = "For how many seconds it stays", example = 3600, minimum = 1, maximum = 3_153_600_000_u64), Conditional, Seen),
    request_body(content(("application/octet-stream"), (String = "text/plain", example = json!("hello")))),
    responses((status = 204, description = "It is stored", headers(("Grapevine-Expires" = String, description = "When it goes, if it does (RFC 3339)"))), (status = 422, description = "`ttl` or `Content-Type` is not valid")))]
pub(super) async fn put(
    State(state): State<Arc<HttpState>>,
    path: KeyPath,
    request: Request,
) -> Result<Response, Problem> {
    let id = read_id(path)?;
    let ttl_s = read_ttl(&request)?;
    let (parts, body) = request.into_parts();
    let conditions = Conditions::read(&parts.headers)?;
    let max_bytes = state.limits.max_body_bytes.min(MAX_VALUE_BYTES);
    let bytes = body::read(body, max_bytes).await?;
    let now_ms = state.clock.unix_ms();
    let expires_ms = ttl_s.map(|seconds| now_ms.saturating_add(seconds.saturating_mul(1_000)));
    let encoded = kv::encode(content_type(&parts.headers)?, &bytes, expires_ms)?;
    // Whatever is there, a value replaces it; only a condition is about what is there.
    let session = if conditions.is_empty() {
        Session::of_blind_write(&parts.headers, &state).await?
    } else {
        Session::of_write(&parts.headers, &state, &id).await?
    };
    let (dot, written) = state
        .store
        .write(
            id.clone(),
            tracked(id, move |edit| {
                check(&conditions, edit.entity, now_ms)?;
                let cell = kv::put(encoded, edit.dot, edit.time);
                Ok::<_, Problem>((vec![cell], edit.dot))
            }),
        )
        .await?;
    let mut response = empty(StatusCode::NO_CONTENT);
    tag(dot).put(&mut response);
    if let Some(expires) = expires_ms {
        put_expiry(&mut response, expires);
    }
    Ok(session.answer(written).put(response))
}

/// Removes what is under a key
///
/// Answers 204 whether something was there or not: either way nothing is there now.
#[utoipa::path(delete, path = "/v1/kv/{*key}", tag = "key-values", operation_id = "deleteKeyValue",
    params(KeyParameter, Conditional, Seen),
    responses((status = 204, description = "Nothing is there now")))]
pub(super) async fn delete(
    State(state): State<Arc<HttpState>>,
    path: KeyPath,
    request: Request,
) -> Result<Response, Problem> {
    let id = read_id(path)?;
    no_parameters(&request)?;
    let conditions = Conditions::read(request.headers())?;
    // Without a condition it is written even where what it deletes has not come yet.
    let session = if conditions.is_empty() {
        Session::of_blind_write(request.headers(), &state).await?
    } else {
        Session::of_write(request.headers(), &state, &id).await?
    };
    let unseen = session.lacks(&state, id.partition());
    let now_ms = state.clock.unix_ms();
    let ((), written) = state
        .store
        .write(
            id.clone(),
            tracked(id, move |edit| {
                check(&conditions, edit.entity, now_ms)?;
                let cells = kv::delete(edit.entity, unseen, edit.dot, edit.time);
                Ok::<_, Problem>((cells, ()))
            }),
        )
        .await?;
    Ok(session.answer(written).put(empty(StatusCode::NO_CONTENT)))
}

fn read_id(path: KeyPath) -> Result<EntityId, Problem> {
    kv_id(path_text("key", path)?)
}

pub(super) fn kv_id(key: String) -> Result<EntityId, Problem> {
    EntityId::new(Collection::Kv, key).map_err(|error| invalid_key("key", error))
}

/// How many seconds a value is to live.
fn read_ttl(request: &Request) -> Result<Option<u64>, Problem> {
    if request.uri().query().is_none() {
        return Ok(None);
    }
    let parameters = Parameters::read(request.uri(), &["ttl"])?;
    parameters.text("ttl").map(parse_ttl).transpose()
}

/// As seconds that a value may live.
pub(super) fn parse_ttl(text: &str) -> Result<u64, Problem> {
    let seconds = text.parse().ok();
    seconds
        .filter(|seconds| (1..=MAX_TTL_S).contains(seconds))
        .ok_or_else(|| {
            let detail = format!("ttl is a whole number of seconds from 1 to {MAX_TTL_S}");
            Problem::invalid("ttl", detail)
        })
}

/// What has expired has no tag any more.
pub(super) fn check(conditions: &Conditions, entity: &Entity, now_ms: u64) -> Result<(), Problem> {
    if conditions.is_empty() {
        return Ok(());
    }
    let current = KeyValue::read(entity, now_ms).map(|value| tag(value.dot));
    conditions.check_write(current.as_ref())
}

fn put_expiry(response: &mut Response, expires_ms: u64) {
    let expires = rfc3339(Timestamp::from_unix_ms(expires_ms));
    if let Ok(value) = HeaderValue::try_from(expires) {
        response.headers_mut().insert(EXPIRES, value);
    }
}

fn no_parameters(request: &Request) -> Result<(), Problem> {
    if request.uri().query().is_some() {
        Parameters::read(request.uri(), &[])?;
    }
    Ok(())
}

fn content_type(headers: &HeaderMap) -> Result<&str, Problem> {
    match headers.get(header::CONTENT_TYPE) {
        None => Ok(DEFAULT_CONTENT_TYPE),
        Some(value) => value
            .to_str()
            .map_err(|_| kv::InvalidValue::ContentType.into()),
    }
}

/// The tag of what the write `dot` put: on every node the same.
pub(super) fn tag(dot: Dot) -> ETag {
    let mut buffer = Uuid::encode_buffer();
    let replica = Uuid::from_bytes(*dot.replica.as_bytes());
    let replica = replica.simple().encode_lower(&mut buffer);
    ETag::named(&format!("{replica}-{}", dot.seq.get()))
}

/// A key-value as a list shows it.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `list` tells")]
struct KeyValueShown {
    key: String,
    content_type: String,
    /// In bytes.
    size: u64,
    updated_at: String,
    /// When it goes, if it does.
    #[schema(nullable = false)]
    expires_at: Option<String>,
}
