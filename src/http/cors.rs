//! Cross-origin requests (the Fetch standard, section 3.3): which web pages may ask this node from a browser.
//!
//! Off unless a setting names origins. It protects nobody from programs: only browsers ask.

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
            ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
        },
    },
    response::Response,
};

/// Any origin.
const ANY: &str = "*";
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, Grapevine-Token, Last-Event-ID, \
     X-Request-Id",
);
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "ETag, Location, Retry-After, Allow, Grapevine-Token, Grapevine-Expires, WWW-Authenticate, X-Request-Id",
);
/// For how many seconds a browser may keep the answer to its question.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("86400");

/// Which origins may ask.
#[derive(Debug, Default)]
pub(super) struct Cors {
    origins: Vec<String>,
}

impl Cors {
    pub(super) const fn new(origins: Vec<String>) -> Self {
        Self { origins }
    }

    /// What is said to the page that asks; `None` if it may not, or is none.
    pub(super) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        if self.origins.iter().any(|allowed| allowed == ANY) {
            return Some(HeaderValue::from_static(ANY));
        }
        let known = self
            .origins
            .iter()
            .any(|allowed| allowed.as_bytes() == origin.as_bytes());
        known.then(|| origin.clone())
    }

    /// The answer to a browser that asks whether it may ask; `None` if this is no such question.
    pub(super) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        let asks = method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !asks || self.origins.is_empty() {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if let Some(allowed) = self.allowed(headers) {
            let said: [(HeaderName, HeaderValue); 4] = [
                (ACCESS_CONTROL_ALLOW_ORIGIN, allowed),
                (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
                (ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
                (ACCESS_CONTROL_MAX_AGE, MAX_AGE_S),
            ];
            response.headers_mut().extend(said);
        }
        response
            .headers_mut()
            .append(VARY, HeaderValue::from_static("Origin"));
        Some(response)
    }

    /// Lets the page that `allowed` names read an answer.
    pub(super) fn put(&self, allowed: Option<HeaderValue>, headers: &mut HeaderMap) {
        if self.origins.is_empty() {
            return;
        }
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(allowed) = allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}
