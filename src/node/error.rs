//! Why a node does not start.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::{cluster::RosterError, config::ConfigError, http::TlsError, store::StoreError};

/// Why a node did not start. Nothing is left open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// A setting is not allowed.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// Somebody else listens at an address.
    #[error(
        "{address} is taken, which is wanted for {what}; stop what uses it, or choose another with the setting `{what}`"
    )]
    AddressInUse {
        /// What it is wanted for, which is also the name of the setting: `http` or `peer`.
        what: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// An address cannot be listened at.
    #[error(
        "cannot listen at {address}, which is wanted for {what}: {source}; choose another with the setting `{what}`"
    )]
    Listen {
        /// What it is wanted for, which is also the name of the setting: `http` or `peer`.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The node listens at every address of the machine, and which of them others reach cannot be told.
    #[error(
        "peers cannot be told where to find this node: {0} means every address; name one with the setting `peer`"
    )]
    NoAddress(SocketAddr),
    /// Another process has the data directory open.
    #[error(
        "{} is in use by another process; stop it, or choose another directory with the setting `data`",
        .0.display()
    )]
    DataInUse(PathBuf),
    /// HTTP cannot be served over TLS with the certificate and key of the settings.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The store cannot be opened.
    #[error("{0}")]
    Store(StoreError),
    /// This node cannot be entered into the roster.
    #[error("this node cannot be entered into the roster: {0}")]
    Roster(#[from] RosterError),
}

impl From<StoreError> for NodeError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::InUse { directory } => Self::DataInUse(directory),
            error => Self::Store(error),
        }
    }
}
