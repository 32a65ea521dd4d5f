//! What a `PHOTO` of a card says, in whatever version and however its program wrote it.
//!
//! Nothing is changed by it: the line stays as it came. It must not know which of several photos is shown.

use std::borrow::Cow;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{
    contact_kept::KeptProperty,
    contact_rules::MAX_URL_CHARS,
    image_type::{image_type, sniffed},
    vcard_convert::{media_type_named, readable},
    vcard_lines::{Head, head},
    vcard_text::{split_unquoted, unescaped},
};

/// What bytes are of which nobody says a type that is an image.
const UNKNOWN_TYPE: &str = "application/octet-stream";
/// Of how many characters of base64 the type is guessed.
const SNIFFED_CHARS: usize = 24;

/// Why base64 is not read.
pub(super) const BROKEN: &str = "its base64 is broken";

/// What programs write: with and without padding.
const TOLERANT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A `PHOTO` as it is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PhotoReading<'a> {
    /// `base64` is that of so many `bytes`.
    Inline {
        media_type: String,
        base64: Cow<'a, str>,
        bytes: usize,
    },
    Elsewhere(String),
    Unreadable(&'static str),
}

impl<'a> PhotoReading<'a> {
    pub(super) fn of(kept: &'a KeptProperty) -> Self {
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
            None => return Self::Unreadable(BROKEN),
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

/// The bytes that `base64` is.
pub(super) fn decode(base64: &str) -> Option<Vec<u8>> {
    TOLERANT.decode(base64).ok()
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_counted_is_decoded(text in "[A-Za-z0-9+/]{0,9}={0,3}[A*]?", bytes in any::<Vec<u8>>()) {
            let decoded = TOLERANT.decode(&text).ok().map(|bytes| bytes.len());
            prop_assert_eq!(decoded_len(&text), decoded, "{}", text);
            let encoded = BASE64_STANDARD.encode(&bytes);
            prop_assert_eq!(decoded_len(&encoded), Some(bytes.len()));
        }
    }
}
