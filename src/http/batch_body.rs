//! How a batch is written and told, as the description tells it; what reads it is `batch`.

#![allow(dead_code, reason = "they describe, and are never made")]

use serde_json::Value;
use utoipa::ToSchema;

use super::describe::Problem;

/// One write of a batch. Which members it takes beside these depends on `op`.
#[derive(ToSchema)]
pub(super) struct WriteBody {
    #[schema(pattern = "^(contacts|counters|kv|topics)$")]
    collection: String,
    /// Of contacts `create`, `put`, `patch` and `delete`; of counters `increment`, `decrement`, `reset` and `delete`; of
    /// kv `put` and `delete`; of topics `post`.
    op: String,
    /// Of what; not with `create`.
    #[schema(nullable = false)]
    key: Option<String>,
    /// A contact, to create and to put.
    #[schema(nullable = false, value_type = Option<Object>)]
    contact: Option<Value>,
    /// A merge patch of a contact.
    #[schema(nullable = false, value_type = Option<Object>)]
    patch: Option<Value>,
    /// By how much to count.
    #[schema(nullable = false, minimum = 1)]
    by: Option<u64>,
    /// What to put under a key: this, or `base64`.
    #[schema(nullable = false)]
    text: Option<String>,
    #[schema(nullable = false)]
    base64: Option<String>,
    #[schema(nullable = false)]
    content_type: Option<String>,
    /// For how many seconds a value stays.
    ttl: Option<u64>,
    /// What to post.
    #[schema(nullable = false, value_type = Option<Object>)]
    message: Option<Value>,
    /// As the header `If-Match`.
    #[schema(nullable = false)]
    if_match: Option<String>,
    /// As the header `If-None-Match`.
    #[schema(nullable = false)]
    if_none_match: Option<String>,
}

/// Writes that become durable together.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchBody {
    #[schema(min_items = 1, max_items = 1000)]
    writes: Vec<WriteBody>,
}

/// What became of one write.
#[derive(ToSchema)]
pub(super) struct WriteResult {
    /// As that of the same request alone.
    status: u16,
    #[schema(nullable = false)]
    etag: Option<String>,
    /// What stands there now.
    #[schema(nullable = false, value_type = Option<Object>)]
    value: Option<Value>,
    /// Why it was not done.
    #[schema(nullable = false)]
    problem: Option<Problem>,
}

/// What became of a batch.
#[derive(ToSchema)]
pub(super) struct BatchResults {
    results: Vec<WriteResult>,
}
