//! The transport: bounded frames, in order, in both directions, over any stream of bytes.
//!
//! A [`Connector`] and a [`Listener`] yield [`Connection`]s, which are two byte streams and nothing more: TCP
//! for nodes ([`TcpConnector`], [`TcpTransport`]), memory for tests ([`MemoryNetwork`]). Everything above
//! the bytes is shared by both: [`Link::open`] gives a [`LinkSender`] with two bounded lanes, pushes ahead of
//! replies, drained by a task of its own, and a [`LinkReceiver`] that yields one [`Message`] after another.
//!
//! On the wire a frame is a length (4 bytes, big-endian) and that many bytes of a `codec`-encoded message. A
//! frame of length 0 says nothing: it keeps the connection alive.
//!
//! Invariants: no length is believed before its bytes are there; a frame is delivered whole or not at all;
//! whatever comes in yields a message or a [`FrameError`], never a panic; what a peer does not read is
//! dropped and counted, never piled up.
//!
//! It must not know what messages mean, who a peer is, or the store.
//!
//! [`Message`]: super::Message

mod frame;
mod link;
mod memory;
mod outbox;
mod stream;
mod tcp;

pub use frame::{Frame, FrameError, LENGTH_BYTES};
pub use link::{
    HELLO_MAX_BYTES, Link, LinkConfig, LinkReceiver, LinkSender, Received, Traffic, TrafficTotals,
};
pub use memory::{MemoryConnector, MemoryListener, MemoryNetwork};
pub use stream::{Connection, Connector, Listener, Reading, Writing};
pub use tcp::{TcpConnector, TcpTransport};
