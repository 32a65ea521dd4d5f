//! Grapevine: a gossip-based, eventually consistent CRDT store that stays writable when the network does not.
//!
//! The layers, each knowing only those before it (a test reads the sources and fails on an import that
//! points up): [`grapevine_crdt`] < [`model`], [`codec`], [`config`], [`clock`], [`metrics`], [`secret`],
//! [`traces`] < `sync::engine` <
//! [`store`], `access`, `address_book`, `bundle`, `cluster`, `sync::transport`, [`logging`] < `sync::driver`, `http` < [`node`] <
//! [`client`] < [`cli`]. The client stands beside all of it: it knows a node by its answers alone.

pub mod access;
pub mod address_book;
pub mod bundle;
pub mod cli;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod codec;
pub mod config;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod model;
pub mod node;
pub mod secret;
pub mod store;
pub mod sync;
pub mod traces;
mod warnings;
