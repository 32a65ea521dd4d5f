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
    contact_body::{ContactBody, ContactPatch},
    describe::{Conditional, ContactPath, Once, Seen},
    idempotency,
    problem::{Problem, ProblemKind, invalid_key, path_text},
    query::Parameters,
    session::{Session, tracked},
};
use crate::{
    model::{
        Change, Collection, Contact, ContactDraft, Creation, EntityId, Region, WriteStamp,
        contact_edit, contact_key,
    },
    store::Edit,
};

type IdPath = Result<Path<String>, PathRejection>;

/// Makes a contact
///
/// Under an id of the server's choice.
#[utoipa::path(post, path = "/v1/contacts", tag = "contacts", operation_id = "createContact",
    params(Once, Seen),
    request_body(content = ContactBody, example = json!({"name": "Ada Lovelace", "name_parts": {"family": "Lovelace", "given": "Ada"}, "phones": [{"label": "mobile", "number": "+44 20 7946 0000"}],
            "emails": [{"label": "work", "address": "ada@example.org"}], "urls": [{"label": "blog", "url": "ada.example.org/notes"}],
            "addresses": [{"label": "home", "street": "12 St James's Square", "locality": "London", "country": "United Kingdom"}], "organization": "Analytical Engines",
            "birthday": "1815-12-10", "groups": ["friends"]})),
    responses(
        (status = 201, description = "It is made", body = Contact, headers(("Location" = String, description = "Where it is"), ("ETag" = String, description = "Its strong entity tag")), example = json!({"id": "ada", "name": "Ada Lovelace", "name_parts": {"family": "Lovelace", "given": "Ada", "additional": null, "prefix": null, "suffix": null}, "phones": [{"id": "a1", "label": "mobile", "number": "+44 20 7946 0000"}],
            "emails": [{"id": "e1", "label": "work", "address": "ada@example.org"}], "urls": [{"id": "u1", "label": "blog", "url": "ada.example.org/notes"}],
            "addresses": [{"id": "h1", "label": "home", "street": "12 St James's Square", "locality": "London", "region": null, "postal_code": null,
            "country": "United Kingdom", "po_box": null, "extended": null}], "organization": "Analytical Engines",
            "title": "Countess", "birthday": "1815-12-10", "address": null, "note": null, "groups": ["friends"], "photo": null,
            "created_at": "2025-06-01T12:00:00.000Z", "updated_at": "2025-06-01T12:00:00.000Z", "revived": false,
            "conflicts": 0, "vcard": []})),
        (status = 409, description = "The key was used for something else, or what it made was deleted")
    ))]
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
    let (key, region) = (id.key().to_owned(), state.region);
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
                            ..stamp(&edit, region)
                        };
                        contact_edit::put(edit.entity, &draft, stamp).0
                    }
                    Some(hash) => create_once(&edit, &draft, hash.as_bytes(), region)?,
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
    region: Option<Region>,
) -> Result<Vec<FieldCell>, Problem> {
    let refused = |detail| Problem::new(ProblemKind::Conflict, detail).about("Idempotency-Key");
    match contact_edit::create(edit.entity, draft, request_hash, stamp(edit, region)) {
        Creation::Made(cells) => Ok(cells),
        Creation::Repeated => Ok(Vec::new()),
        Creation::Deleted => Err(refused("the contact made under this key was deleted")),
        Creation::KeyReused => Err(refused("this key was used for another request")),
    }
}

/// A contact
#[utoipa::path(get, path = "/v1/contacts/{id}", tag = "contacts", operation_id = "getContact",
    params(ContactPath, Conditional, Seen),
    responses((status = 200, description = "The contact", body = Contact, example = json!({"id": "ada", "name": "Ada Lovelace", "name_parts": {"family": "Lovelace", "given": "Ada", "additional": null, "prefix": null, "suffix": null}, "phones": [{"id": "a1", "label": "mobile", "number": "+44 20 7946 0000"}],
            "emails": [{"id": "e1", "label": "work", "address": "ada@example.org"}], "urls": [{"id": "u1", "label": "blog", "url": "ada.example.org/notes"}],
            "addresses": [{"id": "h1", "label": "home", "street": "12 St James's Square", "locality": "London", "region": null, "postal_code": null,
            "country": "United Kingdom", "po_box": null, "extended": null}], "organization": "Analytical Engines",
            "title": "Countess", "birthday": "1815-12-10", "address": null, "note": null, "groups": ["friends"], "photo": null,
            "created_at": "2025-06-01T12:00:00.000Z", "updated_at": "2025-06-01T12:00:00.000Z", "revived": false,
            "conflicts": 0, "vcard": []})), (status = 404, description = "")))]
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

