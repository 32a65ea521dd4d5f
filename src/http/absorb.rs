//! `POST /v1/contacts/{id}/absorb/{other}`: two contacts become one.
//!
//! They live in different partitions, so these are two writes. First the joined contact, then the removal of the other,
//! which is decided against exactly what was joined: an edit of the other that comes between the two is joined as well.
//! A crash between them leaves both, and the same request again ends it. Two that are to absorb each other do so one
//! after the other: the second finds the first gone.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    http::StatusCode,
    response::Response,
};
use grapevine_crdt::Entity;

use super::{
    HttpState,
    body::read_json,
    conditions::Conditions,
    contacts::{self, absent, stamp},
    counters::only_fields,
    describe::{Conditional, ContactPath, Nothing, Seen},
    problem::{Problem, ProblemKind, path_texts},
    query::Parameters,
    session::{Session, Written, tracked},
};
use crate::model::{Contact, EntityId, absorb, contact_edit, has_absorbed};

/// How often an edit of the other may come between the two writes of one request.
const MAX_TRIES: usize = 4;

type IdsPath = Result<Path<(String, String)>, PathRejection>;

/// Joins another contact into this one
///
/// On all nodes; the other is removed.
#[utoipa::path(post, path = "/v1/contacts/{id}/absorb/{other}", tag = "contacts", operation_id = "absorbContact",
    params(ContactPath, ("other" = String, Path, description = "The contact that is joined into it and removed", example = "ada-2", min_length = 1, max_length = 128, pattern = "^[a-zA-Z0-9_~@-][a-zA-Z0-9_.~@-]*$"), Conditional, Seen),
    request_body(content = Option<Nothing>),
    responses((status = 200, description = "The joined contact", body = Contact), (status = 404, description = "")))]
pub(super) async fn post(
    State(state): State<Arc<HttpState>>,
    path: IdsPath,
    request: Request,
) -> Result<Response, Problem> {
    let (id, other) = path_texts(path)?;
    let (id, other) = (contacts::contact_id(&id)?, contacts::contact_id(&other)?);
    if id == other {
        return Err(Problem::malformed("other", "is another contact"));
    }
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let mut conditions = Conditions::read(&parts.headers)?;
    if let Some(body) = read_json(&parts.headers, body, state.limits.max_body_bytes).await? {
        only_fields(&body, &[])?;
    }
    // What the session knows of either contact must be here before they are joined.
    let partitions = BTreeSet::from([id.partition(), other.partition()]);
    let session = Session::of_writes(&parts.headers, &state, &partitions).await?;
    let _alone = state
        .absorbing
        .acquire()
        .await
        .map_err(|error| Problem::internal(&error))?;
    let mut all_written = Vec::new();
    for _ in 0..MAX_TRIES {
        let held = state.store.snapshot().entity(&other)?.unwrap_or_default();
        let given = core::mem::take(&mut conditions);
        let (contact, written) = join(&state, &id, &other, held.clone(), given).await?;
        all_written.push(written);
        let removed = remove(&state, &other, held).await?;
        if let Some(written) = removed {
            all_written.push(written);
            let response = contacts::answer(StatusCode::OK, &contact)?;
            return Ok(session.answer_all(all_written).put(response));
        }
    }
    Err(Problem::new(
        ProblemKind::Unavailable,
        "the other contact is edited all the time; both are there",
    ))
}

/// Writes the joined contact.
async fn join(
    state: &HttpState,
    id: &EntityId,
    other: &EntityId,
    held: Entity,
    conditions: Conditions,
) -> Result<(Contact, Written), Problem> {
    let (key, other) = (id.key().to_owned(), other.key().to_owned());
    let region = state.region;
    let edit = tracked(id.clone(), move |edit| {
        contacts::check(&conditions, &key, edit.entity)?;
        if !edit.entity.is_visible() {
            return Err(absent());
        }
        if !held.is_visible() && !has_absorbed(edit.entity, &other) {
            return Err(Problem::not_found("there is no such other contact").about("other"));
        }
        let cells = absorb(edit.entity, &other, &held, stamp(&edit, region))?;
        let contact = contact_edit::after(&key, edit.entity, &cells)
            .ok_or_else(|| Problem::internal(&"a contact that absorbed another is hidden"))?;
        Ok((cells, contact))
    });
    Ok(state.store.write(id.clone(), edit).await?)
}

/// Removes what was joined; `None` if it is something else by now.
async fn remove(
    state: &HttpState,
    other: &EntityId,
    joined: Entity,
) -> Result<Option<Written>, Problem> {
    let edit = tracked(other.clone(), move |edit| {
        let is_same = *edit.entity == joined;
        let cells = if is_same {
            contact_edit::delete(edit.entity, edit.dot)
        } else {
            Vec::new()
        };
        Ok::<_, Problem>((cells, is_same))
    });
    let (is_same, written) = state.store.write(other.clone(), edit).await?;
    Ok(is_same.then_some(written))
}
