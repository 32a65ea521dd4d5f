//! Phones, e-mails, web and postal addresses: each is a field of its own, so that two people who add two numbers offline both keep
//! theirs.
//!
//! The id of a new element follows from what it holds, so the same card imported on two nodes makes the same
//! fields. The place in the list is part of the value and chosen so that elements already there keep theirs.

use std::collections::BTreeSet;

use grapevine_crdt::{Entity, LwwMap};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    address_parts::AddressParts,
    phone_reading::{Region, e164},
};
use crate::codec;

const FORMAT: u8 = 1;
/// With the reading of a phone: written only if there is one.
const FORMAT_WITH_READING: u8 = 2;
/// How far apart neighbours are put, so that others find room between them.
const SPACING: i64 = 1 << 20;
const ID_BYTES: usize = 6;

/// Which list an element belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Phones.
    Phone,
    /// E-mail addresses.
    Email,
    /// Web addresses.
    Url,
    /// Postal addresses.
    Address,
}

impl Kind {
    /// All of them, in the order in which their lists are shown.
    pub const ALL: [Self; 4] = [Self::Phone, Self::Email, Self::Url, Self::Address];

    /// The kind of the attribute `name`, and the id in it; `None` if it is no element.
    pub(super) fn of_attribute(name: &str) -> Option<(Self, &str)> {
        Self::ALL
            .into_iter()
            .find_map(|kind| Some((kind, name.strip_prefix(kind.prefix())?)))
    }

    /// What the names of its attributes start with.
    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::Phone => "phones/",
            Self::Email => "emails/",
            Self::Url => "urls/",
            Self::Address => "addresses/",
        }
    }

    /// The field that holds the list, as users see it.
    #[must_use]
    pub const fn list(self) -> &'static str {
        match self {
            Self::Phone => "phones",
            Self::Email => "emails",
            Self::Url => "urls",
            Self::Address => "addresses",
        }
    }

    /// The fields of an element that hold its content, as users see them.
    #[must_use]
    pub const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Phone => &["number"],
            Self::Email => &["address"],
            Self::Url => &["url"],
            Self::Address => &AddressParts::PARTS,
        }
    }

    /// The fields of an element that are shown but not written: accepted, so that what was read can be sent back, and
    /// ignored.
    pub(super) const fn read_only(self) -> &'static [&'static str] {
        match self {
            Self::Phone => &["e164"],
            Self::Email | Self::Url | Self::Address => &[],
        }
    }

    /// What `content` reads as where an element is written, if it is of a kind that is read.
    fn reading(self, content: &str, region: Option<Region>) -> Option<String> {
        match self {
            Self::Phone => e164(content, region),
            Self::Email | Self::Url | Self::Address => None,
        }
    }

    /// What an element with this label and content is, as users see it, but for its id.
    pub(super) fn shown(self, label: Option<&str>, content: &str) -> Map<String, Value> {
        let mut shown = Map::new();
        shown.insert("label".to_owned(), json!(label));
        match self {
            Self::Phone | Self::Email | Self::Url => {
                shown.insert(self.fields()[0].to_owned(), json!(content));
            }
            Self::Address => {
                let parts = AddressParts::of_content(content);
                let fields = AddressParts::PARTS.into_iter().zip(parts.into_parts());
                shown.extend(fields.map(|(name, part)| (name.to_owned(), json!(part))));
            }
        }
        shown
    }
}

/// A phone, an e-mail, a web or a postal address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) id: String,
    pub(super) order: i64,
    pub(super) label: Option<String>,
    pub(super) content: String,
    /// The number after E.164, as whoever wrote it read it.
    pub(super) e164: Option<String>,
}

/// An element as it is wanted; without an id it takes that of its like, or a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElementDraft {
    /// The id, if it is given.
    pub id: Option<String>,
    /// What it is for.
    pub label: Option<String>,
    /// The number, the e-mail address, the web address, or the parts of the postal address as one text.
    pub content: String,
    /// What the number reads as, if it was read before; else whoever writes it does.
    pub e164: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    order: i64,
    label: Option<String>,
    content: String,
}