/// Replaces a contact, or makes one
///
/// Elements keep their ids; the photo, and what an imported card left, stay.
#[utoipa::path(put, path = "/v1/contacts/{id}", tag = "contacts", operation_id = "putContact",
    params(ContactPath, Conditional, Seen),
    request_body(content = ContactBody, example = json!({"name": "Ada Lovelace", "name_parts": {"family": "Lovelace", "given": "Ada"}, "phones": [{"label": "mobile", "number": "+44 20 7946 0000"}],
            "emails": [{"label": "work", "address": "ada@example.org"}], "urls": [{"label": "blog", "url": "ada.example.org/notes"}],
            "addresses": [{"label": "home", "street": "12 St James's Square", "locality": "London", "country": "United Kingdom"}], "organization": "Analytical Engines",
            "birthday": "1815-12-10", "groups": ["friends"]})),
    responses((status = 200, description = "It reads so now", body = Contact), (status = 201, description = "It was not there, and is made", body = Contact)))]
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
    let (key, region) = (id.key().to_owned(), state.region);
    let session = Session::of_write(&parts.headers, &state, &id).await?;
    let ((contact, change), written) = state
        .store
        .write(
            id.clone(),
            tracked(id, move |edit| {
                check(&conditions, &key, edit.entity)?;
                let (cells, change) = contact_edit::put(edit.entity, &draft, stamp(&edit, region));
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

/// Changes some fields of a contact
///
/// A merge patch (RFC 7396). Edits of different fields on different nodes both stay. `"photo": null` removes the photo.
#[utoipa::path(patch, path = "/v1/contacts/{id}", tag = "contacts", operation_id = "patchContact",
    params(ContactPath, Conditional, Seen),
    request_body(content((ContactPatch = "application/json", example = json!({"note": "met in London", "title": null})), (ContactPatch = "application/merge-patch+json", example = json!({"note": "met in London", "title": null})))),
    responses((status = 200, description = "It reads so now", body = Contact), (status = 404, description = "")))]
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
    let (key, region) = (id.key().to_owned(), state.region);
    let session = Session::of_write(&parts.headers, &state, &id).await?;
    let (contact, written) = state
        .store
        .write(
            id.clone(),
            tracked(id, move |edit| {
                check(&conditions, &key, edit.entity)?;
                let current = Contact::read(&key, edit.entity).ok_or_else(absent)?;
                let draft = ContactDraft::patched(&current, &json)?;
                let (cells, _) = contact_edit::put(edit.entity, &draft, stamp(&edit, region));
                let contact = show(&key, &edit, &cells)?;
                Ok::<_, Problem>((cells, contact))
            }),
        )
        .await?;
    Ok(session
        .answer(written)
        .put(answer(StatusCode::OK, &contact)?))
}

/// Removes a contact
///
/// As this node sees it: an edit that it has not seen brings the contact back, and `revived` says so.
#[utoipa::path(delete, path = "/v1/contacts/{id}", tag = "contacts", operation_id = "deleteContact",
    params(ContactPath, Conditional, Seen),
    responses((status = 204, description = "It is removed"), (status = 404, description = "")))]
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

/// The stamp of a write to a contact that may have existed before; its phones are read as in `region`.
pub(super) fn stamp<'a>(edit: &Edit<'a>, region: Option<Region>) -> WriteStamp<'a> {
    WriteStamp {
        dot: edit.dot,
        time: edit.time,
        collected: Some(&edit.floor.vector),
        region,
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
