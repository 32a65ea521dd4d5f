//! `/v1/contacts/{id}/photo`: the bytes of the photo of a contact.
//!
//! They are users' bytes under users' types, SVG among them; the headers that every answer carries (`headers`) see to
//! it that a browser runs nothing of it. A photo that is elsewhere is neither fetched nor redirected to: the answer
//! names its URI, and who asked decides.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use grapevine_crdt::Entity;

use super::{
    HttpState,
    body::{self, empty, json as json_answer, media_type},
    conditions::{Conditions, ETag},
    contacts::{absent, read_id, show, stamp},
    describe::{Conditional, ContactPath, Seen},
    problem::{Problem, ProblemKind},
    query::Parameters,
    session::{Session, tracked},
};
use crate::model::{
    InvalidPhoto, MAX_PHOTO_BYTES, NewPhoto, Photo, PhotoContent,
    contact_photo::{self, content, has_photo},
};

type AppState = State<Arc<HttpState>>;
type IdPath = Result<Path<String>, PathRejection>;

/// The photo of a contact
///
/// Its bytes. Of one that an imported card says to be elsewhere, the problem tells the `uri`; nothing is fetched.
#[utoipa::path(get, path = "/v1/contacts/{id}/photo", tag = "contacts", operation_id = "getPhoto",
    params(ContactPath, Conditional, Seen),
    responses((status = 200, description = "The bytes, with their media type: of an image, or `application/octet-stream` if nobody said one", content(("*/*"))),
        (status = 404, description = "It has none, or one that is elsewhere (`uri`), or that cannot be read")))]
pub(super) async fn get(
    State(state): AppState,
    path: IdPath,
    request: Request,
) -> Result<Response, Problem> {
    let id = read_id(path)?;
    Parameters::read(request.uri(), &[])?;
    let conditions = Conditions::read(request.headers())?;
    Session::of_read(request.headers(), &state).await?;
    let entity = state.store.snapshot().entity(&id)?;
    let entity = entity.filter(Entity::is_visible).ok_or_else(absent)?;
    let photo = content(&entity).ok_or_else(none)?;
    let tag = tag(&photo);
    let (media_type, bytes) = match photo {
        PhotoContent::Held { media_type, bytes } => (media_type, bytes),
        PhotoContent::Elsewhere(uri) => {
            let detail = format!("the photo is not held here, but at {uri}");
            return Err(Problem::not_found(detail).with("uri", uri.into()));
        }
        PhotoContent::Unreadable(problem) => {
            let detail = format!("the photo that a card brought cannot be read: {problem}");
            return Err(Problem::not_found(detail));
        }
    };
    let media_type =
        HeaderValue::try_from(media_type).map_err(|error| Problem::internal(&error))?;
    conditions.answer_read(tag, || {
        let mut response = Response::new(Body::from(bytes));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, media_type);
        response
    })
}

/// Sets the photo of a contact
///
/// The bytes as they are, 393,024 at most; whether they are an image is not looked at. Parameters of the media type are
/// left out. Of two who set one at once, unseen, one is shown and the other is a conflict.
#[utoipa::path(put, path = "/v1/contacts/{id}/photo", tag = "contacts", operation_id = "putPhoto",
    params(ContactPath, Conditional, Seen),
    request_body(content(("image/*"), (String = "image/x-portable-bitmap", example = json!("P1\n2 2\n1 0\n0 1\n")))),
    responses(
        (status = 200, description = "It has this one now", body = Photo, example = json!({"media_type": "image/png", "bytes": 31415, "href": "/v1/contacts/ada/photo"})),
        (status = 201, description = "It had none, and has this one now", body = Photo),
        (status = 404, description = ""),
        (status = 415, description = "The content type is not that of an image"),
        (status = 422, description = "With what an imported card left it is more than one contact may have")
    ))]
