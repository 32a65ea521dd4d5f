//! What an offline client does to a contact: single fields and elements, each by itself, so that what others did
//! to the rest meanwhile stays.

use grapevine_crdt::{
    Cell, Dot, Entity, FieldCell, FieldKey, OutsideEdit, Value as CellValue, Verdict,
};
use serde_json::{Map, Value, json};

use super::{
    contact::{GROUP_PREFIX, NAME, SCALARS, TOUCHED},
    contact_conflict,
    contact_draft::{check_element_id, check_group, element, scalar},
    contact_element::{Element, ElementDraft, Kind},
    contact_kept::KEPT_PREFIX,
    contact_rules::{InvalidContact, MAX_ELEMENTS},
    instant::rfc3339,
    name_parts::NameParts,
    offline_edit::{Fate, LostTo},
    phone_reading::Region,
};

/// What a patch does to one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Set(Vec<u8>),
    Place(Kind, ElementDraft),
    Delete,
}

/// Changes of single attributes, by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContactPatch(Vec<(String, Change)>);

impl ContactPatch {
    /// Reads scalars (a text, or `null` to delete), the parts of the name (all of them, or `null`), and objects of elements by id and of groups by
    /// name (`null` or `false` to delete).
    pub(super) fn read(json: &Value) -> Result<Self, InvalidContact> {
        let object = json
            .as_object()
            .ok_or_else(|| InvalidContact::new("patch", "is a JSON object"))?;
        let mut changes = Vec::new();
        for (field, value) in object {
            match field.as_str() {
                "phones" => elements(Kind::Phone, value, &mut changes)?,
                "emails" => elements(Kind::Email, value, &mut changes)?,
                "urls" => elements(Kind::Url, value, &mut changes)?,
                "addresses" => elements(Kind::Address, value, &mut changes)?,
                "groups" => groups(value, &mut changes)?,
                NameParts::FIELD => {
                    let parts = NameParts::read(Some(value))?;
                    let change = parts.map_or(Change::Delete, |it| Change::Set(it.encode()));
                    changes.push((field.clone(), change));
                }
                name if SCALARS.contains(&name) => {
                    let change = match scalar(object, name)? {
                        Some(text) if name == NAME && text.trim().is_empty() => {
                            return Err(InvalidContact::new(NAME, "is not blank"));
                        }
                        Some(text) => Change::Set(text.into_bytes()),
                        None if name == NAME => {
                            return Err(InvalidContact::new(NAME, "is needed"));
                        }
                        None => Change::Delete,
                    };
                    changes.push((name.to_owned(), change));
                }
                other => {
                    return Err(InvalidContact::new(other, "is not a field to be edited"));
                }
            }
        }
        if changes.is_empty() {
            return Err(InvalidContact::new("patch", "changes nothing"));
        }
        Ok(Self(changes))
    }

    /// What becomes of it by the write `dot` in `region`; an element that is not there goes to `place`.
    pub(super) fn decide(
        &self,
        outside: &OutsideEdit<'_>,
        place: i64,
        (dot, region): (Dot, Option<Region>),
    ) -> (Vec<FieldCell>, Fate) {
        let entity = outside.entity;
        if entity.is_empty() || (!entity.is_visible() && outside.knew_of_removal()) {
            return (Vec::new(), Fate::Gone);
        }
        let (mut cells, mut lost, mut any_set) = (Vec::new(), Vec::new(), false);
        for (index, (name, change)) in self.0.iter().enumerate() {
            let place = place.saturating_add_unsigned(index as u64);
            let value = match change {
                Change::Set(bytes) => CellValue::Bytes(bytes.clone()),
                Change::Place(kind, draft) => {
                    CellValue::Bytes(placed(entity, (*kind, region), draft, place))
                }
                Change::Delete => CellValue::Tombstone,
            };
            any_set |= value != CellValue::Tombstone;
            match outside.decide(FieldKey::Attribute(name.clone()), value, dot) {
                Verdict::Written(cell) => cells.push(cell),
                Verdict::Held => {}
                Verdict::Lost(cell) => lost.push(LostTo {
                    field: shown_name(name),
                    value: shown_value(name, cell.bytes()),
                    at: rfc3339(cell.rank.time()),
                    by: cell.dot.replica.to_string(),
                }),
            }
        }
        if !cells.is_empty() && !any_set {
            // Tombstones are collected; that the contact was edited must stay known.
            let touched = FieldKey::Attribute(TOUCHED.to_owned());
            let value = CellValue::Bytes(Vec::new());
            if let Verdict::Written(cell) = outside.decide(touched, value, dot) {
                cells.push(cell);
            }
        }
        // After all that is written of itself: a write has one cell of a field.
        if !cells.is_empty() && !entity.is_visible() {
            bring_back(entity, &mut cells, dot);
        }
        let fate = match (cells.is_empty(), lost.is_empty()) {
            (false, _) => Fate::Applied(lost),
            (true, false) => Fate::Lost(lost),
            (true, true) if entity.is_visible() => Fate::AlreadyThere,
            (true, true) => Fate::Gone,
        };
        (cells, fate)
    }
}

