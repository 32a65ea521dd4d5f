//! Errors as users get them: RFC 9457 problems, made here and nowhere else.
//!
//! `type` is a stable name to switch on, `title` says it in words, `detail` says what happened this time,
//! `field` names what to change in the request.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::rejection::PathRejection,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use grapevine_crdt::CounterError;
use serde_json::{Map, Value, json};

use super::{idempotency, request_id::RequestId};
use crate::{
    model::{InvalidContact, InvalidKey, InvalidMessage, InvalidTopic, kv::InvalidValue},
    store::{StoreError, WriteError},
};

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
/// When a client should come back after a 503, in seconds.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// What kind of problem it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProblemKind {
    /// It cannot be read: not JSON, not UTF-8, no such parameter, a cursor that is none.
    MalformedRequest,
    /// It can be read but not done: a value out of bounds, a field that is not one.
    InvalidField,
    /// No token, or none that is worth anything.
    Unauthorized,
    /// The token is not for this.
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    PreconditionFailed,
    TooLarge,
    /// Too many attempts with tokens that are none.
    TooManyAttempts,
    UnsupportedMediaType,
    Internal,
    Unavailable,
    NoSpace,
    Overloaded,
    ClockOff,
    Timeout,
    NotConverged,
    /// A counter did not get as far in time.
    NotReached,
    /// What the client is known to have written is not here yet.
    Behind,
    /// What would be needed to answer is forgotten.
    Gone,
    /// No room for another write in the token of the session.
    TokenFull,
}

impl ProblemKind {
    /// All of them, for the description.
    pub(super) const ALL: [Self; 22] = [
        Self::MalformedRequest,
        Self::InvalidField,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::PreconditionFailed,
        Self::TooLarge,
        Self::TooManyAttempts,
        Self::UnsupportedMediaType,
        Self::Internal,
        Self::Unavailable,
        Self::NoSpace,
        Self::Overloaded,
        Self::ClockOff,
        Self::Timeout,
        Self::NotConverged,
        Self::NotReached,
        Self::Behind,
        Self::Gone,
        Self::TokenFull,
    ];

    /// The status with which it is answered.
    pub(super) const fn status(self) -> StatusCode {
        self.parts().0
    }

    /// What its name ends in.
    pub(super) const fn slug(self) -> &'static str {
        self.parts().1
    }

    /// It in words.
    pub(super) const fn title(self) -> &'static str {
        self.parts().2
    }

    /// Its name, to switch on.
    pub(super) fn urn(self) -> String {
        format!("urn:problem-type:grapevine:{}", self.slug())
    }

    #[allow(clippy::too_many_lines, reason = "a table")]
    const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::MalformedRequest => (
                StatusCode::BAD_REQUEST,
                "malformed-request",
                "The request cannot be read",
            ),
            Self::InvalidField => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid-field",
                "A field is not valid",
            ),
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "A token is needed",
            ),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "This is not allowed"),
            Self::TooManyAttempts => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-attempts",
                "Too many attempts have failed",
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is nothing here"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "This cannot be done here",
            ),
            Self::Conflict => (
                StatusCode::CONFLICT,
                "conflict",
                "What is stored does not allow it",
            ),
            Self::PreconditionFailed => (
                StatusCode::PRECONDITION_FAILED,
                "precondition-failed",
                "It has changed in the meantime",
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The request is too large",
            ),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "This content type is not read here",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "The node failed",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "The node cannot do this now",
            ),
            Self::NoSpace => (
                StatusCode::INSUFFICIENT_STORAGE,
                "insufficient-storage",
                "The disk of the node is full",
            ),
            Self::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "The node has more to do than it can",
            ),
            Self::ClockOff => (
                StatusCode::SERVICE_UNAVAILABLE,
                "clock-off",
                "The clock of the node is off",
            ),
            Self::Timeout => (
                StatusCode::SERVICE_UNAVAILABLE,
                "timeout",
                "The request took too long",
            ),
            Self::NotConverged => (
                StatusCode::GATEWAY_TIMEOUT,
                "not-converged",
                "Live members do not agree yet",
            ),
            Self::NotReached => (
                StatusCode::GATEWAY_TIMEOUT,
                "not-reached",
                "The counter did not get that far in time",
            ),
            Self::Behind => (
                StatusCode::SERVICE_UNAVAILABLE,
                "behind",
                "This node does not hold what you have written yet",
            ),
            Self::Gone => (
                StatusCode::GONE,
                "gone",
                "What was deleted since is forgotten",
            ),
            Self::TokenFull => (
                StatusCode::SERVICE_UNAVAILABLE,
                "token-full",
                "The token can name no more writes",
            ),
        }
    }
}

