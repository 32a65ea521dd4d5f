//! Connections within one process, for tests: same frames, no sockets.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{io::DuplexStream, sync::mpsc};

use super::{Connection, Connector, Listener};

/// How many bytes each direction holds before the writer waits.
const PIPE_BYTES: usize = 64 * 1024;

/// How many connections may wait to be accepted.
const MAX_BACKLOG: usize = 64;

type Listening = BTreeMap<String, mpsc::Sender<Connection>>;

/// A network of its own: those who listen in it can be reached through its connectors.
#[derive(Clone, Debug, Default)]
pub struct MemoryNetwork {
    listening: Arc<Mutex<Listening>>,
}

/// Connects within a [`MemoryNetwork`].
#[derive(Clone, Debug)]
pub struct MemoryConnector {
    network: MemoryNetwork,
}

/// Listens within a [`MemoryNetwork`] until it is dropped.
#[derive(Debug)]
pub struct MemoryListener {
    network: MemoryNetwork,
    address: String,
    incoming: mpsc::Receiver<Connection>,
}

impl MemoryNetwork {
    /// Listens at `address`, any text that nobody else listens at.
    pub fn listen(&self, address: impl Into<String>) -> io::Result<MemoryListener> {
        let address = address.into();
        let mut listening = self.listening();
        if listening.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let (sender, incoming) = mpsc::channel(MAX_BACKLOG);
        listening.insert(address.clone(), sender);
        Ok(MemoryListener {
            network: self.clone(),
            address,
            incoming,
        })
    }

    /// A way into this network.
    #[must_use]
    pub fn connector(&self) -> MemoryConnector {
        MemoryConnector {
            network: self.clone(),
        }
    }

    fn listening(&self) -> MutexGuard<'_, Listening> {
        self.listening.lock().expect("no holder of the lock panics")
    }
}

#[async_trait::async_trait]
impl Connector for MemoryConnector {
    async fn connect(&self, address: &str) -> io::Result<Connection> {
        let incoming = self.network.listening().get(address).cloned();
        let incoming = incoming.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        incoming
            .try_send(connection(theirs, "memory".to_owned()))
            .map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(connection(ours, address.to_owned()))
    }
}

#[async_trait::async_trait]
impl Listener for MemoryListener {
    async fn accept(&mut self) -> io::Result<Connection> {
        let connection = self.incoming.recv().await;
        connection.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn address(&self) -> String {
        self.address.clone()
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        self.network.listening().remove(&self.address);
    }
}

fn connection(stream: DuplexStream, remote: String) -> Connection {
    let (reading, writing) = tokio::io::split(stream);
    Connection {
        reading: Box::new(reading),
        writing: Box::new(writing),
        remote,
    }
}
