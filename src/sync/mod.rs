//! Sync: how nodes come to hold the same.
//!
//! The [`engine`] is a pure state machine, events in, commands out; the transport carries frames; the driver
//! runs the engine over the transport and the store. `docs/protocol.md` shows every message.

pub mod driver;
pub mod engine;
mod messages;
pub mod transport;

pub use messages::{
    MAX_FRAME_BYTES, Message, PROTOCOL_VERSION, PeerInfo, Terms, ToldDelta, ToldFloor, ToldState,
};