#[derive(Serialize, Deserialize)]
struct StoredWithReading {
    stored: Stored,
    e164: String,
}

impl ElementDraft {
    /// Whether `shown`, in the shape that the contact shows, says the same.
    #[must_use]
    pub fn is_said_by(&self, kind: Kind, shown: &Value) -> bool {
        let said = kind.shown(self.label.as_deref(), &self.content);
        said.iter().all(|(field, value)| shown[field] == *value)
    }
}

impl Element {
    /// The elements that `entity` shows, in their order.
    pub(super) fn shown(entity: &Entity, kind: Kind) -> Vec<Self> {
        let mut elements: Vec<_> = LwwMap::new(entity)
            .iter()
            .filter_map(|(name, bytes)| Self::decode(name.strip_prefix(kind.prefix())?, bytes))
            .collect();
        elements.sort_by(|a, b| (a.order, &a.id).cmp(&(b.order, &b.id)));
        elements
    }

    /// The name and the value of its attribute.
    pub(super) fn encode(self, kind: Kind) -> (String, Vec<u8>) {
        let name = format!("{}{}", kind.prefix(), self.id);
        let stored = Stored {
            order: self.order,
            label: self.label,
            content: self.content,
        };
        let bytes = match self.e164 {
            None => codec::encode_versioned(FORMAT, &stored),
            Some(e164) => {
                codec::encode_versioned(FORMAT_WITH_READING, &StoredWithReading { stored, e164 })
            }
        };
        let bytes = bytes.expect("an element is far smaller than the limit of the codec");
        (name, bytes)
    }

    pub(super) fn decode(id: &str, bytes: &[u8]) -> Option<Self> {
        let (stored, e164) = if bytes.first() == Some(&FORMAT_WITH_READING) {
            let read: StoredWithReading =
                codec::decode_versioned(FORMAT_WITH_READING, bytes).ok()?;
            (read.stored, Some(read.e164))
        } else {
            let stored: Stored = codec::decode_versioned(FORMAT, bytes).ok()?;
            (stored, None)
        };
        Some(Self {
            id: id.to_owned(),
            order: stored.order,
            label: stored.label,
            content: stored.content,
            e164,
        })
    }

    /// The element of this `id` as `draft` wants it, written in `region` over `held`. Law: a number that stays keeps
    /// its reading, whoever writes it again.
    pub(super) fn drafted(
        (id, order): (String, i64),
        draft: &ElementDraft,
        held: &[Self],
        (kind, region): (Kind, Option<Region>),
    ) -> Self {
        let same = |element: &&Self| element.id == id && element.content == draft.content;
        let e164 = match held.iter().find(same) {
            Some(element) => element.e164.clone(),
            None => draft
                .e164
                .clone()
                .or_else(|| kind.reading(&draft.content, region)),
        };
        Self {
            id,
            order,
            label: draft.label.clone(),
            content: draft.content.clone(),
            e164,
        }
    }
}

/// Gives each draft an id, a place and a reading in `region`. Law: what is returned reads as `drafts` in their order;
/// elements of `held` that are wanted unchanged and in their old order are returned unchanged.
pub(super) fn place(
    held: &[Element],
    drafts: &[ElementDraft],
    kind: Kind,
    region: Option<Region>,
) -> Vec<Element> {
    let ids = identify(held, drafts, kind);
    let old_order = |id: &str| {
        held.iter()
            .find(|element| element.id == id)
            .map(|e| e.order)
    };
    let mut kept: Vec<Option<i64>> = Vec::with_capacity(ids.len());
    let mut highest = None;
    for id in &ids {
        let order = old_order(id).filter(|order| highest.is_none_or(|highest| *order > highest));
        highest = order.or(highest);
        kept.push(order);
    }
    let mut placed: Vec<Element> = Vec::with_capacity(ids.len());
    for (index, (id, draft)) in ids.into_iter().zip(drafts).enumerate() {
        let before = placed.last().map(|element: &Element| element.order);
        let after = kept[index + 1..].iter().find_map(|order| *order);
        let order = kept[index]
            .filter(|order| before.is_none_or(|before| *order > before))
            .unwrap_or_else(|| between(before, after));
        placed.push(Element::drafted((id, order), draft, held, (kind, region)));
    }
    placed
}

