//! Cursors: the place in a list after which the next page begins, as text that clients hand back unread.
//!
//! A cursor is a version, the list it belongs to and a place in it, in hexadecimal. Another list's cursor is
//! refused, so that a mix-up cannot skip anything.

use crate::model::Collection;

const VERSION: u8 = 1;

/// The list that a cursor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListKind {
    /// The entities of a collection, in the order of their keys.
    Entities(Collection),
    /// The tallies of a counter, in the order of their writers.
    Tallies,
    /// The conflicts of one contact.
    ContactConflicts,
    /// The conflicts of all contacts.
    Conflicts,
    /// The messages of a topic, the newest first.
    NewestMessages,
    /// The topics.
    Topics,
    /// Contacts, in the order of their names or as a query finds them.
    Contacts,
    /// Contacts that may be one.
    Duplicates,
}

impl ListKind {
    fn tag(self) -> u8 {
        match self {
            Self::Entities(collection) => collection.into(),
            // Above the numbers of collections.
            Self::Tallies => 0xf0,
            Self::ContactConflicts => 0xf1,
            Self::Conflicts => 0xf2,
            Self::Topics => 0xf3,
            Self::Contacts => 0xf4,
            Self::Duplicates => 0xf5,
            Self::NewestMessages => 0xf6,
        }
    }
}

/// The cursor of `place` in a list of `kind`.
pub(super) fn write(kind: ListKind, place: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [VERSION, kind.tag()]
        .iter()
        .chain(place)
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// The place that a cursor of a list of `kind` tells, of 1 to `most` bytes.
pub(super) fn read(kind: ListKind, text: &str, most: usize) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) || text.len() > 2 * (most + 2) {
        return None;
    }
    let bytes: Vec<u8> = text
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()
        })
        .collect::<Option<_>>()?;
    let place = bytes.strip_prefix(&[VERSION, kind.tag()])?;
    (!place.is_empty()).then(|| place.to_vec())
}

/// As [`read`], for places that are text.
pub(super) fn read_text(kind: ListKind, text: &str, most: usize) -> Option<String> {
    String::from_utf8(read(kind, text, most)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MAX_KEY_BYTES;

    const KV: ListKind = ListKind::Entities(Collection::Kv);

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let cursor = write(KV, "clé/1".as_bytes());
        let read = |kind| read_text(kind, &cursor, MAX_KEY_BYTES);
        assert_eq!(read(KV).as_deref(), Some("clé/1"));
        assert_eq!(read(ListKind::Entities(Collection::Counters)), None);
        assert_eq!(read(ListKind::Tallies), None);
    }

    #[test]
    fn damaged_cursors_are_refused() {
        for text in [
            "", "0", "zz", "0203ff", "010", "0103", "0103ff", "é1", "0203616",
        ] {
            assert_eq!(read_text(KV, text, MAX_KEY_BYTES), None, "{text}");
        }
        let long = write(KV, &[b'x'; MAX_KEY_BYTES + 1]);
        assert_eq!(read(KV, &long, MAX_KEY_BYTES), None);
    }
}
