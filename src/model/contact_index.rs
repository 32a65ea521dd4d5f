//! What a contact is found by: the words of its name and of other fields, its place in a sorted list, its groups,
//! and the numbers and addresses that duplicates have in common; and the rows of an index that say so.
//!
//! A row is its key alone. Its first byte says which list it belongs to; parts end with a zero byte, which no folded
//! text has; the last part is the id of the contact. So the rows of a prefix, of a group or of equal numbers lie
//! together, and those of one word in the order of the folded names.
//!
//! Law: the rows follow from what the contact shows, and from nothing else. A hidden contact has none.

use std::collections::BTreeSet;

use bytes::Bytes;
use grapevine_crdt::{Entity, LwwMap};

use super::{
    contact::{GROUP_PREFIX, NAME, ORGANIZATION},
    contact_element::{Element, Kind},
    fold::{cut, fold, words},
    name_parts::NameParts,
    phone_digits::{PhoneDigits, significant},
};

/// Names are sorted by so many bytes of their folded form; behind that, by id.
pub const MAX_SORT_BYTES: usize = 128;
/// A word is told from others by so many bytes of its folded form.
pub const MAX_WORD_BYTES: usize = 64;
/// The most words of one contact that are found, beside those of its name.
pub const MAX_INDEXED_WORDS: usize = 512;
/// The most phones, the most e-mails and the most groups of one contact that are found, each. More than a contact may
/// have are there only if edits made apart added up to them.
pub const MAX_INDEXED_ELEMENTS: usize = 256;
/// Longer names of groups, or numbers or addresses, are in no list.
const MAX_PART_BYTES: usize = 512;

/// The lists of the index, by the first byte of their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IndexList {
    /// A word of the name, the name, the id.
    NameWords = 1,
    /// A word of another field, or the digits of a phone; the name, the id.
    OtherWords = 2,
    /// The name, the id: all contacts in order.
    Names = 3,
    /// A group, the name, the id.
    Groups = 4,
    /// A number, the id.
    Phones = 5,
    /// An e-mail address, the id.
    Emails = 6,
}

impl IndexList {
    /// The beginning of all its rows.
    #[must_use]
    pub const fn tag(self) -> u8 {
        self as u8
    }

    /// The beginning of the rows whose first part is `part`, or begins with it if `open`.
    #[must_use]
    pub fn start(self, part: &str, open: bool) -> Vec<u8> {
        let mut key = vec![self.tag()];
        key.extend_from_slice(part.as_bytes());
        if !open {
            key.push(0);
        }
        key
    }

    /// The row of `parts`, the last of which is the id.
    fn row(self, parts: &[&str]) -> Bytes {
        let bytes = parts.iter().map(|part| part.len() + 1).sum::<usize>();
        let mut key = Vec::with_capacity(1 + bytes);
        key.push(self.tag());
        for (place, part) in parts.iter().enumerate() {
            if place > 0 {
                key.push(0);
            }
            key.extend_from_slice(part.as_bytes());
        }
        key.into()
    }

    /// How many parts stand in front of the id.
    const fn parts(self) -> usize {
        match self {
            Self::NameWords | Self::OtherWords | Self::Groups => 2,
            Self::Names | Self::Phones | Self::Emails => 1,
        }
    }

    const fn of_tag(tag: u8) -> Option<Self> {
        Some(match tag {
            1 => Self::NameWords,
            2 => Self::OtherWords,
            3 => Self::Names,
            4 => Self::Groups,
            5 => Self::Phones,
            6 => Self::Emails,
            _ => return None,
        })
    }
}

/// A row of the index, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexRow<'a> {
    /// Which list it is in.
    pub list: IndexList,
    /// The word, the group, the number or the address; the name in a list of names.
    pub first: &'a str,
    /// The folded name; empty in lists that are not sorted by it.
    pub name: &'a str,
    /// The id of the contact.
    pub id: &'a str,
}

impl<'a> IndexRow<'a> {
    /// Reads a row; `None` if it is none.
    #[must_use]
    pub fn read(key: &'a [u8]) -> Option<Self> {
        let (tag, rest) = key.split_first()?;
        let list = IndexList::of_tag(*tag)?;
        let mut parts = core::str::from_utf8(rest)
            .ok()?
            .splitn(list.parts() + 1, '\0');
        let first = parts.next()?;
        let name = match list.parts() {
            2 => parts.next()?,
            _ if list == IndexList::Names => first,
            _ => "",
        };
        let id = parts.next()?;
        Some(Self {
            list,
            first,
            name,
            id,
        })
    }
}

