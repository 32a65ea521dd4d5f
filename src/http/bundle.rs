//! `/v1/bundle`: bundles out of and into this node.
//!
//! A bundle that comes in is spooled into a file first, which nobody else can see: it must be whole before anything
//! of it is applied. An export that fails halfway is cut off, so that whoever gets it sees that it is no whole one.

use std::{
    io::{self, BufReader, BufWriter, Write},
    sync::Arc,
    time::Duration,
};

use axum::{
    body::Bytes,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    HttpState,
    body::{json, require_json},
    changes::read_token,
    problem::{Problem, ProblemKind},
    query::Parameters,
    spool::spool,
    streamed::{Chunk, Streamed},
};
use crate::{
    bundle::{BundleError, BundleHeader, Importer, export},
    model::ChangesToken,
    store::Store,
};

/// The longest that taking a bundle in may take.
pub(super) const MAX_IMPORT_TIME: Duration = Duration::from_secs(60 * 60);
/// The most bytes of a bundle that comes in: 64 GiB.
const MAX_BUNDLE_BYTES: u64 = 64 * 1_024 * 1_024 * 1_024;
/// How much of an export waits for the client.
const MAX_CHUNKS_WAITING: usize = 8;
const CHUNK_BYTES: usize = 64 * 1_024;
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.grapevine.bundle");

pub(super) async fn get(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let parameters = Parameters::read(request.uri(), &["since"])?;
    let since = parameters.text("since").map(read_token).transpose()?;
    stream(&state, since.unwrap_or_default()).await
}

/// As `get`, for a token that no URL can carry.
pub(super) async fn post_export(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let body = require_json(&parts.headers, body, state.limits.max_body_bytes).await?;
    let since = match body.get("since") {
        None | Some(Value::Null) => ChangesToken::default(),
        Some(since) => read_token(since.as_str().unwrap_or_default())?,
    };
    stream(&state, since).await
}

/// A token that stands for everything held here: what is exported elsewhere since it is what is missing here.
pub(super) async fn token(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    Parameters::read(request.uri(), &[])?;
    json(
        StatusCode::OK,
        &json!({ "token": held(&state.store).to_text() }),
    )
}

pub(super) async fn post(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let Ok(_place) = state.importing.try_acquire() else {
        let detail = "another bundle is being taken in";
        return Err(Problem::new(ProblemKind::Unavailable, detail));
    };
    let file = spool(&state.spool, body, "bundle", MAX_BUNDLE_BYTES).await?;
    let reader = Importer {
        store: state.store.clone(),
        cluster: state.cluster.node().cluster,
        now_unix_ms: state.clock.unix_ms(),
    };
    let import = move || reader.import(BufReader::new(file));
    let imported = tokio::task::spawn_blocking(import)
        .await
        .map_err(|error| Problem::internal(&error))??;
    let answer = json!({
        "from": imported.from,
        "partitions": imported.partitions,
        "entities": imported.entities,
        "changes": imported.changes,
        "token": held(&state.store).to_text(),
    });
    json(StatusCode::OK, &answer)
}

fn held(store: &Store) -> ChangesToken {
    let snapshot = store.snapshot();
    let mut token = ChangesToken::default();
    for (partition, state) in snapshot.state().partitions() {
        token.fetch(partition, state.vector.clone());
    }
    token
}

/// A bundle that is written while it is sent. What can be refused is refused before that.
async fn stream(state: &HttpState, since: ChangesToken) -> Result<Response, Problem> {
    let node = state.cluster.node();
    let header = BundleHeader {
        cluster: node.cluster,
        node: node.name,
        unix_ms: state.clock.unix_ms(),
    };
    let (sender, chunks) = mpsc::channel(MAX_CHUNKS_WAITING);
    let store = state.store.clone();
    tokio::task::spawn_blocking(move || {
        let out = BufWriter::with_capacity(CHUNK_BYTES, Chunks(sender.clone()));
        if let Err(error) = export(&store, header, &since, out) {
            let _client_gone = sender.blocking_send(Err(error));
        }
    });
    let mut response = Response::new(Streamed::begin(chunks).await?);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, MEDIA_TYPE);
    Ok(response)
}

/// Hands on what is written, and waits while the client is slow.
struct Chunks(mpsc::Sender<Chunk<BundleError>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .blocking_send(Ok(Bytes::copy_from_slice(bytes)))
            .map_err(|_client_gone| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<BundleError> for Problem {
    fn from(error: BundleError) -> Self {
        let detail = error.to_string();
        match error {
            BundleError::NotABundle
            | BundleError::Version(_)
            | BundleError::CutOff
            | BundleError::Damaged(_)
            | BundleError::Impossible(_) => Self::malformed("body", detail),
            BundleError::Foreign { .. }
            | BundleError::Clock { .. }
            | BundleError::Base { .. }
            | BundleError::Floor { .. } => Self::new(ProblemKind::Conflict, detail).about("body"),
            BundleError::Gone => Self::new(ProblemKind::Gone, detail).about("since"),
            BundleError::Store(error) => error.into(),
            BundleError::Io(error) => Self::internal(&error),
            BundleError::Codec(error) => Self::internal(&error),
        }
    }
}
