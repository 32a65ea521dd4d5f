//! The spans: of a request, of the writes that it made, and of writes of others that are taken in.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use axum::http::HeaderMap;
use grapevine_crdt::Dot;
use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator as _,
    time::now,
    trace::{
        Link, Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, TraceState,
        Tracer as _,
    },
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::Span};

use super::{
    collector::{collector, under_ids_of},
    write_name::WriteName,
};
use crate::model::{Claim, Op, PartitionId};

/// The most writes of one step of which spans are told.
const MAX_SPANS_A_STEP: usize = 64;

/// What is asked all the time and tells nothing.
const NOT_TOLD: [&str; 4] = ["/ping", "/healthz", "/readyz", "/metrics"];

type SharedSpan = Arc<Mutex<Span>>;

tokio::task_local! {
    /// That of the request that this task answers.
    static CURRENT: SharedSpan;
}

/// The span of a request, to the head of its answer.
#[derive(Debug)]
pub struct RequestSpan(Option<SharedSpan>);

impl RequestSpan {
    /// Begins one, below that which a `traceparent` among `headers` names (W3C Trace Context).
    #[must_use]
    pub fn begin(method: &'static str, route: &'static str, headers: &HeaderMap) -> Self {
        let collector = collector().filter(|_| !NOT_TOLD.contains(&route));
        Self(collector.map(|collector| {
            let above = above(headers);
            let span = collector
                .tracer
                .span_builder(format!("{method} {route}"))
                .with_kind(SpanKind::Server)
                .with_attributes([
                    KeyValue::new("http.request.method", method),
                    KeyValue::new("http.route", route),
                ])
                .start_with_context(&collector.tracer, &above);
            Arc::new(Mutex::new(span))
        }))
    }

    /// Runs `answering`; the writes that it makes are linked with this span.
    pub async fn scope<F: Future>(&self, answering: F) -> F::Output {
        match &self.0 {
            Some(span) => CURRENT.scope(Arc::clone(span), answering).await,
            None => answering.await,
        }
    }

    /// The request was answered.
    pub fn end(self, status: u16) {
        let Some(span) = self.0 else {
            return;
        };
        let mut span = span.lock().unwrap_or_else(PoisonError::into_inner);
        span.set_attribute(KeyValue::new(
            "http.response.status_code",
            i64::from(status),
        ));
        if status >= 500 {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// The span that `headers` name, without its state, which may be long and is passed on to nobody.
fn above(headers: &HeaderMap) -> Context {
    let named = TraceContextPropagator::new();
    let named = named.extract_with_context(&Context::new(), &HeaderExtractor(headers));
    let named = named.span().span_context().clone();
    let (trace, span, flags) = (named.trace_id(), named.span_id(), named.trace_flags());
    let named = SpanContext::new(trace, span, flags, true, TraceState::default());
    Context::new().with_remote_span_context(named)
}

/// The spans of the writes of one step of this node. All clones are one.
#[derive(Clone, Debug)]
pub struct WriteSpans(Option<Arc<Writing>>);

#[derive(Debug)]
struct Writing {
    request: Option<SharedSpan>,
    began: SystemTime,
    writes: Mutex<Vec<WriteName>>,
}

impl WriteSpans {
    /// They begin, for the request that this task answers, if it answers one.
    #[must_use]
    pub fn begin() -> Self {
        Self(collector().map(|_| {
            Arc::new(Writing {
                request: CURRENT.try_with(Arc::clone).ok(),
                began: now(),
                writes: Mutex::default(),
            })
        }))
    }

    /// One of the writes is this. It may be taken back still.
    pub fn wrote(&self, partition: PartitionId, dot: Dot) {
        if let Some(writing) = &self.0 {
            let mut writes = writing
                .writes
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if writes.len() < MAX_SPANS_A_STEP {
                writes.push(WriteName { partition, dot });
            }
        }
    }

    /// The step is durable: they end, and are told.
    pub fn durable(self) {
        let Some(writing) = self.0 else {
            return;
        };
        let writes = writing
            .writes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for write in writes.iter() {
            commit_span(*write, writing.began, writing.request.as_ref());
        }
    }
}

/// Tells the span of the commit of a write, linked with that of the request both ways.
fn commit_span(write: WriteName, began: SystemTime, request: Option<&SharedSpan>) {
    let Some(collector) = collector() else {
        return;
    };
    let name = || KeyValue::new("grapevine.write", write.to_string());
    let mut request = request.map(|span| span.lock().unwrap_or_else(PoisonError::into_inner));
    let asked = request.as_ref().map(|span| span.span_context().clone());
    let links = asked.map(Link::with_context).into_iter();
    let builder = collector
        .tracer
        .span_builder("commit")
        .with_kind(SpanKind::Producer)
        .with_start_time(began)
        .with_attributes([name()])
        .with_links(links.collect());
    let mut span = under_ids_of(write, || {
        builder.start_with_context(&collector.tracer, &Context::new())
    });
    if let Some(request) = &mut request {
        request.add_link(span.span_context().clone(), vec![name()]);
    }
    span.end();
}

/// The spans of what a peer's step brings.
#[derive(Debug)]
pub struct ApplySpans(Option<(SystemTime, BTreeSet<WriteName>)>);

impl ApplySpans {
    /// They begin, if `op` brings writes that are told for the first time here.
    #[must_use]
    pub fn begin(op: &Op) -> Self {
        let brings = match &op.claim {
            Claim::Nothing | Claim::Advance { .. } | Claim::Absorb { .. } => true,
            Claim::Repair | Claim::Recount | Claim::Collect { .. } | Claim::Rejoin(_) => false,
        };
        let told = collector().filter(|_| brings);
        Self(told.map(|_| (now(), writes_of(op))))
    }

    /// The step is durable: they end, and are told.
    pub fn applied(self) {
        let (Some((began, writes)), Some(collector)) = (self.0, collector()) else {
            return;
        };
        for write in writes {
            let commit: SpanContext = collector.commit(write);
            let below = Context::new().with_remote_span_context(commit);
            let mut span = collector
                .tracer
                .span_builder("apply")
                .with_kind(SpanKind::Consumer)
                .with_start_time(began)
                .with_attributes([KeyValue::new("grapevine.write", write.to_string())])
                .start_with_context(&collector.tracer, &below);
            span.end();
        }
    }
}

/// The writes of which a step has cells, a bounded number.
fn writes_of(op: &Op) -> BTreeSet<WriteName> {
    let mut writes = BTreeSet::new();
    for held in op.entities.iter().flat_map(|entity| &entity.cells) {
        if writes.len() >= MAX_SPANS_A_STEP {
            break;
        }
        writes.insert(WriteName {
            partition: op.partition,
            dot: held.cell.dot,
        });
    }
    writes
}
