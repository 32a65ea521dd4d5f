//! A link: one connection, with a task that writes and a receiver that reads.

use std::{
    ops::AddAssign,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Connection, Frame, FrameError, LENGTH_BYTES, Reading, Writing,
    frame::{announced, decode},
    outbox::{Bounds, Outbox, Pushed},
};
use crate::sync::{MAX_FRAME_BYTES, Message};

/// The most bytes of the first frame of a connection, when the peer is nobody yet: 64 KiB.
pub const HELLO_MAX_BYTES: usize = 64 * 1024;

/// How many bytes are read or written at once; also by how much the buffer of a frame grows ahead of what
/// has come.
const CHUNK_BYTES: usize = 64 * 1024;

/// The bounds of a link.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// A link on which nothing was said for this long says that it is alive.
    pub keep_alive_period: Duration,
    /// A peer from which nothing came for this long is gone.
    pub silent_after: Duration,
    /// A peer that takes no byte for this long is gone.
    pub stalled_after: Duration,
    /// The most pushes that wait.
    pub max_push_frames: usize,
    /// The most bytes of pushes that wait.
    pub max_push_bytes: usize,
    /// The most replies that wait.
    pub max_reply_frames: usize,
    /// The most bytes of replies that wait.
    pub max_reply_bytes: usize,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            keep_alive_period: Duration::from_secs(3),
            silent_after: Duration::from_secs(12),
            stalled_after: Duration::from_secs(12),
            max_push_frames: 4_096,
            max_push_bytes: 8 * 1024 * 1024,
            max_reply_frames: 4_096,
            max_reply_bytes: 32 * 1024 * 1024,
        }
    }
}

/// What went over links, counted from the start of the node.
#[derive(Debug, Default)]
pub struct Traffic {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    frames_in: AtomicU64,
    frames_out: AtomicU64,
    pushes_dropped: AtomicU64,
    fell_behind: AtomicU64,
    replies_dropped: AtomicU64,
}

/// [`Traffic`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficTotals {
    /// Bytes received, lengths and keep-alives included.
    pub bytes_in: u64,
    /// Bytes sent, lengths and keep-alives included.
    pub bytes_out: u64,
    /// Messages received.
    pub frames_in: u64,
    /// Messages sent.
    pub frames_out: u64,
    /// Pushes that found their lane full, or their peer behind.
    pub pushes_dropped: u64,
    /// How often a peer fell behind.
    pub fell_behind: u64,
    /// Replies that found their lane full.
    pub replies_dropped: u64,
}

impl AddAssign for TrafficTotals {
    fn add_assign(&mut self, more: Self) {
        self.bytes_in += more.bytes_in;
        self.bytes_out += more.bytes_out;
        self.frames_in += more.frames_in;
        self.frames_out += more.frames_out;
        self.pushes_dropped += more.pushes_dropped;
        self.fell_behind += more.fell_behind;
        self.replies_dropped += more.replies_dropped;
    }
}

impl Traffic {
    #[cfg(test)]
    pub(in crate::sync) fn received(&self, bytes: usize) {
        add(&self.bytes_in, bytes);
    }

    /// The counts now.
    #[must_use]
    pub fn totals(&self) -> TrafficTotals {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TrafficTotals {
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
            frames_in: read(&self.frames_in),
            frames_out: read(&self.frames_out),
            pushes_dropped: read(&self.pushes_dropped),
            fell_behind: read(&self.fell_behind),
            replies_dropped: read(&self.replies_dropped),
        }
    }
}

