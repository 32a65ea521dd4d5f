//! `/v1/contacts/{id}/phones`, and `/emails`, `/urls` and `/addresses` there: one by one, so that whoever changes one need not send the
//! others.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde_json::{Value, json};

use super::{
    HttpState,
    body::{empty, json as json_answer, json_bytes, require_json, to_json},
    conditions::{Conditions, ETag},
    contact_body::{
        AddressBody, AddressPatch, EmailBody, EmailPatch, PhoneBody, PhonePatch, UrlBody, UrlPatch,
    },
    contacts::{absent, contact_id, read_id, show, stamp},
    describe::{Conditional, ContactPath, ElementPlace, Once, Page, Seen},
    idempotency,
    problem::{Problem, ProblemKind, path_texts},
    query::Parameters,
    session::{Session, tracked},
};
use crate::{
    model::{
        Collection, Contact, ContactDraft, ElementDraft, ElementKind, Email, EntityId,
        InvalidContact, Phone, PostalAddress, Region, Url, check_element_id, contact_edit,
        patched_element, read_element, shown_element, shown_elements, with_element,
        without_element,
    },
    store::Edit,
};

type AppState = State<Arc<HttpState>>;
type IdPath = Result<Path<String>, PathRejection>;
type ElementPath = Result<Path<(String, String)>, PathRejection>;

/// The routes of one kind of element.
macro_rules! routes_of {
    (
        $kind:expr, $body:ty, $patch:ty, $shown:ty, $written:tt, $patched:tt,
        list: $list_path:literal, $list_id:literal, $create_id:literal,
        one: $path:literal, $get_id:literal, $put_id:literal, $patch_id:literal, $delete_id:literal
    ) => {
        use super::*;

        /// All of a contact
        #[utoipa::path(get, path = $list_path, tag = "contacts", operation_id = $list_id,
            params(ContactPath, Seen),
            responses((status = 200, description = "All of them, in their order", body = Page<$shown>), (status = 404, description = "")))]
        pub(in crate::http) async fn list(
            state: AppState,
            path: IdPath,
            request: Request,
        ) -> Result<Response, Problem> {
            super::list($kind, state, path, request).await
        }

        /// Adds one
        ///
        /// Under an id of the server's choice, behind the others.
        #[utoipa::path(post, path = $list_path, tag = "contacts", operation_id = $create_id,
            params(ContactPath, Once, Seen),
            request_body(content = $body, example = json!($written)),
            responses(
                (status = 201, description = "It is added", body = $shown, headers(("Location" = String, description = "Where it is"), ("ETag" = String, description = "Its strong entity tag"))),
                (status = 404, description = ""),
                (status = 409, description = "The key was used for something else, or what it made was edited since")
            ))]
        pub(in crate::http) async fn create(
            state: AppState,
            path: IdPath,
            request: Request,
        ) -> Result<Response, Problem> {
            super::create($kind, state, path, request).await
        }

        /// One by its id
        #[utoipa::path(get, path = $path, tag = "contacts", operation_id = $get_id,
            params(ContactPath, ElementPlace, Conditional, Seen),
            responses((status = 200, description = "How it reads", body = $shown), (status = 404, description = "")))]
        pub(in crate::http) async fn read(
            state: AppState,
            path: ElementPath,
            request: Request,
        ) -> Result<Response, Problem> {
            super::read($kind, state, path, request).await
        }

        /// Replaces one, or adds it
        #[utoipa::path(put, path = $path, tag = "contacts", operation_id = $put_id,
            params(ContactPath, ElementPlace, Conditional, Seen),
            request_body(content = $body, example = json!($written)),
            responses((status = 200, description = "It reads so now", body = $shown), (status = 201, description = "It was not there, and is added", body = $shown), (status = 404, description = "")))]
        pub(in crate::http) async fn put(
            state: AppState,
            path: ElementPath,
            request: Request,
        ) -> Result<Response, Problem> {
            super::put($kind, state, path, request).await
        }

        /// Changes a part of one
        ///
        /// A merge patch (RFC 7396).
        #[utoipa::path(patch, path = $path, tag = "contacts", operation_id = $patch_id,
            params(ContactPath, ElementPlace, Conditional, Seen),
            request_body(content(($patch = "application/json", example = json!($patched)), ($patch = "application/merge-patch+json", example = json!($patched)))),
            responses((status = 200, description = "It reads so now", body = $shown), (status = 404, description = "")))]
        pub(in crate::http) async fn patch(
            state: AppState,
            path: ElementPath,
            request: Request,
        ) -> Result<Response, Problem> {
            super::patch($kind, state, path, request).await
        }

        /// Removes one
        #[utoipa::path(delete, path = $path, tag = "contacts", operation_id = $delete_id,
            params(ContactPath, ElementPlace, Conditional, Seen),
            responses((status = 204, description = "It is removed"), (status = 404, description = "")))]
        pub(in crate::http) async fn delete(
            state: AppState,
            path: ElementPath,
            request: Request,
        ) -> Result<Response, Problem> {
            super::delete($kind, state, path, request).await
        }
    };
}

