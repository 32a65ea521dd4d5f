//! Messages of gossip that are too large for a datagram: they go over the link to the peer, if there is one.
//!
//! Invariants: at most [`MAX_CARRIED_WAITING`] of them wait to be read, each of [`MAX_CARRIED_BYTES`] at most; what
//! exceeds that is dropped, as datagrams are. It must not know what is in them.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::event_loop::EventLoop;
use crate::sync::{Message, transport::Frame};

/// The most bytes of a message of gossip that is carried over a link: 1 MiB.
pub const MAX_CARRIED_BYTES: usize = 1024 * 1024;

/// How many messages wait to be read.
pub(super) const MAX_CARRIED_WAITING: usize = 16;

/// A message of gossip, and where its sender listens for peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Where its sender listens.
    pub from: SocketAddr,
    /// The message.
    pub message: Bytes,
}

impl EventLoop {
    /// Sends a message of gossip to the peer that listens at `to`, if a link to it is up.
    pub(super) fn carry(&self, to: SocketAddr, message: Bytes) {
        let Some(sender) = self.peers.sender_at(&to.to_string()) else {
            tracing::debug!(%to, "a large message of gossip finds no link");
            return;
        };
        match Frame::encode(&Message::Gossip { message }) {
            Ok(frame) => {
                if sender.reply(frame) {
                    self.shared.counters.carried.increment();
                }
            }
            Err(error) => self.warn(&format!("a message of gossip could not be sent: {error}")),
        }
    }

    /// Hands on a message of gossip that a peer sent.
    pub(super) fn take_carried(&self, from: &str, message: Bytes) {
        let Ok(from) = from.parse() else {
            return;
        };
        if message.len() > MAX_CARRIED_BYTES {
            self.warn(&format!(
                "{from} sent a message of gossip of {} bytes, where {MAX_CARRIED_BYTES} are the most",
                message.len()
            ));
            return;
        }
        let carried = Carried { from, message };
        match self.shared.carried.try_send(carried) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_) | mpsc::error::TrySendError::Closed(_)) => {
                tracing::debug!(%from, "a large message of gossip is dropped");
            }
        }
    }
}
