//! The collector that spans are told to, for the whole process.
//!
//! It is set up as OpenTelemetry's own variables say: `OTEL_EXPORTER_OTLP_ENDPOINT` and the like. Without that nothing is
//! told. The queue of the exporter is bounded; what exceeds it is dropped and counted in its warnings.

use std::{cell::Cell, env, sync::OnceLock, time::Duration};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, TraceFlags, TraceId, TraceState, TracerProvider as _},
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{
        Config, IdGenerator, RandomIdGenerator, SamplingDecision, SdkTracer, SdkTracerProvider,
        ShouldSample,
    },
};
use tokio::{runtime::Handle, task::spawn_blocking};

use super::{carrier::Carrier, write_name::WriteName};

/// Where spans are told; the first counts.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// How long the last spans may take at the end of the process.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// Why no spans can be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TracesError {
    /// The collector cannot be reached in that way.
    #[error("{0}={1} must begin with http://: spans are told without TLS, to a collector near by")]
    Endpoint(&'static str, String),
    /// What the variables of OpenTelemetry say is nothing that it can use.
    #[error("OpenTelemetry: {0}")]
    Exporter(String),
}

/// What tells spans, while the process runs.
#[derive(Debug)]
pub struct Traces(Option<SdkTracerProvider>);

/// What makes spans.
pub(super) struct Collector {
    pub(super) tracer: SdkTracer,
    sampler: Box<dyn ShouldSample>,
}

static COLLECTOR: OnceLock<Collector> = OnceLock::new();

/// What makes spans, if somebody asked for them.
pub(super) fn collector() -> Option<&'static Collector> {
    COLLECTOR.get()
}

impl Traces {
    /// Tells spans from now on as those of `instance`, if a variable says where. Must be called in a runtime.
    pub fn start(instance: &str) -> Result<Self, TracesError> {
        let named = ENDPOINTS
            .iter()
            .find_map(|name| Some((*name, env::var(name).ok()?)));
        let Some((name, endpoint)) = named else {
            return Ok(Self(None));
        };
        if !endpoint.starts_with("http://") {
            return Err(TracesError::Endpoint(name, endpoint));
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Carrier::new(Handle::current()))
            .with_protocol(Protocol::HttpBinary)
            .build()
            .map_err(|error| TracesError::Exporter(error.to_string()))?;
        let resource = Resource::builder()
            .with_service_name(
                env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| "grapevine".to_owned()),
            )
            .with_attribute(KeyValue::new("service.instance.id", instance.to_owned()))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_id_generator(WriteIds::default())
            .with_resource(resource)
            .with_batch_exporter(exporter)
            .build();
        let collector = Collector {
            tracer: provider.tracer_with_scope(InstrumentationScope::builder("grapevine").build()),
            sampler: Config::default().sampler,
        };
        // A second node in one process tells its spans as the first.
        let _already = COLLECTOR.set(collector);
        tracing::info!(endpoint, "spans are told");
        Ok(Self(Some(provider)))
    }

    /// Tells what waits, within a bound.
    pub async fn close(self) {
        if let Some(provider) = self.0 {
            let closing = spawn_blocking(move || provider.shutdown_with_timeout(TOLD_WITHIN));
            match closing.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the last spans were not told"),
                Err(error) => tracing::warn!(%error, "the last spans were not told"),
            }
        }
    }
}

impl Collector {
    /// The span of the commit of a write, as a node elsewhere names it. All nodes with the same settings choose the same
    /// writes to tell, for the choice follows from the id of the trace.
    pub(super) fn commit(&self, write: WriteName) -> SpanContext {
        let (trace, span) = write.ids();
        let kind = SpanKind::Producer;
        let sampled = self
            .sampler
            .should_sample(None, trace, "commit", &kind, &[], &[]);
        let is_told = sampled.decision == SamplingDecision::RecordAndSample;
        let flags = TraceFlags::default().with_sampled(is_told);
        SpanContext::new(trace, span, flags, true, TraceState::default())
    }
}

thread_local! {
    /// The ids of the next span of this thread, if they are not to be drawn.
    static NEXT_IDS: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Begins a span under the ids of `write`.
pub(super) fn under_ids_of<T>(write: WriteName, begin: impl FnOnce() -> T) -> T {
    NEXT_IDS.set(Some(write.ids()));
    let made = begin();
    NEXT_IDS.set(None);
    made
}

/// Draws ids, unless they are those of a write.
#[derive(Debug, Default)]
struct WriteIds(RandomIdGenerator);

impl IdGenerator for WriteIds {
    fn new_trace_id(&self) -> TraceId {
        let next = NEXT_IDS.get().map(|(trace, _)| trace);
        next.unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        let next = NEXT_IDS.get().map(|(_, span)| span);
        next.unwrap_or_else(|| self.0.new_span_id())
    }
}
