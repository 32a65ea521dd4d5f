//! Many writes in one request.

use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{call::Call, client::Client, error::ClientError};

/// The most writes of one batch.
pub const MAX_BATCH: usize = 1_000;

/// What became of one write of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WriteResult {
    /// As that of the same request alone.
    pub status: u16,
    /// The tag of what stands there now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// What stands there now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Why it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Value>,
}

impl WriteResult {
    /// Whether it was done.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.status < 400
    }
}

#[derive(Deserialize)]
struct Results {
    results: Vec<WriteResult>,
}

impl Client {
    /// Makes up to [`MAX_BATCH`] writes in one durable commit, under an idempotency key of its own; each is as
    /// `docs/api.md` shows it. Yields what became of each, in order.
    pub async fn batch(&self, writes: &[Value]) -> Result<Vec<WriteResult>, ClientError> {
        let call = Call::new(Method::POST, "/v1/batch".to_owned())
            .keyed(&Uuid::now_v7().to_string())?
            .json(&json!({ "writes": writes }))?;
        let answer: Results = self.send(call).await?.json()?;
        Ok(answer.results)
    }
}
