//! The photo of a contact. It is a `PHOTO` among the properties that are kept for export ([`KeptProperty`]), and nothing
//! else is stored: what a card brought stays as it came, and is only read here.
//!
//! What is set is kept like a line of vCard 4.0 under one name (`vcard/photo`), in one form that follows from the photo
//! alone. So of two who set one at once one is shown, and the other is a conflict, as of any field. Setting one
//! removes all that the writer saw, and so does removing it.
//!
//! Of several (a card may have them, and one may be imported where another is set) the one that was set is shown, else
//! the first of the card that can be read. Law: every node that holds the same cells shows the same.
//!
//! Nothing is fetched: a photo that is elsewhere is told by its URI, and only if that is of the web.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use grapevine_crdt::{Entity, FieldCell, LwwMap};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    contact_edit::{Attributes, WriteStamp, diff},
    contact_kept::{KeptProperty, MAX_KEPT_BYTES, MAX_KEPT_PROPERTIES, MAX_KEPT_PROPERTY_BYTES},
    contact_rules::InvalidContact,
    image_type::image_type,
    photo_reading::{BROKEN, PhotoReading as Reading, decode},
    vcard_version::CardVersion,
};

/// The attribute of a photo that was set.
pub(super) const PHOTO: &str = "vcard/photo";
/// The field, as it is shown and named in problems.
pub(super) const FIELD: &str = "photo";
const PROPERTY: &str = "PHOTO";
/// The most bytes of a line that are not data.
const MAX_HEAD_BYTES: usize = 256;
/// The most bytes of a photo that is set: what is left of a kept property once it is base64.
pub const MAX_PHOTO_BYTES: usize = (MAX_KEPT_PROPERTY_BYTES - MAX_HEAD_BYTES) / 4 * 3;

/// The photo of a contact, as the contact shows it: where it is, not what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Photo {
    /// Held here.
    Held {
        /// The type of its bytes: an image, or `application/octet-stream` if nobody says one.
        media_type: String,
        /// How many.
        bytes: usize,
        /// Where they are.
        href: String,
    },
    /// On the web, where nobody looked.
    Elsewhere {
        /// Of the scheme http or https.
        uri: String,
    },
    /// A card brought one that cannot be read.
    Unreadable {
        /// Why.
        problem: String,
    },
}

/// The photo of a contact, as it is handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PhotoContent {
    /// Held here.
    Held {
        /// The type of the bytes.
        media_type: String,
        /// They.
        bytes: Vec<u8>,
    },
    /// On the web, under this URI of the scheme http or https.
    Elsewhere(String),
    /// What a card brought cannot be read, and why.
    Unreadable(String),
}

/// A photo to be set; within the bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPhoto(KeptProperty);

/// Why a photo cannot be as it was sent. No state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPhoto {
    /// The media type is no type of images.
    #[error("a photo is sent as its type says, such as `Content-Type: image/png`")]
    MediaType,
    /// No bytes.
    #[error("a photo has bytes")]
    Empty,
    /// Too many.
    #[error("a photo has at most {MAX_PHOTO_BYTES} bytes")]
    TooLarge,
}

impl NewPhoto {
    /// The image `bytes` of the type `media_type`. Whether they are one is not looked at.
    pub fn new(media_type: &str, bytes: &[u8]) -> Result<Self, InvalidPhoto> {
        let media_type = image_type(media_type).ok_or(InvalidPhoto::MediaType)?;
        if bytes.is_empty() {
            return Err(InvalidPhoto::Empty);
        }
        if bytes.len() > MAX_PHOTO_BYTES {
            return Err(InvalidPhoto::TooLarge);
        }
        let data = BASE64_STANDARD.encode(bytes);
        Ok(Self(KeptProperty {
            // Before whatever a card has: of several, who reads an export takes the first.
            order: 0,
            property: PROPERTY.to_owned(),
            version: CardVersion::V4.name().to_owned(),
            line: format!("{PROPERTY}:data:{media_type};base64,{data}"),
            field: None,
        }))
    }
}

impl Photo {
    /// The photo of the contact `id` of which `kept` is kept, as [`KeptProperty::shown`] tells it.
    pub(super) fn of(id: &str, kept: &[(String, KeptProperty)]) -> Option<Self> {
        Some(match shown(kept)? {
            Reading::Inline {
                media_type, bytes, ..
            } => Self::Held {
                media_type,
                bytes,
                href: format!("/v1/contacts/{id}/photo"),
            },
            Reading::Elsewhere(uri) => Self::Elsewhere { uri },
            Reading::Unreadable(problem) => Self::Unreadable {
                problem: problem.to_owned(),
            },
        })
    }
}