/// Phones.
pub(super) mod phones {
    routes_of!(
        ElementKind::Phone, PhoneBody, PhonePatch, Phone,
        {"label": "mobile", "number": "+44 20 7946 0000"}, {"label": "work"},
        list: "/v1/contacts/{id}/phones", "listPhones", "addPhone",
        one: "/v1/contacts/{id}/phones/{element}", "getPhone", "putPhone", "patchPhone", "deletePhone"
    );
}

/// E-mail addresses.
pub(super) mod emails {
    routes_of!(
        ElementKind::Email, EmailBody, EmailPatch, Email,
        {"label": "work", "address": "ada@example.org"}, {"label": "home"},
        list: "/v1/contacts/{id}/emails", "listEmails", "addEmail",
        one: "/v1/contacts/{id}/emails/{element}", "getEmail", "putEmail", "patchEmail", "deleteEmail"
    );
}

/// Web addresses.
pub(super) mod urls {
    routes_of!(
        ElementKind::Url, UrlBody, UrlPatch, Url,
        {"label": "blog", "url": "ada.example.org/notes"}, {"label": "home"},
        list: "/v1/contacts/{id}/urls", "listUrls", "addUrl",
        one: "/v1/contacts/{id}/urls/{element}", "getUrl", "putUrl", "patchUrl", "deleteUrl"
    );
}

/// Postal addresses.
pub(super) mod addresses {
    routes_of!(
        ElementKind::Address, AddressBody, AddressPatch, PostalAddress,
        {"label": "home", "street": "12 St James's Square", "locality": "London", "postal_code": "SW1Y 4JH", "country": "United Kingdom"},
        {"extended": "2nd floor"},
        list: "/v1/contacts/{id}/addresses", "listAddresses", "addAddress",
        one: "/v1/contacts/{id}/addresses/{element}", "getAddress", "putAddress", "patchAddress", "deleteAddress"
    );
}

async fn list(
    kind: ElementKind,
    State(state): AppState,
    path: IdPath,
    request: Request,
) -> Result<Response, Problem> {
    let id = read_id(path)?;
    Parameters::read(request.uri(), &[])?;
    Session::of_read(request.headers(), &state).await?;
    let contact = held(&state, &id)?;
    let items = shown_elements(&contact, kind);
    json_answer(StatusCode::OK, &json!({ "items": items, "next": null }))
}

