//! A request of a client: path, parameters, headers (tags, idempotency keys, content types), cursors, and every kind
//! of body.
//!
//! The bytes are read as `METHOD target`, lines of headers, an empty line, and the body.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri},
};
use grapevine::{
    clock::SystemClock,
    cluster::{ClusterView, ForgetError, Health, MemberStatus, NodeStatus},
    http::{HttpLimits, HttpState, router},
    model::Root,
    store::{Store, StoreOptions},
};
use grapevine_crdt::ReplicaId;
use tower::ServiceExt;

const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

const MAX_BODY_BYTES: usize = 64 * 1024;
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// A server without a socket, the same for all inputs.
struct Server {
    runtime: tokio::runtime::Runtime,
    router: Router,
    _directory: tempfile::TempDir,
}

struct Alone;

#[async_trait::async_trait]
impl ClusterView for Alone {
    fn node(&self) -> NodeStatus {
        NodeStatus {
            name: "fuzz".to_owned(),
            cluster: "grapevine".to_owned(),
            replica: None,
            http: String::new(),
            peer: String::new(),
            root: Root::default(),
            uptime: Duration::ZERO,
        }
    }

    async fn health(&self) -> Health {
        Health::default()
    }

    async fn forget(&self, _replica: ReplicaId) -> Result<(), ForgetError> {
        Err(ForgetError::Unknown)
    }

    fn ask_peers(&self) {}

    async fn members(&self) -> Vec<MemberStatus> {
        Vec::new()
    }

    async fn converged(&self, _wait: Duration) -> Result<(), Vec<MemberStatus>> {
        Ok(())
    }
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = StoreOptions::new(directory.path());
        let store = Store::open(options, Arc::new(SystemClock)).expect("a new store opens");
        let limits = HttpLimits {
            max_body_bytes: MAX_BODY_BYTES,
            request_timeout: Duration::from_secs(10),
            token_wait: Duration::ZERO,
            ..HttpLimits::default()
        };
        let state =
            HttpState::new(store, Arc::new(Alone), limits).spooling_in(directory.path().into());
        Server {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime"),
            router: router(state),
            _directory: directory,
        }
    })
}

pub(super) fn run(bytes: &[u8]) {
    let Some(request) = request(bytes) else {
        return;
    };
    let said = format!("{} {}", request.method(), request.uri());
    let Server {
        runtime, router, ..
    } = server();
    let (status, body) = runtime.block_on(async {
        let answered = router.clone().oneshot(request).await;
        let answer = answered.unwrap_or_else(|never| match never {});
        let status = answer.status();
        if answer.headers().get("content-type") == Some(&EVENTS) {
            // It has no end.
            return (status, axum::body::Bytes::new());
        }
        let body = axum::body::to_bytes(answer.into_body(), MAX_ANSWER_BYTES).await;
        (status, body.expect("an answer ends"))
    });
    assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{said}");
    let text = String::from_utf8_lossy(&body);
    assert!(!text.contains("panicked"), "{said}: {text}");
}

fn request(bytes: &[u8]) -> Option<Request<Body>> {
    let (mut head, body) = match bytes.windows(2).position(|pair| pair == b"\n\n") {
        Some(end) => (&bytes[..end], &bytes[end + 2..]),
        None => (bytes, &[][..]),
    };
    let mut line = || {
        let end = head.iter().position(|byte| *byte == b'\n');
        let line = &head[..end.unwrap_or(head.len())];
        head = end.map_or(&[][..], |end| &head[end + 1..]);
        line
    };
    let first = line();
    let space = first.iter().position(|byte| *byte == b' ')?;
    let mut request = Request::new(Body::from(body.to_vec()));
    *request.method_mut() = Method::from_bytes(&first[..space]).ok()?;
    *request.uri_mut() = Uri::try_from(&first[space + 1..]).ok()?;
    // It would wait.
    if request.uri().path().ends_with("/convergence") {
        return None;
    }
    loop {
        let header = line();
        if header.is_empty() {
            return Some(request);
        }
        let colon = header.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&header[..colon]).ok()?;
        let value = HeaderValue::from_bytes(header[colon + 1..].trim_ascii()).ok()?;
        request.headers_mut().append(name, value);
    }
}