/// A place above `before`, and below `after` if there is room.
fn between(before: Option<i64>, after: Option<i64>) -> i64 {
    match (before, after) {
        (None, None) => 0,
        (None, Some(after)) => after.saturating_sub(SPACING),
        (Some(before), None) => before.saturating_add(SPACING),
        (Some(before), Some(after)) => {
            let middle = before.midpoint(after);
            if middle > before {
                middle
            } else {
                before.saturating_add(1)
            }
        }
    }
}

/// The id of each draft: the one given, else that of an equal element, else that of one with equal content,
/// else a new one.
fn identify(held: &[Element], drafts: &[ElementDraft], kind: Kind) -> Vec<String> {
    let mut ids: Vec<Option<String>> = drafts.iter().map(|draft| draft.id.clone()).collect();
    let mut taken: BTreeSet<String> = ids.iter().flatten().cloned().collect();
    for same_label in [true, false] {
        for (draft, id) in drafts.iter().zip(&mut ids) {
            if id.is_some() {
                continue;
            }
            let like = held.iter().find(|element| {
                element.content == draft.content
                    && (!same_label || element.label == draft.label)
                    && !taken.contains(&element.id)
            });
            if let Some(element) = like {
                taken.insert(element.id.clone());
                *id = Some(element.id.clone());
            }
        }
    }
    taken.extend(held.iter().map(|element| element.id.clone()));
    ids.into_iter()
        .zip(drafts)
        .map(|(id, draft)| id.unwrap_or_else(|| new_id(kind, &draft.content, &mut taken)))
        .collect()
}

fn new_id(kind: Kind, content: &str, taken: &mut BTreeSet<String>) -> String {
    let id = (0..u64::MAX)
        .map(|attempt| short_id(&[kind.prefix(), content], attempt))
        .find(|id| !taken.contains(id))
        .expect("the ids taken are fewer than the attempts");
    taken.insert(id.clone());
    id
}

