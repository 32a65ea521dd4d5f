//! `/v1/tokens`: who may ask. For admins; the first is made while access is open, by whoever is let in.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use grapevine_crdt::Timestamp;
use serde_json::{Map, Value, json as object};
use utoipa::{IntoParams, ToSchema};

use super::{
    HttpState,
    body::{empty, json, read_json, require_json},
    counters::only_fields,
    cursor::{self, ListKind},
    describe::{Nothing, Page, Paged},
    idempotency,
    page::{foreign_cursor, read_limit},
    problem::{Problem, ProblemKind, path_text},
    query::Parameters,
};
use crate::{
    access::{GrantError, Grants},
    model::{Bearer, Collection, Grant, GrantDraft, GrantId, Limit, Role, rfc3339},
};

/// The most seconds that a token may be made for: a hundred years.
const MAX_EXPIRES_IN_S: u64 = 3_153_600_000;
const ID_BYTES: usize = 16;
const FIELDS: [&str; 5] = ["name", "role", "collection", "prefix", "expires_in"];

type IdPath = Result<Path<String>, PathRejection>;

/// Makes a token
#[utoipa::path(post, path = "/v1/tokens", tag = "access", operation_id = "createToken",
    request_body(content = TokenBody, example = json!({"name": "kiosk", "role": "write", "collection": "counters", "prefix": "visits/", "expires_in": 86_400})),
    responses((status = 201, description = "It is made; `token` is told this once", body = TokenMade, headers(("Location" = String, description = "Where it is"))), (status = 409, description = "There are too many")))]
pub(super) async fn create(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    refuse_key(&parts.headers)?;
    let body = require_json(&parts.headers, body, state.limits.max_body_bytes).await?;
    only_fields(&body, &FIELDS)?;
    let now_ms = state.clock.unix_ms();
    let draft = read_draft(&body, now_ms)?;
    let (grant, bearer) = Grants::new(state.store.clone()).make(draft, now_ms).await?;
    made(&grant, &bearer)
}

/// Makes the first token of the cluster
///
/// From then on requests need one.
#[utoipa::path(post, path = "/v1/tokens/first", tag = "access", operation_id = "createFirstToken",
    request_body(content = Option<Nothing>),
    responses((status = 201, description = "It is made, for an admin; `token` is told this once", body = TokenMade, headers(("Location" = String, description = "Where it is"))), (status = 409, description = "The cluster has tokens")))]
pub(super) async fn create_first(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    refuse_key(&parts.headers)?;
    if let Some(body) = read_json(&parts.headers, body, state.limits.max_body_bytes).await? {
        only_fields(&body, &[])?;
    }
    let grants = Grants::new(state.store.clone());
    let (grant, bearer) = grants.make_first(state.clock.unix_ms()).await?;
    made(&grant, &bearer)
}

/// The tokens
#[utoipa::path(get, path = "/v1/tokens", tag = "access", operation_id = "listTokens",
    params(Paged),
    responses((status = 200, description = "A page; what was told once is not told again", body = Page<GrantShown>)))]
pub(super) async fn list(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let parameters = Parameters::read(request.uri(), &["limit", "cursor"])?;
    let limit = read_limit(&parameters)?;
    let kind = ListKind::Entities(Collection::Tokens);
    let after = parameters
        .text("cursor")
        .map(|text| cursor::read_text(kind, text, ID_BYTES).ok_or_else(foreign_cursor))
        .transpose()?;
    let grants = Grants::new(state.store.clone());
    let mut all = tokio::task::spawn_blocking(move || grants.list())
        .await
        .map_err(|error| Problem::internal(&error))??;
    if let Some(after) = after {
        all.retain(|grant| grant.id().to_string() > after);
    }
    let more = all.len() > limit;
    all.truncate(limit);
    let next = all.last().filter(|_| more);
    let next = next.map(|grant| cursor::write(kind, grant.id().to_string().as_bytes()));
    let items: Vec<Value> = all.iter().map(shown).collect();
    json(StatusCode::OK, &object!({ "items": items, "next": next }))
}

/// A token
#[utoipa::path(get, path = "/v1/tokens/{id}", tag = "access", operation_id = "getToken",
    params(TokenPath),
    responses((status = 200, description = "The token, without what was told once", body = GrantShown, example = json!({"id": "0123456789abcdef", "name": "kiosk", "role": "write", "collection": "counters", "prefix": "visits/", "created_at": "2025-06-01T12:00:00.000Z", "expires_at": null})), (status = 404, description = "")))]
pub(super) async fn get(
    State(state): State<Arc<HttpState>>,
    path: IdPath,
    request: Request,
) -> Result<Response, Problem> {
    Parameters::read(request.uri(), &[])?;
    let id = read_id(path)?;
    let grant = Grants::new(state.store.clone()).find(id)?;
    json(StatusCode::OK, &shown(&grant.ok_or_else(absent)?))
}

/// Revokes a token
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "access", operation_id = "revokeToken",
    params(TokenPath),
    responses((status = 204, description = "It is worth nothing any more"), (status = 404, description = "")))]
