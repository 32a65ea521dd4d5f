//! `/v1/bundle`: bundles out of and into this node.
//!
//! A bundle that comes in is spooled into a file first, which nobody else can see: it must be whole before anything
//! of it is applied. An export that fails halfway is cut off, so that whoever gets it sees that it is no whole one.

use std::{
    io::{self, BufReader, BufWriter, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Bytes,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use utoipa::ToSchema;

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
    bundle::{BundleError, BundleHeader, Importer, back_up, export},
    cluster::Roster,
    model::ChangesToken,
    store::Store,
};

/// The longest that taking a bundle in may take.
pub(super) const MAX_IMPORT_TIME: Duration = Duration::from_secs(60 * 60);
/// The most bytes of a bundle that comes in: 64 GiB.
const MAX_BUNDLE_BYTES: u64 = 64 * 1_024 * 1_024 * 1_024;
/// The longest that a backup may take: as long it pins what it sees.
const MAX_BACKUP_TIME: Duration = Duration::from_secs(60 * 60);
/// How much of an export waits for the client.
const MAX_CHUNKS_WAITING: usize = 8;
const CHUNK_BYTES: usize = 64 * 1_024;
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.grapevine.bundle");

/// A bundle out of this node
#[utoipa::path(get, path = "/v1/bundle", tag = "bundles", operation_id = "exportBundle",
    params(("since" = Option<String>, Query, description = "A token: only what it does not cover")),
    responses((status = 200, description = "The file", content(("application/vnd.grapevine.bundle"))), (status = 410, description = "")))]
pub(super) async fn get(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let parameters = Parameters::read(request.uri(), &["since"])?;
    let since = parameters.text("since").map(read_token).transpose()?;
    stream(&state, since.unwrap_or_default()).await
}

/// A bundle since a token that no URL can carry
#[utoipa::path(post, path = "/v1/bundle/export", tag = "bundles", operation_id = "exportBundleSince",
    request_body(content = ExportBody, example = json!({"since": null})),
    responses((status = 200, description = "The file", content(("application/vnd.grapevine.bundle"))), (status = 410, description = "")))]
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

/// A token that stands for everything held here
///
/// What is exported elsewhere since it is what is missing here.
#[utoipa::path(get, path = "/v1/bundle/token", tag = "bundles", operation_id = "getBundleToken",
    responses((status = 200, description = "The token", body = TokenShown)))]
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

/// Takes a bundle in
///
/// A file is checked to its end before anything of it is applied; again it changes nothing.
#[utoipa::path(post, path = "/v1/bundle", tag = "bundles", operation_id = "importBundle",
    request_body(content(("application/vnd.grapevine.bundle")), description = "A file that another node exported"),
    responses((status = 200, description = "What was taken in; `changes` is 0 if everything was there", body = BundleTaken), (status = 409, description = "It is of another cluster, of a clock far ahead, built upon what this node does not hold, or one side was expelled")))]
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
        expelled: |store| {
            let listed = Roster::new(store.clone()).read()?;
            Ok(listed.expulsions.iter().map(|of| of.store).collect())
        },
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

/// Everything that this node holds, as it is now: a backup
///
/// It stops no writes; one is made at a time.
#[utoipa::path(get, path = "/v1/backup", tag = "bundles", operation_id = "backUp",
    responses((status = 200, description = "The file, for `grapevine restore`", content(("application/vnd.grapevine.bundle")))))]
pub(super) async fn backup(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    Parameters::read(request.uri(), &[])?;
    let Ok(place) = state.backing_up.clone().try_acquire_owned() else {
        let detail = "another backup is being made";
        return Err(Problem::new(ProblemKind::Unavailable, detail));
    };
    let header = header(&state);
    let snapshot = state.store.snapshot();
    streamed(Some(MAX_BACKUP_TIME), move |out| {
        let _place = place;
        back_up(&snapshot, header, out)
    })
    .await
}

fn header(state: &HttpState) -> BundleHeader {
    let node = state.cluster.node();
    BundleHeader {
        cluster: node.cluster,
        node: node.name,
        store: state.store.identity().store_id,
        unix_ms: state.clock.unix_ms(),
    }
}

async fn stream(state: &HttpState, since: ChangesToken) -> Result<Response, Problem> {
    let (header, store) = (header(state), state.store.clone());
    streamed(None, move |out| export(&store, header, &since, out)).await
}

/// What `write` writes, while it is sent. What can be refused is refused before that.
async fn streamed(
    limit: Option<Duration>,
    write: impl FnOnce(BufWriter<Chunks>) -> Result<(), BundleError> + Send + 'static,
) -> Result<Response, Problem> {
    let (sender, chunks) = mpsc::channel(MAX_CHUNKS_WAITING);
    tokio::task::spawn_blocking(move || {
        let chunks = Chunks {
            sender: sender.clone(),
            until: limit.map(|limit| Instant::now() + limit),
        };
        let out = BufWriter::with_capacity(CHUNK_BYTES, chunks);
        if let Err(error) = write(out) {
            let _client_gone = sender.blocking_send(Err(error));
        }
    });
    let mut response = Response::new(Streamed::begin(chunks).await?);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, MEDIA_TYPE);
    Ok(response)
}

/// Hands on what is written, and waits while the client is slow.
struct Chunks {
    sender: mpsc::Sender<Chunk<BundleError>>,
    /// When it is enough.
    until: Option<Instant>,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.until.is_some_and(|until| Instant::now() > until) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.sender
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
            | BundleError::Partial
            | BundleError::Clock { .. }
            | BundleError::Base { .. }
            | BundleError::Floor { .. }
            | BundleError::Expelled { .. } => {
                Self::new(ProblemKind::Conflict, detail).about("body")
            }
            BundleError::Gone => Self::new(ProblemKind::Gone, detail).about("since"),
            BundleError::Store(error) => error.into(),
            BundleError::Io(error) => Self::internal(&error),
            BundleError::Codec(error) => Self::internal(&error),
        }
    }
}

/// Since when to export.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `post_export` reads")]
struct ExportBody {
    since: Option<String>,
}

/// A token.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `token` tells")]
struct TokenShown {
    token: String,
}

/// What was taken in.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `post` tells")]
struct BundleTaken {
    /// The node that exported it.
    from: String,
    partitions: u64,
    entities: u64,
    changes: u64,
    /// What to export since the next time.
    token: String,
}
