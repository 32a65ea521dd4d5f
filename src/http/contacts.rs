//! `/v1/contacts`: the address book.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use grapevine_crdt::{Entity, FieldCell};
use uuid::Uuid;

use super::{
    HttpState,
    body::{empty, json_bytes, require_json, to_json},
    conditions::{Conditions, ETag},
    idempotency,
    problem::{Problem, ProblemKind, invalid_key, path_text},
    query::Parameters,
    session::{Session, tracked},
};
use crate::{
    model::{
        Change, Collection, Contact, ContactDraft, Creation, EntityId, WriteStamp, contact_edit,
        contact_key,
    },
    store::Edit,
};

type IdPath = Result<Path<String>, PathRejection>;

pub(super) async fn create(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let key = idempotency::key(&parts.headers)?.map(str::to_owned);
    let json = require_json(&parts.headers, body, state.limits.max_body_bytes).await?;
    let draft = ContactDraft::from_json(None, &json)?;
    let uuid = key.as_deref().map_or_else(Uuid::now_v7, |key| {
        idempotency::derived_id(Collection::Contacts, key)
    });
    let id = entity_id(uuid.hyphenated().to_string())?;
    let request_hash = key.map(|_| blake3::hash(json.to_string().as_bytes()));
    let key = id.key().to_owned();
    // Nobody can have seen a contact that is made only now; one under an `Idempotency-Key` may have been made before.
    let session = match &request_hash {
        None => Session::of_blind_write(&parts.headers, &state).await?,
        Some(_) => Session::of_write(&parts.headers, &state, &id).await?,
    };
    let (contact, written) = state
        .store
        .write(
            id.clone(),
            tracked(id.clone(), move |edit| {
                let cells = match &request_hash {
                    None => {
                        let stamp = WriteStamp {
                            collected: None,
                            ..stamp(&edit)
                        };
                        contact_edit::put(edit.entity, &draft, stamp).0
                    }
                    Some(hash) => create_once(&edit, &draft, hash.as_bytes())?,
                };
                let contact = show(&key, &edit, &cells)?;
                Ok::<_, Problem>((cells, contact))
            }),
        )
        .await?;
    let mut response = answer(StatusCode::CREATED, &contact)?;
    let location = HeaderValue::try_from(format!("/v1/contacts/{}", id.key()))
        .map_err(|error| Problem::internal(&error))?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(session.answer(written).put(response))
}

pub(super) fn create_once(
    edit: &Edit<'_>,
    draft: &ContactDraft,
    request_hash: &[u8],
) -> Result<Vec<FieldCell>, Problem> {
    let refused = |detail| Problem::new(ProblemKind::Conflict, detail).about("Idempotency-Key");
    match contact_edit::create(edit.entity, draft, request_hash, stamp(edit)) {
        Creation::Made(cells) => Ok(cells),
        Creation::Repeated => Ok(Vec::new()),
        Creation::Deleted => Err(refused("the contact made under this key was deleted")),
        Creation::KeyReused => Err(refused("this key was used for another request")),
    }
}

pub(super) async fn get(
    State(state): State<Arc<HttpState>>,
    path: IdPath,
    request: Request,
) -> Result<Response, Problem> {
    let id = read_id(path)?;
    Parameters::read(request.uri(), &[])?;
    let conditions = Conditions::read(request.headers())?;
    Session::of_read(request.headers(), &state).await?;
    let contact = state
        .store
        .snapshot()
        .entity(&id)?
        .and_then(|entity| Contact::read(id.key(), &entity))
        .ok_or_else(absent)?;
    let bytes = to_json(&contact)?;
    let tag = ETag::of(&bytes);
    conditions.answer_read(tag, || json_bytes(StatusCode::OK, bytes))
}

pub(super) async fn put(
    State(state): State<Arc<HttpState>>,
    path: IdPath,
    request: Request,
) -> Result<Response, Problem> {
    let id = read_id(path)?;
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let conditions = Conditions::read(&parts.headers)?;
    let json = require_json(&parts.headers, body, state.limits.max_body_bytes).await?;
    let draft = ContactDraft::from_json(Some(id.key()), &json)?;
    let key = id.key().to_owned();
    let session = Session::of_write(&parts.headers, &state, &id).await?;
    let ((contact, change), written) = state
        .store
        .write(
            id.clone(),
            tracked(id, move |edit| {
                check(&conditions, &key, edit.entity)?;
                let (cells, change) = contact_edit::put(edit.entity, &draft, stamp(&edit));
                let contact = show(&key, &edit, &cells)?;
                Ok::<_, Problem>((cells, (contact, change)))
            }),
        )
        .await?;
    let status = match change {
        Change::Created => StatusCode::CREATED,
        Change::Updated | Change::Unchanged => StatusCode::OK,
    };
    Ok(session.answer(written).put(answer(status, &contact)?))
}

