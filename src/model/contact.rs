//! A contact as it is shown: read from the cells of its entity, and from nothing else, so that every node that
//! holds the same cells shows the same bytes.
//!
//! Fields are [`FieldKey::Attribute`]s: the scalars and the parts of the name under their own names, one attribute per phone
//! (`phones/<id>`), e-mail (`emails/<id>`), web address (`urls/<id>`), postal address
//! (`addresses/<id>`) and group (`groups/<name>`), and one per property of an imported card that has no field here
//! (`vcard/<id>`), such as its photo (`vcard/photo` if it was set). Bookkeeping is attributes too: `created`, `touched` (when an
//! edit only deleted), `source` (which card was imported last), `request` (which request made it) and `absorbed/<id>`.
//!
//! It must not know how contacts are stored, sent or asked for.

use std::collections::BTreeSet;

use grapevine_crdt::{Entity, FieldKey, LwwMap, Timestamp, Value};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    address_parts::AddressParts,
    contact_conflict::conflicts,
    contact_element::{Element, ElementDraft, Kind},
    contact_kept::KeptProperty,
    contact_photo::Photo,
    instant::rfc3339,
    name_parts::NameParts,
};

/// The scalar fields, in the order in which they are shown.
pub(super) const SCALARS: [&str; 6] = [NAME, ORGANIZATION, "title", "birthday", "address", "note"];
pub(super) const NAME: &str = "name";
pub(super) const ORGANIZATION: &str = "organization";
pub(super) const CREATED: &str = "created";
pub(super) const TOUCHED: &str = "touched";
pub(super) const SOURCE: &str = "source";
pub(super) const REQUEST: &str = "request";
/// Attributes that name the contacts that were absorbed.
pub(super) const ABSORBED_PREFIX: &str = "absorbed/";
pub(super) const GROUP_PREFIX: &str = "groups/";

/// Attributes that are ours and not the user's: they have no conflicts to show.
const BOOKKEEPING: [&str; 4] = [CREATED, TOUCHED, SOURCE, REQUEST];

/// A phone of a contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Phone {
    /// Unique in the contact, for as long as the phone is there.
    pub id: String,
    /// What it is for.
    pub label: Option<String>,
    /// The number as it was written.
    pub number: String,
    /// The number as it is dialled from anywhere (E.164: a plus sign and up to 15 digits, without an extension), as the
    /// node that wrote it read it; null if it did not.
    pub e164: Option<String>,
}

/// An e-mail address of a contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Email {
    /// Unique in the contact, for as long as the address is there.
    pub id: String,
    /// What it is for.
    pub label: Option<String>,
    /// The address as it was written.
    pub address: String,
}

/// A web address of a contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Url {
    /// Unique in the contact, for as long as the address is there.
    pub id: String,
    /// What it is for.
    pub label: Option<String>,
    /// The address as it was written.
    pub url: String,
}

/// A postal address of a contact; at least one part of it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PostalAddress {
    /// Unique in the contact, for as long as the address is there.
    pub id: String,
    /// What it is for.
    pub label: Option<String>,
    /// With the number of the house.
    pub street: Option<String>,
    /// A town or a village.
    pub locality: Option<String>,
    /// A state or a province.
    pub region: Option<String>,
    /// As it is written there.
    pub postal_code: Option<String>,
    /// Its name.
    pub country: Option<String>,
    /// A post office box.
    pub po_box: Option<String>,
    /// An apartment, a floor.
    pub extended: Option<String>,
}

/// A contact that is visible. Serialized it is the JSON that users get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Contact {
    /// Its id; it never changes.
    pub id: String,
    /// What the person is called.
    pub name: String,
    /// The name in its parts, if they are known.
    pub name_parts: Option<NameParts>,
    /// In the order in which they were put.
    pub phones: Vec<Phone>,
    /// In the order in which they were put.
    pub emails: Vec<Email>,
    /// In the order in which they were put.
    pub urls: Vec<Url>,
    /// In the order in which they were put.
    pub addresses: Vec<PostalAddress>,
    /// Where the person works.
    pub organization: Option<String>,
    /// As what.
    pub title: Option<String>,
    /// `YYYY-MM-DD`, or `--MM-DD` without the year.
    pub birthday: Option<String>,
    /// A postal address that nobody took apart, as one text.
    pub address: Option<String>,
    /// Anything.
    pub note: Option<String>,
    /// In the order of their names, each once.
    pub groups: Vec<String>,
    /// Where its photo is, if it has one.
    pub photo: Option<Photo>,
    /// When it was made (RFC 3339).
    pub created_at: String,
    /// When it was last edited (RFC 3339).
    pub updated_at: String,
    /// Whether an edit that the remover had not seen brought it back.
    pub revived: bool,
    /// How many values lost a merge unseen and read differently from what is shown; [`conflicts`] lists them.
    pub conflicts: usize,
    /// The names of the properties that are kept for export: of a photo that was set, and of what an imported card left, in
    /// its order.
    pub vcard: Vec<String>,
}