async fn create(
    kind: ElementKind,
    State(state): AppState,
    path: IdPath,
    request: Request,
) -> Result<Response, Problem> {
    let id = read_id(path)?;
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let key = idempotency::key(&parts.headers)?.map(|key| {
        let scoped = format!("{}/{}/{key}", id.key(), kind.list());
        let id = idempotency::derived_id(Collection::Contacts, &scoped);
        id.simple().to_string()
    });
    let json = require_json(&parts.headers, body, state.limits.max_body_bytes).await?;
    let mut draft = read_element(&json, kind, None)?;
    if let Some(given) = &draft.id {
        let detail = format!("is the node's to give; to choose {given:?}, PUT it");
        return Err(InvalidContact {
            field: "id".to_owned(),
            detail,
        }
        .into());
    }
    draft.id.clone_from(&key);
    let (contact_key, region) = (id.key().to_owned(), state.region);
    let session = Session::of_write(&parts.headers, &state, &id).await?;
    let edit = tracked(id.clone(), move |edit| {
        let contact = shown(&contact_key, &edit)?;
        if let Some(made) = key.and_then(|key| shown_element(&contact, kind, &key)) {
            return repeated(kind, &made, &draft).map(|()| (Vec::new(), made));
        }
        let (cells, after) = write(
            (&contact_key, region),
            &edit,
            &with_element(&contact, kind, &draft)?,
        )?;
        let made = shown_elements(&after, kind).pop();
        let made =
            made.ok_or_else(|| Problem::internal(&"an element that was added is not there"))?;
        Ok::<_, Problem>((cells, made))
    });
    let (made, written) = state.store.write(id.clone(), edit).await?;
    let mut response = answer(StatusCode::CREATED, &made)?;
    let element = made["id"].as_str().unwrap_or_default();
    let location = format!("/v1/contacts/{}/{}/{element}", id.key(), kind.list());
    let location = HeaderValue::try_from(location).map_err(|error| Problem::internal(&error))?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(session.answer(written).put(response))
}

/// Whether an element that the same key made says what is asked for again.
fn repeated(kind: ElementKind, made: &Value, draft: &ElementDraft) -> Result<(), Problem> {
    if draft.is_said_by(kind, made) {
        return Ok(());
    }
    let detail = "this key was used for another request, or what it made was edited since";
    Err(Problem::new(ProblemKind::Conflict, detail).about(idempotency::FIELD))
}

async fn read(
    kind: ElementKind,
    State(state): AppState,
    path: ElementPath,
    request: Request,
) -> Result<Response, Problem> {
    let (id, element) = read_path(path)?;
    Parameters::read(request.uri(), &[])?;
    let conditions = Conditions::read(request.headers())?;
    Session::of_read(request.headers(), &state).await?;
    let contact = held(&state, &id)?;
    let shown = shown_element(&contact, kind, &element).ok_or_else(|| no_element(kind))?;
    let bytes = to_json(&shown)?;
    let tag = ETag::of(&bytes);
    conditions.answer_read(tag, || json_bytes(StatusCode::OK, bytes))
}

async fn put(
    kind: ElementKind,
    State(state): AppState,
    path: ElementPath,
    request: Request,
) -> Result<Response, Problem> {
    let (id, element) = read_path(path)?;
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let conditions = Conditions::read(&parts.headers)?;
    let json = require_json(&parts.headers, body, state.limits.max_body_bytes).await?;
    let draft = read_element(&json, kind, Some(&element))?;
    let change = move |_current: Option<&Value>| Ok(draft);
    replace(
        kind,
        &state,
        &parts.headers,
        (id, element),
        conditions,
        change,
    )
    .await
}

async fn patch(
    kind: ElementKind,
    State(state): AppState,
    path: ElementPath,
    request: Request,
) -> Result<Response, Problem> {
    let (id, element) = read_path(path)?;
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let conditions = Conditions::read(&parts.headers)?;
    let json = require_json(&parts.headers, body, state.limits.max_body_bytes).await?;
    let name = element.clone();
    let change = move |current: Option<&Value>| {
        let current = current.ok_or_else(|| no_element(kind))?;
        Ok(patched_element(current, &json, kind, &name)?)
    };
    replace(
        kind,
        &state,
        &parts.headers,
        (id, element),
        conditions,
        change,
    )
    .await
}

