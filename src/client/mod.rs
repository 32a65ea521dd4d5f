//! A client of a cluster: typed, over HTTP, through any of its nodes.
//!
//! It asks the next node when one is down, repeats what can be repeated without harm (a POST under an idempotency
//! key of its own, everything that says the same twice), and says of all else whether it may have happened. It
//! carries the token of its session, so that it reads what it wrote on whichever node answers.
//!
//! ```no_run
//! use grapevine::client::{ClientOptions, ContactDraft};
//!
//! # async fn example() -> Result<(), grapevine::client::ClientError> {
//! let client = ClientOptions::default()
//!     .node("http://127.0.0.1:7801")?
//!     .node("http://127.0.0.1:7802")?
//!     .connect()?;
//! let ada = ContactDraft { name: "Ada Byron".to_owned(), ..ContactDraft::default() };
//! let ada = client.contacts().create(&ada).await?;
//! println!("{} is {}", ada.fields.name, ada.id);
//! # Ok(())
//! # }
//! ```
//!
//! It must not know how a node works: of this crate it uses the model's session token, which it has to join where
//! answers cross, and nothing else.

mod address;
mod batch;
mod body;
mod bundle;
mod call;
#[allow(
    clippy::module_inception,
    reason = "the noun of the file is the client"
)]
mod client;
mod cluster;
mod contact;
mod contacts;
mod counters;
mod dump;
mod error;
mod feed;
mod import;
mod kv;
mod list;
mod options;
mod problem;
mod rounds;
mod session;
mod tokens;
mod topics;
mod trust;

pub use address::NodeAddress;
pub use batch::{MAX_BATCH, WriteResult};
pub use bundle::Bundles;
pub use call::{Condition, Tagged};
pub use client::Client;
pub use cluster::{ClusterOf, ClusterStatus, Member, NodeStatus};
pub use contact::{
    CardReport, Conflict, Contact, ContactChange, ContactDraft, Duplicates, Email, ExportFormat,
    FieldChange, ImportCounts, ImportReport, NameParts, Named, Phone, Photo, PhotoBytes,
    PostalAddress, Url,
};
pub use contacts::Contacts;
pub use counters::{Counter, Counters, Tally};
pub use dump::Everything;
pub use error::ClientError;
pub use feed::Feed;
pub use import::ContactsFile;
pub use kv::{KeyEntry, KeyValues, Value};
pub use list::List;
pub use options::{ClientOptions, MAX_NODES};
pub use problem::{Problem, ProblemKind};
pub use tokens::{NewToken, TokenDraft, TokenInfo, Tokens};
pub use topics::{Change, Message, Topics};
