//! Carries spans to the collector, by the HTTP client that is there anyway.
//!
//! The exporter asks from a thread of its own, in which no runtime runs; requests are made on that of the node.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use tokio::{runtime::Handle, time::timeout};

/// How long the collector may take for one batch of spans.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);

/// The most bytes of what it answers.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Carries spans, over HTTP without TLS.
#[derive(Debug)]
pub(super) struct Carrier {
    client: Client<HttpConnector, Full<Bytes>>,
    runtime: Handle,
}

impl Carrier {
    /// One that makes its requests on `runtime`.
    pub(super) fn new(runtime: Handle) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, runtime }
    }
}

#[async_trait]
impl HttpClient for Carrier {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let asking = async move {
            let response = client.request(request.map(Full::new)).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?;
            Ok::<_, HttpError>(Response::from_parts(parts, body.to_bytes()))
        };
        // The timer, too, is that of the runtime.
        let bounded = async { timeout(TAKEN_WITHIN, asking).await };
        self.runtime.spawn(bounded).await??
    }
}
