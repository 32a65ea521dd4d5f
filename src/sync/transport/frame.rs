//! One message as bytes behind their length, and back.

use std::{io, time::Duration};

use bytes::Bytes;

use crate::{
    codec::{self, CodecError},
    sync::{MAX_FRAME_BYTES, Message},
};

/// The bytes of a frame's length.
pub const LENGTH_BYTES: usize = 4;

/// Why a frame could not be made, sent or taken in. What it was part of is over; nothing else changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame is longer than it may be.
    #[error("a frame of {bytes} bytes, where {limit} are the most")]
    TooLarge {
        /// Its bytes behind the length.
        bytes: usize,
        /// The most that are taken.
        limit: usize,
    },
    /// The connection ended within a frame.
    #[error("the connection ended within a frame")]
    Torn,
    /// The bytes are no message.
    #[error("a frame is no message: {0}")]
    Garbage(#[from] CodecError),
    /// Nothing came for too long.
    #[error("nothing came for {0:?}")]
    Silent(Duration),
    /// The peer took nothing for too long.
    #[error("the peer took nothing for {0:?}")]
    Stalled(Duration),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
}

/// A message ready to be sent, its length in front. Cheap to clone: one encoding serves many peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(Bytes);

impl Frame {
    /// The frame of `message`.
    pub fn encode(message: &Message) -> Result<Self, FrameError> {
        let mut bytes = vec![0; LENGTH_BYTES];
        codec::encode_into(message, &mut bytes)?;
        let body = bytes.len() - LENGTH_BYTES;
        let length = u32::try_from(body)
            .ok()
            .filter(|_| body <= MAX_FRAME_BYTES)
            .ok_or(FrameError::TooLarge {
                bytes: body,
                limit: MAX_FRAME_BYTES,
            })?;
        bytes[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        Ok(Self(bytes.into()))
    }

    /// The frame that says nothing.
    pub(super) const fn keep_alive() -> Self {
        Self(Bytes::from_static(&[0; LENGTH_BYTES]))
    }

    /// Everything that goes onto the wire.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The length that stands at the start of `received`, once it is there.
pub(super) fn announced(received: &[u8], limit: usize) -> Result<Option<usize>, FrameError> {
    let Some((length, _)) = received.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let bytes = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if bytes > limit {
        return Err(FrameError::TooLarge { bytes, limit });
    }
    Ok(Some(bytes))
}

/// The message in the body of a frame.
pub(super) fn decode(body: &[u8]) -> Result<Message, FrameError> {
    Ok(codec::decode(body)?)
}
