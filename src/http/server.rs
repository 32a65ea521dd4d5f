//! Serving the API on a listener: connections, their bounds, and a shutdown that answers what was accepted.
//!
//! What hyper itself refuses (a request line or headers that are none, headers above their bound) is answered
//! by hyper, without a problem: there is no request yet that could be answered.

use std::{convert::Infallible, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, HttpBody},
    http::{HeaderValue, Method, Request, Response, header},
    response::IntoResponse,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

use super::{
    HttpState,
    bundle::MAX_IMPORT_TIME,
    cluster::MAX_CONVERGENCE_WAIT,
    cluster_leave::MAX_LEAVE_WAIT,
    cors::Cors,
    counters::MAX_COUNTER_WAIT,
    gate::Gate,
    headers::dress,
    import::MAX_CONTACTS_IMPORT_TIME,
    meter::Meter,
    paced::Paced,
    problem::{Problem, ProblemKind},
    request_id::CURRENT,
    room::{MAX_BODIES_BYTES, Rooms},
    router,
    tls::Tls,
};
use crate::{cluster::ClusterView, traces::RequestSpan};

/// The most connections at once; others wait in the listener's backlog.
pub const MAX_CONNECTIONS: usize = 16_384;
/// How long the headers of a request, and so the pause between two requests, may take.
pub(super) const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(60);
/// The most bytes of request line and headers together; hyper allows 100 headers at most.
const MAX_HEADER_BYTES: usize = 32 * 1_024;
/// The most bytes that a connection buffers in each direction.
const MAX_BUFFER_BYTES: usize = 128 * 1_024;
/// How long a client may take for each 64 KiB of its answer, once it does not take them at once.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);
/// How long to wait after the listener failed, for example for want of file descriptors.
const ACCEPT_RETRY_AFTER: Duration = Duration::from_millis(100);

const CONVERGENCE: &str = "/v1/cluster/convergence";
const LEAVE: &str = "/v1/cluster/leave";
const BUNDLE: &str = "/v1/bundle";
const CONTACTS_IMPORT: &str = "/v1/contacts/import";
const COUNTERS: &str = "/v1/counters/";

/// Serves the API until `shutdown` is ready. Then it drains: as long as [`HttpLimits::drain_notice`] says, it serves on,
/// but `/readyz` says that it is about to stop, and each connection is closed behind its next answer. After that it takes
/// no more connections, answers the requests under way and returns; those that take longer than
/// [`HttpLimits::drain_timeout`] are cut off.
///
/// [`HttpLimits::drain_notice`]: super::HttpLimits::drain_notice
/// [`HttpLimits::drain_timeout`]: super::HttpLimits::drain_timeout
pub async fn serve(listener: TcpListener, state: HttpState, shutdown: impl Future<Output = ()>) {
    let request_timeout = state.limits.request_timeout;
    let pace = Pace {
        headers_within: state.limits.headers_within,
        taken_within: TAKEN_WITHIN,
    };
    let cluster = state.cluster.clone();
    let feed = state.feed.clone();
    let cors = state.cors.clone();
    let meter = state.meter.clone();
    let draining = state.draining.clone();
    let (drain_notice, drain_timeout) = (state.limits.drain_notice, state.limits.drain_timeout);
    let gate = Arc::new(Gate::new(&state));
    let tls = state.tls.clone();
    let router = router(state);
    let rooms = Rooms::new(MAX_BODIES_BYTES);
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let tasks = TaskTracker::new();
    let closing = CancellationToken::new();
    let cut_off = CancellationToken::new();
    let drained = async {
        shutdown.await;
        draining.cancel();
        sleep(drain_notice).await;
    };
    tokio::pin!(drained);
    let fresh = tls.clone().map(|tls| tokio::spawn(tls.keep_fresh()));
    loop {
        let accepted = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, stream, client) = tokio::select! {
            () = &mut drained => break,
            (slot, accepted) = accepted => match (slot, accepted) {
                (Ok(slot), Ok((stream, client))) => (slot, stream, client),
                (Err(_), _) => break,
                (Ok(_), Err(error)) => {
                    tracing::warn!(%error, "no connection could be accepted");
                    sleep(ACCEPT_RETRY_AFTER).await;
                    continue;
                }
            },
        };
        let answering = Answering {
            router: router.clone(),
            cluster: cluster.clone(),
            rooms: rooms.clone(),
            request_timeout,
            cors: cors.clone(),
            meter: meter.clone(),
            draining: draining.clone(),
            gate: gate.clone(),
            client,
            tls: tls.is_some(),
        };
        let connection = connection(stream, tls.clone(), answering, pace, closing.clone());
        let cut_off = cut_off.clone();
        let connected = meter.connected();
        tasks.spawn(async move {
            let _held = (slot, connected);
            cut_off.run_until_cancelled(connection).await;
        });
    }
    drop(listener);
    if let Some(fresh) = fresh {
        fresh.abort();
    }
    feed.close();
    closing.cancel();
    tasks.close();
    if timeout(drain_timeout, tasks.wait()).await.is_err() {
        tracing::warn!(
            connections = tasks.len(),
            "requests took too long to end and are cut off"
        );
        cut_off.cancel();
        tasks.wait().await;
    }
}

/// What answering takes.
#[derive(Clone)]
struct Answering {
    router: Router,
    cluster: Arc<dyn ClusterView>,
    rooms: Rooms,
    request_timeout: Duration,
    cors: Arc<Cors>,
    meter: Arc<Meter>,
    /// This node is about to stop.
    draining: CancellationToken,
    gate: Arc<Gate>,
    /// Who asks.
    client: SocketAddr,
    /// Whether what is said travels over TLS.
    tls: bool,
}

