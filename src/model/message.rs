//! Messages: immutable, named by when they were posted.
//!
//! The id of a message is a UUID v7 (RFC 9562, section 5.7) whose time is a hybrid logical time: 48 bits of
//! milliseconds, then the 16 bits of its counter, then chance. So ids sort by (hybrid time, chance), on every
//! node the same, and a message that was posted by somebody who had read another comes behind it.
//!
//! Invariant: nobody writes other content under an id that is taken.

use core::fmt;

use grapevine_crdt::{
    CausalContext, Cell, Dot, Entity, FieldCell, FieldKey, Rank, Timestamp, Value,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Topic, TopicEntity, instant::rfc3339, read_topic_key};
use crate::codec;

/// The most bytes of the name of an author.
pub const MAX_AUTHOR_BYTES: usize = 256;
/// The most bytes of the body of a message.
pub const MAX_MESSAGE_BYTES: usize = 262_144;

const FORMAT: u8 = 1;
const FIELD: &str = "message";
const REQUEST_FIELD: &str = "request";

/// The name of a message within its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// The id of a message posted at `time`; `chance` tells it from those that other nodes post at that time.
    #[must_use]
    pub const fn new(time: Timestamp, chance: u64) -> Self {
        let raw = time.as_u64();
        let (millis, counter) = (raw >> 16, raw & 0xffff);
        let high = (millis << 16) | 0x7000 | (counter >> 4);
        let low = (0b10 << 62) | ((counter & 0xf) << 58) | (chance >> 6);
        let (high, low) = (high.to_be_bytes(), low.to_be_bytes());
        Self([
            high[0], high[1], high[2], high[3], high[4], high[5], high[6], high[7], low[0], low[1],
            low[2], low[3], low[4], low[5], low[6], low[7],
        ])
    }

    /// The first id of a message posted at `time` or later.
    #[must_use]
    pub const fn first_at(time: Timestamp) -> Self {
        Self::new(time, 0)
    }

    /// The id that `text` is: a UUID v7 in its usual form, in lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let uuid = Uuid::try_parse(text).ok()?;
        let id = Self(*uuid.as_bytes());
        let usual = uuid.get_version_num() == 7 && id.to_string() == text;
        usual.then_some(id)
    }

    /// When it was posted.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        let number = u128::from_be_bytes(self.0);
        let part = |shift: u32, mask: u128| u64::try_from((number >> shift) & mask).unwrap_or(0);
        let millis = part(80, 0xffff_ffff_ffff);
        let counter = part(64, 0xfff) << 4 | part(58, 0xf);
        Timestamp::from_u64(millis << 16 | counter)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(Uuid::from_bytes(self.0).as_hyphenated(), f)
    }
}

/// Why a message cannot be posted. No state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// The author has no bytes, more than [`MAX_AUTHOR_BYTES`], or control characters.
    #[error("author is 1 to {MAX_AUTHOR_BYTES} bytes without control characters")]
    Author,
    /// The body has no bytes, or more than [`MAX_MESSAGE_BYTES`].
    #[error("body is a text of 1 to {MAX_MESSAGE_BYTES} bytes")]
    Body,
}

/// What is posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageDraft {
    author: String,
    body: String,
    /// The digest of the idempotency key it was posted under.
    request: Option<[u8; 16]>,
}

impl MessageDraft {
    /// What `author` says.
    pub fn new(author: String, body: String) -> Result<Self, InvalidMessage> {
        let good = (1..=MAX_AUTHOR_BYTES).contains(&author.len());
        if !good || author.chars().any(char::is_control) {
            return Err(InvalidMessage::Author);
        }
        if !(1..=MAX_MESSAGE_BYTES).contains(&body.len()) {
            return Err(InvalidMessage::Body);
        }
        Ok(Self {
            author,
            body,
            request: None,
        })
    }

    /// It, posted by the request with this digest.
    #[must_use]
    pub fn requested(self, request: [u8; 16]) -> Self {
        Self {
            request: Some(request),
            ..self
        }
    }

    /// A digest of what is said.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_derive_key("grapevine 2026 posted message");
        hasher.update(&self.author.len().to_be_bytes());
        hasher.update(self.author.as_bytes());
        hasher.update(self.body.as_bytes());
        let mut digest = [0; 16];
        hasher.finalize_xof().fill(&mut digest);
        digest
    }

    /// The cell of the write `dot` at `time` that posts it.
    #[must_use]
    pub fn post(&self, dot: Dot, time: Timestamp) -> FieldCell {
        let bytes = codec::encode_versioned(FORMAT, self).expect("a message is below every limit");
        register(FIELD, bytes, dot, time)
    }

    /// It as the message `id` of `topic`.
    #[must_use]
    pub fn shown(self, topic: &Topic, id: MessageId) -> Message {
        Message {
            id: id.to_string(),
            topic: topic.name().to_owned(),
            author: self.author,
            body: self.body,
            at: rfc3339(id.time()),
            request: self.request,
        }
    }
}

