//! Edits of contacts: from what is held and what is wanted to the cells of one write.
//!
//! Only what changes is written, so that two people who edit different fields offline both keep their edits.
//! Two exceptions, both after a removal: a field whose shown write a removal covers is written again if it is
//! wanted (the removal would hide it), with its old time if the contact had come back; and everything hidden that
//! is not wanted is deleted (it would come back with the rest).

use std::collections::BTreeMap;

use grapevine_crdt::{Dot, Entity, FieldCell, FieldKey, LwwMap, Timestamp, Value, VersionVector};

use super::{
    contact::{
        ABSORBED_PREFIX, CREATED, Contact, GROUP_PREFIX, REQUEST, SCALARS, SOURCE, TOUCHED,
        encode_time, request,
    },
    contact_draft::ContactDraft,
    contact_element::{Element, Kind, place},
    contact_kept::KEPT_PREFIX,
    contact_photo::photos,
    name_parts::NameParts,
    phone_reading::Region,
};

/// Names and values of attributes.
pub(super) type Attributes = BTreeMap<String, Vec<u8>>;

/// The write that an edit is.
#[derive(Clone, Copy, Debug)]
pub struct WriteStamp<'a> {
    /// Its name.
    pub dot: Dot,
    /// Its time.
    pub time: Timestamp,
    /// What was collected of the partition, if the contact may have existed before: then what was collected
    /// of it must not come back with the write. `None` under an id that was never used.
    pub collected: Option<&'a VersionVector>,
    /// Where phones are read as they are written there.
    pub region: Option<Region>,
}

/// What an edit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The contact was not visible before.
    Created,
    /// It was, and now differs.
    Updated,
    /// It was as wanted; nothing is written.
    Unchanged,
}

/// What became of a request to make a contact once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It is made now.
    Made(Vec<FieldCell>),
    /// The same request made it before.
    Repeated,
    /// It was made before, and deleted since.
    Deleted,
    /// Another request made it under the same key.
    KeyReused,
}

/// Makes the contact read as `draft`. Its photo, and what an imported card left in it, stay, unless it was removed.
#[must_use]
pub fn put(
    entity: &Entity,
    draft: &ContactDraft,
    stamp: WriteStamp<'_>,
) -> (Vec<FieldCell>, Change) {
    let mut wanted = wanted(entity, draft, stamp.region);
    if entity.is_visible() {
        keep(entity, &mut wanted, &[KEPT_PREFIX, SOURCE, REQUEST]);
        if draft.removes_photo {
            for name in photos(entity) {
                wanted.remove(&name);
            }
        }
    }
    diff(entity, wanted, stamp)
}

/// Makes the contact once for `request` (a hash of what was asked), however often it is asked for.
#[must_use]
pub fn create(
    entity: &Entity,
    draft: &ContactDraft,
    request_hash: &[u8],
    stamp: WriteStamp<'_>,
) -> Creation {
    if entity.is_visible() {
        return if request(entity) == Some(request_hash) {
            Creation::Repeated
        } else {
            Creation::KeyReused
        };
    }
    if !entity.is_empty() {
        return Creation::Deleted;
    }
    let mut wanted = wanted(entity, draft, stamp.region);
    wanted.insert(REQUEST.to_owned(), request_hash.to_vec());
    Creation::Made(diff(entity, wanted, stamp).0)
}

/// Removes the contact as it is seen; no cells if it is not visible.
#[must_use]
pub fn delete(entity: &Entity, dot: Dot) -> Vec<FieldCell> {
    if entity.is_visible() {
        LwwMap::new(entity).remove(dot)
    } else {
        Vec::new()
    }
}

/// The contact that `entity` shows once `cells` are merged.
#[must_use]
pub fn after(id: &str, entity: &Entity, cells: &[FieldCell]) -> Option<Contact> {
    let mut entity = entity.clone();
    for cell in cells {
        entity.merge_cell(cell.clone());
    }
    Contact::read(id, &entity)
}

