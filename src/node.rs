//! A node: the place where store, sync, cluster and HTTP are put together.

use std::{net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;

use crate::{
    clock::SystemClock,
    config::NodeConfig,
    store::{Store, StoreError, StoreOptions},
};

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// An address cannot be bound.
    #[error("cannot listen at {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The store cannot be opened.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// A node that runs.
pub struct Node {
    store: Store,
    http: TcpListener,
    peer: TcpListener,
}

impl Node {
    /// Starts a node.
    pub async fn start(config: NodeConfig) -> Result<Self, NodeError> {
        let listen = async |address| {
            TcpListener::bind(address)
                .await
                .map_err(|error| NodeError::Listen(address, error))
        };
        let http = listen(config.http).await?;
        let peer = listen(config.peer).await?;
        let options = StoreOptions::new(config.data);
        let store = Store::open(options, Arc::new(SystemClock))?;
        Ok(Self { store, http, peer })
    }

    /// Where it serves HTTP.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http.local_addr().expect("it is bound")
    }

    /// Where it listens for peers.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer.local_addr().expect("it is bound")
    }

    /// Closes it.
    pub async fn shutdown(self) {
        self.store.close().await;
    }
}
