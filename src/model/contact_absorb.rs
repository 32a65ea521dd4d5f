//! Joining two contacts into one.
//!
//! The other is removed by another write, later: whoever is cut off between the two has both, and asks again. So that
//! who asks again after that is told that it is done, the contact remembers whom it absorbed.

use std::collections::BTreeSet;

use grapevine_crdt::{Entity, FieldCell, LwwMap};

use super::{
    contact::{ABSORBED_PREFIX, Contact, REQUEST, SOURCE},
    contact_draft::ContactDraft,
    contact_edit::{WriteStamp, diff, keep, wanted},
    contact_element::{ElementDraft, Kind},
    contact_kept::{KEPT_PREFIX, KeptProperty, MAX_KEPT_BYTES, MAX_KEPT_PROPERTIES},
    contact_rules::{InvalidContact, MAX_ELEMENTS},
    fold::fold,
    phone_digits::PhoneDigits,
};

/// How many contacts one contact remembers to have absorbed.
pub const MAX_ABSORBED: usize = 100;

/// Properties of which a contact has one.
const SINGLE: [&str; 10] = [
    "VERSION", "N", "FN", "UID", "REV", "PRODID", "BDAY", "GENDER", "KIND", "PHOTO",
];

/// The cells of the write `stamp` that brings into the contact that `entity` shows what `other` shows under the id
/// `other_id`: values that it lacks; phones, e-mails and addresses whose content it lacks; groups; and what an imported
/// card left to be exported.
pub fn absorb(
    entity: &Entity,
    other_id: &str,
    other: &Entity,
    stamp: WriteStamp<'_>,
) -> Result<Vec<FieldCell>, InvalidContact> {
    let both = (Contact::read("", entity), Contact::read(other_id, other));
    let (Some(current), Some(absorbed)) = both else {
        return Ok(Vec::new());
    };
    let mut wanted = wanted(entity, &joined(current, absorbed)?, stamp.region);
    let held: BTreeSet<String> = KeptProperty::shown(entity)
        .into_iter()
        .map(|(_, kept)| kept.property)
        .collect();
    for (name, kept) in KeptProperty::shown(other) {
        let is_taken = SINGLE.contains(&kept.property.as_str()) && held.contains(&kept.property);
        if !is_taken && let Some(bytes) = LwwMap::new(other).get(&name) {
            wanted.insert(name, bytes.to_vec());
        }
    }
    keep(entity, &mut wanted, &[KEPT_PREFIX, SOURCE, REQUEST]);
    let kept = wanted
        .iter()
        .filter(|(name, _)| name.starts_with(KEPT_PREFIX));
    let (lines, bytes) = kept.fold((0, 0), |(lines, bytes), (_, value)| {
        (lines + 1, bytes + value.len())
    });
    if lines > MAX_KEPT_PROPERTIES || bytes > MAX_KEPT_BYTES {
        return Err(InvalidContact::new(
            "vcard",
            "of both contacts is more than one may have",
        ));
    }
    if absorbed_by(entity).count() < MAX_ABSORBED {
        wanted.insert(format!("{ABSORBED_PREFIX}{other_id}"), Vec::new());
    }
    Ok(diff(entity, wanted, stamp).0)
}

/// Whether the contact that `entity` shows remembers to have absorbed `other`.
#[must_use]
pub fn has_absorbed(entity: &Entity, other: &str) -> bool {
    absorbed_by(entity).any(|id| id == other)
}

fn absorbed_by(entity: &Entity) -> impl Iterator<Item = &str> {
    LwwMap::new(entity)
        .iter()
        .filter_map(|(name, _)| name.strip_prefix(ABSORBED_PREFIX))
}

fn joined(current: Contact, other: Contact) -> Result<ContactDraft, InvalidContact> {
    let groups = current
        .groups
        .iter()
        .chain(&other.groups)
        .cloned()
        .collect();
    let mut draft = ContactDraft {
        name: String::new(),
        name_parts: current.name_parts.clone().or(other.name_parts.clone()),
        organization: current.organization.clone().or(other.organization.clone()),
        title: current.title.clone().or(other.title.clone()),
        birthday: current.birthday.clone().or(other.birthday.clone()),
        address: current.address.clone().or(other.address.clone()),
        note: current.note.clone().or(other.note.clone()),
        groups,
        ..ContactDraft::default()
    };
    for kind in Kind::ALL {
        *draft.elements_mut(kind) = all(kind, current.elements(kind), other.elements(kind));
    }
    let blank = current.name.trim().is_empty();
    draft.name = if blank { other.name } else { current.name };
    let sizes = Kind::ALL.map(|kind| (kind.list(), draft.elements(kind).len()));
    let mut sizes = sizes.into_iter().chain([("groups", draft.groups.len())]);
    if let Some((field, _)) = sizes.find(|(_, size)| *size > MAX_ELEMENTS) {
        let detail = format!("of both contacts are more than {MAX_ELEMENTS} together");
        return Err(InvalidContact::new(field, detail));
    }
    Ok(draft)
}

/// Those held, and of the others those that say something else.
fn all(kind: Kind, held: Vec<ElementDraft>, others: Vec<ElementDraft>) -> Vec<ElementDraft> {
    let mut known: BTreeSet<String> = held.iter().map(|it| same(kind, it)).collect();
    let mut all = held;
    for other in others {
        if known.insert(same(kind, &other)) {
            all.push(ElementDraft { id: None, ..other });
        }
    }
    all
}

/// What two elements have in common that say the same.
fn same(kind: Kind, element: &ElementDraft) -> String {
    let content = &element.content;
    match kind {
        Kind::Phone => {
            let number = element.e164.as_ref().unwrap_or(content);
            PhoneDigits::of(number).same.unwrap_or_else(|| fold(number))
        }
        Kind::Email | Kind::Address => fold(content),
        // Of a path the case matters.
        Kind::Url => content.to_owned(),
    }
}
