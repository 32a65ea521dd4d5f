//! The name of a request to count, by which the same request is known again on every replica.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A request as its sender names it: a digest of the key that came with it, so that a slot has one size
/// whatever the sender's keys look like. Two requests under one name are one request.
///
/// ```
/// use grapevine_crdt::RequestKey;
///
/// assert_eq!(RequestKey::from_bytes([7; 16]).as_bytes(), &[7; 16]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestKey([u8; 16]);

impl RequestKey {
    /// The request of which these bytes are the digest.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes of the digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
