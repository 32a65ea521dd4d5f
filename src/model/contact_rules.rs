//! What a contact may hold: the bounds, and the one place where a text is measured against them.

use time::{Date, Month};

/// The most characters of an id that a client chooses.
pub const MAX_CONTACT_ID_CHARS: usize = 128;
/// The most characters of a name.
pub const MAX_NAME_CHARS: usize = 256;
/// The most characters of an organization or a title.
pub const MAX_LINE_CHARS: usize = 256;
/// The most characters of an address.
pub const MAX_ADDRESS_CHARS: usize = 1_024;
/// The most characters of one part of a postal address.
pub const MAX_ADDRESS_PART_CHARS: usize = 512;
/// The most characters of a note.
pub const MAX_NOTE_CHARS: usize = 65_536;
/// The most phones, e-mails, web addresses, postal addresses and groups of a contact, each.
pub const MAX_ELEMENTS: usize = 100;
/// The most characters of a number.
pub const MAX_NUMBER_CHARS: usize = 128;
/// The most characters of an e-mail address.
pub const MAX_EMAIL_CHARS: usize = 320;
/// The most characters of a web address.
pub const MAX_URL_CHARS: usize = 2_048;
/// The most characters of a label.
pub const MAX_LABEL_CHARS: usize = 64;
/// The most characters of the name of a group.
pub const MAX_GROUP_CHARS: usize = 128;
/// The most characters of the id of an element, such as a phone.
pub const MAX_ELEMENT_ID_CHARS: usize = 64;

/// Paths below `/v1/contacts/` that are not contacts.
const RESERVED_IDS: [&str; 3] = ["import", "export", "duplicates"];

/// Why a contact cannot be as it was asked for. No state changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {detail}")]
pub struct InvalidContact {
    /// The field, as a path: `phones[2].number`.
    pub field: String,
    /// What is wrong with it, to be read after the field.
    pub detail: String,
}

impl InvalidContact {
    pub(super) fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            detail: detail.into(),
        }
    }
}

/// The key under which the contact `id` is stored: a UUID in lower case with hyphens, however it was
/// written; else the id itself, of letters, digits and `-`, `_`, `.`, `~`, `@`.
pub fn contact_key(id: &str) -> Result<String, InvalidContact> {
    if let Ok(uuid) = uuid::Uuid::try_parse(id) {
        return Ok(uuid.hyphenated().to_string());
    }
    let dots = id.bytes().all(|byte| byte == b'.');
    let plain = id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.~@".contains(&byte));
    if dots || !plain || id.len() > MAX_CONTACT_ID_CHARS {
        return Err(InvalidContact::new(
            "id",
            format!(
                "is a UUID, or 1 to {MAX_CONTACT_ID_CHARS} of the characters a-z, A-Z, 0-9, -, _, ., ~, @"
            ),
        ));
    }
    if RESERVED_IDS.contains(&id) {
        return Err(InvalidContact::new("id", "is reserved"));
    }
    Ok(id.to_owned())
}

/// How many characters a text may have, and whether it may have lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextRule {
    pub(super) max_chars: usize,
    pub(super) lines: bool,
}

impl TextRule {
    pub(super) const fn line(max_chars: usize) -> Self {
        Self {
            max_chars,
            lines: false,
        }
    }

    pub(super) const fn lines(max_chars: usize) -> Self {
        Self {
            max_chars,
            lines: true,
        }
    }

    /// What is wrong with `text`, if anything is; an empty text is not measured here.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        // Counting stops where the answer is known: a text may be as long as a request body.
        if text.chars().nth(self.max_chars).is_some() {
            return Err(format!("has more than {} characters", self.max_chars));
        }
        let allowed = |c: char| !c.is_control() || (self.lines && matches!(c, '\n' | '\r' | '\t'));
        if !text.chars().all(allowed) {
            return Err("has control characters".to_owned());
        }
        Ok(())
    }
}

/// The rule for a scalar field.
pub(super) fn scalar_rule(field: &str) -> TextRule {
    match field {
        "name" => TextRule::line(MAX_NAME_CHARS),
        "address" => TextRule::lines(MAX_ADDRESS_CHARS),
        "note" => TextRule::lines(MAX_NOTE_CHARS),
        _ => TextRule::line(MAX_LINE_CHARS),
    }
}

/// Whether `text` is a day as `YYYY-MM-DD`, or as `--MM-DD` without the year.
pub(super) fn check_birthday(text: &str) -> Result<(), String> {
    let day = match text.strip_prefix("--") {
        // The 29th of February is a birthday, whatever the year.
        Some(rest) => parse_day(&format!("2000-{rest}")),
        None => parse_day(text),
    };
    day.map(|_| ())
        .ok_or_else(|| "is a day as YYYY-MM-DD, or as --MM-DD without the year".to_owned())
}

fn parse_day(text: &str) -> Option<Date> {
    let bytes = text.as_bytes();
    let shaped = bytes.len() == 10
        && bytes.iter().enumerate().all(|(place, byte)| match place {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if !shaped {
        return None;
    }
    let month = Month::try_from(text[5..7].parse::<u8>().ok()?).ok()?;
    Date::from_calendar_date(text[..4].parse().ok()?, month, text[8..].parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_uuid_has_one_key_however_it_is_written() {
        let key = "477343c8-e6bf-375a-9bac-1f96a5000837";
        for id in [
            key,
            "477343C8E6BF375A9BAC1F96A5000837",
            "urn:uuid:477343c8-e6bf-375a-9bac-1f96a5000837",
        ] {
            assert_eq!(contact_key(id).as_deref(), Ok(key));
        }
        assert_eq!(contact_key("ada").as_deref(), Ok("ada"));
    }

    #[test]
    fn ids_that_a_path_could_not_carry_are_refused() {
        for id in ["", ".", "..", "a b", "a/b", "é", "import", &"x".repeat(129)] {
            assert!(contact_key(id).is_err(), "{id}");
        }
    }

    #[test]
    fn days_that_no_calendar_has_are_no_birthdays() {
        for day in ["1815-12-10", "2000-02-29", "--02-29"] {
            assert_eq!(check_birthday(day), Ok(()));
        }
        for day in [
            "1815-13-10",
            "1999-02-29",
            "10.12.1815",
            "18151210",
            "--13-01",
            "1815-1é-1",
        ] {
            assert!(check_birthday(day).is_err(), "{day}");
        }
    }
}