/// Writes what `change` makes of an element.
async fn replace<F>(
    kind: ElementKind,
    state: &HttpState,
    headers: &axum::http::HeaderMap,
    (id, element): (EntityId, String),
    conditions: Conditions,
    change: F,
) -> Result<Response, Problem>
where
    F: FnOnce(Option<&Value>) -> Result<ElementDraft, Problem> + Send + 'static,
{
    let (key, region) = (id.key().to_owned(), state.region);
    let session = Session::of_write(headers, state, &id).await?;
    let edit = tracked(id.clone(), move |edit| {
        let contact = shown(&key, &edit)?;
        let current = shown_element(&contact, kind, &element);
        check(&conditions, current.as_ref())?;
        let draft = change(current.as_ref())?;
        let (cells, after) = write(
            (&key, region),
            &edit,
            &with_element(&contact, kind, &draft)?,
        )?;
        let made = shown_element(&after, kind, &element);
        let made =
            made.ok_or_else(|| Problem::internal(&"an element that was put is not there"))?;
        Ok::<_, Problem>((cells, (made, current.is_some())))
    });
    let ((made, was_there), written) = state.store.write(id, edit).await?;
    let status = if was_there {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok(session.answer(written).put(answer(status, &made)?))
}

async fn delete(
    kind: ElementKind,
    State(state): AppState,
    path: ElementPath,
    request: Request,
) -> Result<Response, Problem> {
    let (id, element) = read_path(path)?;
    Parameters::read(request.uri(), &[])?;
    let conditions = Conditions::read(request.headers())?;
    let (key, region) = (id.key().to_owned(), state.region);
    let session = Session::of_write(request.headers(), &state, &id).await?;
    let edit = tracked(id.clone(), move |edit| {
        let contact = shown(&key, &edit)?;
        let current = shown_element(&contact, kind, &element);
        check(&conditions, current.as_ref())?;
        let draft = without_element(&contact, kind, &element)?.ok_or_else(|| no_element(kind))?;
        let (cells, _) = write((&key, region), &edit, &draft)?;
        Ok::<_, Problem>((cells, ()))
    });
    let ((), written) = state.store.write(id, edit).await?;
    Ok(session.answer(written).put(empty(StatusCode::NO_CONTENT)))
}

/// The cells of an edit after which the contact reads as `draft`, and how it reads then.
fn write(
    (key, region): (&str, Option<Region>),
    edit: &Edit<'_>,
    draft: &ContactDraft,
) -> Result<(Vec<grapevine_crdt::FieldCell>, Contact), Problem> {
    let (cells, _) = contact_edit::put(edit.entity, draft, stamp(edit, region));
    let contact = show(key, edit, &cells)?;
    Ok((cells, contact))
}

fn shown(key: &str, edit: &Edit<'_>) -> Result<Contact, Problem> {
    Contact::read(key, edit.entity).ok_or_else(absent)
}

fn held(state: &HttpState, id: &EntityId) -> Result<Contact, Problem> {
    let entity = state.store.snapshot().entity(id)?;
    let contact = entity.and_then(|entity| Contact::read(id.key(), &entity));
    contact.ok_or_else(absent)
}

fn check(conditions: &Conditions, current: Option<&Value>) -> Result<(), Problem> {
    let tag = current
        .map(|current| to_json(current).map(|bytes| ETag::of(&bytes)))
        .transpose()?;
    conditions.check_write(tag.as_ref())
}

fn answer(status: StatusCode, element: &Value) -> Result<Response, Problem> {
    let bytes = to_json(element)?;
    let tag = ETag::of(&bytes);
    let mut response = json_bytes(status, bytes);
    tag.put(&mut response);
    Ok(response)
}

fn read_path(path: ElementPath) -> Result<(EntityId, String), Problem> {
    let (id, element) = path_texts(path)?;
    let id = contact_id(&id)?;
    check_element_id(&element)
        .map_err(|detail| Problem::malformed("element", format!("element {detail}")))?;
    Ok((id, element))
}

fn no_element(kind: ElementKind) -> Problem {
    let list = kind.list();
    Problem::not_found(format!("the contact has none of its {list} under this id"))
}
