//! A contact as somebody wants it: read from JSON, checked against the bounds, every complaint naming its field.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    address_parts::AddressParts,
    contact::{Contact, NAME, SCALARS},
    contact_element::{ElementDraft, Kind},
    contact_photo,
    contact_rules::{
        InvalidContact, MAX_ELEMENT_ID_CHARS, MAX_ELEMENTS, MAX_EMAIL_CHARS, MAX_GROUP_CHARS,
        MAX_LABEL_CHARS, MAX_NUMBER_CHARS, MAX_URL_CHARS, TextRule, check_birthday, scalar_rule,
    },
    name_parts::NameParts,
};

/// Fields that are shown but not written: accepted, so that what was read can be sent back, and ignored.
const READ_ONLY: [&str; 6] = [
    contact_photo::FIELD,
    "created_at",
    "updated_at",
    "revived",
    "conflicts",
    "vcard",
];

/// Everything a user writes of a contact. It is within the bounds if it came from [`ContactDraft::from_json`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContactDraft {
    /// What the person is called; not blank.
    pub name: String,
    /// The name in its parts.
    pub name_parts: Option<NameParts>,
    /// Where the person works.
    pub organization: Option<String>,
    /// As what.
    pub title: Option<String>,
    /// `YYYY-MM-DD` or `--MM-DD`.
    pub birthday: Option<String>,
    /// A postal address.
    pub address: Option<String>,
    /// Anything.
    pub note: Option<String>,
    /// The numbers, in order.
    pub phones: Vec<ElementDraft>,
    /// The addresses, in order.
    pub emails: Vec<ElementDraft>,
    /// The web addresses, in order.
    pub urls: Vec<ElementDraft>,
    /// The postal addresses, in order.
    pub addresses: Vec<ElementDraft>,
    /// The names of the groups.
    pub groups: BTreeSet<String>,
    /// Whether the photo goes; else it stays.
    pub removes_photo: bool,
}

impl ContactDraft {
    /// Reads the whole contact `id` from JSON. An empty text counts as none; `null` too. Without a name it is called what
    /// the parts of its name say.
    pub fn from_json(id: Option<&str>, json: &Value) -> Result<Self, InvalidContact> {
        let object = json
            .as_object()
            .ok_or_else(|| InvalidContact::new("body", "is a JSON object"))?;
        check_fields(object, id)?;
        let mut draft = Self {
            name_parts: NameParts::read(object.get(NameParts::FIELD))?,
            phones: elements(object, Kind::Phone)?,
            emails: elements(object, Kind::Email)?,
            urls: elements(object, Kind::Url)?,
            addresses: elements(object, Kind::Address)?,
            groups: groups(object)?,
            ..Self::default()
        };
        for field in SCALARS {
            draft.set_scalar(field, scalar(object, field)?);
        }
        if let (true, Some(parts)) = (draft.name.is_empty(), &draft.name_parts) {
            draft.name = parts.composed();
        }
        if draft.name.trim().is_empty() {
            let detail = if draft.name.is_empty() {
                "is needed"
            } else {
                "is not blank"
            };
            return Err(InvalidContact::new(NAME, detail));
        }
        Ok(draft)
    }

    /// `current` after the JSON merge patch `patch` (RFC 7396). What is shown and cannot be written is ignored, but for a
    /// photo that is deleted.
    pub fn patched(current: &Contact, patch: &Value) -> Result<Self, InvalidContact> {
        let patch = patch
            .as_object()
            .ok_or_else(|| InvalidContact::new("body", "is a JSON object"))?;
        check_fields(patch, Some(&current.id))?;
        let mut target = serde_json::to_value(current)
            .map_err(|error| InvalidContact::new("body", error.to_string()))?;
        for (field, change) in patch {
            merge_patch(&mut target[field.as_str()], change);
        }
        // The read-only fields of the patch were ignored above by name; here they are ours again.
        if let Some(object) = target.as_object_mut() {
            object.retain(|field, _| !READ_ONLY.contains(&field.as_str()));
        }
        let mut draft = Self::from_json(Some(&current.id), &target)?;
        draft.removes_photo = patch.get(contact_photo::FIELD).is_some_and(Value::is_null);
        Ok(draft)
    }

