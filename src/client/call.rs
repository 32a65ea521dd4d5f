//! One request as the resources of the client put it, and one answer as they read it.

use std::time::Duration;

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};

use super::{address::NodeAddress, body::Payload, error::ClientError, problem::Problem};

/// What stays as it is in a part of a path or in a parameter.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'@');

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// One part of a path, or the value of a parameter, escaped.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// What a write requires of what is there, on the node that takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// It has this `ETag`.
    Unchanged(String),
    /// Nothing is there.
    Absent,
}

/// A request to any node.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) payload: Payload,
    pub(super) headers: HeaderMap,
    /// Whether the same request twice, also through two nodes, does what it does once.
    pub(super) idempotent: bool,
    /// In place of the client's own.
    pub(super) timeout: Option<Duration>,
    parameters: usize,
}

impl Call {
    /// A request that may be repeated, unless it is a POST.
    pub(super) fn new(method: Method, path: String) -> Self {
        let idempotent = method != Method::POST;
        Self {
            method,
            path,
            payload: Payload::Bytes(Bytes::new()),
            headers: HeaderMap::new(),
            idempotent,
            timeout: None,
            parameters: 0,
        }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path.into())
    }

    /// A POST that may be repeated because of what it is.
    pub(super) fn repeatable(mut self) -> Self {
        self.idempotent = true;
        self
    }

    pub(super) fn is_write(&self) -> bool {
        self.method != Method::GET && self.method != Method::HEAD
    }

    pub(super) fn parameter(mut self, name: &str, value: &str) -> Self {
        let separator = if self.parameters == 0 { '?' } else { '&' };
        self.parameters += 1;
        self.path.push(separator);
        self.path.push_str(name);
        self.path.push('=');
        self.path.push_str(&escaped(value));
        self
    }

    pub(super) fn body(
        mut self,
        content_type: &str,
        payload: Payload,
    ) -> Result<Self, ClientError> {
        self.payload = payload;
        self.header(header::CONTENT_TYPE, content_type)
    }

    pub(super) fn json(self, body: &impl Serialize) -> Result<Self, ClientError> {
        let bytes =
            serde_json::to_vec(body).map_err(|error| ClientError::Request(error.to_string()))?;
        self.body("application/json", Payload::Bytes(bytes.into()))
    }

    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Result<Self, ClientError> {
        let value = HeaderValue::try_from(value)
            .map_err(|_| ClientError::Request(format!("{name} cannot be {value:?}")))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// The node that takes it a second time knows the first by `key`.
    pub(super) fn keyed(self, key: &str) -> Result<Self, ClientError> {
        Ok(self.header(IDEMPOTENCY_KEY, key)?.repeatable())
    }

    /// A conditional write that was not answered cannot be repeated: if it happened, its condition holds no more.
    pub(super) fn when(self, condition: &Condition) -> Result<Self, ClientError> {
        let mut call = match condition {
            Condition::None => return Ok(self),
            Condition::Unchanged(tag) => self.header(header::IF_MATCH, tag)?,
            Condition::Absent => self.header(header::IF_NONE_MATCH, "*")?,
        };
        call.idempotent = false;
        Ok(call)
    }
}

/// What a node answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) node: String,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// The answer of a node that finds nothing any more to delete.
    pub(super) fn of_deletion(node: &NodeAddress) -> Self {
        Self {
            node: node.to_string(),
            status: StatusCode::NO_CONTENT,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| ClientError::Unexpected {
            node: self.node.clone(),
            why: error.to_string(),
        })
    }

    pub(super) fn text_header(&self, name: &HeaderName) -> Option<String> {
        let value = self.headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    }

    /// With the `ETag` of the answer.
    pub(super) fn tagged<T: DeserializeOwned>(&self) -> Result<Tagged<T>, ClientError> {
        Ok(Tagged {
            value: self.json()?,
            tag: self.text_header(&header::ETAG),
        })
    }

    pub(super) fn problem(&self) -> Problem {
        let retry_after = self
            .text_header(&header::RETRY_AFTER)
            .and_then(|seconds| seconds.parse().ok())
            .map(Duration::from_secs);
        Problem::read(self.status.as_u16(), &self.body, retry_after)
    }
}

/// What a node answered, with its tag for conditional writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged<T> {
    /// What is there.
    pub value: T,
    /// Its `ETag`, for [`Condition::Unchanged`].
    pub tag: Option<String>,
}

impl<T> Tagged<T> {
    /// The condition that it has not changed since.
    #[must_use]
    pub fn unchanged(&self) -> Condition {
        self.tag
            .clone()
            .map_or(Condition::None, Condition::Unchanged)
    }
}