/// A short id that follows from `parts` and `attempt`.
pub(super) fn short_id(parts: &[&str], attempt: u64) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update(&[0]);
    }
    hasher.update(&attempt.to_be_bytes());
    let hex = hasher.finalize().to_hex();
    hex[..2 * ID_BYTES].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(id: Option<&str>, content: &str) -> ElementDraft {
        ElementDraft {
            id: id.map(str::to_owned),
            content: content.to_owned(),
            ..ElementDraft::default()
        }
    }

    fn contents(elements: &[Element]) -> Vec<&str> {
        let mut sorted: Vec<_> = elements.iter().collect();
        sorted.sort_by(|a, b| (a.order, &a.id).cmp(&(b.order, &b.id)));
        sorted
            .into_iter()
            .map(|element| element.content.as_str())
            .collect()
    }

    #[test]
    fn an_insertion_in_front_leaves_the_others_untouched() {
        let first = place(
            &[],
            &[draft(None, "1"), draft(None, "2")],
            Kind::Phone,
            None,
        );
        let wanted = [draft(None, "0"), draft(None, "1"), draft(None, "2")];
        let second = place(&first, &wanted, Kind::Phone, None);
        assert_eq!(second[1..], first[..]);
        assert_eq!(contents(&second), ["0", "1", "2"]);
    }

    #[test]
    fn a_reversal_reads_reversed() {
        let first = place(
            &[],
            &["1", "2", "3"].map(|c| draft(None, c)),
            Kind::Phone,
            None,
        );
        let second = place(
            &first,
            &["3", "2", "1"].map(|c| draft(None, c)),
            Kind::Phone,
            None,
        );
        assert_eq!(contents(&second), ["3", "2", "1"]);
    }

    #[test]
    fn the_same_number_twice_gets_two_ids() {
        let placed = place(
            &[],
            &[draft(None, "1"), draft(None, "1")],
            Kind::Phone,
            None,
        );
        assert_ne!(placed[0].id, placed[1].id);
    }

    #[test]
    fn a_new_element_never_takes_the_id_of_one_that_holds_something_else() {
        let first = place(&[], &[draft(None, "1")], Kind::Phone, None);
        let edited = place(&first, &[draft(Some(&first[0].id), "2")], Kind::Phone, None);
        let both = place(
            &edited,
            &[draft(None, "2"), draft(None, "1")],
            Kind::Phone,
            None,
        );
        assert_eq!(both[0].id, first[0].id);
        assert_ne!(both[1].id, first[0].id);
    }

    #[test]
    fn full_places_still_read_in_order() {
        let held = [("a", 5), ("b", 6)].map(|(id, order)| Element {
            id: id.to_owned(),
            order,
            label: None,
            content: id.to_owned(),
            e164: None,
        });
        let wanted = [
            draft(Some("a"), "a"),
            draft(None, "x"),
            draft(Some("b"), "b"),
        ];
        assert_eq!(
            contents(&place(&held, &wanted, Kind::Email, None)),
            ["a", "x", "b"]
        );
    }

    fn region(code: &str) -> Region {
        Region::named(code).expect("a region")
    }

    #[test]
    fn a_number_that_stays_keeps_its_reading_in_another_region() {
        let wanted = [draft(None, "01 23 45 67 89")];
        let first = place(&[], &wanted, Kind::Phone, Some(region("FR")));
        assert_eq!(first[0].e164.as_deref(), Some("+33123456789"));
        for region in [None, Some(region("FR")), Some(region("US"))] {
            assert_eq!(place(&first, &wanted, Kind::Phone, region), first);
        }
        let id = first[0].id.as_str();
        let edited = [draft(Some(id), "020 7946 0000")];
        let second = place(&first, &edited, Kind::Phone, Some(region("GB")));
        assert_eq!(second[0].e164.as_deref(), Some("+442079460000"));
        let unread = place(&second, &[draft(Some(id), "020")], Kind::Phone, None);
        assert_eq!(unread[0].e164, None);
        let later = place(
            &unread,
            &[draft(Some(id), "020")],
            Kind::Phone,
            Some(region("GB")),
        );
        assert_eq!(later, unread);
    }

    #[test]
    fn what_has_no_reading_is_stored_as_before_there_were_any() {
        let element = |e164: Option<&str>| Element {
            id: "a".to_owned(),
            order: 1,
            label: None,
            content: "02".to_owned(),
            e164: e164.map(str::to_owned),
        };
        let (name, bytes) = element(None).encode(Kind::Phone);
        assert_eq!(
            (name.as_str(), &bytes[..]),
            ("phones/a", &b"\x01\x02\0\x0202"[..])
        );
        let (_, read) = element(Some("+1")).encode(Kind::Phone);
        assert_eq!(read, b"\x02\x02\0\x0202\x02+1");
        for (bytes, expected) in [(bytes, element(None)), (read, element(Some("+1")))] {
            assert_eq!(Element::decode("a", &bytes), Some(expected));
            assert_eq!(Element::decode("a", &bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(Element::decode("a", b"\x03\x02\0\x0202"), None);
    }

    #[test]
    fn an_address_is_not_read_as_a_number() {
        let placed = place(
            &[],
            &[draft(None, "+33123456789")],
            Kind::Email,
            Some(region("FR")),
        );
        assert_eq!(placed[0].e164, None);
    }
}
