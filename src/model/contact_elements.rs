//! The phones, the e-mails, the web and the postal addresses of a contact, one by one.

use serde_json::{Value, json};

use super::{
    contact::Contact,
    contact_draft::{ContactDraft, element, merge_patch},
    contact_element::{ElementDraft, Kind},
    contact_rules::InvalidContact,
};

/// An element of a contact as JSON, in the shape that the contact shows; `None` if there is none of this id.
#[must_use]
pub fn shown_element(contact: &Contact, kind: Kind, id: &str) -> Option<Value> {
    shown_elements(contact, kind)
        .into_iter()
        .find(|element| element["id"] == id)
}

/// All of a list, in their order.
#[must_use]
pub fn shown_elements(contact: &Contact, kind: Kind) -> Vec<Value> {
    let shown = match kind {
        Kind::Phone => json!(contact.phones),
        Kind::Email => json!(contact.emails),
        Kind::Url => json!(contact.urls),
        Kind::Address => json!(contact.addresses),
    };
    match shown {
        Value::Array(elements) => elements,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Vec::new()
        }
    }
}

/// Reads an element from JSON; every complaint names its field. `id` is what the path says, if it says any.
pub fn read_element(
    json: &Value,
    kind: Kind,
    id: Option<&str>,
) -> Result<ElementDraft, InvalidContact> {
    if !json.is_object() {
        return Err(InvalidContact::new("body", "is a JSON object"));
    }
    let mut draft = element(json, kind, "")?;
    if let Some(id) = id {
        if draft.id.as_ref().is_some_and(|given| given != id) {
            let detail = "is given by the path, and never changes";
            return Err(InvalidContact::new("id", detail));
        }
        draft.id = Some(id.to_owned());
    }
    Ok(draft)
}

/// `current` after the merge patch `patch` (RFC 7396).
pub fn patched_element(
    current: &Value,
    patch: &Value,
    kind: Kind,
    id: &str,
) -> Result<ElementDraft, InvalidContact> {
    if !patch.is_object() {
        return Err(InvalidContact::new("body", "is a JSON object"));
    }
    let mut target = current.clone();
    merge_patch(&mut target, patch);
    read_element(&target, kind, Some(id))
}

/// `contact` with `element` in the place of the one with its id, or behind all.
pub fn with_element(
    contact: &Contact,
    kind: Kind,
    element: &ElementDraft,
) -> Result<ContactDraft, InvalidContact> {
    let mut elements = shown_elements(contact, kind);
    let mut json = kind.shown(element.label.as_deref(), &element.content);
    json.insert("id".to_owned(), json!(element.id));
    let json = Value::Object(json);
    let known = elements
        .iter()
        .position(|held| element.id.is_some() && held["id"] == json["id"]);
    match known {
        Some(place) => elements[place] = json,
        None => elements.push(json),
    }
    ContactDraft::patched(contact, &json!({ kind.list(): elements }))
}

/// `contact` without the element `id`; `None` if it has none.
pub fn without_element(
    contact: &Contact,
    kind: Kind,
    id: &str,
) -> Result<Option<ContactDraft>, InvalidContact> {
    let mut elements = shown_elements(contact, kind);
    let before = elements.len();
    elements.retain(|element| element["id"] != id);
    if elements.len() == before {
        return Ok(None);
    }
    ContactDraft::patched(contact, &json!({ kind.list(): elements })).map(Some)
}
