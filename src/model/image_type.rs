//! Types of images: as they are named (RFC 6838), and as bytes begin.

/// The most characters of the name of a subtype.
const MAX_SUBTYPE_CHARS: usize = 127;

/// `text` in lower case, if it is the name of a type of images, without parameters.
pub(super) fn image_type(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let subtype = text.strip_prefix("image/")?;
    let is_named = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    let starts = subtype.bytes().next()?.is_ascii_alphanumeric();
    let fits = subtype.len() <= MAX_SUBTYPE_CHARS && subtype.bytes().all(is_named);
    (starts && fits).then_some(text)
}

/// The type of the image that begins with `bytes`; `None` if it is none that is known here.
#[must_use]
pub fn sniffed(bytes: &[u8]) -> Option<&'static str> {
    let brand = || bytes.get(4..12).unwrap_or_default();
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some("image/png")
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        Some("image/jpeg")
    } else if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
        Some("image/gif")
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        Some("image/webp")
    } else if bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*") {
        Some("image/tiff")
    } else if [b"ftypheic", b"ftypheix"].iter().any(|it| brand() == *it) {
        Some("image/heic")
    } else if brand() == b"ftypavif" {
        Some("image/avif")
    } else if bytes.starts_with(b"BM") {
        Some("image/bmp")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_type_of_images_is_none() {
        for name in ["image/png", " IMAGE/PNG ", "image/svg+xml", "image/x-a.b"] {
            let read = image_type(name);
            assert_eq!(read, Some(name.trim().to_lowercase()), "{name}");
        }
        let long = format!("image/{}", "x".repeat(128));
        for name in [
            "text/html",
            "image/",
            "image/*",
            "image/png;q=1",
            "image/a,b",
            "image/a\"",
            "png",
            "image/é",
            &long,
        ] {
            assert_eq!(image_type(name), None, "{name}");
        }
    }

    #[test]
    fn an_image_is_known_by_how_it_begins() {
        assert_eq!(sniffed(b"\x89PNG\r\n\x1a\nIHDR"), Some("image/png"));
        assert_eq!(sniffed(b"\xff\xd8\xff\xe0"), Some("image/jpeg"));
        assert_eq!(sniffed(b"RIFF\0\0\0\0WEBPVP8 "), Some("image/webp"));
        assert_eq!(sniffed(b"\0\0\0\x1cftypavif"), Some("image/avif"));
        assert_eq!(sniffed(b"<html>"), None);
        assert_eq!(sniffed(b""), None);
    }
}