    pub(super) fn scalar(&self, field: &str) -> Option<&str> {
        match field {
            "name" => Some(self.name.as_str()),
            "organization" => self.organization.as_deref(),
            "title" => self.title.as_deref(),
            "birthday" => self.birthday.as_deref(),
            "address" => self.address.as_deref(),
            "note" => self.note.as_deref(),
            _ => None,
        }
    }

    /// A list of elements.
    #[must_use]
    pub(super) const fn elements(&self, kind: Kind) -> &Vec<ElementDraft> {
        match kind {
            Kind::Phone => &self.phones,
            Kind::Email => &self.emails,
            Kind::Url => &self.urls,
            Kind::Address => &self.addresses,
        }
    }

    pub(super) const fn elements_mut(&mut self, kind: Kind) -> &mut Vec<ElementDraft> {
        match kind {
            Kind::Phone => &mut self.phones,
            Kind::Email => &mut self.emails,
            Kind::Url => &mut self.urls,
            Kind::Address => &mut self.addresses,
        }
    }

    pub(super) fn set_scalar(&mut self, field: &str, text: Option<String>) {
        match field {
            "name" => self.name = text.unwrap_or_default(),
            "organization" => self.organization = text,
            "title" => self.title = text,
            "birthday" => self.birthday = text,
            "address" => self.address = text,
            "note" => self.note = text,
            _ => {}
        }
    }
}

/// What is wrong with `text` as the scalar `field`, if anything is.
pub(super) fn check_scalar(field: &str, text: &str) -> Result<(), String> {
    if field == "birthday" {
        return check_birthday(text);
    }
    scalar_rule(field).check(text)
}

/// What is wrong with `text` as the content of an element, if anything is.
pub(super) fn check_content(kind: Kind, text: &str) -> Result<(), String> {
    let max_chars = match kind {
        Kind::Phone => MAX_NUMBER_CHARS,
        Kind::Email => MAX_EMAIL_CHARS,
        Kind::Url => MAX_URL_CHARS,
        Kind::Address => return check_address(text),
    };
    if text.trim().is_empty() {
        return Err("is not blank".to_owned());
    }
    TextRule::line(max_chars).check(text)
}

fn check_address(content: &str) -> Result<(), String> {
    let address = AddressParts::of_content(content);
    let mut parts = address.parts().into_iter().flatten().peekable();
    if parts.peek().is_none() {
        return Err("has no part".to_owned());
    }
    parts.try_for_each(AddressParts::check)
}

pub(super) fn check_label(text: &str) -> Result<(), String> {
    TextRule::line(MAX_LABEL_CHARS).check(text)
}

pub(super) fn check_group(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("is not blank".to_owned());
    }
    TextRule::line(MAX_GROUP_CHARS).check(text)
}

/// RFC 7396, section 2, but for one thing: the caller has seen to it that the target is there.
pub(super) fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (name, change) in patch {
        if change.is_null() {
            if let Some(object) = target.as_object_mut() {
                object.remove(name);
            }
        } else {
            merge_patch(&mut target[name.as_str()], change);
        }
    }
}

fn check_fields(object: &Map<String, Value>, id: Option<&str>) -> Result<(), InvalidContact> {
    for (field, value) in object {
        let known = SCALARS.contains(&field.as_str())
            || READ_ONLY.contains(&field.as_str())
            || ["groups", NameParts::FIELD].contains(&field.as_str())
            || Kind::ALL.iter().any(|kind| kind.list() == field);
        if field == "id" {
            let given = value
                .as_str()
                .and_then(|text| super::contact_rules::contact_key(text).ok());
            if id.is_none() || given.as_deref() != id {
                return Err(InvalidContact::new(
                    "id",
                    "is given by the path, and never changes",
                ));
            }
        } else if !known {
            return Err(InvalidContact::new(
                field.as_str(),
                "is not a field of a contact",
            ));
        }
    }
    Ok(())
}

