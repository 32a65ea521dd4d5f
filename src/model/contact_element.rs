//! Phones, e-mails, web and postal addresses: each is a field of its own, so that two people who add two numbers offline both keep
//! theirs.
//!
//! The id of a new element follows from what it holds, so the same card imported on two nodes makes the same
//! fields. The place in the list is part of the value and chosen so that elements already there keep theirs.

use std::collections::BTreeSet;

use grapevine_crdt::{Entity, LwwMap};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::address_parts::AddressParts;
use crate::codec;

const FORMAT: u8 = 1;
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
}

#[derive(Serialize, Deserialize)]
struct Stored {
    order: i64,
    label: Option<String>,
    content: String,
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
        let bytes = codec::encode_versioned(FORMAT, &stored)
            .expect("an element is far smaller than the limit of the codec");
        (name, bytes)
    }

    pub(super) fn decode(id: &str, bytes: &[u8]) -> Option<Self> {
        let stored: Stored = codec::decode_versioned(FORMAT, bytes).ok()?;
        Some(Self {
            id: id.to_owned(),
            order: stored.order,
            label: stored.label,
            content: stored.content,
        })
    }
}

/// Gives each draft an id and a place. Law: what is returned reads as `drafts` in their order; elements of
/// `held` that are wanted unchanged and in their old order are returned unchanged.
pub(super) fn place(held: &[Element], drafts: &[ElementDraft], kind: Kind) -> Vec<Element> {
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
        placed.push(Element {
            id,
            order,
            label: draft.label.clone(),
            content: draft.content.clone(),
        });
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
            label: None,
            content: content.to_owned(),
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
        let first = place(&[], &[draft(None, "1"), draft(None, "2")], Kind::Phone);
        let wanted = [draft(None, "0"), draft(None, "1"), draft(None, "2")];
        let second = place(&first, &wanted, Kind::Phone);
        assert_eq!(second[1..], first[..]);
        assert_eq!(contents(&second), ["0", "1", "2"]);
    }

    #[test]
    fn a_reversal_reads_reversed() {
        let first = place(&[], &["1", "2", "3"].map(|c| draft(None, c)), Kind::Phone);
        let second = place(
            &first,
            &["3", "2", "1"].map(|c| draft(None, c)),
            Kind::Phone,
        );
        assert_eq!(contents(&second), ["3", "2", "1"]);
    }

    #[test]
    fn the_same_number_twice_gets_two_ids() {
        let placed = place(&[], &[draft(None, "1"), draft(None, "1")], Kind::Phone);
        assert_ne!(placed[0].id, placed[1].id);
    }

    #[test]
    fn a_new_element_never_takes_the_id_of_one_that_holds_something_else() {
        let first = place(&[], &[draft(None, "1")], Kind::Phone);
        let edited = place(&first, &[draft(Some(&first[0].id), "2")], Kind::Phone);
        let both = place(&edited, &[draft(None, "2"), draft(None, "1")], Kind::Phone);
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
        });
        let wanted = [
            draft(Some("a"), "a"),
            draft(None, "x"),
            draft(Some("b"), "b"),
        ];
        assert_eq!(
            contents(&place(&held, &wanted, Kind::Email)),
            ["a", "x", "b"]
        );
    }
}
