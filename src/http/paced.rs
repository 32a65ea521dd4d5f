//! A connection whose other side must keep taking what it is sent.
//!
//! Who asks and does not read the answer holds the answer in memory, and a connection. So once the other side takes
//! nothing more at the moment, it must take [`LEAST_TAKEN_BYTES`] within a given time, and again so much within
//! as long, until nothing waits any more; else writing fails, which ends the connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// What the other side must take within the time given. The system tells of room only as a good part of its own
/// buffer is free again, so this is also what a slow link must carry of that.
pub(super) const LEAST_TAKEN_BYTES: usize = 64 * 1_024;

/// A connection that gives up on who does not read.
pub(super) struct Paced<S> {
    inner: S,
    within: Duration,
    /// Since the other side took nothing more at once: when it must have taken enough, and what it has taken.
    pressed: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Paced<S> {
    pub(super) const fn new(inner: S, within: Duration) -> Self {
        Self {
            inner,
            within,
            pressed: None,
        }
    }

    /// What became of a write, and whether that will do.
    fn judge(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let within = self.within;
        match (written, &mut self.pressed) {
            (Poll::Ready(Ok(bytes)), Some((_, taken))) => {
                *taken += bytes;
                if *taken >= LEAST_TAKEN_BYTES {
                    self.pressed = None;
                }
                Poll::Ready(Ok(bytes))
            }
            (Poll::Pending, pressed) => {
                let (deadline, _) = pressed.get_or_insert_with(|| (Box::pin(sleep(within)), 0));
                ready!(deadline.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            (ready, _) => ready,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.judge(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, pieces);
        self.judge(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// Asked for once nothing waits to be written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        if flushed.is_ready() {
            self.pressed = None;
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::Instant,
    };

    use super::*;

    #[tokio::test]
    async fn who_reads_slowly_but_enough_is_cut_off() {
        const WITHIN: Duration = Duration::from_secs(2);
        let (near, mut far) = duplex(1_024);
        let mut near = Paced::new(near, WITHIN);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let written = tokio::spawn(async move {
            let mut stopped = stopped;
            while stopped.try_recv().is_err() {
                near.write_all(&vec![1; LEAST_TAKEN_BYTES]).await?;
            }
            near.flush().await
        });
        let began = Instant::now();
        let mut stop = Some(stop);
        let mut read = vec![0; LEAST_TAKEN_BYTES];
        while far.read(&mut read).await.expect("it is served") > 0 {
            if began.elapsed() > WITHIN * 2
                && let Some(stop) = stop.take()
            {
                let _told = stop.send(());
            }
        }
        written.await.expect("no panic").expect("it is written");
    }

    #[tokio::test]
    async fn who_takes_a_byte_now_and_then_is_served_for_ever() {
        let (near, mut far) = duplex(1_024);
        let mut near = Paced::new(near, Duration::from_millis(200));
        let began = Instant::now();
        let written = tokio::spawn(async move { near.write_all(&vec![1; 1 << 20]).await });
        while !written.is_finished() {
            assert!(began.elapsed() < Duration::from_secs(30), "it never ends");
            let _byte = far.read_u8().await;
            sleep(Duration::from_millis(5)).await;
        }
        let error = written
            .await
            .expect("no panic")
            .expect_err("it is given up");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_pause_in_which_nothing_waits_counts_as_slowness() {
        const WITHIN: Duration = Duration::from_millis(50);
        let (near, mut far) = duplex(1_024);
        let mut near = Paced::new(near, WITHIN);
        let mut read = [0; 2_048];
        for _ in 0..2 {
            let (written, heard) = tokio::join!(
                async {
                    near.write_all(&[1; 2_048]).await?;
                    near.flush().await
                },
                far.read_exact(&mut read)
            );
            written.expect("it is taken at once");
            heard.expect("it is served");
            sleep(WITHIN * 2).await;
        }
    }
}
