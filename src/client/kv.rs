//! Key-values: bytes under keys.

use bytes::Bytes;
use hyper::{Method, header};
use serde::{Deserialize, Serialize};

use super::{
    body::Payload,
    call::{Call, Condition, Tagged, escaped},
    client::Client,
    error::ClientError,
    list::List,
};

const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its media type.
    pub content_type: String,
    /// As they were put.
    pub bytes: Bytes,
}

/// A key, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KeyEntry {
    /// The key.
    pub key: String,
    /// The media type of its value.
    pub content_type: String,
    /// How many bytes are stored.
    pub size: u64,
    /// When they were put (RFC 3339).
    pub updated_at: String,
}

/// The key-values of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct KeyValues<'a>(&'a Client);

impl<'a> KeyValues<'a> {
    pub(super) const fn of(client: &'a Client) -> Self {
        Self(client)
    }

    /// What is stored under `key`; `None` if nothing is.
    pub async fn get(&self, key: &str) -> Result<Option<Tagged<Value>>, ClientError> {
        let answer = match self.0.send(Call::get(path(key))).await {
            Ok(answer) => answer,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let content_type = answer.text_header(&header::CONTENT_TYPE);
        Ok(Some(Tagged {
            tag: answer.text_header(&header::ETAG),
            value: Value {
                content_type: content_type.unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned()),
                bytes: answer.body,
            },
        }))
    }

    /// Stores `bytes` under `key`; yields the tag.
    pub async fn put(
        &self,
        key: &str,
        content_type: &str,
        bytes: impl Into<Bytes>,
    ) -> Result<Option<String>, ClientError> {
        self.put_if(key, content_type, bytes, &Condition::None)
            .await
    }

    /// Stores `bytes` under `key` if the condition holds on the node that answers; yields the tag.
    pub async fn put_if(
        &self,
        key: &str,
        content_type: &str,
        bytes: impl Into<Bytes>,
        condition: &Condition,
    ) -> Result<Option<String>, ClientError> {
        let call = Call::new(Method::PUT, path(key))
            .body(content_type, Payload::Bytes(bytes.into()))?
            .when(condition)?;
        Ok(self.0.send(call).await?.text_header(&header::ETAG))
    }

    /// As [`Self::put_if`]; the value is gone on every node `ttl_s` seconds after the node took it.
    pub async fn put_for(
        &self,
        key: &str,
        content_type: &str,
        bytes: impl Into<Bytes>,
        ttl_s: u64,
        condition: &Condition,
    ) -> Result<Option<String>, ClientError> {
        let call = Call::new(Method::PUT, path(key))
            .parameter("ttl", &ttl_s.to_string())
            .body(content_type, Payload::Bytes(bytes.into()))?
            .when(condition)?;
        Ok(self.0.send(call).await?.text_header(&header::ETAG))
    }

    /// Deletes what is stored under `key`, if anything is.
    pub async fn delete(&self, key: &str) -> Result<(), ClientError> {
        self.delete_if(key, &Condition::None).await
    }

    /// Deletes what is stored under `key` if the condition holds on the node that answers.
    pub async fn delete_if(&self, key: &str, condition: &Condition) -> Result<(), ClientError> {
        let call = Call::new(Method::DELETE, path(key)).when(condition)?;
        self.0.send(call).await.map(drop)
    }

    /// The keys that begin with `prefix`, in their order.
    #[must_use]
    pub fn list(&self, prefix: &str) -> List<KeyEntry> {
        List::new(self.0, Call::get("/v1/kv").parameter("prefix", prefix))
    }
}

fn path(key: &str) -> String {
    format!("/v1/kv/{}", escaped(key))
}
