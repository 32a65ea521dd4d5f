//! What the columns of a file mean.

use std::collections::BTreeMap;

use super::super::contact_element::Kind;

/// The place of what stands before a name.
const PREFIX: usize = 3;

/// What a column means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Id,
    /// A scalar of a contact, the name among them.
    Scalar(&'static str),
    /// A part of the name, by its place in vCard's `N`.
    NamePart(usize),
    /// A part of the address of this name, by its place in vCard's `ADR`; `None` is the whole.
    Address(String, Option<usize>),
    Groups,
    /// The content of an element of this name, and its label if the column says it.
    Element(Kind, String, Option<String>),
    /// The label of the element, or of the address, of this name.
    Label(Kind, String),
}

/// What the caller says of columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnMap(BTreeMap<String, Option<Column>>);

/// Why a map cannot be read. No state changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a map is Column=field;Column=field, with the fields id, name, prefix, given, middle, family, suffix, organization, \
     title, birthday, address, note, groups, phone, phone:label, email, email:label, url, url:label, or - for none; not {0:?}"
)]
pub struct InvalidMap(String);

impl ColumnMap {
    /// Reads `Column=field;Column=field`.
    pub fn read(text: &str) -> Result<Self, InvalidMap> {
        let mut map = BTreeMap::new();
        for pair in text.split(';').filter(|pair| !pair.trim().is_empty()) {
            let wrong = || InvalidMap(pair.to_owned());
            let (name, field) = pair.rsplit_once('=').ok_or_else(wrong)?;
            let (field, label) = match field.trim().split_once(':') {
                Some((field, label)) => (field, Some(label.to_owned())),
                None => (field.trim(), None),
            };
            let slot = format!("map {}", map.len());
            let column = match (field, label) {
                ("-", None) => None,
                ("phone", label) => Some(Column::Element(Kind::Phone, slot, label)),
                ("email", label) => Some(Column::Element(Kind::Email, slot, label)),
                ("url", label) => Some(Column::Element(Kind::Url, slot, label)),
                (field, None) => Some(own(field).ok_or_else(wrong)?),
                (_, Some(_)) => return Err(wrong()),
            };
            map.insert(key(name), column);
        }
        Ok(Self(map))
    }

    /// The first column of the map that `header` lacks.
    pub(super) fn missing(&self, header: &[String]) -> Option<&str> {
        let known: Vec<String> = header.iter().map(|name| key(name)).collect();
        let mut named = self.0.keys();
        named.find(|name| !known.contains(name)).map(String::as_str)
    }

    /// What each column of `header` means; `None` if that is not known.
    pub(super) fn columns(&self, header: &[String]) -> Vec<Option<Column>> {
        let keys: Vec<String> = header.iter().map(|name| key(name)).collect();
        // Outlook calls `Title` what stands before a name.
        let is_outlook = keys.iter().any(|key| key == "job title");
        keys.iter()
            .map(|key| match self.0.get(key) {
                Some(said) => said.clone(),
                None if is_outlook && key == "title" => Some(Column::NamePart(PREFIX)),
                None => recognised(key),
            })
            .collect()
    }
}

/// A name of a column, however it is written.
fn key(name: &str) -> String {
    name.trim().to_lowercase()
}

fn own(field: &str) -> Option<Column> {
    Some(match field {
        "id" => Column::Id,
        "name" => Column::Scalar("name"),
        "organization" => Column::Scalar("organization"),
        "title" => Column::Scalar("title"),
        "birthday" => Column::Scalar("birthday"),
        "note" => Column::Scalar("note"),
        "address" => Column::Address("address".to_owned(), None),
        "groups" => Column::Groups,
        "family" => Column::NamePart(0),
        "given" => Column::NamePart(1),
        "middle" => Column::NamePart(2),
        "prefix" => Column::NamePart(PREFIX),
        "suffix" => Column::NamePart(4),
        _ => return None,
    })
}

fn recognised(key: &str) -> Option<Column> {
    let element = |kind, label: &str| {
        let label = Some(label).filter(|label| !label.is_empty());
        Some(Column::Element(
            kind,
            key.to_owned(),
            label.map(str::to_owned),
        ))
    };
    Some(match key {
        "uid" => Column::Id,
        "full name" | "display name" | "formatted name" => Column::Scalar("name"),
        "name prefix" => Column::NamePart(PREFIX),
        "first name" | "given name" => Column::NamePart(1),
        "middle name" | "additional name" => Column::NamePart(2),
        "last name" | "family name" | "surname" => Column::NamePart(0),
        "name suffix" => Column::NamePart(4),
        "company" | "organization name" | "organization 1 - name" => Column::Scalar("organization"),
        "job title" | "organization title" | "organization 1 - title" => Column::Scalar("title"),
        "notes" => Column::Scalar("note"),
        "labels" | "categories" | "group membership" => Column::Groups,
        "phone" | "primary phone" | "other phone" | "telephone" => {
            return element(Kind::Phone, if key == "other phone" { "other" } else { "" });
        }
        "business phone" | "business phone 2" | "company main phone" => {
            return element(Kind::Phone, "work");
        }
        "home phone" | "home phone 2" => return element(Kind::Phone, "home"),
        "mobile phone" | "mobile" => return element(Kind::Phone, "cell"),
        "business fax" => return element(Kind::Phone, "work fax"),
        "home fax" => return element(Kind::Phone, "home fax"),
        "pager" => return element(Kind::Phone, "pager"),
        "car phone" => return element(Kind::Phone, "car"),
        "email" | "e-mail" | "e-mail address" | "email address" | "e-mail 2 address"
        | "e-mail 3 address" => return element(Kind::Email, ""),
        "web page" | "website" | "business web page" | "url" => return element(Kind::Url, ""),
        "personal web page" => return element(Kind::Url, "home"),
        _ => return own(key).or_else(|| numbered(key)).or_else(|| address(key)),
    })
}

/// `Phone 1 - Value` and the like, as Google writes it.
fn numbered(key: &str) -> Option<Column> {
    let (slot, what) = key.split_once(" - ")?;
    let (list, _) = slot.rsplit_once(' ')?;
    if list == "address" {
        let part = match what {
            "formatted" => None,
            "po box" => Some(0),
            "extended address" => Some(1),
            "street" => Some(2),
            "city" => Some(3),
            "region" => Some(4),
            "postal code" => Some(5),
            "country" => Some(6),
            "label" | "type" => return Some(Column::Label(Kind::Address, slot.to_owned())),
            _ => return None,
        };
        return Some(Column::Address(slot.to_owned(), part));
    }
    let kind = match list {
        "phone" => Kind::Phone,
        "e-mail" | "email" => Kind::Email,
        "website" => Kind::Url,
        _ => return None,
    };
    match what {
        "value" => Some(Column::Element(kind, slot.to_owned(), None)),
        "label" | "type" => Some(Column::Label(kind, slot.to_owned())),
        _ => None,
    }
}

/// `Home Street` and the like, as Outlook writes it.
fn address(key: &str) -> Option<Column> {
    let (whose, part) = key.split_once(' ')?;
    if !["home", "business", "other"].contains(&whose) {
        return None;
    }
    let part = match part {
        "address po box" | "po box" => 0,
        "street" => 2,
        "city" => 3,
        "state" => 4,
        "postal code" => 5,
        "country" | "country/region" => 6,
        _ => return None,
    };
    Some(Column::Address(whose.to_owned(), Some(part)))
}
