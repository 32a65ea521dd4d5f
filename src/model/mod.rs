//! What the store holds, as types: collections, partitions, and what travels between replicas.
//!
//! `contact*`, `counter`, `kv`, `topic` and `message` are typed views over [`grapevine_crdt::Entity`], `vcard*` reads contacts from
//! address book files; they know nothing of storage, the network or HTTP, and are told the time.

mod address;
mod address_parts;
mod bearer;
mod changes_token;
mod contact;
mod contact_absorb;
pub mod contact_conflict;
#[cfg(test)]
mod contact_conflict_laws;
pub mod contact_csv;
mod contact_draft;
pub mod contact_edit;
mod contact_element;
mod contact_elements;
pub mod contact_history;
pub mod contact_index;
mod contact_kept;
#[cfg(test)]
mod contact_laws;
pub mod contact_photo;
mod contact_query;
mod contact_rules;
mod contact_trim;
mod counter;
mod decoded;
mod expiry_index;
mod floor;
mod fold;
mod grant;
mod image_type;
mod index;
mod instant;
pub mod kv;
mod message;
mod name_parts;
mod offline_contact;
mod offline_edit;
mod outline;
mod pages;
mod partition;
mod phone_digits;
mod phone_reading;
mod photo_reading;
mod rejoin;
mod replication;
mod session_token;
mod token_text;
mod topic;
mod vcard;
mod vcard_convert;
pub mod vcard_edit;
mod vcard_export;
#[cfg(test)]
mod vcard_export_laws;
mod vcard_fields;
mod vcard_lines;
mod vcard_property;
mod vcard_text;
mod vcard_version;

pub use address::{Collection, EntityId, InvalidKey, MAX_KEY_BYTES, PARTITIONS, PartitionId};
pub use bearer::{Bearer, SECRET_BYTES};
pub use changes_token::{ChangesToken, MAX_CHANGES_TOKEN_BYTES, Pass, Resume};
pub use contact::{Contact, Email, Phone, PostalAddress, Url};
pub use contact_absorb::{MAX_ABSORBED, absorb, has_absorbed};
pub use contact_conflict::{Conflict, Settlement, Version};
pub use contact_draft::{ContactDraft, check_element_id};
pub use contact_edit::{Change, Creation, WriteStamp};
pub use contact_element::{ElementDraft, Kind as ElementKind};
pub use contact_elements::{
    patched_element, read_element, shown_element, shown_elements, with_element, without_element,
};
pub use contact_history::{ChangeKind, ContactVersion, FieldChange};
pub use contact_index::{ContactTerms, IndexList, IndexRow};
pub use contact_kept::{
    KeptProperty, MAX_KEPT_BYTES, MAX_KEPT_PROPERTIES, MAX_KEPT_PROPERTY_BYTES,
};
pub use contact_photo::{InvalidPhoto, MAX_PHOTO_BYTES, NewPhoto, Photo, PhotoContent};
pub use contact_query::{ContactQuery, InvalidQuery, MAX_QUERY_BYTES, MAX_QUERY_WORDS};
pub use contact_rules::{
    InvalidContact, MAX_ADDRESS_CHARS, MAX_ADDRESS_PART_CHARS, MAX_CONTACT_ID_CHARS,
    MAX_ELEMENT_ID_CHARS, MAX_ELEMENTS, MAX_EMAIL_CHARS, MAX_GROUP_CHARS, MAX_LABEL_CHARS,
    MAX_LINE_CHARS, MAX_NAME_CHARS, MAX_NOTE_CHARS, MAX_NUMBER_CHARS, MAX_URL_CHARS, contact_key,
};
pub use contact_trim::{MAX_CONFLICT_AGE_MS, MAX_CONFLICTS_PER_FIELD, trim};
pub use counter::{Counter, Direction, Tally};
pub use expiry_index::ExpiryRow;
pub use floor::Floor;
pub use grant::{
    Grant, GrantDraft, GrantId, InvalidGrant, Limit, MAX_GRANT_NAME_CHARS, Role, closed_id,
    closing, is_closed,
};
pub use image_type::sniffed as sniffed_image;
pub use index::{index_rows, index_version, indexed_entity, is_indexed};
pub use instant::{read_instant, rfc3339};
pub use message::{
    InvalidMessage, MAX_AUTHOR_BYTES, MAX_MESSAGE_BYTES, Message, MessageDraft, MessageId,
    PostedUnder,
};
pub use name_parts::NameParts;
pub use offline_edit::{Fate, LostTo, Meeting, OfflineEdit, kv_json};
pub use outline::{HashedVector, InvalidOutline, MAX_LIKELY, MAX_RANGES, Outline, Table};
pub use pages::{CellName, EntityState, ListingPage, StatePage};
pub(crate) use partition::short_hash;
pub use partition::{PartitionState, root_term, vector_term};
pub use phone_reading::Region;
pub use rejoin::{Issue, Rejoin};
pub use replication::{
    Claim, CommitRecord, Cursor, DeltaPage, EntityCells, Invalid, Op, Outcome, PartitionSummary,
    Root,
};
pub use session_token::{MAX_SESSION_TOKEN_BYTES, SessionToken};
pub use token_text::InvalidToken;
pub use topic::{InvalidTopic, MAX_TOPIC_BYTES, Retention, Topic, TopicEntity, read_topic_key};
pub use vcard::{Card, CardFile, CardReader, RejectedCard, RejectedProperty};
pub use vcard_edit::Source;
pub use vcard_export::export_card;
pub use vcard_lines::{MAX_CARD_BYTES, UnreadableFile};
pub use vcard_version::CardVersion;
