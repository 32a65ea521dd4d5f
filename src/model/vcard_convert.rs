//! Kept lines in the version of the card in which they are exported.
//!
//! A line of that version stays as it is. Of others is changed what the version has no way to say: quoted-printable,
//! charsets, types without a name (vCard 2.1), and data that is written in another way (`ENCODING=b`, `data:`).
//! Law: a line reads the same after it as before.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

use super::{
    contact_kept::KeptProperty,
    vcard_lines::{Head, head},
    vcard_property::Property,
    vcard_text::{escaped, split_unquoted},
    vcard_version::CardVersion,
};

/// Parameters of vCard 2.1 that are said without a name and are no types.
const BARE_VALUES: [&str; 4] = ["INLINE", "URL", "CID", "CONTENT-ID"];
const BARE_ENCODINGS: [&str; 4] = ["QUOTED-PRINTABLE", "BASE64", "8BIT", "7BIT"];
/// Properties whose values may be data.
const DATA: [&str; 4] = ["PHOTO", "LOGO", "SOUND", "KEY"];
/// Types that vCard 3.0 gives media, and what they are called elsewhere.
const MEDIA_TYPES: [(&str, &str); 12] = [
    ("JPEG", "image/jpeg"),
    ("JPG", "image/jpeg"),
    ("PNG", "image/png"),
    ("GIF", "image/gif"),
    ("WEBP", "image/webp"),
    ("BMP", "image/bmp"),
    ("TIFF", "image/tiff"),
    ("HEIC", "image/heic"),
    ("WAVE", "audio/wav"),
    ("BASIC", "audio/basic"),
    ("X509", "application/pkix-cert"),
    ("PGP", "application/pgp-keys"),
];

/// The line of `kept` as `version` says it, unfolded.
pub(super) fn line_in(kept: &KeptProperty, version: CardVersion) -> String {
    let line = kept.line.as_str();
    let Some(head_text) = head(line.as_bytes()).and_then(|head| core::str::from_utf8(head).ok())
    else {
        return one_line(line);
    };
    let encoded = Head::read(head_text.as_bytes());
    let value = &line[head_text.len() + 1..];
    let mut parts = split_unquoted(head_text, ';');
    let name = parts.next().unwrap_or_default();
    if name.trim().eq_ignore_ascii_case("AGENT") {
        return one_line(line);
    }
    let is_old = kept.version == "2.1";
    let is_data = DATA.contains(&kept.property.as_str());
    // What is said to be base64 and is a URI stays one.
    let is_base64 = encoded.base64 && !value.contains(':');
    let to_data = is_data && is_base64 && version == CardVersion::V4;
    let from_data = (is_data && version == CardVersion::V3 && !encoded.base64)
        .then(|| data(value))
        .flatten();
    let stays = !is_old && !encoded.quoted_printable && encoded.charset.is_none();
    if stays && !to_data && from_data.is_none() {
        return one_line(line);
    }
    let mut written = name.to_owned();
    let mut media_type = None;
    for parameter in parts {
        let parameter = parameter.trim();
        let Some(parameter) = kept_parameter(parameter, is_old) else {
            continue;
        };
        if to_data && let Some(found) = media_type_of(&parameter) {
            media_type = Some(found);
            continue;
        }
        written.push(';');
        written.push_str(&parameter);
    }
    let value = if encoded.quoted_printable {
        readable(value, encoded.charset.as_deref())
    } else if to_data {
        let media_type = media_type.unwrap_or_default();
        format!("data:{media_type};base64,{}", value.trim())
    } else if let Some((media_type, data)) = from_data {
        let known = MEDIA_TYPES.iter().find(|(_, known)| *known == media_type);
        written.push_str(";ENCODING=b");
        if let Some((name, _)) = known {
            written.push_str(";TYPE=");
            written.push_str(name);
        } else if !media_type.is_empty() {
            written.push_str(";MEDIATYPE=");
            written.push_str(media_type);
        }
        data.to_owned()
    } else {
        if encoded.base64 {
            written.push_str(";ENCODING=b");
        }
        value.to_owned()
    };
    let written = one_line(&format!("{written}:{value}"));
    // What nobody can read (quoted-printable that is none) stays as it is.
    if is_data || reads_as(line, &kept.version) == reads_as(&written, version.name()) {
        written
    } else {
        one_line(line)
    }
}

