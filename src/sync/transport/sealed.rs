//! A connection whose bytes are sealed: the two directions after a Noise handshake, each with its own keys.
//!
//! On the wire a message is a length (2 bytes, big-endian) and that many bytes: up to [`MAX_PLAIN_BYTES`] sealed, with a
//! tag of 16. The nonces of a direction count its messages, so none can be left out, repeated or moved. After
//! [`MAX_MESSAGES`] a direction ends, and with it the link, which is made anew with fresh keys.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use snow::StatelessTransportState;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::{Connection, Reading, Writing};

/// The most bytes that are sealed as one message: 32 KiB.
pub const MAX_PLAIN_BYTES: usize = 32 * 1024;

const TAG_BYTES: usize = 16;
const LENGTH_BYTES: usize = 2;

/// The most messages that one direction carries: of full ones that is 128 TiB.
const MAX_MESSAGES: u64 = 1 << 32;

/// How many bytes are read at once.
const CHUNK_BYTES: usize = LENGTH_BYTES + MAX_PLAIN_BYTES + TAG_BYTES;

/// Seals both directions of `connection`.
pub(super) fn wrap(connection: Connection, state: StatelessTransportState) -> Connection {
    let state = Arc::new(state);
    let Connection {
        reading,
        writing,
        remote,
    } = connection;
    Connection {
        reading: Box::new(SealedReading {
            inner: reading,
            state: Arc::clone(&state),
            number: 0,
            raw: BytesMut::new(),
            plain: Vec::new(),
            taken: 0,
        }),
        writing: Box::new(SealedWriting {
            inner: writing,
            state,
            number: 0,
            raw: Vec::new(),
            sent: 0,
        }),
        remote,
    }
}

/// What the peer sends, opened.
struct SealedReading {
    inner: Reading,
    state: Arc<StatelessTransportState>,
    /// How many messages came.
    number: u64,
    /// What came and is not opened yet.
    raw: BytesMut,
    /// The last message, and how much of it was taken.
    plain: Vec<u8>,
    taken: usize,
}

impl SealedReading {
    /// Opens the message at the start of what came; false if it is not all there.
    fn open_next(&mut self) -> io::Result<bool> {
        let Some((length, rest)) = self.raw.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(false);
        };
        let length = usize::from(u16::from_be_bytes(*length));
        if !(TAG_BYTES + 1..=MAX_PLAIN_BYTES + TAG_BYTES).contains(&length) {
            return Err(invalid("a sealed message of an impossible length"));
        }
        let Some(message) = rest.get(..length) else {
            return Ok(false);
        };
        if self.number >= MAX_MESSAGES {
            return Err(exhausted());
        }
        self.plain.resize(length, 0);
        let opened = self
            .state
            .read_message(self.number, message, &mut self.plain)
            .map_err(|_| invalid("a sealed message does not open"))?;
        self.plain.truncate(opened);
        self.taken = 0;
        self.number += 1;
        self.raw.advance(LENGTH_BYTES + length);
        Ok(true)
    }
}

impl AsyncRead for SealedReading {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let waiting = &this.plain[this.taken..];
            if !waiting.is_empty() {
                let taken = waiting.len().min(out.remaining());
                out.put_slice(&waiting[..taken]);
                this.taken += taken;
                return Poll::Ready(Ok(()));
            }
            if this.open_next()? {
                continue;
            }
            this.raw.reserve(CHUNK_BYTES);
            let read = ready!(poll_read_buf(Pin::new(&mut this.inner), cx, &mut this.raw))?;
            if read == 0 {
                let end = if this.raw.is_empty() {
                    Ok(())
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
                return Poll::Ready(end);
            }
        }
    }
}

/// What the peer is sent, sealed.
struct SealedWriting {
    inner: Writing,
    state: Arc<StatelessTransportState>,
    /// How many messages were sealed.
    number: u64,
    /// The last message, and how much of it was sent.
    raw: Vec<u8>,
    sent: usize,
}

impl SealedWriting {
    fn seal(&mut self, plain: &[u8]) -> io::Result<()> {
        if self.number >= MAX_MESSAGES {
            return Err(exhausted());
        }
        self.raw.resize(LENGTH_BYTES + plain.len() + TAG_BYTES, 0);
        let (length, message) = self.raw.split_at_mut(LENGTH_BYTES);
        let sealed = self
            .state
            .write_message(self.number, plain, message)
            .map_err(|_| invalid("a message could not be sealed"))?;
        let sealed = u16::try_from(sealed).map_err(|_| invalid("a message is too long"))?;
        length.copy_from_slice(&sealed.to_be_bytes());
        self.number += 1;
        self.sent = 0;
        Ok(())
    }

    /// Sends what is sealed.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.raw.len() {
            let rest = &self.raw[self.sent..];
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SealedWriting {
    /// What is taken may still wait here until it is flushed.
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        let taken = bytes.len().min(MAX_PLAIN_BYTES);
        if taken == 0 {
            return Poll::Ready(Ok(0));
        }
        this.seal(&bytes[..taken])?;
        match this.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn exhausted() -> io::Error {
    io::Error::other("the keys of this link have sealed as much as they may; it is made anew")
}
