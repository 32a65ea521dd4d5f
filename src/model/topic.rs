//! Topics: their names, their settings, and where what belongs to a topic lives.
//!
//! Everything of a topic is in one partition and under its name: `topic/!` holds its settings, `topic/<id>` a
//! message, `topic/~<hash>` which message was posted under an idempotency key. Ids begin with hexadecimal digits of
//! their time, so that the order of the keys is the order of the messages; `!` sorts before them and `~` behind.

use grapevine_crdt::{
    CausalContext, Cell, Dot, Entity, FieldCell, FieldKey, Rank, Timestamp, Value,
};
use serde::{Deserialize, Serialize};

use super::{Collection, EntityId, MessageId};
use crate::codec;

/// The most bytes of the name of a topic.
pub const MAX_TOPIC_BYTES: usize = 128;

const SETTINGS_FORMAT: u8 = 1;
const SETTINGS_FIELD: &str = "retention";
const SETTINGS_KEY: &str = "!";
const REQUEST_MARK: &str = "~";
const SEPARATOR: char = '/';

/// Why a text cannot be the name of a topic. No state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a topic is 1 to {MAX_TOPIC_BYTES} bytes without `/` and control characters")]
pub struct InvalidTopic;

/// The name of a topic: 1 to [`MAX_TOPIC_BYTES`] bytes without `/` and control characters.
///
/// ```
/// use grapevine::model::Topic;
///
/// let topic = Topic::new("news")?;
/// assert_eq!(topic.settings_id().partition(), topic.request_id(&[0; 16]).partition());
/// assert!(Topic::new("a/b").is_err());
/// # Ok::<(), grapevine::model::InvalidTopic>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Topic(String);

impl Topic {
    /// The topic `name`.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidTopic> {
        let name = name.into();
        let good = (1..=MAX_TOPIC_BYTES).contains(&name.len())
            && !name.chars().any(|c| c == SEPARATOR || c.is_control());
        good.then_some(Self(name)).ok_or(InvalidTopic)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// What the keys of everything that belongs to it begin with.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("{}{SEPARATOR}", self.0)
    }

    /// The entity of a message.
    #[must_use]
    pub fn message_id(&self, message: &MessageId) -> EntityId {
        self.entity(&message.to_string())
    }

    /// The entity of its settings.
    #[must_use]
    pub fn settings_id(&self) -> EntityId {
        self.entity(SETTINGS_KEY)
    }

    /// The entity that says which message was posted by the request with this digest.
    #[must_use]
    pub fn request_id(&self, request: &[u8; 16]) -> EntityId {
        let digest = u128::from_be_bytes(*request);
        self.entity(&format!("{REQUEST_MARK}{digest:032x}"))
    }

    fn entity(&self, rest: &str) -> EntityId {
        EntityId::new(Collection::Topics, format!("{}{rest}", self.prefix()))
            .expect("a name of a topic leaves room for more")
    }
}

/// The part of a key of [`Collection::Topics`] that names the topic, and so the partition.
#[must_use]
pub(super) fn topic_of(key: &str) -> &str {
    key.split_once(SEPARATOR).map_or(key, |(topic, _)| topic)
}

/// What an entity of [`Collection::Topics`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicEntity {
    /// The settings of the topic.
    Settings,
    /// A message.
    Message(MessageId),
    /// Which message was posted under an idempotency key.
    Request,
}

/// Which topic an entity of [`Collection::Topics`] belongs to, and what it is; `None` for what no node makes.
#[must_use]
pub fn read_topic_key(key: &str) -> Option<(Topic, TopicEntity)> {
    let (topic, rest) = key.split_once(SEPARATOR)?;
    let topic = Topic::new(topic).ok()?;
    let entity = match rest {
        SETTINGS_KEY => TopicEntity::Settings,
        _ if rest.starts_with(REQUEST_MARK) => TopicEntity::Request,
        _ => TopicEntity::Message(MessageId::parse(rest)?),
    };
    Some((topic, entity))
}

/// How much of a topic is kept. What exceeds either is removed, oldest first, some seconds later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// The most messages; `None` for as many as the node keeps of any topic.
    pub count: Option<u64>,
    /// For how many seconds; `None` for as long as the node keeps any.
    pub seconds: Option<u64>,
}

impl Retention {
    /// What was set; the default if nothing was.
    #[must_use]
    pub fn read(entity: &Entity) -> Self {
        let field = entity.field(&settings_field());
        let bytes = field.and_then(|field| field.shown().bytes());
        bytes
            .and_then(|bytes| codec::decode_versioned(SETTINGS_FORMAT, bytes).ok())
            .unwrap_or_default()
    }

    /// The cell of the write `dot` at `time` that sets it.
    #[must_use]
    pub fn put(self, dot: Dot, time: Timestamp) -> FieldCell {
        let bytes = codec::encode_versioned(SETTINGS_FORMAT, &self)
            .expect("two numbers are below every limit");
        FieldCell {
            field: settings_field(),
            cell: Cell {
                rank: Rank::at(time),
                dot,
                seen: CausalContext::default(),
                value: Value::Bytes(bytes),
            },
        }
    }

    /// It, but no more than `most`.
    #[must_use]
    pub fn within(self, most: Self) -> Self {
        let less = |own: Option<u64>, most: Option<u64>| match (own, most) {
            (Some(own), Some(most)) => Some(own.min(most)),
            (own, most) => own.or(most),
        };
        Self {
            count: less(self.count, most.count),
            seconds: less(self.seconds, most.seconds),
        }
    }
}

fn settings_field() -> FieldKey {
    FieldKey::Register(SETTINGS_FIELD.to_owned())
}

#[cfg(test)]
mod tests {
    use grapevine_crdt::{ReplicaId, Seq};

    use super::*;

    #[test]
    fn the_keys_of_a_topic_are_a_promise() {
        let topic = Topic::new("news").expect("a good name");
        let id = MessageId::new(Timestamp::from_u64(0x0123_4567_89ab_cdef), 0);
        let key = "news/01234567-89ab-7cde-bc00-000000000000";
        assert_eq!(topic.message_id(&id).key(), key);
        assert_eq!(
            read_topic_key(key),
            Some((topic.clone(), TopicEntity::Message(id)))
        );
        assert_eq!(topic.settings_id().key(), "news/!");
        assert_eq!(
            topic.request_id(&[1; 16]).key(),
            "news/~01010101010101010101010101010101"
        );
        for foreign in ["news", "news/", "news/x", "/!", "a/b/!"] {
            assert_eq!(read_topic_key(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_topic_is_in_one_partition() {
        let topic = Topic::new("news").expect("a good name");
        let partition = topic.settings_id().partition();
        for number in 0..50 {
            let id = MessageId::new(Timestamp::from_u64(number << 20), number);
            assert_eq!(topic.message_id(&id).partition(), partition);
        }
    }

    #[test]
    fn settings_are_read_back_and_bounded() {
        let set = Retention {
            count: Some(10),
            seconds: None,
        };
        let dot = Dot::new(ReplicaId::from_bytes([1; 16]), Seq::new(1));
        let mut entity = Entity::default();
        let cell = set.put(dot, Timestamp::from_u64(9));
        assert_eq!(cell.cell.bytes(), Some(&[1, 1, 10, 0][..]));
        entity.merge_cell(cell);
        assert_eq!(Retention::read(&entity), set);
        let most = Retention {
            count: Some(7),
            seconds: Some(60),
        };
        assert_eq!(set.within(most), most);
    }
}
