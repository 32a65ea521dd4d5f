//! Connections over TCP.

use std::io;

use tokio::net::{TcpListener, TcpStream};

use super::{Connection, Connector, Listener};

/// Connects over TCP; resolves names each time.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnector;

/// Listens on a TCP port.
#[derive(Debug)]
pub struct TcpTransport {
    listener: TcpListener,
    address: String,
}

impl TcpTransport {
    /// Listens with a socket that is bound already.
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?.to_string();
        Ok(Self { listener, address })
    }
}

#[async_trait::async_trait]
impl Connector for TcpConnector {
    async fn connect(&self, address: &str) -> io::Result<Connection> {
        connection(TcpStream::connect(address).await?, address.to_owned())
    }
}

#[async_trait::async_trait]
impl Listener for TcpTransport {
    async fn accept(&mut self) -> io::Result<Connection> {
        let (stream, remote) = self.listener.accept().await?;
        connection(stream, remote.to_string())
    }

    fn address(&self) -> String {
        self.address.clone()
    }
}

/// Small frames must not wait for one another, hence `TCP_NODELAY`.
fn connection(stream: TcpStream, remote: String) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let (reading, writing) = stream.into_split();
    Ok(Connection {
        reading: Box::new(reading),
        writing: Box::new(writing),
        remote,
    })
}
