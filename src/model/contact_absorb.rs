//! Joining two contacts into one.
//!
//! The other is removed by another write, later: whoever is cut off between the two has both, and asks again. So that
//! who asks again after that is told that it is done, the contact remembers whom it absorbed.

use std::collections::BTreeSet;

use grapevine_crdt::{Entity, FieldCell, LwwMap};

use super::{
    contact::{ABSORBED_PREFIX, Contact, Phone, REQUEST, SOURCE},
    contact_draft::ContactDraft,
    contact_edit::{WriteStamp, diff, keep, wanted},
    contact_element::ElementDraft,
    contact_kept::{KEPT_PREFIX, KeptProperty, MAX_KEPT_BYTES, MAX_KEPT_PROPERTIES},
    contact_rules::{InvalidContact, MAX_ELEMENTS},
    fold::fold,
    phone_digits::PhoneDigits,
};

/// How many contacts one contact remembers to have absorbed.
pub const MAX_ABSORBED: usize = 100;

/// Properties of which a card has one.
const SINGLE: [&str; 9] = [
    "VERSION", "N", "FN", "UID", "REV", "PRODID", "BDAY", "GENDER", "KIND",
];

/// The cells of the write `stamp` that brings into the contact that `entity` shows what `other` shows under the id
/// `other_id`: values that it lacks; phones and e-mails whose number or address it lacks; groups; and what an imported
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
    let same_number = |phone: &Phone| {
        let number = phone.e164.as_ref().unwrap_or(&phone.number);
        PhoneDigits::of(number).same.unwrap_or_else(|| fold(number))
    };
    let mut phones: Vec<ElementDraft> = Vec::new();
    let mut known = BTreeSet::new();
    for (is_held, phone) in flagged(current.phones, other.phones) {
        if known.insert(same_number(&phone)) || is_held {
            phones.push(ElementDraft {
                id: is_held.then_some(phone.id),
                label: phone.label,
                content: phone.number,
                e164: phone.e164,
            });
        }
    }
    let mut emails: Vec<ElementDraft> = Vec::new();
    let mut known = BTreeSet::new();
    for (is_held, email) in flagged(current.emails, other.emails) {
        if known.insert(fold(&email.address)) || is_held {
            emails.push(ElementDraft {
                id: is_held.then_some(email.id),
                label: email.label,
                content: email.address,
                e164: None,
            });
        }
    }
    let groups: BTreeSet<String> = current.groups.into_iter().chain(other.groups).collect();
    let sizes = [
        ("phones", phones.len()),
        ("emails", emails.len()),
        ("groups", groups.len()),
    ];
    if let Some((field, _)) = sizes.into_iter().find(|(_, size)| *size > MAX_ELEMENTS) {
        let detail = format!("of both contacts are more than {MAX_ELEMENTS} together");
        return Err(InvalidContact::new(field, detail));
    }
    Ok(ContactDraft {
        name: if current.name.trim().is_empty() {
            other.name
        } else {
            current.name
        },
        organization: current.organization.or(other.organization),
        title: current.title.or(other.title),
        birthday: current.birthday.or(other.birthday),
        address: current.address.or(other.address),
        note: current.note.or(other.note),
        phones,
        emails,
        groups,
    })
}

/// Those held, then the others.
fn flagged<T>(held: Vec<T>, others: Vec<T>) -> impl Iterator<Item = (bool, T)> {
    let held = held.into_iter().map(|item| (true, item));
    held.chain(others.into_iter().map(|item| (false, item)))
}