/// How slow a client may be.
#[derive(Clone, Copy)]
struct Pace {
    /// For the headers of a request, and so the pause between two.
    headers_within: Duration,
    /// For each 64 KiB of its answer, once it does not take them at once.
    taken_within: Duration,
}

async fn connection(
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
    answering: Answering,
    pace: Pace,
    closing: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection delays small answers");
    }
    let client = answering.client;
    let answer = move |request| measured(answering.clone(), request);
    let Some(tls) = tls else {
        return serve_connection(stream, answer, closing, pace).await;
    };
    match closing.run_until_cancelled(tls.accept(stream)).await {
        Some(Ok(stream)) => serve_connection(stream, answer, closing, pace).await,
        Some(Err(error)) => tracing::debug!(%client, %error, "a TLS handshake failed"),
        None => {}
    }
}

async fn serve_connection<S, A, F>(stream: S, answer: A, closing: CancellationToken, pace: Pace)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // A client that closes its sending side after a request still waits for the answer.
        .half_close(true)
        .header_read_timeout(pace.headers_within)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(
            TokioIo::new(Paced::new(stream, pace.taken_within)),
            service_fn(answer),
        )
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Answers one request, and counts it. While this node is about to stop, its client is told to go elsewhere.
async fn measured(
    answering: Answering,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let draining = answering.draining.clone();
    let timing = answering
        .meter
        .begin(request.method(), request.uri().path());
    let span = RequestSpan::begin(timing.method(), timing.route(), request.headers());
    let mut answered = span.scope(answer(answering, request)).await;
    if let Ok(response) = &mut answered {
        timing.end(response.status());
        span.end(response.status().as_u16());
        if draining.is_cancelled() {
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
    answered
}

/// Answers one request if it may be made, and lets the web page read the answer that may.
async fn answer(
    answering: Answering,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (cors, gate, tls) = (
        answering.cors.clone(),
        answering.gate.clone(),
        answering.tls,
    );
    if let Some(response) = cors.preflight(request.method(), request.headers()) {
        return Ok(response);
    }
    let allowed = cors.allowed(request.headers());
    let id = gate.id(&request);
    let (entry, passed) = gate.pass(&mut request, &id, answering.client);
    let mut answered = match passed {
        Ok(()) => {
            let answering = answer_in_time(answering, request);
            CURRENT.scope(id.clone(), answering).await
        }
        Err(problem) => CURRENT.sync_scope(id.clone(), || Ok(problem.into_response())),
    };
    if let Ok(response) = &mut answered {
        if let Some(entry) = entry {
            entry.tell(response.status(), response.headers());
        }
        let headers = response.headers_mut();
        if id.is_given() {
            id.put(headers);
        }
        dress(headers, tls);
        cors.put(allowed, headers);
    }
    answered
}

/// Answers one request in time. A write that is timed out may still happen.
async fn answer_in_time(
    answering: Answering,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let Answering {
        mut router,
        cluster,
        rooms,
        request_timeout,
        cors: _,
        meter: _,
        draining: _,
        gate: _,
        client: _,
        tls: _,
    } = answering;
    if !request.method().is_safe()
        && let Some(fault) = cluster.clock_fault()
    {
        return Ok(Problem::clock_off(fault).into_response());
    }
    if !request.method().is_safe() && cluster.is_leaving() && request.uri().path() != LEAVE {
        let detail = "this node is leaving its cluster, or has left it; another takes writes";
        return Ok(Problem::new(ProblemKind::Unavailable, detail).into_response());
    }
    let is_spooled = [BUNDLE, CONTACTS_IMPORT].contains(&request.uri().path());
    let limit = match request.uri().path() {
        CONVERGENCE => request_timeout + MAX_CONVERGENCE_WAIT,
        BUNDLE => request_timeout + MAX_IMPORT_TIME,
        CONTACTS_IMPORT => request_timeout + MAX_CONTACTS_IMPORT_TIME,
        LEAVE => request_timeout + MAX_LEAVE_WAIT,
        path if path.starts_with(COUNTERS) && request.method() == Method::GET => {
            request_timeout + MAX_COUNTER_WAIT
        }
        _ => request_timeout,
    };
    // What is spooled is never held in memory.
    let answered = if request.body().is_end_stream() || is_spooled {
        timeout(limit, router.call(request)).await
    } else {
        let (parts, body) = request.into_parts();
        let (body, room) = rooms.meter(body);
        let mut call = Box::pin(router.call(Request::from_parts(parts, body)));
        let answered = timeout(limit, call.as_mut()).await;
        if answered.is_err() {
            // What the store has not decided yet still takes its room; who still sends is no longer heard.
            room.abandon();
            tokio::spawn(async move {
                let _unheard = call.await;
                drop(room);
            });
        }
        answered
    };
    answered.unwrap_or_else(|_late| {
        Ok(Problem::new(
            ProblemKind::Timeout,
            format!("no answer within {limit:?}; a write may have happened all the same"),
        )
        .into_response())
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn a_client_that_does_not_read_its_answer_keeps_it_in_memory() {
        let (near, mut far) = tokio::io::duplex(1_024);
        let large = |_| async { Ok(Response::new(Body::from(vec![1; 1 << 20]))) };
        let pace = Pace {
            headers_within: HEADER_READ_TIMEOUT,
            taken_within: Duration::from_millis(100),
        };
        let serving = serve_connection(near, large, CancellationToken::new(), pace);
        let served = tokio::spawn(serving);
        let request = b"GET /v1/kv/large HTTP/1.1\r\nhost: here\r\n\r\n";
        far.write_all(request).await.expect("it is heard");
        timeout(Duration::from_secs(30), served)
            .await
            .expect("it is given up")
            .expect("no panic");
    }
}
