//! Where an entity lives: its collection, its key, and the partition that follows from both.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::topic::topic_of;

/// How many fixed slices the key space has.
pub const PARTITIONS: usize = 256;

/// The most bytes of a key.
pub const MAX_KEY_BYTES: usize = 1_024;

/// A kind of entity. The number is part of every stored row and every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[repr(u8)]
pub enum Collection {
    /// The address book.
    Contacts = 1,
    /// Counters.
    Counters = 2,
    /// Key-values.
    Kv = 3,
    /// Messages, under `topic/UUID v7`, with the settings of their topics.
    Topics = 4,
    /// The durable list of members; the system's own.
    Roster = 16,
    /// Who may ask over HTTP; the system's own.
    Tokens = 17,
}

impl Collection {
    /// Every collection, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Contacts,
        Self::Counters,
        Self::Kv,
        Self::Topics,
        Self::Roster,
        Self::Tokens,
    ];

    /// Those that users write to.
    pub const OF_USERS: [Self; 4] = [Self::Contacts, Self::Counters, Self::Kv, Self::Topics];

    /// The collection of users that is called so.
    #[must_use]
    pub fn of_users(name: &str) -> Option<Self> {
        Self::OF_USERS
            .into_iter()
            .find(|collection| collection.name() == name)
    }

    /// The name that users see.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contacts => "contacts",
            Self::Counters => "counters",
            Self::Kv => "kv",
            Self::Topics => "topics",
            Self::Roster => "roster",
            Self::Tokens => "tokens",
        }
    }
}

impl From<Collection> for u8 {
    fn from(collection: Collection) -> Self {
        collection as Self
    }
}

impl TryFrom<u8> for Collection {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        Self::ALL
            .into_iter()
            .find(|collection| u8::from(*collection) == number)
            .ok_or_else(|| format!("no collection has the number {number}"))
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One of [`PARTITIONS`] fixed slices of the key space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId(u8);

impl PartitionId {
    /// The partition with this number.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// The partition of an entity: the first byte of BLAKE3(collection, 0x00, key), where the collection is
    /// its name.
    ///
    /// The roster is in one partition, that of the empty key: what a replica writes to one partition is taken in
    /// in that order by everybody, so nobody sees that a life was struck before it sees the life that came after.
    /// The tokens are in one partition too, so that one look tells whether any of them has changed.
    /// A topic is in one partition too, that of its name, so that its messages are read in one sweep.
    #[must_use]
    pub fn of(collection: Collection, key: &str) -> Self {
        let key = match collection {
            Collection::Roster | Collection::Tokens => "",
            Collection::Topics => topic_of(key),
            Collection::Contacts | Collection::Counters | Collection::Kv => key,
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(collection.name().as_bytes());
        hasher.update(&[0]);
        hasher.update(key.as_bytes());
        Self(hasher.finalize().as_bytes()[0])
    }

    /// Where the roster is.
    #[must_use]
    pub fn of_roster() -> Self {
        Self::of(Collection::Roster, "")
    }

    /// Where the tokens are.
    #[must_use]
    pub fn of_tokens() -> Self {
        Self::of(Collection::Tokens, "")
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Its place in an array of [`PARTITIONS`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// All partitions, in order.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        (0..=u8::MAX).map(Self).collect::<Vec<_>>().into_iter()
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Why a text cannot be the key of an entity. No state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// It has no bytes.
    #[error("a key has at least one byte")]
    Empty,
    /// It has more than [`MAX_KEY_BYTES`] bytes.
    #[error("a key has at most {MAX_KEY_BYTES} bytes, this one has {0}")]
    TooLong(usize),
}

/// The name of an entity: a collection and a key of 1 to [`MAX_KEY_BYTES`] bytes of UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntityId {
    collection: Collection,
    key: String,
}

impl EntityId {
    /// The entity `key` of `collection`.
    pub fn new(collection: Collection, key: impl Into<String>) -> Result<Self, InvalidKey> {
        let id = Self {
            collection,
            key: key.into(),
        };
        id.check().map(|()| id)
    }

    /// Whether the key is within its bounds; what was decoded must be asked.
    pub fn check(&self) -> Result<(), InvalidKey> {
        match self.key.len() {
            0 => Err(InvalidKey::Empty),
            1..=MAX_KEY_BYTES => Ok(()),
            bytes => Err(InvalidKey::TooLong(bytes)),
        }
    }

    /// The collection.
    #[must_use]
    pub const fn collection(&self) -> Collection {
        self.collection
    }

    /// The key within the collection.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The partition it lives in. Hashes the key.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        PartitionId::of(self.collection, &self.key)
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.collection, self.key)
    }
}