pub(super) async fn put(
    State(state): AppState,
    path: IdPath,
    request: Request,
) -> Result<Response, Problem> {
    let id = read_id(path)?;
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let conditions = Conditions::read(&parts.headers)?;
    let media_type = media_type(&parts.headers)?.unwrap_or_default();
    let max_bytes = state.limits.max_body_bytes.min(MAX_PHOTO_BYTES);
    let bytes = body::read(body, max_bytes).await?;
    let photo = NewPhoto::new(&media_type, &bytes)?;
    let tag = tag_of(&media_type, &bytes);
    drop(bytes);
    let (key, region) = (id.key().to_owned(), state.region);
    let session = Session::of_write(&parts.headers, &state, &id).await?;
    let edit = tracked(id.clone(), move |edit| {
        check(&conditions, edit.entity)?;
        let had_one = has_photo(edit.entity);
        let cells = contact_photo::set(edit.entity, &photo, stamp(&edit, region))?;
        let contact = show(&key, &edit, &cells)?;
        let made = contact.photo;
        let made = made.ok_or_else(|| Problem::internal(&"a photo that was set is not there"))?;
        Ok::<_, Problem>((cells, (made, had_one)))
    });
    let ((made, had_one), written) = state.store.write(id, edit).await?;
    let status = if had_one {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let mut response = json_answer(status, &made)?;
    tag.put(&mut response);
    Ok(session.answer(written).put(response))
}

/// Removes the photo of a contact
///
/// All of them, if an imported card brought several.
#[utoipa::path(delete, path = "/v1/contacts/{id}/photo", tag = "contacts", operation_id = "deletePhoto",
    params(ContactPath, Conditional, Seen),
    responses((status = 204, description = "It is removed"), (status = 404, description = "")))]
pub(super) async fn delete(
    State(state): AppState,
    path: IdPath,
    request: Request,
) -> Result<Response, Problem> {
    let id = read_id(path)?;
    Parameters::read(request.uri(), &[])?;
    let conditions = Conditions::read(request.headers())?;
    let region = state.region;
    let session = Session::of_write(request.headers(), &state, &id).await?;
    let edit = tracked(id.clone(), move |edit| {
        check(&conditions, edit.entity)?;
        let cells = contact_photo::remove(edit.entity, stamp(&edit, region)).ok_or_else(none)?;
        Ok::<_, Problem>((cells, ()))
    });
    let ((), written) = state.store.write(id, edit).await?;
    Ok(session.answer(written).put(empty(StatusCode::NO_CONTENT)))
}

/// Refuses a write to no contact, and one of which a condition does not hold.
fn check(conditions: &Conditions, entity: &Entity) -> Result<(), Problem> {
    if !entity.is_visible() {
        return Err(absent());
    }
    if conditions.is_empty() {
        return Ok(());
    }
    let tag = content(entity).map(|photo| tag(&photo));
    conditions.check_write(tag.as_ref())
}

/// What cannot be handed out has a tag too: it is there, and a condition may be about it.
fn tag(photo: &PhotoContent) -> ETag {
    match photo {
        PhotoContent::Held { media_type, bytes } => tag_of(media_type, bytes),
        PhotoContent::Elsewhere(uri) => tag_of("uri", uri.as_bytes()),
        PhotoContent::Unreadable(problem) => tag_of("problem", problem.as_bytes()),
    }
}

fn tag_of(media_type: &str, bytes: &[u8]) -> ETag {
    ETag::of(&[media_type.as_bytes(), b"\n", bytes].concat())
}

fn none() -> Problem {
    Problem::not_found("the contact has no photo")
}

impl From<InvalidPhoto> for Problem {
    fn from(error: InvalidPhoto) -> Self {
        let (kind, field) = match error {
            InvalidPhoto::MediaType => (ProblemKind::UnsupportedMediaType, "Content-Type"),
            InvalidPhoto::Empty => (ProblemKind::MalformedRequest, "body"),
            InvalidPhoto::TooLarge => (ProblemKind::TooLarge, "body"),
        };
        Self::new(kind, error.to_string()).about(field)
    }
}
