//! The way of messages that are too large for a datagram.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Carries messages over what else connects two nodes.
pub trait Carrier: Send + Sync + 'static {
    /// Carries `message` to the node that gossips at `to`, or loses it, as a datagram may be lost. False if it is too
    /// large even for that.
    fn carry(&self, to: SocketAddr, message: Bytes) -> bool;
}

/// A way out and a way in.
pub struct Detour {
    /// The way out.
    pub carrier: Arc<dyn Carrier>,
    /// The way in: who gossips where, and what it said. Only members come this way.
    pub incoming: mpsc::Receiver<(SocketAddr, Bytes)>,
}

impl std::fmt::Debug for Detour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detour").finish_non_exhaustive()
    }
}
