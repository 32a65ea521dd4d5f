//! Everything that a cluster shows, as JSON values, and back: for whoever carries it elsewhere and need not know its shape.

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};

use super::{
    body::Payload,
    call::{Call, escaped},
    client::Client,
    error::ClientError,
    list::List,
};

/// Everything that a cluster shows.
#[derive(Clone, Copy, Debug)]
pub struct Everything<'a>(&'a Client);

impl<'a> Everything<'a> {
    pub(super) const fn of(client: &'a Client) -> Self {
        Self(client)
    }

    /// All contacts, as the API shows them.
    #[must_use]
    pub fn contacts(&self) -> List<Value> {
        self.list("/v1/contacts")
    }

    /// All counters: `{"name", "value"}`.
    #[must_use]
    pub fn counters(&self) -> List<Value> {
        self.list("/v1/counters")
    }

    /// All keys, without their values: `{"key", "content_type", "size", "updated_at", "expires_at"?}`.
    #[must_use]
    pub fn keys(&self) -> List<Value> {
        self.list("/v1/kv")
    }

    /// All topics with their settings.
    #[must_use]
    pub fn topics(&self) -> List<Value> {
        self.list("/v1/topics")
    }

    /// The messages of a topic, oldest first.
    #[must_use]
    pub fn messages(&self, topic: &str) -> List<Value> {
        self.list(&format!("/v1/topics/{}/messages", escaped(topic)))
    }

    /// Makes the contact `id` what `contact` says; what the API shows is what it takes.
    pub async fn put_contact(&self, id: &str, contact: &Value) -> Result<(), ClientError> {
        let path = format!("/v1/contacts/{}", escaped(id));
        self.write(Call::new(Method::PUT, path).json(contact)?)
            .await
    }

    /// Stores `bytes` under `key`, for `ttl_s` seconds or for ever.
    pub async fn put_kv(
        &self,
        key: &str,
        content_type: &str,
        bytes: Bytes,
        ttl_s: Option<u64>,
    ) -> Result<(), ClientError> {
        let call = Call::new(Method::PUT, format!("/v1/kv/{}", escaped(key)));
        let call = match ttl_s {
            Some(ttl_s) => call.parameter("ttl", &ttl_s.to_string()),
            None => call,
        };
        self.write(call.body(content_type, Payload::Bytes(bytes))?)
            .await
    }

    /// How much is kept of a topic; `null` is what each node is set to.
    pub async fn put_topic(
        &self,
        topic: &str,
        retain_count: &Value,
        retain_seconds: &Value,
    ) -> Result<(), ClientError> {
        let settings = json!({ "retain_count": retain_count, "retain_seconds": retain_seconds });
        let path = format!("/v1/topics/{}", escaped(topic));
        self.write(Call::new(Method::PUT, path).json(&settings)?)
            .await
    }

    /// Posts a message, once for each `key`.
    pub async fn post_once(
        &self,
        topic: &str,
        author: &str,
        body: &str,
        key: &str,
    ) -> Result<(), ClientError> {
        let path = format!("/v1/topics/{}/messages", escaped(topic));
        let message = json!({ "author": author, "body": body });
        self.write(Call::new(Method::POST, path).keyed(key)?.json(&message)?)
            .await
    }

    fn list(self, path: &str) -> List<Value> {
        List::new(self.0, Call::get(path))
    }

    async fn write(self, call: Call) -> Result<(), ClientError> {
        self.0.send(call).await.map(drop)
    }
}