/// The text of a field; `None` if it is missing, null or empty.
pub(super) fn text<'a>(
    value: Option<&'a Value>,
    field: &str,
) -> Result<Option<&'a str>, InvalidContact> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(InvalidContact::new(field, "is a string"))
        }
    }
}

pub(super) fn scalar(
    object: &Map<String, Value>,
    field: &str,
) -> Result<Option<String>, InvalidContact> {
    let Some(text) = text(object.get(field), field)? else {
        return Ok(None);
    };
    check_scalar(field, text).map_err(|detail| InvalidContact::new(field, detail))?;
    Ok(Some(text.to_owned()))
}

fn list<'a>(object: &'a Map<String, Value>, field: &str) -> Result<&'a [Value], InvalidContact> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) if items.len() > MAX_ELEMENTS => Err(InvalidContact::new(
            field,
            format!("has more than {MAX_ELEMENTS} items"),
        )),
        Some(Value::Array(items)) => Ok(items),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            Err(InvalidContact::new(field, "is an array"))
        }
    }
}

fn elements(object: &Map<String, Value>, kind: Kind) -> Result<Vec<ElementDraft>, InvalidContact> {
    let mut ids = BTreeSet::new();
    let mut drafts = Vec::new();
    for (index, item) in list(object, kind.list())?.iter().enumerate() {
        let at = format!("{}[{index}]", kind.list());
        let draft = element(item, kind, &at)?;
        if draft.id.as_ref().is_some_and(|id| !ids.insert(id.clone())) {
            return Err(InvalidContact::new(format!("{at}.id"), "is there twice"));
        }
        drafts.push(draft);
    }
    Ok(drafts)
}

pub(super) fn element(item: &Value, kind: Kind, at: &str) -> Result<ElementDraft, InvalidContact> {
    let object = item
        .as_object()
        .ok_or_else(|| InvalidContact::new(at, "is an object"))?;
    let is_known = |field: &str| {
        let fields = [&["id", "label"], kind.fields(), kind.read_only()];
        fields.iter().any(|fields| fields.contains(&field))
    };
    if let Some(field) = object.keys().find(|field| !is_known(field)) {
        return Err(InvalidContact::new(
            inside(at, field),
            "is not a field here",
        ));
    }
    let read = |field: &str, check: &dyn Fn(&str) -> Result<(), String>| {
        let path = inside(at, field);
        let Some(text) = text(object.get(field), &path)? else {
            return Ok(None);
        };
        check(text).map_err(|detail| InvalidContact::new(path, detail))?;
        Ok(Some(text.to_owned()))
    };
    Ok(ElementDraft {
        id: read("id", &check_element_id)?,
        label: read("label", &check_label)?,
        content: match kind {
            Kind::Phone | Kind::Email | Kind::Url => {
                let field = kind.fields()[0];
                read(field, &|text| check_content(kind, text))?
                    .ok_or_else(|| InvalidContact::new(inside(at, field), "is needed"))?
            }
            Kind::Address => AddressParts::read(object, |part| inside(at, part))?.content(),
        },
        e164: None,
    })
}

/// The path of a field within `at`; nothing is around what is alone.
fn inside(at: &str, field: &str) -> String {
    if at.is_empty() {
        field.to_owned()
    } else {
        format!("{at}.{field}")
    }
}

/// What is wrong with `text` as the id of an element, if anything is.
pub fn check_element_id(text: &str) -> Result<(), String> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if plain && (1..=MAX_ELEMENT_ID_CHARS).contains(&text.len()) {
        Ok(())
    } else {
        Err(format!(
            "is 1 to {MAX_ELEMENT_ID_CHARS} of the characters a-z, A-Z, 0-9, -, _, ."
        ))
    }
}

fn groups(object: &Map<String, Value>) -> Result<BTreeSet<String>, InvalidContact> {
    let mut names = BTreeSet::new();
    for (index, item) in list(object, "groups")?.iter().enumerate() {
        let at = format!("groups[{index}]");
        let name = item
            .as_str()
            .ok_or_else(|| InvalidContact::new(at.as_str(), "is a string"))?;
        check_group(name).map_err(|detail| InvalidContact::new(at, detail))?;
        names.insert(name.to_owned());
    }
    Ok(names)
}