fn reads_as(line: &str, version: &str) -> Option<Vec<String>> {
    Property::read(line, version).map(|property| property.components())
}

/// The media type and the base64 of a `data:` URI.
pub(super) fn data(value: &str) -> Option<(&str, &str)> {
    let rest = value.trim();
    let scheme = rest.get(..5)?;
    if !scheme.eq_ignore_ascii_case("data:") {
        return None;
    }
    let (media_type, data) = rest[5..].split_once(";base64")?;
    let data = data.strip_prefix("\\,").or(data.strip_prefix(','))?;
    let plain = |text: &str| !text.contains([':', ';', ',', '"', '\\']);
    plain(media_type).then_some((media_type, data))
}

/// A parameter as other versions say it; `None` if they cannot, because it tells of bytes that are text by now.
fn kept_parameter(parameter: &str, is_old: bool) -> Option<String> {
    let upper = parameter.to_ascii_uppercase();
    let of_bytes = upper.starts_with("CHARSET=")
        || upper.starts_with("ENCODING=")
        || BARE_ENCODINGS.contains(&upper.as_str());
    if of_bytes || parameter.is_empty() {
        return None;
    }
    if !is_old || parameter.contains('=') {
        return Some(parameter.to_owned());
    }
    if BARE_VALUES.contains(&upper.as_str()) {
        let value = if upper == "INLINE" { "binary" } else { "uri" };
        return Some(format!("VALUE={value}"));
    }
    Some(format!("TYPE={parameter}"))
}

/// The media type that a parameter of data tells.
pub(super) fn media_type_of(parameter: &str) -> Option<&'static str> {
    let (name, value) = parameter.split_once('=')?;
    let is_type = name.eq_ignore_ascii_case("TYPE") || name.eq_ignore_ascii_case("MEDIATYPE");
    is_type.then(|| media_type_named(value)).flatten()
}

/// The media type that is called `value`, in vCard 3.0 or elsewhere.
pub(super) fn media_type_named(value: &str) -> Option<&'static str> {
    let (_, found) = MEDIA_TYPES.iter().find(|(name, full)| {
        name.eq_ignore_ascii_case(value) || full.eq_ignore_ascii_case(value)
    })?;
    Some(found)
}

