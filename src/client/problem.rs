//! What a node says when it refuses: an RFC 9457 problem, with a kind to switch on.

use std::{fmt, time::Duration};

use serde::Deserialize;
use serde_json::Value;

const TYPE_PREFIX: &str = "urn:problem-type:grapevine:";

/// Why a node refuses; `docs/api.md` says when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The request cannot be read.
    MalformedRequest,
    /// No access token was shown, or none that is worth anything.
    Unauthorized,
    /// The access token is not for this.
    Forbidden,
    /// Too many attempts with bad access tokens came from here.
    TooManyAttempts,
    /// Nothing is there.
    NotFound,
    /// This cannot be done here.
    MethodNotAllowed,
    /// What is stored does not allow it.
    Conflict,
    /// A condition does not hold; nothing was written.
    PreconditionFailed,
    /// What would be needed to answer is forgotten.
    Gone,
    /// The body, or what is in it, exceeds its bound.
    TooLarge,
    /// The content type is not read here.
    UnsupportedMediaType,
    /// A field is not valid.
    InvalidField,
    /// The node failed. A write may have happened.
    Internal,
    /// The disk of the node is full. A write may have happened.
    InsufficientStorage,
    /// The node cannot do this now. A write may have happened.
    Unavailable,
    /// The node does not hold what the session wrote yet; nothing was written.
    Behind,
    /// The token of the session can name no more writes; nothing was written.
    TokenFull,
    /// The clock of the node is off, and it takes no writes.
    ClockOff,
    /// The node has more to do than it can; nothing happened.
    Overloaded,
    /// The request took too long. A write may have happened.
    Timeout,
    /// Live members do not agree yet.
    NotConverged,
    /// Another, of a newer node.
    Other,
}

impl ProblemKind {
    const ALL: [(Self, &'static str); 21] = [
        (Self::MalformedRequest, "malformed-request"),
        (Self::Unauthorized, "unauthorized"),
        (Self::Forbidden, "forbidden"),
        (Self::TooManyAttempts, "too-many-attempts"),
        (Self::NotFound, "not-found"),
        (Self::MethodNotAllowed, "method-not-allowed"),
        (Self::Conflict, "conflict"),
        (Self::PreconditionFailed, "precondition-failed"),
        (Self::Gone, "gone"),
        (Self::TooLarge, "too-large"),
        (Self::UnsupportedMediaType, "unsupported-media-type"),
        (Self::InvalidField, "invalid-field"),
        (Self::Internal, "internal"),
        (Self::InsufficientStorage, "insufficient-storage"),
        (Self::Unavailable, "unavailable"),
        (Self::Behind, "behind"),
        (Self::TokenFull, "token-full"),
        (Self::ClockOff, "clock-off"),
        (Self::Overloaded, "overloaded"),
        (Self::Timeout, "timeout"),
        (Self::NotConverged, "not-converged"),
    ];

    fn named(kind: &str) -> Self {
        let name = kind.strip_prefix(TYPE_PREFIX).unwrap_or_default();
        Self::ALL
            .iter()
            .find(|(_, known)| *known == name)
            .map_or(Self::Other, |(kind, _)| *kind)
    }
}

/// What a node says when it refuses.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Problem {
    /// What to switch on.
    pub kind: ProblemKind,
    /// The HTTP status.
    pub status: u16,
    /// The kind in words.
    pub title: String,
    /// What happened this time.
    pub detail: String,
    /// The field, parameter, header or part of the path that is to blame.
    pub field: Option<String>,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// The whole answer.
    pub body: Value,
}

#[derive(Deserialize)]
struct Members {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
    field: Option<String>,
}

impl Problem {
    /// The problem that `body` tells; whatever it is, there is one.
    pub(super) fn read(status: u16, body: &[u8], retry_after: Option<Duration>) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let members = Members::deserialize(&body).unwrap_or(Members {
            kind: String::new(),
            title: String::new(),
            detail: String::new(),
            field: None,
        });
        Self {
            kind: ProblemKind::named(&members.kind),
            status,
            title: members.title,
            detail: members.detail,
            field: members.field,
            retry_after,
            body,
        }
    }

    /// Whether a write that was answered like this may be stored all the same.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        match self.kind {
            ProblemKind::Internal
            | ProblemKind::InsufficientStorage
            | ProblemKind::Unavailable
            | ProblemKind::Timeout => true,
            ProblemKind::Other => self.status >= 500,
            ProblemKind::MalformedRequest
            | ProblemKind::Unauthorized
            | ProblemKind::Forbidden
            | ProblemKind::TooManyAttempts
            | ProblemKind::NotFound
            | ProblemKind::MethodNotAllowed
            | ProblemKind::Conflict
            | ProblemKind::PreconditionFailed
            | ProblemKind::Gone
            | ProblemKind::TooLarge
            | ProblemKind::UnsupportedMediaType
            | ProblemKind::InvalidField
            | ProblemKind::Behind
            | ProblemKind::TokenFull
            | ProblemKind::ClockOff
            | ProblemKind::Overloaded
            | ProblemKind::NotConverged => false,
        }
    }

    /// Whether another node, or this one later, may answer better.
    pub(super) fn may_pass(&self) -> bool {
        let lasts = matches!(
            self.kind,
            ProblemKind::NotConverged | ProblemKind::TokenFull
        );
        self.status >= 500 && !lasts
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.title.as_str(), self.detail.as_str()) {
            ("", "") => write!(formatter, "the node answers {}", self.status),
            (title, "") => write!(formatter, "{title}"),
            ("", detail) => write!(formatter, "{detail}"),
            (title, detail) => write!(formatter, "{title}: {detail}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_read_by_its_type_and_an_unknown_one_by_its_status() {
        let body = br#"{"type": "urn:problem-type:grapevine:invalid-field", "title": "A field is not valid",
            "status": 422, "detail": "by is a whole number", "field": "by"}"#;
        let problem = Problem::read(422, body, None);
        assert_eq!(problem.kind, ProblemKind::InvalidField);
        assert_eq!(problem.field.as_deref(), Some("by"));
        assert!(!problem.may_have_happened());
        assert_eq!(
            problem.to_string(),
            "A field is not valid: by is a whole number"
        );
        let strange = Problem::read(502, b"<html>", None);
        assert_eq!(strange.kind, ProblemKind::Other);
        assert!(strange.may_have_happened() && strange.may_pass());
        assert_eq!(strange.to_string(), "the node answers 502");
    }
}
