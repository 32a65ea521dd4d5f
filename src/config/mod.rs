//! The settings of a node: what there is, where each may come from, and what is allowed.
//!
//! A value comes from the first of these that names it: a flag, a variable `GRAPEVINE_*`, the TOML file
//! given by `--config` or `GRAPEVINE_CONFIG`, the default. [`SETTINGS`] is the one list from which flags,
//! variables, keys of the file, help and error messages follow; [`NodeConfig::validate`] is the one place
//! where ranges are checked.
//!
//! Invariants: a setting that nobody knows is an error in every layer, never ignored; an error names the
//! setting, the value, who gave it and what is allowed; nothing but the settings file is opened here.
//!
//! It must not know what the settings are for: no socket is bound and no name resolved to check one.

mod allowed;
mod error;
mod layers;
mod node_config;
mod setting;

pub use allowed::{Allowed, MAX_NAME_CHARS, MAX_ORIGINS, MAX_PROXIES, MAX_SEEDS, Number, Switch};
pub use error::{ConfigError, Origin};
pub use layers::Layers;
pub use node_config::{AuditLog, NodeConfig};
pub use setting::{SETTINGS, Scope, Setting};
