//! The UDP socket that carries gossip.
//!
//! chitchat ends when its socket says that it is broken, so this one never says so: whatever goes wrong with
//! one datagram is counted and told at debug level.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chitchat::{
    ChitchatMessage,
    transport::{Socket, Transport},
};
use tokio::{net::UdpSocket, time::sleep};

use super::datagram::{self, DatagramError};

/// How long receiving pauses after the socket failed, so that a lasting failure costs no busy loop.
const PAUSED_AFTER_ERROR: Duration = Duration::from_millis(10);

/// One byte more than fits into a datagram.
const BUFFER_BYTES: usize = datagram::MAX_DATAGRAM_BYTES + 1;

/// What went over the socket, counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) unreadable: AtomicU64,
    pub(super) unsent: AtomicU64,
    pub(super) too_large: AtomicU64,
}

/// Opens the one socket that is bound already, as often as chitchat is started.
#[derive(Clone, Debug)]
pub(super) struct BoundSocket {
    pub(super) socket: Arc<UdpSocket>,
    pub(super) counters: Arc<Counters>,
}

struct DatagramSocket {
    bound: BoundSocket,
    buffer: Box<[u8]>,
}

#[async_trait::async_trait]
impl Transport for BoundSocket {
    async fn open(&self, _listen_addr: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        Ok(Box::new(DatagramSocket {
            bound: self.clone(),
            buffer: vec![0; BUFFER_BYTES].into(),
        }))
    }
}

#[async_trait::async_trait]
impl Socket for DatagramSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let BoundSocket { socket, counters } = &self.bound;
        let bytes = match datagram::encode(&message) {
            Ok(bytes) => bytes,
            Err(error) => {
                if matches!(error, DatagramError::TooLarge(_)) {
                    count(&counters.too_large);
                }
                tracing::warn!(%to, %error, "gossip could not be sent");
                return Ok(());
            }
        };
        match socket.send_to(&bytes, to).await {
            Ok(_) => count(&counters.sent),
            Err(error) => {
                count(&counters.unsent);
                tracing::debug!(%to, %error, "gossip could not be sent");
            }
        }
        Ok(())
    }

    /// Dropping the future loses nothing.
    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        let BoundSocket { socket, counters } = &self.bound;
        loop {
            match socket.recv_from(&mut self.buffer).await {
                Ok((bytes, from)) => match datagram::decode(&self.buffer[..bytes]) {
                    Ok(message) => {
                        count(&counters.received);
                        return Ok((from, message));
                    }
                    Err(error) => {
                        count(&counters.unreadable);
                        tracing::debug!(%from, %error, "a datagram is not gossip of ours");
                    }
                },
                // What was sent to a port that nobody listens on may come back as an error of receiving.
                Err(error) => {
                    tracing::debug!(%error, "no gossip could be received");
                    sleep(PAUSED_AFTER_ERROR).await;
                }
            }
        }
    }
}

fn count(number: &AtomicU64) {
    number.fetch_add(1, Ordering::Relaxed);
}