pub(super) async fn revoke(
    State(state): State<Arc<HttpState>>,
    path: IdPath,
    request: Request,
) -> Result<Response, Problem> {
    Parameters::read(request.uri(), &[])?;
    let id = read_id(path)?;
    if !Grants::new(state.store.clone()).revoke(id).await? {
        return Err(absent());
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

fn read_id(path: IdPath) -> Result<GrantId, Problem> {
    let text = path_text("id", path)?;
    let id = GrantId::parse(&text);
    id.ok_or_else(|| Problem::malformed("id", "the id of a token is 16 digits of 0-9 and a-f"))
}

fn absent() -> Problem {
    Problem::not_found("there is no token with this id, or it was revoked")
}

/// A token is told once, so the answer to the same request cannot be given again.
fn refuse_key(headers: &HeaderMap) -> Result<(), Problem> {
    if idempotency::key(headers)?.is_some() {
        let detail = "a token is told once: ask again without a key, and revoke the one whose answer was lost";
        return Err(Problem::invalid(idempotency::FIELD, detail));
    }
    Ok(())
}

fn read_draft(body: &Value, now_ms: u64) -> Result<GrantDraft, Problem> {
    let none = Map::new();
    let body = body.as_object().unwrap_or(&none);
    let text = |name: &str| match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Problem::invalid(name, format!("{name} is a text"))),
    };
    let role = text("role")?.and_then(Role::named).ok_or_else(|| {
        let names = Role::ALL.map(Role::name).join(", ");
        Problem::invalid("role", format!("role is needed, and is one of: {names}"))
    })?;
    let collection = text("collection")?.map(|name| {
        Collection::of_users(name).ok_or_else(|| {
            let names = Collection::OF_USERS.map(Collection::name).join(", ");
            Problem::invalid("collection", format!("the collections are: {names}"))
        })
    });
    let prefix = text("prefix")?;
    let limit = match (collection.transpose()?, prefix) {
        (Some(collection), prefix) => Some(Limit::new(
            collection,
            prefix.unwrap_or_default().to_owned(),
        )),
        (None, Some(_)) => {
            return Err(Problem::invalid(
                "prefix",
                "a prefix is one of a collection: name it",
            ));
        }
        (None, None) => None,
    };
    let expires_ms = match body.get("expires_in") {
        None | Some(Value::Null) => None,
        Some(seconds) => {
            let seconds = seconds.as_u64();
            let seconds = seconds.filter(|seconds| (1..=MAX_EXPIRES_IN_S).contains(seconds));
            let seconds = seconds.ok_or_else(|| {
                let detail =
                    format!("expires_in is a whole number of seconds from 1 to {MAX_EXPIRES_IN_S}");
                Problem::invalid("expires_in", detail)
            })?;
            Some(now_ms.saturating_add(seconds.saturating_mul(1_000)))
        }
    };
    Ok(GrantDraft {
        name: text("name")?.unwrap_or_default().to_owned(),
        role,
        limit,
        expires_ms,
    })
}

/// The only answer that tells a token.
fn made(grant: &Grant, bearer: &Bearer) -> Result<Response, Problem> {
    let mut told = shown(grant);
    told["token"] = bearer.to_text().into();
    let mut response = json(StatusCode::CREATED, &told)?;
    let location = format!("/v1/tokens/{}", grant.id());
    let location = HeaderValue::try_from(location).map_err(|error| Problem::internal(&error))?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

fn shown(grant: &Grant) -> Value {
    let time = |ms: u64| rfc3339(Timestamp::from_unix_ms(ms));
    object!({
        "id": grant.id().to_string(),
        "name": grant.name(),
        "role": grant.role().name(),
        "collection": grant.limit().map(|limit| limit.collection().name()),
        "prefix": grant.limit().map(Limit::prefix),
        "created_at": time(grant.created_ms()),
        "expires_at": grant.expires_ms().map(time),
    })
}

impl From<GrantError> for Problem {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::Invalid(error) => Self::invalid("body", error.to_string()),
            GrantError::NotFirst | GrantError::TooMany => {
                Self::new(ProblemKind::Conflict, error.to_string())
            }
            GrantError::Store(error) => error.into(),
            GrantError::NoRandomness(_) | GrantError::Codec(_) => Self::internal(&error),
        }
    }
}

/// The token of a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes a part of a path")]
struct TokenPath {
    /// Its `id`.
    #[param(example = "0123456789abcdef", pattern = "^[0-9a-f]{16}$")]
    id: String,
}

/// A token that is asked for.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "it describes what `read_draft` reads")]
struct TokenBody {
    /// What it is called by people.
    name: Option<String>,
    #[schema(pattern = "^(read|write|admin)$")]
    role: String,
    /// Only for this collection.
    #[schema(pattern = "^(contacts|counters|kv|topics)$")]
    collection: Option<String>,
    /// Only for what begins with this, in the collection.
    prefix: Option<String>,
    /// For how many seconds it is worth something.
    #[schema(minimum = 1, maximum = 3_153_600_000_u64)]
    expires_in: Option<u64>,
}

/// A token, without what was told once.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `shown` tells")]
struct GrantShown {
    id: String,
    name: String,
    role: String,
    collection: Option<String>,
    prefix: Option<String>,
    created_at: String,
    expires_at: Option<String>,
}

/// A token that was made.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `made` tells")]
struct TokenMade {
    id: String,
    name: String,
    role: String,
    collection: Option<String>,
    prefix: Option<String>,
    created_at: String,
    expires_at: Option<String>,
    /// What a request carries as `Authorization: Bearer`.
    token: String,
}
