//! Counters, and the absolute counts of writers outside.

use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    call::{Call, Condition, Tagged, escaped},
    client::Client,
    error::ClientError,
    list::List,
};

/// A counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counter {
    /// Its name.
    pub name: String,
    /// Where it stands, as far as the node that answered has heard.
    pub value: i128,
}

/// The count of a writer outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tally {
    /// Who counts.
    pub writer: String,
    /// The greatest count that it told.
    pub value: u64,
    /// How much of it no reset has forgotten.
    pub counted: u64,
}

/// The counters of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Counters<'a>(&'a Client);

impl<'a> Counters<'a> {
    pub(super) const fn of(client: &'a Client) -> Self {
        Self(client)
    }

    /// A counter; one that nobody has touched stands at 0.
    pub async fn get(&self, name: &str) -> Result<Tagged<Counter>, ClientError> {
        self.0.send(Call::get(path(name, ""))).await?.tagged()
    }

    /// Counts `by` on, once at most: if no answer comes it is not repeated, and the error says that nobody knows
    /// whether it counted. See [`Self::increment_once`].
    pub async fn increment(&self, name: &str, by: u64) -> Result<Counter, ClientError> {
        self.count(name, "increment", by, None).await
    }

    /// Counts `by` down, once at most.
    pub async fn decrement(&self, name: &str, by: u64) -> Result<Counter, ClientError> {
        self.count(name, "decrement", by, None).await
    }

    /// Counts `by` on, once: it is repeated until a node answers, and whoever repeats it with the same `key` counts
    /// nothing more. A counter remembers its keys for ever, and a node takes 1,024 of them for one counter: for
    /// more than that, tell tallies.
    pub async fn increment_once(
        &self,
        name: &str,
        by: u64,
        key: &str,
    ) -> Result<Counter, ClientError> {
        self.count(name, "increment", by, Some(key)).await
    }

    /// Counts `by` down, once; as [`Self::increment_once`].
    pub async fn decrement_once(
        &self,
        name: &str,
        by: u64,
        key: &str,
    ) -> Result<Counter, ClientError> {
        self.count(name, "decrement", by, Some(key)).await
    }

    /// Forgets what the node that answers has seen of a counter; what it has not seen counts on.
    pub async fn reset(&self, name: &str, condition: &Condition) -> Result<Counter, ClientError> {
        let call = Call::new(Method::POST, path(name, "/reset")).when(condition)?;
        self.0.send(call).await?.json()
    }

    /// As [`Self::reset`], and hides the counter until somebody counts on.
    pub async fn delete(&self, name: &str) -> Result<(), ClientError> {
        // Repeated through a node that has heard of more, it would forget more.
        let mut call = Call::new(Method::DELETE, path(name, ""));
        call.idempotent = false;
        self.0.send(call).await.map(drop)
    }

    /// The counters whose names begin with `prefix`, in the order of their names.
    #[must_use]
    pub fn list(&self, prefix: &str) -> List<Counter> {
        let call = Call::get("/v1/counters").parameter("prefix", prefix);
        List::new(self.0, call)
    }

    /// Tells that `writer` has counted `value` in all. It only rises, so it may be told any number of times.
    pub async fn tally(&self, name: &str, writer: &str, value: u64) -> Result<Tally, ClientError> {
        let path = path(name, &format!("/tallies/{}", escaped(writer)));
        let call = Call::new(Method::PUT, path).json(&json!({ "value": value }))?;
        self.0.send(call).await?.json()
    }

    /// The tallies of a counter, in the order of the writers.
    #[must_use]
    pub fn tallies(&self, name: &str) -> List<Tally> {
        List::new(self.0, Call::get(path(name, "/tallies")))
    }

    async fn count(
        &self,
        name: &str,
        way: &str,
        by: u64,
        key: Option<&str>,
    ) -> Result<Counter, ClientError> {
        let path = path(name, &format!("/{way}"));
        let mut call = Call::new(Method::POST, path).json(&json!({ "by": by }))?;
        if let Some(key) = key {
            call = call.keyed(key)?;
        }
        self.0.send(call).await?.json()
    }
}

fn path(name: &str, rest: &str) -> String {
    format!("/v1/counters/{}{rest}", escaped(name))
}
