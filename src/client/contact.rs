//! A contact, as it is read and as it is written.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A phone of a contact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phone {
    /// Unique in the contact; the node gives one if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub label: Option<String>,
    /// The number as it is written.
    pub number: String,
    /// The number after E.164, as the node that wrote it read it; what is sent of it is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e164: Option<String>,
}

/// An e-mail address of a contact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Email {
    /// Unique in the contact; the node gives one if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub label: Option<String>,
    /// The address as it is written.
    pub address: String,
}

/// A web address of a contact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Url {
    /// Unique in the contact; the node gives one if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub label: Option<String>,
    /// The address as it is written.
    pub url: String,
}

/// A postal address of a contact; it has one of its parts at least.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostalAddress {
    /// Unique in the contact; the node gives one if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub label: Option<String>,
    /// With the number of the house.
    #[serde(default)]
    pub street: Option<String>,
    /// A town or a village.
    #[serde(default)]
    pub locality: Option<String>,
    /// A state or a province.
    #[serde(default)]
    pub region: Option<String>,
    /// As it is written there.
    #[serde(default)]
    pub postal_code: Option<String>,
    /// Its name.
    #[serde(default)]
    pub country: Option<String>,
    /// A post office box.
    #[serde(default)]
    pub po_box: Option<String>,
    /// An apartment, a floor.
    #[serde(default)]
    pub extended: Option<String>,
}

/// A name in its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameParts {
    /// Of the family.
    #[serde(default)]
    pub family: Option<String>,
    /// Of the person.
    #[serde(default)]
    pub given: Option<String>,
    /// Of the person too, such as a middle name.
    #[serde(default)]
    pub additional: Option<String>,
    /// What stands before the name.
    #[serde(default)]
    pub prefix: Option<String>,
    /// What stands behind it.
    #[serde(default)]
    pub suffix: Option<String>,
}

/// What can be written of a contact. Only the name is needed, or parts of it; `docs/api.md` tells the bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactDraft {
    /// What the person is called; if it is empty, what the parts of the name say.
    #[serde(default)]
    pub name: String,
    /// The name in its parts.
    #[serde(default)]
    pub name_parts: Option<NameParts>,
    /// Numbers.
    #[serde(default)]
    pub phones: Vec<Phone>,
    /// E-mail addresses.
    #[serde(default)]
    pub emails: Vec<Email>,
    /// Web addresses.
    #[serde(default)]
    pub urls: Vec<Url>,
    /// Postal addresses.
    #[serde(default)]
    pub addresses: Vec<PostalAddress>,
    /// Where the person works.
    #[serde(default)]
    pub organization: Option<String>,
    /// As what.
    #[serde(default)]
    pub title: Option<String>,
    /// `YYYY-MM-DD`, or `--MM-DD` without the year.
    #[serde(default)]
    pub birthday: Option<String>,
    /// A postal address that nobody took apart, as one text.
    #[serde(default)]
    pub address: Option<String>,
    /// Anything.
    #[serde(default)]
    pub note: Option<String>,
    /// Names of groups.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// The photo of a contact, as the contact shows it: either held by the nodes, or elsewhere, or not to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Photo {
    /// The type of its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// How many bytes it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The path of the bytes on any node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub href: Option<String>,
    /// Where it is on the web.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Why it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The bytes of a photo.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PhotoBytes {
    /// Their type.
    pub media_type: String,
    /// As they were set.
    pub bytes: Bytes,
}

/// A contact as a node shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Contact {
    /// Its id; it never changes.
    pub id: String,
    /// What can be written.
    #[serde(flatten)]
    pub fields: ContactDraft,
    /// Its photo, if it has one.
    #[serde(default)]
    pub photo: Option<Photo>,
    /// When it was made (RFC 3339).
    pub created_at: String,
    /// When it was last edited (RFC 3339).
    pub updated_at: String,
    /// Whether an edit that the remover had not seen brought it back.
    pub revived: bool,
    /// How many values lost a merge unseen.
    pub conflicts: u64,
    /// What else the node shows.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// What lost a merge without having been seen by what is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Conflict {
    /// To settle it by.
    pub id: String,
    /// The contact.
    pub contact: String,
    /// Which field of it.
    pub field: String,
    /// The id of the phone, e-mail or address, or the name of the group.
    pub element: Option<String>,
    /// What lost.
    pub value: serde_json::Value,
    /// The name of the node that wrote it, while it is known.
    pub node: Option<String>,
    /// When it was written (RFC 3339).
    pub at: String,
    /// What is shown instead, and what else is known.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// Contacts that may be one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Duplicates {
    /// What they have in common: `phone`, `email`, `name`.
    pub reason: String,
    /// That.
    pub value: String,
    /// Who, the first 100.
    pub contacts: Vec<Named>,
    /// Whether there are more.
    pub more: bool,
}

/// A contact by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Named {
    /// Its id.
    pub id: String,
    /// What the person is called.
    pub name: String,
}

/// What an export is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportFormat {
    /// vCard 3.0 (RFC 2426), which most programs read.
    VCard3,
    /// vCard 4.0 (RFC 6350).
    VCard4,
    /// CSV (RFC 4180), which says less than a vCard does.
    Csv,
}

impl ExportFormat {
    /// As a node calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::VCard3 => "vcard3",
            Self::VCard4 => "vcard4",
            Self::Csv => "csv",
        }
    }
}

/// How many cards of an import there were, by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImportCounts {
    /// Cards that made a contact.
    pub created: u64,
    /// Cards that changed one.
    pub updated: u64,
    /// Cards that said what was there.
    pub unchanged: u64,
    /// Cards that could not be taken.
    pub rejected: u64,
    /// Lines outside of any card.
    pub stray_lines: u64,
    /// Columns of CSV of which nothing was taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored_columns: Vec<String>,
}

/// What became of the cards of an import.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImportReport {
    /// How many there were.
    #[serde(flatten)]
    pub counts: ImportCounts,
    /// One for each card, in order, as far as a report tells of them.
    pub cards: Vec<CardReport>,
}

/// What became of one card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CardReport {
    /// Which card it is, from 0.
    pub index: u64,
    /// The contact.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// `created`, `updated`, `unchanged` or `rejected`.
    pub status: String,
    /// Why it was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Which lines were taken, kept, refused.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// A field before and after a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FieldChange {
    /// The field.
    pub field: String,
    /// Which element of it, if it has elements.
    pub element: Option<String>,
    /// Null if it was not there.
    pub before: Value,
    /// Null if it was not there any more.
    pub after: Value,
}

/// A change of a contact that a node remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ContactChange {
    /// When the node took it in (RFC 3339).
    pub at: String,
    /// The replica that wrote it.
    pub replica: String,
    /// The node that it belongs to, if that is known.
    pub node: Option<String>,
    /// `edited`, `removed` or `came_back`.
    pub change: String,
    /// The fields that changed.
    pub fields: Vec<FieldChange>,
}
