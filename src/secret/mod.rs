//! The secret that the nodes of a cluster share, and the keys that follow from it.
//!
//! Whoever has the secret is a member: it seals gossip and the connections between peers. [`Secret`] is its one
//! value and its text form, [`Secrets`] the one or two that a node was given, [`SecretKeys`] what is derived from one
//! of them for a cluster, [`Keyring`] the keys as everything that runs sees them, which may change while it runs.
//!
//! Invariants: no `Debug`, no error and no log line shows a secret or a key, only its [`Fingerprint`]; what held one
//! is wiped when it is dropped; what a file or a variable says is checked whole before any of it is used.
//!
//! It must not know what is sealed with the keys.

mod keyring;
mod keys;
mod secrets;
mod value;

pub use keyring::{Keyring, KeyringWriter};
pub use keys::{Key, SecretKeys};
pub use secrets::{MAX_SECRET_FILE_BYTES, MAX_SECRETS, SecretFileError, Secrets};
pub use value::{Fingerprint, Secret, SecretError};