/// The attributes that make `entity` read as `draft`, if that is written in `region`.
pub(super) fn wanted(entity: &Entity, draft: &ContactDraft, region: Option<Region>) -> Attributes {
    let mut wanted = Attributes::new();
    for field in SCALARS {
        if let Some(text) = draft.scalar(field) {
            wanted.insert(field.to_owned(), text.as_bytes().to_vec());
        }
    }
    if let Some(parts) = &draft.name_parts {
        wanted.insert(NameParts::FIELD.to_owned(), parts.encode());
    }
    for kind in Kind::ALL {
        let held = Element::shown(entity, kind);
        let placed = place(&held, draft.elements(kind), kind, region);
        wanted.extend(placed.into_iter().map(|element| element.encode(kind)));
    }
    for group in &draft.groups {
        wanted.insert(format!("{GROUP_PREFIX}{group}"), Vec::new());
    }
    wanted
}

/// Adds what `entity` shows under names that start with one of `prefixes` and are not wanted otherwise.
pub(super) fn keep(entity: &Entity, wanted: &mut Attributes, prefixes: &[&str]) {
    for (name, bytes) in LwwMap::new(entity).iter() {
        if prefixes.iter().any(|prefix| name.starts_with(prefix)) && !wanted.contains_key(name) {
            wanted.insert(name.to_owned(), bytes.to_vec());
        }
    }
}

/// The cells of the write `stamp` after which `entity` shows `wanted`, and bookkeeping, and nothing else.
pub(super) fn diff(
    entity: &Entity,
    mut wanted: Attributes,
    stamp: WriteStamp<'_>,
) -> (Vec<FieldCell>, Change) {
    let map = LwwMap::new(entity);
    let visible = entity.is_visible();
    if visible {
        keep(entity, &mut wanted, &[CREATED, TOUCHED, ABSORBED_PREFIX]);
    } else {
        // A contact that is restored keeps when it was made.
        let created = wanted.entry(CREATED.to_owned());
        created.or_insert_with(|| encode_time(stamp.time));
    }
    let mut cells = Vec::new();
    for (name, value) in &wanted {
        if must_write(entity, name, value) {
            let time = asserted_at(entity, name, value).unwrap_or(stamp.time);
            cells.extend(map.set(name, value, stamp.dot, time));
        }
    }
    let any_set = !cells.is_empty();
    for name in unwanted(entity, &wanted, visible) {
        cells.extend(map.unset(name, stamp.dot, stamp.time));
    }
    if !any_set && !cells.is_empty() {
        // Tombstones are collected; that the contact was edited must stay known.
        cells.extend(map.set(TOUCHED, &[], stamp.dot, stamp.time));
    }
    if let (false, Some(collected)) = (cells.is_empty(), stamp.collected) {
        cells.extend(map.clear(collected, stamp.dot));
    }
    let change = match (visible, cells.is_empty()) {
        (false, _) => Change::Created,
        (true, false) => Change::Updated,
        (true, true) => Change::Unchanged,
    };
    (cells, change)
}

/// When a value was set that is written again only because a removal covers it: that is no edit of it, and an edit
/// made since, unseen, must win over it as before. `None` if it is an edit.
fn asserted_at(entity: &Entity, name: &str, value: &[u8]) -> Option<Timestamp> {
    let field = entity.field(&FieldKey::Attribute(name.to_owned()))?;
    let shown = field.shown();
    (entity.is_visible() && shown.bytes() == Some(value)).then(|| shown.rank.time())
}

fn must_write(entity: &Entity, name: &str, value: &[u8]) -> bool {
    let field = entity.field(&FieldKey::Attribute(name.to_owned()));
    field.is_none_or(|field| {
        let shown = field.shown();
        shown.bytes() != Some(value) || entity.removed().covers(shown.dot)
    })
}

/// The attributes that must be deleted: what is shown and not wanted; in a hidden contact, whatever holds
/// anything.
fn unwanted<'a>(
    entity: &'a Entity,
    wanted: &'a Attributes,
    visible: bool,
) -> impl Iterator<Item = &'a str> {
    entity.fields().filter_map(move |(key, field)| {
        let name = key.attribute().filter(|name| !wanted.contains_key(*name))?;
        let shown = field.shown().value != Value::Tombstone;
        let hidden = !visible && field.cells().any(|cell| cell.value != Value::Tombstone);
        (shown || hidden).then_some(name)
    })
}