/// A message. Serialized it is the JSON that users get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Message {
    /// Its id, by which messages of a topic are ordered.
    pub id: String,
    /// Where it was posted.
    pub topic: String,
    /// Who says so.
    pub author: String,
    /// What is said.
    pub body: String,
    /// When it was posted (RFC 3339).
    pub at: String,
    /// The digest of the idempotency key it was posted under.
    #[serde(skip)]
    pub request: Option<[u8; 16]>,
}

impl Message {
    /// The message `id` of `topic`; `None` if it is not there, or was removed.
    #[must_use]
    pub fn read(topic: &Topic, id: MessageId, entity: &Entity) -> Option<Self> {
        let draft: MessageDraft = codec::decode_versioned(FORMAT, shown(entity, FIELD)?).ok()?;
        Some(draft.shown(topic, id))
    }

    /// The message under `key` of the topics; `None` if what is there is none, or was removed.
    #[must_use]
    pub fn read_key(key: &str, entity: &Entity) -> Option<Self> {
        match read_topic_key(key)? {
            (topic, TopicEntity::Message(id)) => Self::read(&topic, id, entity),
            (_, TopicEntity::Settings | TopicEntity::Request) => None,
        }
    }
}

/// Which message was posted under an idempotency key, and what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedUnder {
    /// The message.
    pub id: MessageId,
    /// [`MessageDraft::digest`] of what was posted.
    pub digest: [u8; 16],
}

impl PostedUnder {
    /// What is known under the key; `None` if nothing is, or its message was removed.
    #[must_use]
    pub fn read(entity: &Entity) -> Option<Self> {
        codec::decode_versioned(FORMAT, shown(entity, REQUEST_FIELD)?).ok()
    }

    /// The cell of the write `dot` at `time` that says so.
    #[must_use]
    pub fn put(&self, dot: Dot, time: Timestamp) -> FieldCell {
        let bytes = codec::encode_versioned(FORMAT, self).expect("32 bytes are below every limit");
        register(REQUEST_FIELD, bytes, dot, time)
    }
}

fn shown<'a>(entity: &'a Entity, field: &str) -> Option<&'a [u8]> {
    let field = entity.field(&FieldKey::Register(field.to_owned()))?;
    entity.is_visible().then(|| field.shown().bytes()).flatten()
}

fn register(field: &str, bytes: Vec<u8>, dot: Dot, time: Timestamp) -> FieldCell {
    FieldCell {
        field: FieldKey::Register(field.to_owned()),
        cell: Cell {
            rank: Rank::at(time),
            dot,
            seen: CausalContext::default(),
            value: Value::Bytes(bytes),
        },
    }
}

#[cfg(test)]
mod tests {
    use grapevine_crdt::{LwwMap, ReplicaId, Seq};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_sort_by_hybrid_time_and_tell_it(
            times in proptest::collection::vec(any::<u64>(), 2),
            chances in proptest::collection::vec(any::<u64>(), 2),
        ) {
            let id = |place: usize| MessageId::new(Timestamp::from_u64(times[place]), chances[place]);
            prop_assert_eq!(id(0).time(), Timestamp::from_u64(times[0]));
            prop_assert_eq!(MessageId::parse(&id(0).to_string()), Some(id(0)));
            if times[0] != times[1] {
                prop_assert_eq!(id(0).cmp(&id(1)), times[0].cmp(&times[1]));
                prop_assert_eq!(id(0).to_string().cmp(&id(1).to_string()), times[0].cmp(&times[1]));
            }
            prop_assert!(MessageId::first_at(Timestamp::from_u64(times[0])) <= id(0));
        }
    }

    #[test]
    fn ids_of_other_forms_are_none() {
        for text in [
            "",
            "0123456789ab7cdebc00000000000000",
            "01234567-89AB-7cde-bc00-000000000000",
            "01234567-89ab-4cde-bc00-000000000000",
        ] {
            assert_eq!(MessageId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_bytes_of_a_message_are_a_promise_and_a_removal_hides_it() {
        let topic = Topic::new("news").expect("a good name");
        let draft = MessageDraft::new("ada".to_owned(), "hi".to_owned()).expect("good");
        let dot = |seq| Dot::new(ReplicaId::from_bytes([1; 16]), Seq::new(seq));
        let id = MessageId::new(Timestamp::from_unix_ms(1_000), 0);
        let mut entity = Entity::default();
        let cell = draft.post(dot(1), Timestamp::from_unix_ms(5));
        assert_eq!(cell.cell.bytes(), Some(&b"\x01\x03ada\x02hi\x00"[..]));
        entity.merge_cell(cell);
        let message = Message::read(&topic, id, &entity).expect("it is there");
        assert_eq!(message.at, "1970-01-01T00:00:01.000Z");
        for cell in LwwMap::new(&entity).remove(dot(2)) {
            entity.merge_cell(cell);
        }
        assert_eq!(Message::read(&topic, id, &entity), None);
    }
}