/// Writes the whole of a hidden contact anew, beside the `cells` of an edit that brings it back. The edit goes to a
/// replica that knows of the removal, so others may have collected what is hidden: what the contact shows from
/// now on must not depend on who holds it still.
fn bring_back(entity: &Entity, cells: &mut Vec<FieldCell>, dot: Dot) {
    for (key, field) in entity.fields() {
        if key.attribute().is_none() || field.cells().all(|cell| cell.value == CellValue::Tombstone)
        {
            continue;
        }
        // Whoever removed the contact had seen these.
        let seen = field.seen();
        if let Some(written) = cells.iter_mut().find(|cell| cell.field == *key) {
            written.cell.seen.merge(&seen);
            continue;
        }
        let shown = field.shown();
        cells.push(FieldCell {
            field: key.clone(),
            cell: Cell {
                rank: shown.rank,
                dot,
                seen,
                value: shown.value.clone(),
            },
        });
    }
}

/// What becomes of a removal by the write `dot`: nothing, if something the remover had not seen would bring the
/// contact back.
pub(super) fn remove(outside: &OutsideEdit<'_>, dot: Dot) -> (Vec<FieldCell>, Fate) {
    if !outside.entity.is_visible() {
        return (Vec::new(), Fate::AlreadyThere);
    }
    let mut after = outside.entity.clone();
    let removal = outside.remove(dot);
    if let Some(cell) = &removal {
        after.merge_cell(cell.clone());
    }
    if let (Some(cell), false) = (removal, after.is_visible()) {
        return (vec![cell], Fate::Applied(Vec::new()));
    }
    let removed = after.removed();
    let unseen = after.cells().filter_map(|(key, cell)| {
        let FieldKey::Attribute(name) = key else {
            return None;
        };
        (!removed.covers(cell.dot)).then_some((name, cell))
    });
    let newest = unseen.max_by_key(|(_, cell)| (cell.rank, cell.dot));
    let lost = newest.map(|(name, cell)| LostTo {
        field: shown_name(name),
        value: shown_value(name, cell.bytes()),
        at: rfc3339(cell.rank.time()),
        by: cell.dot.replica.to_string(),
    });
    (Vec::new(), Fate::Lost(lost.into_iter().collect()))
}

/// The attribute of an element; one that is there keeps its place.
fn placed(
    entity: &Entity,
    (kind, region): (Kind, Option<Region>),
    draft: &ElementDraft,
    place: i64,
) -> Vec<u8> {
    let id = draft.id.clone().unwrap_or_default();
    let held = Element::shown(entity, kind);
    let order = held.iter().find(|element| element.id == id);
    let order = order.map_or(place, |element| element.order);
    Element::drafted((id, order), draft, &held, (kind, region))
        .encode(kind)
        .1
}

fn elements(
    kind: Kind,
    json: &Value,
    changes: &mut Vec<(String, Change)>,
) -> Result<(), InvalidContact> {
    for (id, value) in bounded(kind.list(), json)? {
        let at = format!("{}.{id}", kind.list());
        check_element_id(id).map_err(|detail| InvalidContact::new(at.as_str(), detail))?;
        let name = format!("{}{id}", kind.prefix());
        let change = if value.is_null() {
            Change::Delete
        } else {
            let draft = element(value, kind, &at)?;
            if draft.id.as_ref().is_some_and(|given| given != id) {
                return Err(InvalidContact::new(at, "has two ids"));
            }
            Change::Place(
                kind,
                ElementDraft {
                    id: Some(id.clone()),
                    ..draft
                },
            )
        };
        changes.push((name, change));
    }
    Ok(())
}

fn groups(json: &Value, changes: &mut Vec<(String, Change)>) -> Result<(), InvalidContact> {
    for (group, value) in bounded("groups", json)? {
        let at = || format!("groups.{group}");
        check_group(group).map_err(|detail| InvalidContact::new(at(), detail))?;
        let change = match value {
            Value::Bool(true) => Change::Set(Vec::new()),
            Value::Bool(false) | Value::Null => Change::Delete,
            Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                return Err(InvalidContact::new(at(), "is true, false or null"));
            }
        };
        changes.push((format!("{GROUP_PREFIX}{group}"), change));
    }
    Ok(())
}

fn bounded<'a>(field: &str, json: &'a Value) -> Result<&'a Map<String, Value>, InvalidContact> {
    let object = json.as_object();
    let object = object.ok_or_else(|| InvalidContact::new(field, "is an object"))?;
    if object.len() > MAX_ELEMENTS {
        let detail = format!("has more than {MAX_ELEMENTS} members");
        return Err(InvalidContact::new(field, detail));
    }
    Ok(object)
}

/// The name of an attribute as a patch says it: `phones.3b1f…`.
fn shown_name(attribute: &str) -> String {
    match contact_conflict::split(attribute) {
        (field, Some(element)) => format!("{field}.{element}"),
        (field, None) => field.to_owned(),
    }
}

/// The value of an attribute as a patch says it.
fn shown_value(attribute: &str, bytes: Option<&[u8]>) -> Value {
    let Some(bytes) = bytes else {
        return Value::Null;
    };
    if let Some((kind, id)) = Kind::of_attribute(attribute) {
        return Element::decode(id, bytes).map_or(Value::Null, |element| {
            Value::Object(kind.shown(element.label.as_deref(), &element.content))
        });
    }
    if attribute.starts_with(KEPT_PREFIX) {
        return contact_conflict::shown_value(attribute, bytes);
    }
    if attribute == NameParts::FIELD {
        return json!(NameParts::decode(bytes));
    }
    if attribute.starts_with(GROUP_PREFIX) {
        return Value::Bool(true);
    }
    Value::String(String::from_utf8_lossy(bytes).into_owned())
}