/// A problem to be answered.
#[derive(Debug)]
pub(super) struct Problem {
    kind: ProblemKind,
    detail: String,
    field: Option<String>,
    more: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(super) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            field: None,
            more: Map::new(),
            headers: Vec::new(),
        }
    }

    /// 400, because of `field`.
    pub(super) fn malformed(field: &str, detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::MalformedRequest, detail).about(field)
    }

    /// 422, because of `field`.
    pub(super) fn invalid(field: &str, detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::InvalidField, detail).about(field)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::NotFound, detail)
    }

    pub(super) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::TooLarge, detail)
    }

    /// 503: nothing happened, and the same request may succeed in a moment.
    pub(super) fn overloaded(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::Overloaded, detail)
    }

    /// 503: a write now would have a time that is wrong.
    pub(super) fn clock_off(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::ClockOff, detail)
    }

    #[cfg(test)]
    pub(super) const fn status(&self) -> StatusCode {
        self.kind.parts().0
    }

    pub(super) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(request_id = RequestId::current_text(), %error, "a request failed");
        Self::new(
            ProblemKind::Internal,
            "the log of the node says what went wrong",
        )
    }

    /// Says how far the request had got.
    pub(super) fn after(mut self, so_far: &str) -> Self {
        self.detail = format!("{}; {so_far}", self.detail);
        self
    }

    /// Names what in the request is to blame.
    pub(super) fn about(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// Adds a member beyond those that every problem has.
    pub(super) fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// Adds a header to its answer.
    pub(super) fn saying(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl Problem {
    /// Its status and its JSON.
    pub(super) fn told(self) -> (StatusCode, Value) {
        let (status, title) = (self.kind.status(), self.kind.title());
        let request_id = RequestId::current_text();
        tracing::debug!(request_id, %status, detail = self.detail, field = self.field, "a problem is answered");
        let mut body = json!({
            "type": self.kind.urn(),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
        });
        if let Some(field) = self.field {
            body["field"] = Value::String(field);
        }
        for (name, value) in self.more {
            body[name] = value;
        }
        (status, body)
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let said = std::mem::take(&mut self.headers);
        let (status, mut body) = self.told();
        let id = RequestId::current();
        if let Some(id) = &id {
            body["request_id"] = id.to_string().into();
        }
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, MEDIA_TYPE);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_S);
        }
        headers.extend(said);
        if let Some(id) = id {
            id.put(headers);
        }
        response
    }
}

impl From<InvalidContact> for Problem {
    fn from(error: InvalidContact) -> Self {
        Self::invalid(&error.field, error.to_string())
    }
}

impl From<InvalidValue> for Problem {
    fn from(error: InvalidValue) -> Self {
        match error {
            InvalidValue::TooLarge => Self::too_large(error.to_string()).about("body"),
            InvalidValue::ContentType => Self::invalid("Content-Type", error.to_string()),
        }
    }
}

impl From<InvalidTopic> for Problem {
    fn from(error: InvalidTopic) -> Self {
        Self::malformed("topic", error.to_string())
    }
}

impl From<InvalidMessage> for Problem {
    fn from(error: InvalidMessage) -> Self {
        let field = match error {
            InvalidMessage::Author => "author",
            InvalidMessage::Body => "body",
        };
        Self::invalid(field, error.to_string())
    }
}

impl From<CounterError> for Problem {
    fn from(error: CounterError) -> Self {
        let field = match error {
            CounterError::KeyReused | CounterError::TooManyRequests => idempotency::FIELD,
            CounterError::TooManyTallies => "writer",
            _ => "by",
        };
        Self::new(ProblemKind::Conflict, error.to_string()).about(field)
    }
}

impl From<Infallible> for Problem {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        // A damaged row stays damaged; whatever else ails the store may pass, or is said by another node.
        let damaged = matches!(
            error,
            StoreError::Row { .. } | StoreError::Codec(_) | StoreError::Key(_)
        );
        if damaged {
            return Self::internal(&error);
        }
        if matches!(error, StoreError::EntityTooLarge { .. }) {
            return Self::new(ProblemKind::TooLarge, error.to_string());
        }
        if matches!(error, StoreError::Overloaded) {
            return Self::overloaded(error.to_string());
        }
        if matches!(error, StoreError::NoSpace(_)) {
            // The store has logged it; every client that writes would repeat it.
            return Self::new(ProblemKind::NoSpace, error.to_string());
        }
        tracing::warn!(request_id = RequestId::current_text(), %error, "the store refused a request");
        Self::new(ProblemKind::Unavailable, error.to_string())
    }
}

impl<E: Into<Self>> From<WriteError<E>> for Problem {
    fn from(error: WriteError<E>) -> Self {
        match error {
            WriteError::Rejected(error) => error.into(),
            WriteError::Store(error) => error.into(),
        }
    }
}

/// A key that is out of bounds, as the part `field` of the path.
pub(super) fn invalid_key(field: &str, error: InvalidKey) -> Problem {
    Problem::malformed(field, error.to_string())
}

/// The part `field` of the path, or why it cannot be read.
pub(super) fn path_text(
    field: &str,
    path: Result<axum::extract::Path<String>, PathRejection>,
) -> Result<String, Problem> {
    path.map(|axum::extract::Path(text)| text)
        .map_err(|rejection| Problem::malformed(field, rejection.body_text()))
}

/// Both parts of a path that has two, or why they cannot be read.
pub(super) fn path_texts(
    path: Result<axum::extract::Path<(String, String)>, PathRejection>,
) -> Result<(String, String), Problem> {
    path.map(|axum::extract::Path(texts)| texts)
        .map_err(|rejection| Problem::malformed("path", rejection.body_text()))
}