/// The photo of the contact that `entity` shows.
#[must_use]
pub fn content(entity: &Entity) -> Option<PhotoContent> {
    Some(match shown(&KeptProperty::shown(entity))? {
        Reading::Inline {
            media_type, base64, ..
        } => match decode(&base64) {
            Some(bytes) => PhotoContent::Held { media_type, bytes },
            None => PhotoContent::Unreadable(BROKEN.to_owned()),
        },
        Reading::Elsewhere(uri) => PhotoContent::Elsewhere(uri),
        Reading::Unreadable(problem) => PhotoContent::Unreadable(problem.to_owned()),
    })
}

/// The cells of the write `stamp` after which the contact that `entity` shows has `photo` and no other; none if it has.
pub fn set(
    entity: &Entity,
    photo: &NewPhoto,
    stamp: WriteStamp<'_>,
) -> Result<Vec<FieldCell>, InvalidContact> {
    let mut wanted = without(entity);
    let others = KeptProperty::shown(entity);
    let others = others.iter().filter(|(name, _)| wanted.contains_key(name));
    let (lines, bytes) = others.fold((1, photo.0.line.len()), |(lines, bytes), (_, kept)| {
        (lines + 1, bytes + kept.line.len())
    });
    if lines > MAX_KEPT_PROPERTIES || bytes > MAX_KEPT_BYTES {
        let detail = format!(
            "and what an imported card left are more than {MAX_KEPT_PROPERTIES} properties or \
             {MAX_KEPT_BYTES} bytes"
        );
        return Err(InvalidContact::new(FIELD, detail));
    }
    wanted.insert(PHOTO.to_owned(), photo.0.encoded());
    Ok(diff(entity, wanted, stamp).0)
}

/// The cells of the write `stamp` after which the contact that `entity` shows has no photo; `None` if it has none.
#[must_use]
pub fn remove(entity: &Entity, stamp: WriteStamp<'_>) -> Option<Vec<FieldCell>> {
    has_photo(entity).then(|| diff(entity, without(entity), stamp).0)
}

/// Whether the contact that `entity` shows has a photo, be it one that cannot be read.
#[must_use]
pub fn has_photo(entity: &Entity) -> bool {
    photos(entity).next().is_some()
}

/// The names of the attributes of `entity` that are photos.
pub(super) fn photos(entity: &Entity) -> impl Iterator<Item = String> {
    let kept = KeptProperty::shown(entity).into_iter();
    kept.filter(|(_, kept)| is_photo(kept))
        .map(|(name, _)| name)
}

pub(super) fn is_photo(kept: &KeptProperty) -> bool {
    kept.property == PROPERTY
}

/// A photo that was set, in a conflict: whole, for whoever chooses wants to see it.
pub(super) fn value(kept: &KeptProperty) -> Value {
    match Reading::of(kept) {
        Reading::Inline {
            media_type,
            base64,
            bytes,
        } => {
            let uri = format!("data:{media_type};base64,{base64}");
            json!({"media_type": media_type, "bytes": bytes, "uri": uri})
        }
        Reading::Elsewhere(_) | Reading::Unreadable(_) => Value::String(kept.line.clone()),
    }
}

/// What [`value`] says, without the bytes.
pub(super) fn brief(mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.remove("uri");
    }
    value
}

/// All that `entity` shows, but for photos.
fn without(entity: &Entity) -> Attributes {
    let all = LwwMap::new(entity).iter();
    let mut all: Attributes = all
        .map(|(name, bytes)| (name.to_owned(), bytes.to_vec()))
        .collect();
    for name in photos(entity) {
        all.remove(&name);
    }
    all
}

/// The photo that is shown of those that are kept.
fn shown(kept: &[(String, KeptProperty)]) -> Option<Reading<'_>> {
    let (set, came): (Vec<_>, Vec<_>) = kept
        .iter()
        .filter(|(_, kept)| is_photo(kept))
        .partition(|(name, _)| name == PHOTO);
    let mut first = None;
    for (_, kept) in set.into_iter().chain(came) {
        match Reading::of(kept) {
            Reading::Unreadable(problem) => first = first.or(Some(problem)),
            readable @ (Reading::Inline { .. } | Reading::Elsewhere(_)) => return Some(readable),
        }
    }
    first.map(Reading::Unreadable)
}

#[cfg(test)]
mod tests;
