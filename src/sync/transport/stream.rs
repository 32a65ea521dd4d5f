//! Connections as two streams of bytes, and the two ways to get one.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

/// The bytes that a peer sends.
pub type Reading = Box<dyn AsyncRead + Send + Unpin>;

/// The bytes that a peer is sent.
pub type Writing = Box<dyn AsyncWrite + Send + Unpin>;

/// Bytes in both directions between two nodes.
pub struct Connection {
    /// What the peer sends.
    pub reading: Reading,
    /// What the peer is sent.
    pub writing: Writing,
    /// The address of the other end, for people to read.
    pub remote: String,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

/// Opens connections.
#[async_trait::async_trait]
pub trait Connector: Send + Sync + 'static {
    /// Connects to `address` (`host:port`). The caller bounds the time.
    async fn connect(&self, address: &str) -> io::Result<Connection>;
}

/// Takes connections.
#[async_trait::async_trait]
pub trait Listener: Send + 'static {
    /// The next connection. An error concerns one attempt alone; the listener goes on.
    ///
    /// Dropping the future loses no connection.
    async fn accept(&mut self) -> io::Result<Connection>;

    /// Where it listens (`host:port`).
    fn address(&self) -> String;
}