/// What a contact is found by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContactTerms {
    /// The folded name, as far as it is sorted by.
    pub name: String,
    /// The words of `name`.
    pub name_words: BTreeSet<String>,
    /// Other words, and the digits of phones.
    pub other_words: BTreeSet<String>,
    /// The groups, as they are written.
    pub groups: BTreeSet<String>,
    /// The numbers, each as all who have it have it.
    pub phones: BTreeSet<String>,
    /// The e-mail addresses, folded.
    pub emails: BTreeSet<String>,
}

impl ContactTerms {
    /// What the contact that `entity` shows is found by; `None` if it is hidden.
    #[must_use]
    pub fn of(entity: &Entity) -> Option<Self> {
        if !entity.is_visible() {
            return None;
        }
        let (mut name, mut organization) = (String::new(), String::new());
        let (mut phones, mut emails, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        let mut parts = NameParts::default();
        for (attribute, bytes) in LwwMap::new(entity).iter() {
            if attribute == NAME {
                name = fold(&String::from_utf8_lossy(bytes));
            } else if attribute == NameParts::FIELD {
                parts = NameParts::decode(bytes).unwrap_or_default();
            } else if attribute == ORGANIZATION {
                organization = fold(&String::from_utf8_lossy(bytes));
            } else if let Some(group) = attribute.strip_prefix(GROUP_PREFIX) {
                groups.push(group);
            } else if let Some(phone) = element(attribute, bytes, Kind::Phone) {
                phones.push(phone);
            } else if let Some(email) = element(attribute, bytes, Kind::Email) {
                emails.push(email.content);
            }
        }
        phones.truncate(MAX_INDEXED_ELEMENTS);
        emails.truncate(MAX_INDEXED_ELEMENTS);
        groups.truncate(MAX_INDEXED_ELEMENTS);
        let sorted = cut(&name, MAX_SORT_BYTES).trim_end();
        let mut terms = Self {
            name: sorted.to_owned(),
            name_words: words(sorted).map(|word| term(word).to_owned()).collect(),
            ..Self::default()
        };
        if sorted.len() < name.len() {
            terms.add_words(&name);
        }
        for part in parts.parts().into_iter().flatten() {
            terms.add_words(&fold(part));
        }
        terms.add_words(&organization);
        for phone in phones {
            let digits = PhoneDigits::of(&phone.content);
            let read = phone.e164.as_deref().map(PhoneDigits::of);
            let read = read.unwrap_or_default();
            let same = read.same.or(digits.same);
            terms
                .phones
                .extend(same.filter(|same| same.len() <= MAX_PART_BYTES));
            let readings = digits.readings.iter().chain(&read.readings);
            readings.for_each(|reading| terms.add_word(reading));
        }
        for address in emails {
            let address = fold(&address);
            terms.add_words(&address);
            if !address.is_empty() && address.len() <= MAX_PART_BYTES {
                terms.emails.insert(address);
            }
        }
        for group in groups {
            terms.add_words(&fold(group));
            if group.len() <= MAX_PART_BYTES && !group.contains('\0') {
                terms.groups.insert(group.to_owned());
            }
        }
        Some(terms)
    }

    /// Whether `word` is the beginning of some word.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        starts(&self.name_words, word).next().is_some()
            || starts(&self.other_words, word).next().is_some()
    }

    fn add_words(&mut self, folded: &str) {
        words(folded).for_each(|word| self.add_word(word));
    }

    fn add_word(&mut self, word: &str) {
        let word = term(word);
        if self.other_words.len() < MAX_INDEXED_WORDS && !self.name_words.contains(word) {
            self.other_words.insert(word.to_owned());
        }
    }

    /// The rows of the contact `id`.
    fn rows(&self, id: &str) -> BTreeSet<Bytes> {
        let mut rows = BTreeSet::new();
        let name = self.name.as_str();
        rows.insert(IndexList::Names.row(&[name, id]));
        for (list, firsts) in [
            (IndexList::NameWords, &self.name_words),
            (IndexList::OtherWords, &self.other_words),
            (IndexList::Groups, &self.groups),
        ] {
            rows.extend(firsts.iter().map(|first| list.row(&[first, name, id])));
        }
        for (list, firsts) in [
            (IndexList::Phones, &self.phones),
            (IndexList::Emails, &self.emails),
        ] {
            rows.extend(firsts.iter().map(|first| list.row(&[first, id])));
        }
        rows
    }
}

/// The words of a set that begin with `word`, in order.
pub fn starts<'a>(words: &'a BTreeSet<String>, word: &'a str) -> impl Iterator<Item = &'a str> {
    words
        .range::<str, _>((
            core::ops::Bound::Included(word),
            core::ops::Bound::Unbounded,
        ))
        .map(String::as_str)
        .take_while(move |found| found.starts_with(word))
}

/// The words of a sorted name, as they are found.
pub fn name_words(name: &str) -> impl Iterator<Item = &str> {
    words(name).map(term)
}

