//! The photo of a contact. It is a `PHOTO` among the properties that are kept for export ([`KeptProperty`]), and nothing
//! else is stored: what a card brought stays as it came, and is only read here.
//!
//! What is set is kept like a line of vCard 4.0 under one name ([`PHOTO`]), in one form that follows from the photo
//! alone. So of two who set one at once one is shown, and the other is a conflict, as of any field. Setting one
//! removes all that the writer saw, and so does removing it.
//!
//! Of several (a card may have them, and one may be imported where another is set) the one that was set is shown, else
//! the first of the card that can be read. Law: every node that holds the same cells shows the same.
//!
//! Nothing is fetched: a photo that is elsewhere is told by its URI, and only if that is of the web.

use std::borrow::Cow;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_STANDARD,
};
use grapevine_crdt::{Entity, FieldCell, LwwMap};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    contact_edit::{Attributes, WriteStamp, diff},
    contact_kept::{KeptProperty, MAX_KEPT_BYTES, MAX_KEPT_PROPERTIES, MAX_KEPT_PROPERTY_BYTES},
    contact_rules::{InvalidContact, MAX_URL_CHARS},
    image_type::{image_type, sniffed},
    vcard_convert::{media_type_named, readable},
    vcard_lines::{Head, head},
    vcard_text::{split_unquoted, unescaped},
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
/// What bytes are of which nobody says a type that is an image.
const UNKNOWN_TYPE: &str = "application/octet-stream";
/// Of how many characters of base64 the type is guessed.
const SNIFFED_CHARS: usize = 24;

/// What programs write: with and without padding.
const TOLERANT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

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
        } => match TOLERANT.decode(base64.as_bytes()) {
            Ok(bytes) => PhotoContent::Held { media_type, bytes },
            Err(error) => PhotoContent::Unreadable(error.to_string()),
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

/// A `PHOTO` as it is read.
#[derive(Debug, PartialEq, Eq)]
enum Reading<'a> {
    /// `base64` is that of so many `bytes`.
    Inline {
        media_type: String,
        base64: Cow<'a, str>,
        bytes: usize,
    },
    Elsewhere(String),
    Unreadable(&'static str),
}

impl<'a> Reading<'a> {
    fn of(kept: &'a KeptProperty) -> Self {
        let line = kept.line.as_str();
        let Some(head_text) = head(line.as_bytes()).and_then(|it| core::str::from_utf8(it).ok())
        else {
            return Self::Unreadable("the line has no value");
        };
        let value = line[head_text.len() + 1..].trim();
        let encoded = Head::read(head_text.as_bytes());
        let value = if encoded.quoted_printable {
            let text = readable(value, encoded.charset.as_deref());
            Cow::Owned(unescaped(&text))
        } else {
            Cow::Borrowed(value)
        };
        let declared = split_unquoted(head_text, ';').skip(1).find_map(declared);
        let is = |scheme: &str| {
            let start = value.get(..scheme.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        if value.is_empty() {
            Self::Unreadable("it is empty")
        } else if is("data:") {
            Self::data(value, declared)
        } else if is("http://") || is("https://") {
            Self::elsewhere(unescaped(&value))
        } else if encoded.base64 || sniffed_base64(&value).is_some() {
            // Some programs forget to say that it is data.
            Self::inline(value, declared)
        } else {
            Self::Unreadable("it is neither base64 nor a URI of the scheme data, http or https")
        }
    }

    fn elsewhere(uri: String) -> Self {
        if uri.len() > MAX_URL_CHARS {
            Self::Unreadable("its URI is too long")
        } else if uri.contains(|c: char| c.is_control() || c.is_whitespace()) {
            Self::Unreadable("its URI has spaces or control characters")
        } else {
            Self::Elsewhere(uri)
        }
    }

    /// A `data:` URI (RFC 2397).
    fn data(value: Cow<'a, str>, declared: Option<String>) -> Self {
        let Some((meta, _)) = value.split_once(',') else {
            return Self::Unreadable("its data: URI has no comma");
        };
        let start = meta.len() + 1;
        // Some programs escape what needs none.
        let meta = meta["data:".len()..].replace('\\', "");
        let mut parts = meta.split(';');
        let media_type = parts.next().and_then(image_type);
        if !parts.any(|part| part.trim().eq_ignore_ascii_case("base64")) {
            return Self::Unreadable("its data: URI is not base64");
        }
        let base64 = match value {
            Cow::Borrowed(value) => Cow::Borrowed(&value[start..]),
            Cow::Owned(value) => Cow::Owned(value[start..].to_owned()),
        };
        Self::inline(base64, media_type.or(declared))
    }

    fn inline(base64: Cow<'a, str>, declared: Option<String>) -> Self {
        let is_spaced = base64.bytes().any(|byte| byte.is_ascii_whitespace());
        let base64 = if is_spaced {
            Cow::Owned(base64.split_ascii_whitespace().collect())
        } else {
            base64
        };
        let bytes = match decoded_len(&base64) {
            None => return Self::Unreadable("its base64 is broken"),
            Some(0) => return Self::Unreadable("it is empty"),
            Some(bytes) => bytes,
        };
        let sniffed = || sniffed_base64(&base64).unwrap_or(UNKNOWN_TYPE).to_owned();
        let media_type = declared.unwrap_or_else(sniffed);
        Self::Inline {
            media_type,
            base64,
            bytes,
        }
    }
}

/// The type of images that a parameter says: `TYPE=JPEG`, `TYPE="image/jpeg,pref"`, `MEDIATYPE=image/avif`, `JPEG`.
fn declared(parameter: &str) -> Option<String> {
    let (name, values) = parameter.split_once('=').unwrap_or(("TYPE", parameter));
    let name = name.trim();
    if !["TYPE", "MEDIATYPE"]
        .iter()
        .any(|it| name.eq_ignore_ascii_case(it))
    {
        return None;
    }
    values
        .split(',')
        .map(|value| value.trim_matches([' ', '"']))
        .find_map(|value| image_type(media_type_named(value).unwrap_or(value)))
}

/// Of what type the image is that begins as `base64` says.
fn sniffed_base64(base64: &str) -> Option<&'static str> {
    let start = base64.get(..base64.len().min(SNIFFED_CHARS))?;
    sniffed(&TOLERANT.decode(start).ok()?)
}

/// How many bytes `base64` is; `None` if it is none. Law: it agrees with [`TOLERANT`].
fn decoded_len(base64: &str) -> Option<usize> {
    let digits = base64.trim_end_matches('=');
    let most_padding = match digits.len() % 4 {
        0 => 0,
        1 => return None,
        rest => 4 - rest,
    };
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    let is_padded = base64.len() - digits.len() <= most_padding;
    (is_padded && digits.bytes().all(is_digit)).then_some(digits.len() * 3 / 4)
}

#[cfg(test)]
mod tests;