fn add(count: &AtomicU64, amount: usize) {
    count.fetch_add(u64::try_from(amount).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// A connection as frames.
#[derive(Debug)]
pub struct Link {
    /// The way out.
    pub sender: LinkSender,
    /// The way in.
    pub receiver: LinkReceiver,
    /// The address of the other end, for people to read.
    pub remote: String,
}

/// The way out of a link. Cheap to clone; nothing here waits.
#[derive(Clone, Debug)]
pub struct LinkSender {
    outbox: Arc<Outbox>,
    broken: CancellationToken,
    traffic: Arc<Traffic>,
}

/// The way in of a link. Dropping it breaks the link.
pub struct LinkReceiver {
    reading: Reading,
    buffer: BytesMut,
    limit: usize,
    silent_after: Duration,
    broken: CancellationToken,
    traffic: Arc<Traffic>,
    _breaks: DropGuard,
}

/// A message, and how much room it took.
#[derive(Debug)]
pub struct Received {
    /// The message.
    pub message: Message,
    /// The bytes of its frame behind the length.
    pub bytes: usize,
}

impl Link {
    /// Starts the writer of `connection`. The first frame may have [`HELLO_MAX_BYTES`] at most, until
    /// [`LinkReceiver::trust`].
    #[must_use]
    pub fn open(connection: Connection, config: &LinkConfig, traffic: Arc<Traffic>) -> Self {
        let Connection {
            reading,
            writing,
            remote,
        } = connection;
        let outbox = Arc::new(Outbox::new(
            Bounds {
                frames: config.max_push_frames,
                bytes: config.max_push_bytes,
            },
            Bounds {
                frames: config.max_reply_frames,
                bytes: config.max_reply_bytes,
            },
        ));
        let broken = CancellationToken::new();
        let writer = Writer {
            writing,
            outbox: Arc::clone(&outbox),
            keep_alive_period: config.keep_alive_period,
            stalled_after: config.stalled_after,
            traffic: Arc::clone(&traffic),
        };
        tokio::spawn(writer.run(broken.clone()));
        Self {
            sender: LinkSender {
                outbox,
                broken: broken.clone(),
                traffic: Arc::clone(&traffic),
            },
            receiver: LinkReceiver {
                reading,
                buffer: BytesMut::new(),
                limit: HELLO_MAX_BYTES,
                silent_after: config.silent_after,
                broken: broken.clone(),
                traffic,
                _breaks: broken.drop_guard(),
            },
            remote,
        }
    }
}

impl LinkSender {
    /// Queues a push, ahead of every reply; false if it was dropped. If the lane is full, the peer falls
    /// behind: all further pushes are dropped until [`Self::has_asked`].
    pub fn push(&self, frame: Frame) -> bool {
        match self.outbox.push(frame) {
            Pushed::Taken => return true,
            Pushed::FellBehind => {
                add(&self.traffic.fell_behind, 1);
                add(&self.traffic.pushes_dropped, 1);
            }
            Pushed::Dropped => add(&self.traffic.pushes_dropped, 1),
        }
        false
    }

    /// The peer asked for what it lacks, or agrees: pushes are of use to it again, once it has taken those
    /// that wait.
    pub fn has_asked(&self) {
        self.outbox.has_asked();
    }

    /// How many bytes wait to be sent.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// Queues a reply; false if the lane was full and it was dropped.
    pub fn reply(&self, frame: Frame) -> bool {
        let taken = self.outbox.reply(frame);
        add(&self.traffic.replies_dropped, usize::from(!taken));
        taken
    }

    /// Takes no more; what waits is still sent, then the peer sees the end. The way in stays open.
    pub fn finish(&self) {
        self.outbox.finish();
    }

    /// Ends both directions at once.
    pub fn break_off(&self) {
        self.outbox.finish();
        self.broken.cancel();
    }
}

impl LinkReceiver {
    /// From now on frames of [`MAX_FRAME_BYTES`] are taken: the peer is known.
    pub const fn trust(&mut self) {
        self.limit = MAX_FRAME_BYTES;
    }

    /// The next message; `None` when the peer has ended its side between two frames, or the link was broken
    /// off. After an error nothing more comes.
    ///
    /// Dropping the future loses nothing.
    pub async fn receive(&mut self) -> Result<Option<Received>, FrameError> {
        loop {
            if let Some(received) = self.take_message()? {
                return Ok(Some(received));
            }
            self.buffer.reserve(CHUNK_BYTES);
            let room = self.reading.read_buf(&mut self.buffer);
            let read = tokio::select! {
                () = self.broken.cancelled() => return Ok(None),
                read = timeout(self.silent_after, room) => read,
            };
            let read = read.map_err(|_| FrameError::Silent(self.silent_after))??;
            add(&self.traffic.bytes_in, read);
            if read == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(FrameError::Torn)
                };
            }
        }
    }

    /// The message at the start of the buffer, if all of it is there.
    fn take_message(&mut self) -> Result<Option<Received>, FrameError> {
        while let Some(bytes) = announced(&self.buffer, self.limit)? {
            if bytes == 0 {
                self.buffer.advance(LENGTH_BYTES);
                continue;
            }
            let Some(body) = self.buffer.get(LENGTH_BYTES..LENGTH_BYTES + bytes) else {
                return Ok(None);
            };
            let message = decode(body)?;
            self.buffer.advance(LENGTH_BYTES + bytes);
            add(&self.traffic.frames_in, 1);
            return Ok(Some(Received { message, bytes }));
        }
        Ok(None)
    }
}

