//! The UDP socket that carries gossip, and the detour of what is too large for it.
//!
//! chitchat ends when its socket says that it is broken, so this one never says so: whatever goes wrong with
//! one datagram is counted and told, of strangers once in a while.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chitchat::{
    ChitchatMessage,
    transport::{Socket, Transport},
};
use tokio::{net::UdpSocket, sync::mpsc, time::sleep};

use super::{
    Carrier, Detour,
    courier::{Courier, Delivered, Posted},
    datagram,
    letter::SealError,
};
use crate::warnings::Warnings;

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
    pub(super) strangers: AtomicU64,
    pub(super) repeated: AtomicU64,
    pub(super) unproven: AtomicU64,
    pub(super) carried: AtomicU64,
    pub(super) unsent: AtomicU64,
    pub(super) too_large: AtomicU64,
}

/// Opens the one socket that is bound already, as often as chitchat is started.
#[derive(Clone)]
pub(super) struct BoundSocket(Arc<Bound>);

struct Bound {
    socket: UdpSocket,
    counters: Arc<Counters>,
    courier: Mutex<Courier>,
    carrier: Option<Arc<dyn Carrier>>,
    incoming: tokio::sync::Mutex<Option<mpsc::Receiver<(SocketAddr, Bytes)>>>,
    warnings: Warnings,
}

struct DatagramSocket {
    bound: Arc<Bound>,
    buffer: Box<[u8]>,
}

impl BoundSocket {
    pub(super) fn new(
        socket: UdpSocket,
        counters: Arc<Counters>,
        courier: Courier,
        detour: Option<Detour>,
    ) -> Self {
        let (carrier, incoming) = match detour {
            Some(Detour { carrier, incoming }) => (Some(carrier), Some(incoming)),
            None => (None, None),
        };
        Self(Arc::new(Bound {
            socket,
            counters,
            courier: Mutex::new(courier),
            carrier,
            incoming: tokio::sync::Mutex::new(incoming),
            warnings: Warnings::default(),
        }))
    }
}

#[async_trait::async_trait]
impl Transport for BoundSocket {
    async fn open(&self, _listen_addr: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        Ok(Box::new(DatagramSocket {
            bound: Arc::clone(&self.0),
            buffer: vec![0; BUFFER_BYTES].into(),
        }))
    }
}

#[async_trait::async_trait]
impl Socket for DatagramSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let bound = &self.bound;
        let posted = bound.courier().post(to, datagram::encode(&message));
        let bytes = match posted {
            Posted::Now(bytes) | Posted::AfterToken(bytes) => bytes,
            Posted::TooLarge(message) => {
                bound.carry(to, message);
                return Ok(());
            }
        };
        match bound.socket.send_to(&bytes, to).await {
            Ok(_) => count(&bound.counters.sent),
            Err(error) => {
                count(&bound.counters.unsent);
                tracing::debug!(%to, %error, "gossip could not be sent");
            }
        }
        Ok(())
    }

    /// Dropping the future loses nothing.
    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        let bound = Arc::clone(&self.bound);
        loop {
            let received = tokio::select! {
                received = bound.socket.recv_from(&mut self.buffer) => received,
                (from, message) = bound.carried() => {
                    if let Some(message) = bound.read(from, &message) {
                        return Ok((from, message));
                    }
                    continue;
                }
            };
            match received {
                Ok((bytes, from)) => {
                    if let Some(message) = bound.take(from, &self.buffer[..bytes]) {
                        return Ok((from, message));
                    }
                }
                // What was sent to a port that nobody listens on may come back as an error of receiving.
                Err(error) => {
                    tracing::debug!(%error, "no gossip could be received");
                    sleep(PAUSED_AFTER_ERROR).await;
                }
            }
        }
    }
}

impl Bound {
    fn courier(&self) -> MutexGuard<'_, Courier> {
        self.courier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next message that came by the detour; never, if there is none.
    async fn carried(&self) -> (SocketAddr, Bytes) {
        let mut incoming = self.incoming.lock().await;
        let next = match &mut *incoming {
            Some(incoming) => incoming.recv().await,
            None => None,
        };
        match next {
            Some(carried) => carried,
            None => std::future::pending().await,
        }
    }

    fn carry(&self, to: SocketAddr, message: Vec<u8>) {
        let bytes = message.len();
        let taken = self
            .carrier
            .as_ref()
            .is_some_and(|carrier| carrier.carry(to, message.into()));
        if taken {
            count(&self.counters.carried);
            return;
        }
        count(&self.counters.too_large);
        if self.warnings.is_due("too large") {
            tracing::warn!(%to, bytes, "a message of gossip is too large to be sent");
        }
    }

    /// The message in what came from `from`, if there is one for chitchat.
    fn take(&self, from: SocketAddr, datagram: &[u8]) -> Option<ChitchatMessage> {
        let delivered = self.courier().take(from, datagram);
        match delivered {
            Ok(Delivered::Message(message)) => self.read(from, &message),
            Ok(Delivered::Unproven(answer)) => {
                count(&self.counters.unproven);
                self.answer(from, &answer);
                None
            }
            Ok(Delivered::Token(waited)) => {
                if let Some((to, datagram)) = waited {
                    self.answer(to, &datagram);
                }
                None
            }
            Err(error) => {
                self.refuse(from, error);
                None
            }
        }
    }

    fn read(&self, from: SocketAddr, message: &[u8]) -> Option<ChitchatMessage> {
        match datagram::decode(message) {
            Ok(message) => {
                count(&self.counters.received);
                Some(message)
            }
            Err(error) => {
                count(&self.counters.unreadable);
                tracing::debug!(%from, %error, "a datagram is not gossip of ours");
                None
            }
        }
    }

    /// Waits for nothing: receiving may be given up at any moment.
    fn answer(&self, to: SocketAddr, datagram: &[u8]) {
        match self.socket.try_send_to(datagram, to) {
            Ok(_) => count(&self.counters.sent),
            Err(error) => {
                count(&self.counters.unsent);
                tracing::debug!(%to, %error, "gossip could not be answered");
            }
        }
    }

    /// Who sent it is not known: an address can be forged, so nobody is named to the layers above.
    fn refuse(&self, from: SocketAddr, error: SealError) {
        let counter = match error {
            SealError::Repeated => &self.counters.repeated,
            SealError::Unsealed
            | SealError::Sealed
            | SealError::Short
            | SealError::Stranger
            | SealError::Garbage => &self.counters.strangers,
        };
        count(counter);
        let from = from.ip();
        if self.warnings.is_due(&format!("{from}: {error}")) {
            tracing::warn!("a datagram from {from} is dropped: {error}");
        }
    }
}

fn count(number: &AtomicU64) {
    number.fetch_add(1, Ordering::Relaxed);
}
