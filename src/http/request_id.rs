//! The id of a request: in its problem answer, in what is logged of it, and as `X-Request-Id` in its answer.
//!
//! One that the client or a proxy gave is kept if it is short and plain, else one is made. It is text only when
//! somebody reads it, so a request that meets no problem pays almost nothing for it.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The header.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The most characters of an id that a client gives.
const MAX_REQUEST_ID_CHARS: usize = 64;
/// Odd, so that all numbers come before one comes again; the ids of two requests do not look alike.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

tokio::task_local! {
    /// The id of the request that this task answers.
    pub(super) static CURRENT: RequestId;
}

/// The id of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestId {
    /// The client gave it.
    Given(HeaderValue),
    /// It gave none.
    Made(u64),
}

impl RequestId {
    /// That of the request that this task answers, if it answers one.
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// As [`Self::current`], as text for a line of the log.
    pub(super) fn current_text() -> Option<String> {
        Self::current().map(|id| id.to_string())
    }

    /// Whether the client gave it.
    pub(super) const fn is_given(&self) -> bool {
        matches!(self, Self::Given(_))
    }

    /// Puts it on an answer.
    pub(super) fn put(&self, headers: &mut HeaderMap) {
        let value = match self {
            Self::Given(value) => Ok(value.clone()),
            Self::Made(_) => HeaderValue::try_from(self.to_string()),
        };
        if let Ok(value) = value {
            headers.insert(REQUEST_ID, value);
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(value) => f.write_str(value.to_str().unwrap_or_default()),
            Self::Made(number) => write!(f, "{number:016x}"),
        }
    }
}

/// Gives requests their ids.
#[derive(Debug)]
pub(super) struct RequestIds(AtomicU64);

impl Default for RequestIds {
    /// Beginning anywhere, so that two nodes do not give the same.
    fn default() -> Self {
        Self(AtomicU64::new(rand::random()))
    }
}

impl RequestIds {
    /// The id of a request with these headers.
    pub(super) fn of(&self, headers: &HeaderMap) -> RequestId {
        match headers.get(REQUEST_ID) {
            Some(value) if is_plain(value.as_bytes()) => RequestId::Given(value.clone()),
            Some(_) | None => RequestId::Made(self.0.fetch_add(STEP, Ordering::Relaxed)),
        }
    }
}

/// Whether an id can stand in a log line and in a header as it is.
fn is_plain(id: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=MAX_REQUEST_ID_CHARS).contains(&id.len()) && id.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_spoil_a_log_is_replaced() {
        let ids = RequestIds::default();
        let mut headers = HeaderMap::new();
        let mut of = |text: &[u8]| {
            let value = HeaderValue::from_bytes(text).expect("a header can hold it");
            headers.insert(REQUEST_ID, value);
            ids.of(&headers)
        };
        assert_eq!(of(b"trace-7:a/b").to_string(), "trace-7:a/b");
        for bad in [
            &b""[..],
            b"a b",
            b"a\"b",
            b"a\tb",
            "\u{fc}".as_bytes(),
            &[b'x'; 65],
        ] {
            let id = of(bad);
            assert!(!id.is_given(), "{bad:?}");
            assert_eq!(id.to_string().len(), 16);
        }
        assert_ne!(of(b" "), of(b" "));
    }
}