impl std::fmt::Debug for LinkReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkReceiver")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// The task that writes.
struct Writer {
    writing: Writing,
    outbox: Arc<Outbox>,
    keep_alive_period: Duration,
    stalled_after: Duration,
    traffic: Arc<Traffic>,
}

impl Writer {
    /// Writes until the outbox is finished and empty, the link is broken off, or writing fails, which breaks
    /// it.
    async fn run(mut self, broken: CancellationToken) {
        let result = tokio::select! {
            () = broken.cancelled() => Ok(()),
            result = self.write_all() => result,
        };
        self.outbox.finish();
        if let Err(error) = result {
            tracing::debug!(%error, "a link cannot be written to");
            broken.cancel();
        }
        if broken.is_cancelled() {
            return;
        }
        let ended = timeout(self.stalled_after, self.writing.shutdown()).await;
        if !matches!(ended, Ok(Ok(()))) {
            broken.cancel();
        }
    }

    /// Small frames that wait together are written together.
    async fn write_all(&mut self) -> Result<(), FrameError> {
        let mut batch = Vec::with_capacity(CHUNK_BYTES);
        let mut ahead = None;
        loop {
            let frame = match ahead.take() {
                Some(frame) => frame,
                None => match timeout(self.keep_alive_period, self.outbox.next()).await {
                    Ok(Some(frame)) => frame,
                    Ok(None) => return Ok(()),
                    Err(_idle) => {
                        self.write(Frame::keep_alive().bytes()).await?;
                        continue;
                    }
                },
            };
            let mut frames = 1;
            batch.clear();
            batch.extend_from_slice(&frame.bytes()[..frame.bytes().len().min(CHUNK_BYTES)]);
            let rest = &frame.bytes()[batch.len()..];
            while rest.is_empty()
                && let Some(frame) = self.outbox.try_next()
            {
                if batch.len() + frame.bytes().len() > CHUNK_BYTES {
                    ahead = Some(frame);
                    break;
                }
                batch.extend_from_slice(frame.bytes());
                frames += 1;
            }
            self.write(&batch).await?;
            self.write(rest).await?;
            add(&self.traffic.frames_out, frames);
        }
    }

    /// Writes all of `bytes`; each step must get somewhere in time.
    async fn write(&mut self, mut bytes: &[u8]) -> Result<(), FrameError> {
        while !bytes.is_empty() {
            let chunk = &bytes[..bytes.len().min(CHUNK_BYTES)];
            let written = timeout(self.stalled_after, self.writing.write(chunk))
                .await
                .map_err(|_| FrameError::Stalled(self.stalled_after))??;
            if written == 0 {
                return Err(FrameError::Torn);
            }
            add(&self.traffic.bytes_out, written);
            bytes = &bytes[written..];
        }
        timeout(self.stalled_after, self.writing.flush())
            .await
            .map_err(|_| FrameError::Stalled(self.stalled_after))??;
        Ok(())
    }
}
