//! Answers that are made while they are sent: what is ahead of the client is bounded, and an error cuts the answer
//! off, so that whoever gets it sees that it is not whole.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::{Body, Bytes};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// A piece of an answer, or why there are no more.
pub(super) type Chunk<E> = Result<Bytes, E>;

/// Pieces of an answer as they come, the first of which was waited for.
pub(super) struct Streamed<E> {
    first: Option<Bytes>,
    chunks: mpsc::Receiver<Chunk<E>>,
}

impl<E: Error + Send + Sync + 'static> Streamed<E> {
    /// Waits for the first piece: what can be refused is refused before the answer begins.
    pub(super) async fn begin(mut chunks: mpsc::Receiver<Chunk<E>>) -> Result<Body, E> {
        let first = chunks.recv().await.transpose()?;
        Ok(Body::new(Self { first, chunks }))
    }
}

impl<E: Error + Send + Sync + 'static> hyper::body::Body for Streamed<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let chunk = ready!(self.chunks.poll_recv(context));
        if let Some(Err(error)) = &chunk {
            tracing::warn!(%error, "an export ended early");
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }
}
