//! Properties of imported cards that have no field here, or whose field holds less than they did: kept as
//! they were written, to be exported again. A photo that was set is one too ([`contact_photo`](super::contact_photo)).

use grapevine_crdt::{Entity, LwwMap};
use serde::{Deserialize, Serialize};

use super::contact_element::short_id;
use crate::codec;

const FORMAT: u8 = 1;
/// What the names of its attributes start with.
pub(super) const KEPT_PREFIX: &str = "vcard/";

/// The most bytes of one kept property, a photo among them.
pub const MAX_KEPT_PROPERTY_BYTES: usize = 512 * 1_024;
/// The most bytes of all kept properties of one card: entities travel whole.
pub const MAX_KEPT_BYTES: usize = 2 * 1_024 * 1_024;
/// The most properties kept of one card.
pub const MAX_KEPT_PROPERTIES: usize = 500;

/// A property as the card had it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptProperty {
    /// Its place in the card.
    pub order: u32,
    /// Its name in upper case, without its group.
    pub property: String,
    /// The version of the card, which says how the line is to be read.
    pub version: String,
    /// The unfolded content line, in UTF-8.
    pub line: String,
    /// The attribute that was taken from it, if there is one: an export writes the line while the attribute
    /// still says what the line does.
    pub field: Option<String>,
}

impl KeptProperty {
    /// What is kept in `entity`, with the names of the attributes, in the order of the card.
    #[must_use]
    pub fn shown(entity: &Entity) -> Vec<(String, Self)> {
        let mut kept: Vec<(String, Self)> = LwwMap::new(entity)
            .iter()
            .filter(|(name, _)| name.starts_with(KEPT_PREFIX))
            .filter_map(|(name, bytes)| Some((name.to_owned(), Self::decode(bytes)?)))
            .collect();
        kept.sort_by(|a, b| (a.1.order, &a.0).cmp(&(b.1.order, &b.0)));
        kept
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        codec::decode_versioned(FORMAT, bytes).ok()
    }

    /// The name and the value of its attribute. The name follows from the line and from how many equal lines
    /// came before, so the same card makes the same attributes on every node.
    pub(super) fn encode(&self, repetition: u64) -> (String, Vec<u8>) {
        let id = short_id(&[KEPT_PREFIX, &self.line], repetition);
        (format!("{KEPT_PREFIX}{id}"), self.encoded())
    }

    /// The value of its attribute.
    pub(super) fn encoded(&self) -> Vec<u8> {
        codec::encode_versioned(FORMAT, self)
            .expect("a kept property is far smaller than the limit of the codec")
    }
}
