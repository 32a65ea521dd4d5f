//! The conflicts of a contact: what lost a merge without having been seen by what is shown, and how it is
//! settled.
//!
//! They are read from the cells alone, in the order of the fields and then of the cells, so every node that
//! holds the same cells lists the same ones in the same order. A value that reads like the shown one is no
//! conflict, whoever wrote it: nothing would be lost with it. Nor is a deletion that lost to a later edit: its
//! tombstone is collected by each replica in its own time, and every node must list the same.
//!
//! To settle one is an edit of its field that has seen all of it, so it settles the whole field, everywhere.

use grapevine_crdt::{
    Cell, Dot, Entity, FieldCell, FieldKey, LwwMap, Rank, ReplicaId, Timestamp, Value,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::{
    contact::{GROUP_PREFIX, TOUCHED, is_bookkeeping},
    contact_element::{Element, Kind},
    contact_kept::{KEPT_PREFIX, KeptProperty},
    contact_photo::{self, PHOTO},
    name_parts::NameParts,
    short_hash,
};

/// One write to a field of a contact, as users see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// What it says, in the shape that the contact shows; null for a deletion.
    pub value: Json,
    /// Whether it deleted the field.
    pub deleted: bool,
    /// The replica that wrote it.
    pub replica: ReplicaId,
    /// When.
    pub at: Timestamp,
}

/// A value that lost a merge unseen, and what is shown in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Names it among the conflicts of its contact, on every node; lower-case hexadecimal.
    pub id: String,
    /// Where it stands in the list.
    pub place: Place,
    /// The field of the contact, such as `note` or `phones`.
    pub field: String,
    /// Which element of the field, if it has elements: the id of a phone, an e-mail, a web or a postal address, the name of a group.
    pub element: Option<String>,
    /// What lost.
    pub lost: Version,
    /// What is shown.
    pub shown: Version,
}

/// Where a conflict stands among those of its contact: by attribute, then the later write first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    attribute: String,
    order: core::cmp::Reverse<(Rank, Dot)>,
}

/// The conflicts of the contact that `entity` shows, in the order of their places; none if it is hidden.
#[must_use]
pub fn conflicts(entity: &Entity) -> Vec<Conflict> {
    if !entity.is_visible() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (key, field) in entity.fields() {
        let Some(name) = key.attribute().filter(|name| !is_bookkeeping(name)) else {
            continue;
        };
        if field.conflicts().is_empty() {
            continue;
        }
        let (shown_field, element) = split(name);
        let shown = Version::read(name, field.shown());
        for cell in field.conflicts() {
            let lost = Version::read(name, cell);
            if lost.deleted || lost.value == shown.value {
                continue;
            }
            let place = Place {
                attribute: name.to_owned(),
                order: core::cmp::Reverse((cell.rank, cell.dot)),
            };
            found.push(Conflict {
                id: place.id(),
                place,
                field: shown_field.to_owned(),
                element: element.map(str::to_owned),
                lost,
                shown: shown.clone(),
            });
        }
    }
    found
}

/// How a conflict is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// What lost is shown from now on.
    Choose,
    /// What is shown stays.
    Dismiss,
}

/// The cells of the write `dot` at `time` that settles the conflict `id`, and with it all others of its field; `None`
/// if there is no such conflict (any more).
#[must_use]
pub fn settle(
    entity: &Entity,
    id: &str,
    settlement: Settlement,
    dot: Dot,
    time: Timestamp,
) -> Option<Vec<FieldCell>> {
    let conflict = conflicts(entity).into_iter().find(|found| found.id == id)?;
    let name = conflict.place.attribute;
    let field = entity.field(&FieldKey::Attribute(name.clone()))?;
    let wanted = match settlement {
        Settlement::Choose => conflict.place.order.0.1,
        Settlement::Dismiss => field.shown().dot,
    };
    let chosen = field.cells().find(|cell| cell.dot == wanted)?;
    let map = LwwMap::new(entity);
    Some(match chosen.bytes() {
        Some(bytes) => map.set(&name, bytes, dot, time),
        // Tombstones are collected; that the contact was edited must stay known.
        None => [
            map.unset(&name, dot, time),
            map.set(TOUCHED, &[], dot, time),
        ]
        .concat(),
    })
}

impl Place {
    fn id(&self) -> String {
        let (rank, dot) = self.order.0;
        let mut bytes = dot.replica.as_bytes().to_vec();
        bytes.extend_from_slice(&dot.seq.get().to_be_bytes());
        bytes.extend_from_slice(&rank.get().to_be_bytes());
        bytes.extend_from_slice(self.attribute.as_bytes());
        format!("{:032x}", short_hash(&bytes))
    }
}

impl Version {
    fn read(attribute: &str, cell: &Cell) -> Self {
        Self {
            value: cell
                .bytes()
                .map_or(Json::Null, |bytes| shown_value(attribute, bytes)),
            deleted: cell.value == Value::Tombstone,
            replica: cell.dot.replica,
            at: cell.rank.time(),
        }
    }
}

/// The field and the element that an attribute is.
pub(super) fn split(attribute: &str) -> (&str, Option<&str>) {
    if attribute == PHOTO {
        return (contact_photo::FIELD, None);
    }
    attribute
        .split_once('/')
        .map_or((attribute, None), |(field, element)| (field, Some(element)))
}

/// The value of an attribute as the contact shows it; what cannot be read as that is shown as text, for it
/// must not be passed over.
pub(super) fn shown_value(attribute: &str, bytes: &[u8]) -> Json {
    let text = || Json::String(String::from_utf8_lossy(bytes).into_owned());
    if let Some((kind, id)) = Kind::of_attribute(attribute) {
        return Element::decode(id, bytes).map_or_else(text, |element| {
            Json::Object(kind.shown(element.label.as_deref(), &element.content))
        });
    }
    if attribute == NameParts::FIELD {
        return NameParts::decode(bytes).map_or_else(text, |parts| json!(parts));
    }
    if let Some(group) = attribute.strip_prefix(GROUP_PREFIX) {
        return Json::String(group.to_owned());
    }
    if attribute.starts_with(KEPT_PREFIX) {
        return KeptProperty::decode(bytes).map_or_else(text, |kept| match attribute {
            PHOTO => contact_photo::value(&kept),
            _ => Json::String(kept.line),
        });
    }
    text()
}
