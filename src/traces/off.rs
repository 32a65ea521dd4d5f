//! What stands in the place of spans in a program that was built without them.

use std::{convert::Infallible, env};

use axum::http::HeaderMap;
use grapevine_crdt::Dot;

use crate::model::{Op, PartitionId};

/// Where spans would be told.
#[derive(Debug)]
pub struct Traces(());

/// There is nothing that could fail.
pub type TracesError = Infallible;

impl Traces {
    /// Says so if somebody asked for spans.
    #[allow(
        clippy::unnecessary_wraps,
        reason = "a program that tells spans may fail here"
    )]
    pub fn start(_instance: &str) -> Result<Self, TracesError> {
        if env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some() {
            tracing::warn!(
                "OTEL_EXPORTER_OTLP_ENDPOINT is set, but this program was built without the feature `otlp` and tells no spans"
            );
        }
        Ok(Self(()))
    }

    /// Nothing waits to be told.
    #[allow(clippy::unused_async, reason = "a program that tells spans waits here")]
    pub async fn close(self) {}
}

/// Would be the span of a request.
#[derive(Debug)]
pub struct RequestSpan(());

impl RequestSpan {
    /// None begins.
    #[must_use]
    pub const fn begin(_method: &'static str, _route: &'static str, _headers: &HeaderMap) -> Self {
        Self(())
    }

    /// Runs `answering`.
    pub async fn scope<F: Future>(&self, answering: F) -> F::Output {
        answering.await
    }

    /// None ends.
    pub const fn end(self, _status: u16) {}
}

/// Would be the spans of the writes of one step.
#[derive(Clone, Debug)]
pub struct WriteSpans(());

impl WriteSpans {
    /// None begins.
    #[must_use]
    pub const fn begin() -> Self {
        Self(())
    }

    /// Is not noted.
    pub const fn wrote(&self, _partition: PartitionId, _dot: Dot) {}

    /// None ends.
    pub fn durable(self) {}
}

/// Would be the spans of what a peer's step brings.
#[derive(Debug)]
pub struct ApplySpans(());

impl ApplySpans {
    /// None begins.
    #[must_use]
    pub const fn begin(_op: &Op) -> Self {
        Self(())
    }

    /// None ends.
    pub const fn applied(self) {}
}
