//! `/v1/merge`: the edits of a client that was offline, each with a time of its own and an answer of its own.
//!
//! Edits of one entity are brought in one after another in their order; those of different entities share
//! commits.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use grapevine_crdt::{Timestamp, VersionVector};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use utoipa::ToSchema;

use super::{
    HttpState, audit,
    body::{json, require_json},
    changes::{gone, read_token, wait_for},
    describe::Seen,
    problem::Problem,
    query::Parameters,
    session::{Session, Written, tracked},
    within::Within,
};
use crate::{
    config::AuditLog,
    model::{
        ChangesToken, EntityId, Fate, LostTo, Meeting, OfflineEdit, Region, read_instant, rfc3339,
    },
    store::{Store, StoreError, WriteError, covers_floors},
};

/// The most edits of one request.
pub const MAX_EDITS_PER_MERGE: usize = 1_000;
/// How many entities are edited at once: enough to share a commit, few enough that others get their turn.
const ENTITIES_AT_ONCE: usize = 256;

/// Edits that are brought in, with their places in the request.
type Edits = Vec<(usize, OfflineEdit)>;
/// What became of the edits of one entity.
type Brought = Result<Vec<(usize, Value, Option<Written>)>, Problem>;

/// What is known of the client.
#[derive(Debug)]
struct Client {
    seen: ChangesToken,
    /// What its clock shows less what ours shows, in milliseconds.
    ahead_ms: i64,
    now_ms: u64,
}

/// Brings in what was edited offline
///
/// Each edit with its own time; again and through any node without harm.
#[utoipa::path(post, path = "/v1/merge", tag = "offline", operation_id = "merge",
    params(Seen),
    request_body(content = MergeBody, example = json!({"now": "2025-06-01T12:00:00Z", "edits": [
        {"id": "6f0c1a52-9b1e-4c7a-8f5d-0d2b7a3c4e10", "at": "2025-06-01T09:00:00Z", "collection": "contacts", "op": "create", "contact": {"name": "Grace"}},
        {"id": "a03c7e44-1f2d-4b8e-9c6a-5e4d3c2b1a00", "at": "2025-06-01T09:05:00Z", "collection": "kv", "key": "old", "op": "delete"}
    ]})),
    responses((status = 200, description = "What became of each, in order", body = MergeResults), (status = 410, description = "Fetch everything anew, and look which edits still make sense")))]
pub(super) async fn post(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let now_ms = state.clock.unix_ms();
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let body = require_json(&parts.headers, body, state.limits.max_body_bytes).await?;
    let (client, edits) = read(&body, now_ms)?;
    let within = Within::of(&parts.extensions);
    let mut results: BTreeMap<usize, Value> = BTreeMap::new();
    let mut by_entity: BTreeMap<EntityId, Edits> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for (index, json) in edits.iter().enumerate() {
        match OfflineEdit::from_json(json) {
            Ok(edit)
                if within
                    .as_ref()
                    .is_some_and(|within| !within.takes(&edit.target)) =>
            {
                let result = rejected(&json!(edit.id), "the token is not for this");
                results.insert(index, result);
            }
            Ok(edit) if ids.insert(edit.id) => {
                let edits = by_entity.entry(edit.target.clone()).or_default();
                edits.push((index, edit));
            }
            Ok(edit) => {
                let result = rejected(&json!(edit.id), "its id is there twice");
                results.insert(index, result);
            }
            Err(why) => {
                let id = json.get("id").cloned().unwrap_or_default();
                results.insert(index, rejected(&id, &why));
            }
        }
    }
    let targets: Vec<EntityId> = if state.audit == AuditLog::Writes {
        by_entity.keys().cloned().collect()
    } else {
        Vec::new()
    };
    let (brought, token) = bring_in(&state, &parts.headers, client, by_entity).await?;
    results.extend(brought);
    for id in targets {
        audit::tell_part(state.audit, &id, "merged");
    }
    let results: Vec<Value> = results.into_values().collect();
    let now = rfc3339(Timestamp::from_unix_ms(now_ms));
    let answer = json(StatusCode::OK, &json!({ "now": now, "results": results }))?;
    Ok(token.put(answer))
}

fn read(body: &Value, now_ms: u64) -> Result<(Client, &[Value]), Problem> {
    let object = body
        .as_object()
        .ok_or_else(|| Problem::invalid("body", "the body is a JSON object"))?;
    let known = ["now", "token", "edits"];
    if let Some(name) = object.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(Problem::invalid(
            name,
            format!("{name} is not a field here"),
        ));
    }
    let client_now = object.get("now").and_then(read_instant).ok_or_else(|| {
        let detail = "now is the time by the client's clock (RFC 3339, or milliseconds)";
        Problem::invalid("now", detail)
    })?;
    let seen = match object.get("token") {
        None | Some(Value::Null) => ChangesToken::default(),
        Some(token) => read_token(token.as_str().unwrap_or_default())
            .map_err(|problem| problem.about("token"))?,
    };
    let edits = object.get("edits").and_then(Value::as_array);
    let edits = edits.ok_or_else(|| Problem::invalid("edits", "edits is an array"))?;
    if edits.len() > MAX_EDITS_PER_MERGE {
        let detail = format!("at most {MAX_EDITS_PER_MERGE} edits are taken at once");
        return Err(Problem::too_large(detail).about("edits"));
    }
    let client = Client {
        seen,
        ahead_ms: client_now.saturating_sub_unsigned(now_ms),
        now_ms,
    };
    Ok((client, edits))
}

