//! The room that the bodies of requests take in memory, all of them together.
//!
//! A body takes room as its bytes arrive and keeps it until the request is answered: what a client only
//! announces costs nothing. When there is no room for a while, the client is told to come back. A write whose
//! client was not answered in time keeps its room until the store has decided it.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// The most bytes of the bodies of all requests under way: 256 MiB.
pub(super) const MAX_BODIES_BYTES: usize = 256 * 1024 * 1024;

/// How long a body waits for room.
const ROOM_AWAITED_FOR: Duration = Duration::from_secs(1);

/// Too many bodies are under way.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this node holds too many request bodies at the moment")]
pub(super) struct NoRoom;

type Waiting = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, NoRoom>> + Send>>;

/// The room there is. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Rooms(Arc<Semaphore>);

impl Rooms {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// `body`, taking room; what it took is free again when all clones of the second are gone.
    pub(super) fn meter<B>(&self, body: B) -> (MeteredBody<B>, Arc<Room>) {
        let room = Arc::new(Room {
            rooms: self.0.clone(),
            held: Mutex::new(None),
            abandoned: AtomicBool::new(false),
        });
        let body = MeteredBody {
            inner: body,
            room: room.clone(),
            waiting: None,
        };
        (body, room)
    }
}

/// What one request holds.
#[derive(Debug)]
pub(super) struct Room {
    rooms: Arc<Semaphore>,
    held: Mutex<Option<OwnedSemaphorePermit>>,
    abandoned: AtomicBool,
}

/// Nobody waits for the answer any more.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the request took too long")]
struct Abandoned;

impl Room {
    /// Ends the body where it is, from when it is polled the next time.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    fn keep(&self, more: OwnedSemaphorePermit) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
    }

    fn try_take(&self, bytes: u32) -> bool {
        let taken = self.rooms.clone().try_acquire_many_owned(bytes);
        taken.map(|more| self.keep(more)).is_ok()
    }

    fn wait(&self, bytes: u32) -> Waiting {
        let more = self.rooms.clone().acquire_many_owned(bytes);
        Box::pin(async move {
            match timeout(ROOM_AWAITED_FOR, more).await {
                Ok(Ok(more)) => Ok(more),
                Ok(Err(_)) | Err(_) => Err(NoRoom),
            }
        })
    }
}

/// A body that takes room.
pub(super) struct MeteredBody<B> {
    inner: B,
    room: Arc<Room>,
    /// What has arrived and has no room yet.
    waiting: Option<(Bytes, Waiting)>,
}

impl<B> HttpBody for MeteredBody<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<axum::BoxError>,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.room.abandoned.load(Ordering::Acquire) {
            return Poll::Ready(Some(Err(Abandoned.into())));
        }
        if this.waiting.is_none() {
            let frame = match Pin::new(&mut this.inner).poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            let data = match frame.into_data() {
                Ok(data) => data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            };
            let bytes = u32::try_from(data.len()).unwrap_or(u32::MAX);
            if this.room.try_take(bytes) {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            this.waiting = Some((data, this.room.wait(bytes)));
        }
        let Some((data, mut waiting)) = this.waiting.take() else {
            return Poll::Ready(None);
        };
        match waiting.as_mut().poll(context) {
            Poll::Pending => {
                this.waiting = Some((data, waiting));
                Poll::Pending
            }
            Poll::Ready(Ok(more)) => {
                this.room.keep(more);
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Poll::Ready(Err(no_room)) => Poll::Ready(Some(Err(no_room.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        // What waits has left the inner body; nobody relies on more than a lower bound.
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::http::body;

    #[tokio::test]
    async fn bodies_take_more_memory_than_there_is_room() {
        let rooms = Rooms::new(1_000);
        let (first, room) = rooms.meter(Body::from(vec![1; 600]));
        let read = body::read(Body::new(first), 10_000).await;
        assert_eq!(read.expect("there is room").len(), 600);
        // Its bytes are held until it is answered.
        let (second, _room) = rooms.meter(Body::from(vec![2; 600]));
        let refused = body::read(Body::new(second), 10_000).await;
        let problem = refused.expect_err("there is no room");
        assert_eq!(problem.status().as_u16(), 503);
        let (third, _room) = rooms.meter(Body::from(vec![3; 600]));
        let third = tokio::spawn(body::read(Body::new(third), 10_000));
        tokio::task::yield_now().await;
        drop(room);
        let read = third.await.expect("no panic");
        assert_eq!(read.expect("it waited for room").len(), 600);
    }
}