impl Contact {
    /// The contact `id` that `entity` shows; `None` if it is hidden.
    #[must_use]
    pub fn read(id: &str, entity: &Entity) -> Option<Self> {
        if !entity.is_visible() {
            return None;
        }
        let map = LwwMap::new(entity);
        let text = |name: &str| {
            map.get(name)
                .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let updated = updated(entity);
        let created = map.get(CREATED).and_then(decode_time).unwrap_or(updated);
        let [name, organization, title, birthday, address, note] = SCALARS.map(text);
        let kept = KeptProperty::shown(entity);
        Some(Self {
            id: id.to_owned(),
            name: name.unwrap_or_default(),
            name_parts: map.get(NameParts::FIELD).and_then(NameParts::decode),
            phones: elements(entity, Kind::Phone),
            emails: elements(entity, Kind::Email),
            urls: elements(entity, Kind::Url),
            addresses: elements(entity, Kind::Address),
            organization,
            title,
            birthday,
            address,
            note,
            groups: groups(entity).into_iter().map(str::to_owned).collect(),
            photo: Photo::of(id, &kept),
            created_at: rfc3339(created),
            updated_at: rfc3339(updated),
            revived: entity.is_revived(),
            conflicts: conflicts(entity).len(),
            vcard: kept.into_iter().map(|(_, kept)| kept.property).collect(),
        })
    }

    /// What would put a list as it is.
    #[must_use]
    pub(super) fn elements(&self, kind: Kind) -> Vec<ElementDraft> {
        let draft = |id: &String, label: &Option<String>, content: &String| ElementDraft {
            id: Some(id.clone()),
            label: label.clone(),
            content: content.clone(),
            e164: None,
        };
        match kind {
            Kind::Phone => {
                let phones = self.phones.iter();
                phones
                    .map(|it| ElementDraft {
                        e164: it.e164.clone(),
                        ..draft(&it.id, &it.label, &it.number)
                    })
                    .collect()
            }
            Kind::Email => {
                let emails = self.emails.iter();
                emails
                    .map(|it| draft(&it.id, &it.label, &it.address))
                    .collect()
            }
            Kind::Url => {
                let urls = self.urls.iter();
                urls.map(|it| draft(&it.id, &it.label, &it.url)).collect()
            }
            Kind::Address => {
                let addresses = self.addresses.iter();
                addresses
                    .map(|it| draft(&it.id, &it.label, &it.content()))
                    .collect()
            }
        }
    }
}

fn elements<T: From<Element>>(entity: &Entity, kind: Kind) -> Vec<T> {
    let elements = Element::shown(entity, kind).into_iter();
    elements.map(T::from).collect()
}

impl From<Element> for Phone {
    fn from(element: Element) -> Self {
        Self {
            id: element.id,
            label: element.label,
            number: element.content,
            e164: element.e164,
        }
    }
}

impl From<Element> for Email {
    fn from(element: Element) -> Self {
        Self {
            id: element.id,
            label: element.label,
            address: element.content,
        }
    }
}

impl From<Element> for Url {
    fn from(element: Element) -> Self {
        Self {
            id: element.id,
            label: element.label,
            url: element.content,
        }
    }
}

impl PostalAddress {
    /// As the content of an element.
    fn content(&self) -> String {
        let parts = [
            &self.po_box,
            &self.extended,
            &self.street,
            &self.locality,
            &self.region,
            &self.postal_code,
            &self.country,
        ];
        let parts = AddressParts::of(parts.map(Clone::clone));
        parts.unwrap_or_default().content()
    }
}

impl From<Element> for PostalAddress {
    fn from(element: Element) -> Self {
        let parts = AddressParts::of_content(&element.content);
        let [
            po_box,
            extended,
            street,
            locality,
            region,
            postal_code,
            country,
        ] = parts.into_parts();
        Self {
            id: element.id,
            label: element.label,
            street,
            locality,
            region,
            postal_code,
            country,
            po_box,
            extended,
        }
    }
}

/// The names of the groups shown, in order.
pub(super) fn groups(entity: &Entity) -> BTreeSet<&str> {
    LwwMap::new(entity)
        .iter()
        .filter_map(|(name, _)| name.strip_prefix(GROUP_PREFIX))
        .collect()
}

/// The request that made the contact, as [`Creation`](super::Creation) told it.
#[must_use]
pub(super) fn request(entity: &Entity) -> Option<&[u8]> {
    LwwMap::new(entity).get(REQUEST)
}

pub(super) fn encode_time(time: Timestamp) -> Vec<u8> {
    time.as_u64().to_be_bytes().to_vec()
}

fn decode_time(bytes: &[u8]) -> Option<Timestamp> {
    let bytes: [u8; 8] = bytes.try_into().ok()?;
    Some(Timestamp::from_u64(u64::from_be_bytes(bytes)))
}

/// The time of the latest cell. Tombstones do not count: each node collects them in its own time, and an
/// edit that only deletes leaves `touched` behind.
fn updated(entity: &Entity) -> Timestamp {
    entity
        .cells()
        .filter(|(key, cell)| {
            matches!(key, FieldKey::Attribute(_)) && cell.value != Value::Tombstone
        })
        .map(|(_, cell)| cell.rank.time())
        .max()
        .unwrap_or_default()
}

/// Whether an attribute is ours and not the user's.
pub(super) fn is_bookkeeping(attribute: &str) -> bool {
    BOOKKEEPING.contains(&attribute) || attribute.starts_with(ABSORBED_PREFIX)
}
