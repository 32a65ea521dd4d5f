//! `Idempotency-Key`: what a POST creates under a key has an id that follows from (collection, key), so that a
//! retry through another node makes the same entity; what it counts has a slot that follows from the key.

use axum::http::HeaderMap;
use grapevine_crdt::RequestKey;
use uuid::Uuid;

use super::problem::Problem;
use crate::model::Collection;

const HEADER: &str = "idempotency-key";
/// As the problem names it.
pub(super) const FIELD: &str = "Idempotency-Key";
/// The most characters of a key.
const MAX_IDEMPOTENCY_KEY_CHARS: usize = 255;

/// The key of a request, if it has one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    value
        .to_str()
        .ok()
        .filter(|key| (1..=MAX_IDEMPOTENCY_KEY_CHARS).contains(&key.len()))
        .filter(|_| values.next().is_none())
        .map(Some)
        .ok_or_else(|| {
            let detail =
                format!("is once 1 to {MAX_IDEMPOTENCY_KEY_CHARS} visible ASCII characters");
            Problem::malformed(FIELD, detail)
        })
}

/// Refuses a key where it would be taken and not obeyed: a client that sends one relies on it.
pub(super) fn refuse(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(HEADER) {
        let detail = "a reset knows no idempotency keys: guard it with `If-Match`, so that a retry resets nothing more";
        return Err(Problem::invalid(FIELD, detail));
    }
    Ok(())
}

/// The slot of what is counted under `key`, in whatever counter.
pub(super) fn request_key(key: &str) -> RequestKey {
    RequestKey::from_bytes(digest("grapevine 2026 counted request", &[key]))
}

/// The digest of a request to post to `topic` under `key`.
pub(super) fn message_request(topic: &str, key: &str) -> [u8; 16] {
    digest("grapevine 2026 posted message key", &[topic, key])
}

/// The id of what is created in `collection` under `key`.
pub(super) fn derived_id(collection: Collection, key: &str) -> Uuid {
    Uuid::new_v8(digest(
        "grapevine 2025 idempotency key",
        &[collection.name(), key],
    ))
}

/// The digest of `parts`, told apart by a zero, for one purpose.
fn digest(purpose: &str, parts: &[&str]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key(purpose);
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hasher.update(&[0]);
        }
        hasher.update(part.as_bytes());
    }
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}
