//! `/v1/kv`: raw bytes under keys. The path that is asked for most, so nothing here does more than it must.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use grapevine_crdt::Dot;
use serde_json::json;
use uuid::Uuid;

use super::{
    HttpState,
    body::{self, empty, to_json},
    conditions::{Conditions, ETag},
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

type KeyPath = Result<Path<String>, PathRejection>;

pub(super) async fn list(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    Session::of_read(request.headers(), &state).await?;
    let request = PageRequest::read(request.uri(), Collection::Kv, true)?;
    page::answer(&state.store, request, |id, entity| {
        KeyValue::read(entity)
            .map(|value| {
                to_json(&json!({
                    "key": id.key(),
                    "content_type": value.content_type,
                    "size": value.bytes.len(),
                    "updated_at": rfc3339(value.updated),
                }))
            })
            .transpose()
    })
    .await
}

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
    let value = entity.as_ref().and_then(KeyValue::read);
    let value = value.ok_or_else(|| Problem::not_found("nothing is stored under this key"))?;
    conditions.answer_read(tag(value.dot), || {
        let mut response = Response::new(Body::from(value.bytes.to_vec()));
        let content_type = HeaderValue::try_from(value.content_type)
            .unwrap_or(HeaderValue::from_static(DEFAULT_CONTENT_TYPE));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
        response
    })
}

pub(super) async fn put(
    State(state): State<Arc<HttpState>>,
    path: KeyPath,
    request: Request,
) -> Result<Response, Problem> {
    let id = read_id(path)?;
    no_parameters(&request)?;
    let (parts, body) = request.into_parts();
    let conditions = Conditions::read(&parts.headers)?;
    let max_bytes = state.limits.max_body_bytes.min(MAX_VALUE_BYTES);
    let bytes = body::read(body, max_bytes).await?;
    let encoded = kv::encode(content_type(&parts.headers)?, &bytes)?;
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
                if !conditions.is_empty() {
                    let current = KeyValue::read(edit.entity).map(|value| tag(value.dot));
                    conditions.check_write(current.as_ref())?;
                }
                let cell = kv::put(encoded, edit.dot, edit.time);
                Ok::<_, Problem>((vec![cell], edit.dot))
            }),
        )
        .await?;
    let mut response = empty(StatusCode::NO_CONTENT);
    tag(dot).put(&mut response);
    Ok(session.answer(written).put(response))
}

/// Answers 204 whether something was there or not: either way nothing is there now.
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
    let ((), written) = state
        .store
        .write(
            id.clone(),
            tracked(id, move |edit| {
                if !conditions.is_empty() {
                    let current = KeyValue::read(edit.entity).map(|value| tag(value.dot));
                    conditions.check_write(current.as_ref())?;
                }
                let cells = kv::delete(edit.entity, unseen, edit.dot, edit.time);
                Ok::<_, Problem>((cells, ()))
            }),
        )
        .await?;
    Ok(session.answer(written).put(empty(StatusCode::NO_CONTENT)))
}

fn read_id(path: KeyPath) -> Result<EntityId, Problem> {
    let key = path_text("key", path)?;
    EntityId::new(Collection::Kv, key).map_err(|error| invalid_key("key", error))
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
fn tag(dot: Dot) -> ETag {
    let mut buffer = Uuid::encode_buffer();
    let replica = Uuid::from_bytes(*dot.replica.as_bytes());
    let replica = replica.simple().encode_lower(&mut buffer);
    ETag::named(&format!("{replica}-{}", dot.seq.get()))
}
