//! The transport: bounded frames, in order, in both directions, over any stream of bytes.
//!
//! A [`Connector`] and a [`Listener`] yield [`Connection`]s, which are two byte streams and nothing more: TCP
//! for nodes ([`TcpConnector`], [`TcpTransport`]), memory for tests ([`MemoryNetwork`]). Everything above
//! the bytes is shared by both: [`Link::open`] gives a [`LinkSender`] with two bounded lanes, pushes ahead of
//! replies, drained by a task of its own, and a [`LinkReceiver`] that yields one [`Message`] after another.
//!
//! Before that, [`admit`] begins the connection: both sides tell what they speak and, with a cluster secret, prove that
//! they have it; from then on all bytes are sealed (`sealed`), which nothing above can tell.
//!
//! On the wire a frame is a length (4 bytes, big-endian) and that many bytes of a `codec`-encoded message. A
//! frame of length 0 says nothing: it keeps the connection alive.
//!
//! Invariants: no length is believed before its bytes are there; a frame is delivered whole or not at all;
//! whatever comes in yields a message or a [`FrameError`], never a panic; what a peer does not read is
//! dropped and counted, never piled up.
//!
//! It must not know what messages mean, who a peer is, where a secret comes from, or the store.
//!
//! [`Message`]: super::Message

mod admission;
mod frame;
mod link;
mod memory;
mod outbox;
mod preface;
mod sealed;
mod stream;
mod tcp;

pub use admission::{AdmissionError, Admitted, HANDSHAKE_MESSAGE_BYTES, Role, admit};
pub use frame::{Frame, FrameError, LENGTH_BYTES};
pub use link::{
    HELLO_MAX_BYTES, Link, LinkConfig, LinkReceiver, LinkSender, Received, Traffic, TrafficTotals,
};
pub use memory::{MemoryConnector, MemoryListener, MemoryNetwork};
pub use preface::PREFACE_BYTES;
pub use sealed::MAX_PLAIN_BYTES;
pub use stream::{Connection, Connector, Listener, Reading, Writing};
pub use tcp::{TcpConnector, TcpTransport};