pub(super) async fn patch(
    State(state): State<Arc<HttpState>>,
    path: IdPath,
    request: Request,
) -> Result<Response, Problem> {
    let id = read_id(path)?;
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let conditions = Conditions::read(&parts.headers)?;
    let json = require_json(&parts.headers, body, state.limits.max_body_bytes).await?;
    let key = id.key().to_owned();
    let session = Session::of_write(&parts.headers, &state, &id).await?;
    let (contact, written) = state
        .store
        .write(
            id.clone(),
            tracked(id, move |edit| {
                check(&conditions, &key, edit.entity)?;
                let current = Contact::read(&key, edit.entity).ok_or_else(absent)?;
                let draft = ContactDraft::patched(&current, &json)?;
                let (cells, _) = contact_edit::put(edit.entity, &draft, stamp(&edit));
                let contact = show(&key, &edit, &cells)?;
                Ok::<_, Problem>((cells, contact))
            }),
        )
        .await?;
    Ok(session
        .answer(written)
        .put(answer(StatusCode::OK, &contact)?))
}

pub(super) async fn delete(
    State(state): State<Arc<HttpState>>,
    path: IdPath,
    request: Request,
) -> Result<Response, Problem> {
    let id = read_id(path)?;
    Parameters::read(request.uri(), &[])?;
    let conditions = Conditions::read(request.headers())?;
    let key = id.key().to_owned();
    let session = Session::of_write(request.headers(), &state, &id).await?;
    let ((), written) = state
        .store
        .write(
            id.clone(),
            tracked(id, move |edit| {
                check(&conditions, &key, edit.entity)?;
                let cells = contact_edit::delete(edit.entity, edit.dot);
                if cells.is_empty() {
                    return Err(absent());
                }
                Ok((cells, ()))
            }),
        )
        .await?;
    Ok(session.answer(written).put(empty(StatusCode::NO_CONTENT)))
}

/// The stamp of a write to a contact that may have existed before.
pub(super) fn stamp<'a>(edit: &Edit<'a>) -> WriteStamp<'a> {
    WriteStamp {
        dot: edit.dot,
        time: edit.time,
        collected: Some(&edit.floor.vector),
    }
}

pub(super) fn entity_id(key: String) -> Result<EntityId, Problem> {
    EntityId::new(Collection::Contacts, key).map_err(|error| invalid_key("id", error))
}

pub(super) fn read_id(path: IdPath) -> Result<EntityId, Problem> {
    contact_id(&path_text("id", path)?)
}

pub(super) fn contact_id(text: &str) -> Result<EntityId, Problem> {
    let key = contact_key(text).map_err(|error| Problem::malformed("id", error.to_string()))?;
    entity_id(key)
}

pub(super) fn absent() -> Problem {
    Problem::not_found("there is no contact with this id")
}

/// The contact as it will be shown, which an edit that makes or changes one always leaves visible.
pub(super) fn show(key: &str, edit: &Edit<'_>, cells: &[FieldCell]) -> Result<Contact, Problem> {
    contact_edit::after(key, edit.entity, cells)
        .ok_or_else(|| Problem::internal(&"an edit left its contact hidden"))
}

pub(super) fn check(conditions: &Conditions, key: &str, entity: &Entity) -> Result<(), Problem> {
    if conditions.is_empty() {
        return Ok(());
    }
    let tag = Contact::read(key, entity)
        .map(|contact| to_json(&contact).map(|bytes| ETag::of(&bytes)))
        .transpose()?;
    conditions.check_write(tag.as_ref())
}

pub(super) fn answer(status: StatusCode, contact: &Contact) -> Result<Response, Problem> {
    let bytes = to_json(contact)?;
    let tag = ETag::of(&bytes);
    let mut response = json_bytes(status, bytes);
    tag.put(&mut response);
    Ok(response)
}
