//! Who may ask a node: the grants behind bearer tokens, and the guard that looks at what a request shows.
//!
//! Grants are data like any other: made, listed and revoked here, replicated by the engine. The guard reads them
//! from the store's snapshots, so that what a node has just heard of holds for the next request.
//!
//! Invariants: a secret is never stored, logged or shown after it was made; access that was closed stays closed.
//!
//! It must not know HTTP: it is shown the text of a token and the address of a client.

mod attempts;
mod grants;
mod guard;

pub use attempts::{ATTEMPT_PERIOD, ATTEMPTS_BURST, MAX_ADDRESSES};
pub use grants::{GrantError, Grants, MAX_GRANTS};
pub use guard::{Admitted, Guard, Refusal};
