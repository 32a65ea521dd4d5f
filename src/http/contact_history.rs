//! `/v1/contacts/{id}/history`, `/undo` and `/restore`: what a contact was, and having it back.
//!
//! A history is this node's own memory of what it took in. Undoing and restoring are edits as any other: they are
//! durable, go to the other nodes, and an edit that was not seen is merged with them.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    http::StatusCode,
    response::Response,
};
use grapevine_crdt::{Entity, Timestamp};
use serde_json::{Value, json as object};
use utoipa::ToSchema;

use super::{
    HttpState,
    body::{json, read_json},
    conditions::Conditions,
    conflicts::Names,
    contacts::{self, absent, stamp},
    counters::only_fields,
    describe::{Conditional, ContactPath, Nothing, Page, Seen},
    problem::{Problem, ProblemKind},
    query::Parameters,
    session::{Session, tracked},
};
use crate::{
    model::{
        ChangeKind, ContactVersion, EntityId, FieldChange, contact_edit, contact_history, rfc3339,
    },
    store::Edit,
};

type IdPath = Result<Path<String>, PathRejection>;

/// How often a change is taken back anew because the contact changed meanwhile.
const MAX_TRIES: usize = 4;

/// A change that is remembered.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `history` tells")]
struct ChangeShown {
    /// When this node took it in (RFC 3339).
    at: String,
    /// The replica that wrote it.
    replica: String,
    /// The node that it belongs to, if that is known.
    node: Option<String>,
    #[schema(inline)]
    change: ChangeKind,
    fields: Vec<FieldChange>,
}

/// What a contact was
///
/// The changes that this node took in and remembers, the newest first, with the fields before and after each: within
/// `contact_history_versions` and `contact_history_age_s`. What was made first is no change.
#[utoipa::path(get, path = "/v1/contacts/{id}/history", tag = "contacts", operation_id = "getContactHistory",
    params(ContactPath, Seen),
    responses((status = 200, description = "All of them; `next` is null", body = Page<ChangeShown>), (status = 404, description = "There is no such contact, and none is remembered")))]
pub(super) async fn history(
    State(state): State<Arc<HttpState>>,
    path: IdPath,
    request: Request,
) -> Result<Response, Problem> {
    let id = contacts::read_id(path)?;
    Parameters::read(request.uri(), &[])?;
    Session::of_read(request.headers(), &state).await?;
    let (entity, versions) = remembered(&state, &id)?;
    if versions.is_empty() && !entity.is_visible() {
        return Err(absent());
    }
    let names = Names::read(&*state.cluster).await;
    let changes = contact_history::field_changes(&entity, versions.iter().map(|(_, it)| it));
    let items: Vec<Value> = versions
        .iter()
        .zip(changes)
        .map(|((at, version), fields)| {
            object!({
                "at": rfc3339(*at),
                "replica": version.by().to_string(),
                "node": names.of(version.by()),
                "change": version.kind(),
                "fields": fields,
            })
        })
        .collect();
    json(StatusCode::OK, &object!({ "items": items, "next": null }))
}

/// Takes the last change back
///
/// The last that this node took in, as an edit: what it changed is as before, and what others changed since and this
/// node has not seen is merged. Again, it takes that back: the change is there anew.
#[utoipa::path(post, path = "/v1/contacts/{id}/undo", tag = "contacts", operation_id = "undoContact",
    params(ContactPath, Conditional, Seen),
    request_body(content = Option<Nothing>),
    responses((status = 200, description = "The contact as it is now", body = crate::model::Contact), (status = 204, description = "It is removed again"), (status = 404, description = "Nothing is remembered that could be taken back")))]
pub(super) async fn undo(
    state: State<Arc<HttpState>>,
    path: IdPath,
    request: Request,
) -> Result<Response, Problem> {
    take_back(state, path, request, Back::Undo).await
}

/// Brings a removed contact back
///
/// As it was when it was removed: on any node that still holds or remembers it.
#[utoipa::path(post, path = "/v1/contacts/{id}/restore", tag = "contacts", operation_id = "restoreContact",
    params(ContactPath, Conditional, Seen),
    request_body(content = Option<Nothing>),
    responses((status = 200, description = "The contact as it is now; one that is there is left as it is", body = crate::model::Contact), (status = 404, description = "This node neither holds nor remembers such a contact")))]
pub(super) async fn restore(
    state: State<Arc<HttpState>>,
    path: IdPath,
    request: Request,
) -> Result<Response, Problem> {
    take_back(state, path, request, Back::Restore).await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Back {
    Undo,
    Restore,
}

async fn take_back(
    State(state): State<Arc<HttpState>>,
    path: IdPath,
    request: Request,
    back: Back,
) -> Result<Response, Problem> {
    let id = contacts::read_id(path)?;
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let conditions = Conditions::read(&parts.headers)?;
    if let Some(body) = read_json(&parts.headers, body, state.limits.max_body_bytes).await? {
        only_fields(&body, &[])?;
    }
    let session = Session::of_write(&parts.headers, &state, &id).await?;
    for _ in 0..MAX_TRIES {
        let (entity, versions) = remembered(&state, &id)?;
        let last = versions.into_iter().next().map(|(_, version)| version);
        let (key, conditions) = (id.key().to_owned(), conditions.clone());
        let edit = tracked(id.clone(), move |edit| {
            if *edit.entity != entity {
                return Ok((Vec::new(), None));
            }
            contacts::check(&conditions, &key, edit.entity)?;
            let cells = cells(&edit, back, last.as_ref())?;
            let contact = contact_edit::after(&key, edit.entity, &cells);
            Ok::<_, Problem>((cells, Some(contact)))
        });
        let (contact, written) = state.store.write(id.clone(), edit).await?;
        let response = match contact {
            None => continue,
            Some(None) => super::body::empty(StatusCode::NO_CONTENT),
            Some(Some(contact)) => contacts::answer(StatusCode::OK, &contact)?,
        };
        return Ok(session.answer(written).put(response));
    }
    let detail = "the contact is edited all the time; nothing was taken back";
    Err(Problem::new(ProblemKind::Unavailable, detail))
}

fn cells(
    edit: &Edit<'_>,
    back: Back,
    last: Option<&ContactVersion>,
) -> Result<Vec<grapevine_crdt::FieldCell>, Problem> {
    // What is put back was read when it was written: nothing is read anew.
    let cells = match back {
        Back::Restore if edit.entity.is_visible() => Some(Vec::new()),
        Back::Restore => contact_history::restore(edit.entity, last, stamp(edit, None)),
        Back::Undo => last.and_then(|version| version.undo(edit.entity, stamp(edit, None))),
    };
    cells.ok_or_else(|| {
        Problem::not_found("this node remembers nothing of this contact to go back to")
    })
}

/// The contact as it is held, and what is remembered of it.
fn remembered(
    state: &HttpState,
    id: &EntityId,
) -> Result<(Entity, Vec<(Timestamp, ContactVersion)>), Problem> {
    let snapshot = state.store.snapshot();
    let entity = snapshot.entity(id)?.unwrap_or_default();
    let mut versions = snapshot.history(id)?;
    let now = Timestamp::from_unix_ms(state.clock.unix_ms());
    let forgotten = state.store.history_limits().forgotten_before(now);
    versions.retain(|(at, _)| *at >= forgotten);
    Ok((entity, versions))
}
