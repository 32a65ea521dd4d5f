//! Request bodies, read within their bound, and JSON in and out.

use std::{future::poll_fn, pin::Pin};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;

use super::{
    json::{self, Unreadable},
    problem::{Problem, ProblemKind},
    room::NoRoom,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A list of operations (RFC 6902), which is another language than a merge patch.
const JSON_PATCH: &str = "application/json-patch+json";

/// How much of a body that is too large is read and thrown away, so that a client which is still sending gets
/// the answer instead of a reset connection.
const MAX_DRAINED_BYTES: usize = 64 * 1_024 * 1_024;

/// The whole body, of at most `max_bytes` bytes.
pub(super) async fn read(mut body: Body, max_bytes: usize) -> Result<Bytes, Problem> {
    let too_large =
        || Problem::too_large(format!("a body has at most {max_bytes} bytes")).about("body");
    let announced = HttpBody::size_hint(&body).lower();
    if announced > max_bytes.max(MAX_DRAINED_BYTES) as u64 {
        return Err(too_large());
    }
    let Some(first) = next(&mut body).await? else {
        return Ok(Bytes::new());
    };
    // Most bodies come in one frame and are not copied.
    if first.len() <= max_bytes && body.is_end_stream() {
        return Ok(first);
    }
    let mut bytes = first.to_vec();
    while bytes.len() <= max_bytes {
        let Some(frame) = next(&mut body).await? else {
            return Ok(bytes.into());
        };
        bytes.extend_from_slice(&frame);
    }
    drop(bytes);
    drain(&mut body).await;
    Err(too_large())
}

/// Reads what a client still sends and throws it away, as far as that is bounded, so that it hears the answer.
pub(super) async fn drain(body: &mut Body) {
    let mut drained = 0;
    while drained <= MAX_DRAINED_BYTES {
        match next(body).await {
            Ok(Some(frame)) => drained += frame.len(),
            Ok(None) | Err(_) => break,
        }
    }
}

/// The next bytes of a body; `None` at its end.
pub(super) async fn next(body: &mut Body) -> Result<Option<Bytes>, Problem> {
    loop {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => {
                let error = error.into_inner();
                if let Some(no_room) = error.downcast_ref::<NoRoom>() {
                    return Err(Problem::overloaded(no_room.to_string()));
                }
                return Err(Problem::malformed(
                    "body",
                    format!("the body ended early: {error}"),
                ));
            }
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// The media type of the body in lower case, without parameters; `None` if it is not said.
pub(super) fn media_type(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(None);
    };
    let text = value
        .to_str()
        .map_err(|_| Problem::malformed("Content-Type", "the content type is not ASCII"))?;
    let media_type = text.split(';').next().unwrap_or_default();
    Ok(Some(media_type.trim().to_ascii_lowercase()))
}

/// Reads the body as JSON; an empty one is `None`.
pub(super) async fn read_json(
    headers: &HeaderMap,
    body: Body,
    max_bytes: usize,
) -> Result<Option<serde_json::Value>, Problem> {
    let media_type = media_type(headers)?;
    let bytes = read(body, max_bytes).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if let Some(media_type) = media_type {
        let json = media_type == "application/json"
            || (media_type.starts_with("application/")
                && media_type.ends_with("+json")
                && media_type != JSON_PATCH);
        if !json {
            return Err(Problem::new(
                ProblemKind::UnsupportedMediaType,
                format!(
                    "{media_type} is not JSON; say `Content-Type: application/json` (curl: `--json`)"
                ),
            )
            .about("Content-Type"));
        }
    }
    json::read(&bytes).map(Some).map_err(|error| match error {
        Unreadable::Syntax(error) => {
            Problem::malformed("body", format!("the body is not JSON: {error}"))
        }
        Unreadable::Twice(member) => {
            Problem::invalid(&member, format!("{member} is there twice in one object"))
        }
    })
}

/// As [`read_json`]; there must be a body.
pub(super) async fn require_json(
    headers: &HeaderMap,
    body: Body,
    max_bytes: usize,
) -> Result<serde_json::Value, Problem> {
    read_json(headers, body, max_bytes)
        .await?
        .ok_or_else(|| Problem::malformed("body", "a JSON body is needed"))
}

/// The bytes of `value` as JSON.
pub(super) fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(value).map_err(|error| Problem::internal(&error))
}

/// An answer of JSON that is already bytes.
pub(super) fn json_bytes(status: StatusCode, bytes: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// An answer of JSON.
pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Result<Response, Problem> {
    Ok(json_bytes(status, to_json(value)?))
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