/// A word as it is found: of bounded length, and a number without zeros in front, for those depend on where it is
/// dialled.
pub(super) fn term(word: &str) -> &str {
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    cut(
        if is_number { significant(word) } else { word },
        MAX_WORD_BYTES,
    )
}

fn element(attribute: &str, bytes: &[u8], kind: Kind) -> Option<Element> {
    Element::decode(attribute.strip_prefix(kind.prefix())?, bytes)
}

/// The rows of the contact `id`: none if it is hidden.
pub(super) fn contact_rows(id: &str, entity: &Entity) -> BTreeSet<Bytes> {
    ContactTerms::of(entity)
        .map(|terms| terms.rows(id))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use grapevine_crdt::{Dot, ReplicaId, Seq, Timestamp};
    use serde_json::json;

    use super::*;
    use crate::model::{Collection, EntityId, index_rows, indexed_entity};
    use crate::model::{ContactDraft, WriteStamp, contact_edit};

    fn entity(json: &serde_json::Value) -> Entity {
        let draft = ContactDraft::from_json(None, json).expect("a contact");
        let stamp = WriteStamp {
            dot: Dot::new(ReplicaId::from_bytes([1; 16]), Seq::new(1)),
            time: Timestamp::from_unix_ms(1),
            collected: None,
            region: None,
        };
        let mut entity = Entity::default();
        for cell in contact_edit::put(&entity, &draft, stamp).0 {
            entity.merge_cell(cell);
        }
        entity
    }

    fn shown(rows: &BTreeSet<Bytes>) -> Vec<String> {
        rows.iter()
            .map(|row| {
                let IndexRow {
                    list,
                    first,
                    name,
                    id,
                } = IndexRow::read(row).expect("a row");
                format!("{} {first}|{name}|{id}", list.tag())
            })
            .collect()
    }

    #[test]
    fn a_contact_is_found_by_its_words_digits_and_groups_and_not_by_its_note() {
        let entity = entity(&json!({
            "name": "Đặng Lê", "name_parts": {"family": "Đặng", "given": "Lê", "additional": "Thị"}, "organization": "Åström & Co", "note": "secret", "title": "captain",
            "phones": [{"number": "+44 20 7946 0000"}], "emails": [{"address": "Le@Example.org"}],
            "groups": ["Old Friends"]
        }));
        let id = EntityId::new(Collection::Contacts, "x").expect("an id");
        assert_eq!(
            shown(&index_rows(&id, &entity)),
            [
                "1 dang|dang le|x",
                "1 le|dang le|x",
                "2 2079460000|dang le|x",
                "2 442079460000|dang le|x",
                "2 79460000|dang le|x",
                "2 astrom|dang le|x",
                "2 co|dang le|x",
                "2 example|dang le|x",
                "2 friends|dang le|x",
                "2 old|dang le|x",
                "2 org|dang le|x",
                "2 thi|dang le|x",
                "3 dang le|dang le|x",
                "4 Old Friends|dang le|x",
                "5 +442079460000||x",
                "6 le@example.org||x",
            ]
        );
        let other = EntityId::new(Collection::Kv, "x").expect("an id");
        assert!(index_rows(&other, &entity).is_empty());
    }

    #[test]
    fn the_rows_of_one_contact_are_bounded() {
        let groups: Vec<String> = (0..100)
            .map(|n| {
                let words: Vec<String> = (0..20).map(|m| format!("{n}x{m}")).collect();
                words.join(" ")
            })
            .collect();
        let entity = entity(&json!({"name": "ﷺ".repeat(256), "groups": groups}));
        let terms = ContactTerms::of(&entity).expect("it is visible");
        assert!(terms.name.len() <= MAX_SORT_BYTES);
        assert_eq!(terms.other_words.len(), MAX_INDEXED_WORDS);
    }

    #[test]
    fn what_a_peer_made_up_cannot_break_a_row() {
        let dot = Dot::new(ReplicaId::from_bytes([1; 16]), Seq::new(1));
        let mut entity = Entity::default();
        for name in [
            "name",
            "organization",
            "phones/a",
            "emails/a",
            "groups/a\0b",
        ] {
            for cell in LwwMap::new(&entity).set(name, b"a\0b\xff\x00", dot, Timestamp::ZERO) {
                entity.merge_cell(cell);
            }
        }
        let id = EntityId::new(Collection::Contacts, "i\0d").expect("an id");
        for row in index_rows(&id, &entity) {
            assert_eq!(indexed_entity(&row), Some(id.clone()));
            let name = IndexRow::read(&row).expect("a row").name;
            assert!(name.is_empty() || name == "a b\u{fffd}", "{name}");
        }
        for bad in [
            &b""[..],
            b"\x01",
            b"\x01a\0",
            b"\x09a\0b\0c",
            b"\x03a",
            b"\x03\xff\0a",
        ] {
            assert_eq!(indexed_entity(bad), None, "{bad:?}");
        }
    }
}