/// A quoted-printable value as text. What was encoded is data; what was not, such as the `;` between components, is not.
pub(super) fn readable(value: &str, charset: Option<&str>) -> String {
    let declared = charset.and_then(|label| Encoding::for_label(label.as_bytes()));
    let wide = declared.is_some_and(|encoding| encoding != UTF_8 && !encoding.is_single_byte());
    let source = value.strip_suffix('=').unwrap_or(value).as_bytes();
    let mut bytes = Vec::with_capacity(source.len());
    let mut place = 0;
    while let Some(byte) = source.get(place) {
        let decoded = (*byte == b'=')
            .then(|| source.get(place + 1..place + 3))
            .flatten()
            .and_then(|digits| core::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let Some(decoded) = decoded else {
            bytes.push(*byte);
            place += 1;
            continue;
        };
        place += 3;
        match decoded {
            b'\r' if source[place..].starts_with(b"=0A") => {}
            b'\n' | b'\r' => bytes.extend_from_slice(b"\\n"),
            // In some charsets this byte is half a character.
            b'\\' if wide => bytes.push(decoded),
            b';' | b',' | b'\\' => bytes.extend([b'\\', decoded]),
            _ => bytes.push(decoded),
        }
    }
    match (declared, String::from_utf8(bytes)) {
        (Some(encoding), Ok(text)) if encoding == UTF_8 || text.is_ascii() => text,
        (None, Ok(text)) => text,
        (Some(encoding), Ok(text)) => {
            let decoded = encoding.decode_without_bom_handling(text.as_bytes());
            decoded.0.into_owned()
        }
        (encoding, Err(error)) => {
            let encoding = encoding.unwrap_or(WINDOWS_1252);
            let decoded = encoding.decode_without_bom_handling(error.as_bytes());
            decoded.0.into_owned()
        }
    }
}

/// A line without ends of lines in it; an `AGENT` of vCard 2.1 has a card in it, which is text in later ones.
fn one_line(line: &str) -> String {
    if line.contains('\n') {
        match line.split_once(':') {
            Some((head, value)) => {
                format!("{head}:{}", escaped(value.trim_start_matches(['\r', '\n'])))
            }
            None => escaped(line),
        }
    } else {
        line.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(version: &str, line: &str) -> KeptProperty {
        KeptProperty {
            order: 0,
            property: line.split([';', ':']).next().unwrap_or_default().to_owned(),
            version: version.to_owned(),
            line: line.to_owned(),
            field: None,
        }
    }

    fn in_three(line: &str) -> String {
        line_in(&kept("2.1", line), CardVersion::V3)
    }

    #[test]
    fn old_lines_say_the_same_in_later_versions() {
        for (old, new) in [
            ("TEL;HOME;FAX:1", "TEL;TYPE=HOME;TYPE=FAX:1"),
            (
                "NOTE;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=C3=91a=0D=0Ab=3Bc",
                "NOTE:\u{d1}a\\nb\\;c",
            ),
            (
                "N;ENCODING=QUOTED-PRINTABLE;CHARSET=ISO-8859-1:N=FA=F1ez;Ana;;;",
                "N:N\u{fa}\u{f1}ez;Ana;;;",
            ),
            ("PHOTO;JPEG;BASE64:AAAA", "PHOTO;TYPE=JPEG;ENCODING=b:AAAA"),
            ("PHOTO;VALUE=URL:http://a/", "PHOTO;VALUE=URL:http://a/"),
            ("PHOTO;URL:http://a/", "PHOTO;VALUE=uri:http://a/"),
        ] {
            assert_eq!(in_three(old), new);
        }
        let japanese = "FN;ENCODING=QUOTED-PRINTABLE;CHARSET=SHIFT_JIS:=8E=52=93=63";
        assert_eq!(in_three(japanese), "FN:\u{5c71}\u{7530}");
        let agent = "AGENT:\nBEGIN:VCARD\nFN:Friday\nEND:VCARD";
        assert_eq!(in_three(agent), "AGENT:BEGIN:VCARD\\nFN:Friday\\nEND:VCARD");
    }

    #[test]
    fn data_is_written_as_each_version_writes_it() {
        let three = kept("3.0", "PHOTO;X-A=1;ENCODING=b;TYPE=PNG:AAAA");
        let four = kept("4.0", "PHOTO;X-A=1:data:image/png;base64,AAAA");
        assert_eq!(line_in(&three, CardVersion::V4), four.line);
        assert_eq!(line_in(&three, CardVersion::V3), three.line);
        assert_eq!(line_in(&four, CardVersion::V3), three.line);
        assert_eq!(line_in(&four, CardVersion::V4), four.line);
        // Said twice.
        let odd = kept("3.0", "PHOTO;ENCODING=b:data:image/png;base64,AAAA");
        assert_eq!(line_in(&odd, CardVersion::V4), odd.line);
        let plain = kept("4.0", "KEY:data:text/plain,hello");
        assert_eq!(line_in(&plain, CardVersion::V3), plain.line);
    }

    #[test]
    fn a_charset_is_not_claimed_of_what_is_unicode_by_now() {
        let line = kept("3.0", "TITLE;LANGUAGE=fr;CHARSET=ISO-8859-1:Caf\u{e9}");
        assert_eq!(
            line_in(&line, CardVersion::V3),
            "TITLE;LANGUAGE=fr:Caf\u{e9}"
        );
    }
}
