//! An answer of server-sent events (the HTML standard, section 9.2): a body that goes on for as long as there is
//! something to tell.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderValue, header},
    response::Response,
};
use hyper::body::Frame;

use super::listener::{Listener, Told, as_events};

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// The answer that tells `listener` everything.
pub(super) fn answer(listener: Listener) -> Response {
    let mut response = Response::new(Body::new(Events {
        next: Some(Box::pin(next(listener))),
    }));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, EVENT_STREAM);
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    response
}

/// The next bytes, and who listens on behind them; nobody behind the last.
type Next = Pin<Box<dyn Future<Output = (Option<Listener>, Bytes)> + Send>>;

struct Events {
    next: Option<Next>,
}

async fn next(mut listener: Listener) -> (Option<Listener>, Bytes) {
    loop {
        let (after, told) = listener.next().await;
        listener = after;
        let is_last = matches!(told, Told::Overflow | Told::End);
        let bytes = as_events(told, listener.filter());
        if is_last {
            return (None, bytes.unwrap_or_default());
        }
        if let Some(bytes) = bytes {
            return (Some(listener), bytes);
        }
    }
}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(waiting) = &mut self.next else {
            return Poll::Ready(None);
        };
        let Poll::Ready((listener, bytes)) = waiting.as_mut().poll(context) else {
            return Poll::Pending;
        };
        self.next = listener.map(|listener| -> Next { Box::pin(next(listener)) });
        if bytes.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}
