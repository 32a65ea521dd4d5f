//! What can be wrong with settings, told so that the reader knows which one to change, where, and to what.

use core::fmt;
use std::{io, net::SocketAddr, path::PathBuf};

use super::{Setting, layers::SECRET_VARIABLE};
use crate::secret::{SecretError, SecretFileError};

/// Who gave a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line, with its dashes.
    Flag(String),
    /// An environment variable.
    Variable(String),
    /// The environment as a whole.
    Environment,
    /// A key of a settings file.
    File(PathBuf),
    /// The program itself.
    Program,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::Environment => f.write_str("the environment"),
            Self::File(path) => write!(f, "the settings file {}", path.display()),
            Self::Program => f.write_str("the program"),
        }
    }
}

/// Why settings are refused. Nothing was opened and no state changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The settings file cannot be read.
    #[error("cannot read the settings file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The settings file is not TOML.
    #[error("the settings file {}, line {line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// No setting has this name.
    #[error("unknown setting `{key}` = `{value}` in {origin}; known are {known}")]
    Unknown {
        /// The name as given.
        key: String,
        /// The value as given.
        value: String,
        /// Who gave it.
        origin: Origin,
        /// The names there are.
        known: String,
    },
    /// A setting without a default was not given.
    #[error("`{key}` is missing: give {flag}, {variable}, or `{key}` in the settings file")]
    Missing {
        /// The setting.
        key: &'static str,
        /// Its flag.
        flag: String,
        /// Its environment variable.
        variable: String,
    },
    /// A value is not one of those allowed.
    #[error("`{key}` = `{value}` (from {origin}) is not allowed; allowed is {allowed}")]
    NotAllowed {
        /// The setting.
        key: &'static str,
        /// The value as given.
        value: String,
        /// Who gave it.
        origin: Origin,
        /// What is allowed.
        allowed: String,
    },
    /// HTTP and peers would listen at one address.
    #[error("`http` and `peer` are both {address}; they need an address each")]
    Twice {
        /// The address.
        address: SocketAddr,
    },
    /// Peers would be listened to on a network without a secret.
    #[error(
        "`peer` = `{address}` is not on loopback and there is no cluster secret, so anybody who reaches it could write; make a \
         secret with `grapevine secret new`, and give it to every node with `cluster_secret_file` (--cluster-secret-file \
         FILE) or the environment variable {SECRET_VARIABLE}; or say --insecure on a network where everybody may"
    )]
    Unsealed {
        /// The address.
        address: SocketAddr,
    },
    /// The variable of the cluster's secret says something else. It is not repeated.
    #[error("the environment variable {SECRET_VARIABLE} is refused: {0}")]
    SecretVariable(SecretError),
    /// The file of the cluster's secret says something else. It is not repeated.
    #[error("`cluster_secret_file` (from {origin}): {source}")]
    SecretFile {
        /// Who named the file.
        origin: Origin,
        /// What is wrong.
        source: SecretFileError,
    },
    /// Two places give the cluster's secret.
    #[error(
        "both `cluster_secret_file` and the environment variable {SECRET_VARIABLE} are given; give one"
    )]
    TwoSecrets,
    /// Of two settings that need each other, one is there.
    #[error("`{given}` is given without `{missing}`; one needs the other")]
    Alone {
        /// The one that is there.
        given: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// The command chooses this setting itself.
    #[error("`{key}` = `{value}` (from {origin}) cannot be given here: {reason}")]
    NotHere {
        /// The setting.
        key: &'static str,
        /// The value as given.
        value: String,
        /// Who gave it.
        origin: Origin,
        /// Who chooses it, and how to have a say.
        reason: &'static str,
    },
}

impl ConfigError {
    /// That `value` is not allowed for the setting `key`, whoever gave it.
    pub(super) fn not_allowed(key: &'static str, value: impl Into<String>) -> Self {
        Self::NotAllowed {
            key,
            value: value.into(),
            origin: Origin::Program,
            allowed: Setting::find(key)
                .map(|setting| setting.allowed.to_string())
                .unwrap_or_default(),
        }
    }
}
