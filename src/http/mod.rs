//! The HTTP API, version 1: one file per resource over the store's typed views.
//!
//! [`router`] is the whole API; [`serve`] runs it on a listener with the bounds that hyper leaves to its user.
//! A route is described where its handler is (`describe` says how), and the description is served by `openapi` and `docs`.
//! Every error is an RFC 9457 problem and is made in `problem`. Conditions (`If-Match`, `If-None-Match`) are
//! decided inside the store's edit, so they are atomic with the write they guard. Reads go through snapshots
//! and never wait for writes.
//!
//! It must not know peers, how the store keeps anything, or how cells merge.

mod absorb;
mod audit;
mod batch;
mod batch_body;
mod body;
mod bundle;
mod caller;
mod change;
mod changes;
mod cluster;
mod cluster_leave;
mod conditions;
mod conflicts;
mod contact_body;
mod contact_history;
mod contact_list;
mod contact_photo;
mod contacts;
mod cors;
mod counters;
mod cursor;
mod describe;
mod docs;
mod duplicates;
mod elements;
mod events;
mod export;
mod feed;
mod frame;
mod gate;
mod headers;
mod health;
mod idempotency;
mod import;
mod import_report;
mod items;
mod json;
mod kv;
mod listener;
mod log_level;
mod merge;
mod meter;
mod metrics;
mod openapi;
mod paced;
mod page;
mod problem;
mod query;
mod request_id;
mod rights;
mod room;
mod router;
mod server;
mod session;
mod spool;
mod state;
mod streamed;
mod tallies;
mod tls;
mod tokens;
mod topic_settings;
mod topics;
mod watch;
mod within;

pub use batch::MAX_WRITES_PER_BATCH;
pub use import::MAX_CARDS_PER_IMPORT;
pub use merge::MAX_EDITS_PER_MERGE;
pub use page::{MAX_PAGE_LIMIT, MAX_SCANNED_PER_PAGE};
pub use router::router;
pub use server::{MAX_CONNECTIONS, serve};
pub use state::{HttpLimits, HttpState};
pub use tls::{Tls, TlsError};
