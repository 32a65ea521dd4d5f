//! Topics of messages, and what changes as it changes.

use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    call::{Call, escaped},
    client::Client,
    error::ClientError,
    feed::Feed,
    list::List,
};

/// A message. It never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Message {
    /// Its place among all messages of its topic, the same on every node.
    pub id: String,
    /// The topic.
    pub topic: String,
    /// Who says it.
    pub author: String,
    /// What is said.
    pub body: String,
    /// When it was posted (RFC 3339).
    pub at: String,
}

/// Something that a node took in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// Of what: `contacts`, `counters`, `kv`, `topics`.
    pub collection: String,
    /// Which.
    pub key: String,
    /// Whether it is there no more.
    pub deleted: bool,
    /// As it stands now; `None` if it is too large to be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// The topics of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Topics<'a>(&'a Client);

impl<'a> Topics<'a> {
    pub(super) const fn of(client: &'a Client) -> Self {
        Self(client)
    }

    /// Posts a message, under an idempotency key of its own.
    pub async fn post(
        &self,
        topic: &str,
        author: &str,
        body: &str,
    ) -> Result<Message, ClientError> {
        let call = Call::new(Method::POST, path(topic, "messages"))
            .keyed(&Uuid::now_v7().to_string())?
            .json(&json!({ "author": author, "body": body }))?;
        self.0.send(call).await?.json()
    }

    /// Removes a message, if it is there.
    pub async fn remove(&self, topic: &str, id: &str) -> Result<(), ClientError> {
        let path = format!("{}/{}", path(topic, "messages"), escaped(id));
        match self.0.send(Call::new(Method::DELETE, path)).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The messages of a topic since a time (RFC 3339), or all, oldest first.
    #[must_use]
    pub fn messages(&self, topic: &str, since: Option<&str>) -> List<Message> {
        let call = Call::get(path(topic, "messages"));
        List::new(self.0, given(call, "since", since))
    }

    /// As [`Self::messages`], the newest first.
    #[must_use]
    pub fn newest_messages(&self, topic: &str, since: Option<&str>) -> List<Message> {
        let call = Call::get(path(topic, "messages")).parameter("order", "newest");
        List::new(self.0, given(call, "since", since))
    }

    /// The messages of a topic since a time (RFC 3339), or from now on, and then each as it comes.
    #[must_use]
    pub fn follow(&self, topic: &str, since: Option<&str>) -> Feed {
        let again = Call::get(path(topic, "stream"));
        Feed::new(self.0, given(again.clone(), "since", since), again)
    }

    /// Every change from now on of what is in `collection` and begins with `prefix`, as it comes.
    #[must_use]
    pub fn watch(&self, collection: Option<&str>, prefix: Option<&str>) -> Feed {
        let call = given(Call::get("/v1/watch"), "collection", collection);
        let call = given(call, "prefix", prefix);
        Feed::new(self.0, call.clone(), call)
    }
}

fn given(call: Call, name: &str, value: Option<&str>) -> Call {
    match value {
        Some(value) => call.parameter(name, value),
        None => call,
    }
}

fn path(topic: &str, rest: &str) -> String {
    format!("/v1/topics/{}/{rest}", escaped(topic))
}