/// Brings the edits in; what became of each by its place, and the token of the answer.
async fn bring_in(
    state: &HttpState,
    headers: &HeaderMap,
    client: Client,
    by_entity: BTreeMap<EntityId, Edits>,
) -> Result<(BTreeMap<usize, Value>, super::session::Token), Problem> {
    let partitions: BTreeSet<_> = by_entity.keys().map(EntityId::partition).collect();
    let concerns = |partition| partitions.contains(&partition);
    let about_token = |problem: Problem| problem.about("token");
    let covered = |state: &HttpState| {
        let snapshot = state.store.snapshot();
        covers_floors(&client.seen, snapshot.state(), concerns)
    };
    if !covered(state) {
        return Err(about_token(gone()));
    }
    let waited = wait_for(state, &client.seen, concerns).await;
    waited.map_err(about_token)?;
    let session = Session::of_writes(headers, state, &partitions).await?;
    let client = Arc::new(client);
    let (mut results, mut all_written) = (BTreeMap::new(), Vec::new());
    let mut under_way: JoinSet<Brought> = JoinSet::new();
    let mut entities = by_entity.into_iter();
    loop {
        while under_way.len() < ENTITIES_AT_ONCE
            && let Some((id, edits)) = entities.next()
        {
            under_way.spawn(bring(
                (state.store.clone(), state.region),
                id,
                edits,
                client.clone(),
            ));
        }
        let Some(ended) = under_way.join_next().await else {
            break;
        };
        for (index, result, written) in ended.map_err(|error| Problem::internal(&error))?? {
            results.insert(index, result);
            all_written.extend(written);
        }
    }
    Ok((results, session.answer_all(all_written)))
}

/// Brings the edits of one entity in, in their order.
async fn bring(
    (store, region): (Store, Option<Region>),
    id: EntityId,
    edits: Edits,
    client: Arc<Client>,
) -> Brought {
    let mut brought = Vec::new();
    for (index, edit) in edits {
        let (edit, client) = (Arc::new(edit), client.clone());
        let (name, key) = (edit.id, id.key().to_owned());
        let decide = {
            let id = id.clone();
            move |context: crate::store::Edit<'_>| {
                let nothing = VersionVector::default();
                let seen = client.seen.fetched(id.partition()).unwrap_or(&nothing);
                Ok::<_, Problem>(edit.bring(Meeting {
                    entity: context.entity,
                    floor: context.floor,
                    dot: context.dot,
                    time: context.time,
                    seen,
                    wanted: edit.made_at(client.ahead_ms, client.now_ms),
                    region,
                }))
            }
        };
        let written = store.write(id.clone(), tracked(id.clone(), decide)).await;
        let (fate, written) = match written {
            Ok((fate, written)) => (fate, Some(written)),
            Err(WriteError::Store(error @ StoreError::EntityTooLarge { .. })) => {
                (Fate::Rejected(error.to_string()), None)
            }
            Err(error) => return Err(error.into()),
        };
        let mut result = told(fate);
        result["id"] = json!(name);
        result["key"] = key.into();
        brought.push((index, result, written));
    }
    Ok(brought)
}

fn told(fate: Fate) -> Value {
    let lost_to = |status: &str, lost: Vec<LostTo>| {
        if lost.is_empty() {
            json!({ "status": status })
        } else {
            json!({ "status": status, "lost": lost })
        }
    };
    match fate {
        Fate::Applied(lost) => lost_to("applied", lost),
        Fate::Lost(lost) => lost_to("lost", lost),
        Fate::AlreadyThere => json!({ "status": "already_there" }),
        Fate::Gone => json!({ "status": "gone" }),
        Fate::Rejected(why) => json!({ "status": "rejected", "why": why }),
    }
}

fn rejected(id: &Value, why: &str) -> Value {
    json!({ "id": id, "status": "rejected", "why": why })
}

/// What a client brings.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "it describes what `read` reads")]
struct MergeBody {
    /// What the client's clock shows: RFC 3339, or milliseconds since 1970.
    #[schema(example = "2025-06-01T12:00:00Z")]
    now: Value,
    /// What the client had seen when it edited: a token of `/v1/changes`.
    token: Option<String>,
    /// At most 1,000; each has `id`, `at`, `collection`, `op`, and what that takes.
    #[schema(max_items = 1000)]
    edits: Vec<Value>,
}

/// What became of an edit.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `told` tells")]
struct MergeResult {
    /// That of the edit.
    id: Value,
    /// Of what, if the edit could be read.
    #[schema(nullable = false)]
    key: Option<String>,
    /// `applied`, `already_there`, `lost`, `gone` or `rejected`.
    status: String,
    /// The fields in which something later stands.
    #[schema(nullable = false)]
    lost: Option<Vec<LostTo>>,
    /// Why it cannot be done.
    #[schema(nullable = false)]
    why: Option<String>,
}

/// What became of the edits.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `post` tells")]
struct MergeResults {
    /// The time by this node's clock.
    now: String,
    results: Vec<MergeResult>,
}
