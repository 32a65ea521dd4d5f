//! A node: the place where store, sync, cluster and HTTP are put together.
//!
//! [`Node::start`] binds every address before it opens the store, so a port that is taken costs nothing, and
//! waits for no other node. `membership` feeds what gossip and roster know to the driver and keeps this node's
//! own entry right; `trimming` bounds what conflicts are kept; `detour` brings gossip over links that is too large for a
//! datagram; `secret_file` reads the file of cluster secrets again; `view` answers what the cluster looks like from here,
//! `measures` what is measured of it, `census` counts what is held, `catching_up` says when a node that was away is up to
//! date.
//!
//! It must not know what a request or a message means: it only knows who needs whom.

mod absence;
mod addresses;
mod catching_up;
mod census;
mod detour;
mod error;
mod expiry;
mod http;
mod leaving;
mod measures;
mod membership;
mod retention;
mod running;
mod secret_file;
mod trimming;
mod view;

pub use error::NodeError;
pub use running::Node;
