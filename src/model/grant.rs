//! A grant: what the holder of a bearer token may do, until when, and the hash by which the token is known.
//!
//! A grant is one register of an entity whose key is the grant's id. It never changes; to revoke it is to put a
//! tombstone into the register. Beside the grants, under a key that no grant has, stands the mark that access is
//! *closed*: it is put with the first grant and never taken away, so that revoking every token opens nothing.

use core::fmt;

use grapevine_crdt::{
    CausalContext, Cell, Dot, Entity, FieldCell, FieldKey, Rank, Timestamp, Value,
};
use serde::{Deserialize, Serialize};

use super::{Bearer, Collection, EntityId, MAX_KEY_BYTES};
use crate::codec::{self, CodecError};

/// The most characters of the name of a grant.
pub const MAX_GRANT_NAME_CHARS: usize = 128;

const FORMAT: u8 = 1;
const FIELD: &str = "grant";
/// Sorts before every id of a grant.
const CLOSED_KEY: &str = "!";
const CLOSED_FIELD: &str = "closed";
const CLOSED: [u8; 1] = [1];

/// What a token is for. Each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// To read.
    Read,
    /// To write as well.
    Write,
    /// To do everything: tokens, members, files of other nodes.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    /// The role that is called so.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The public name of a grant: 64 random bits, told as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GrantId(u64);

impl GrantId {
    /// The grant with this number.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The id that `text` is, in lower case; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 16 || !text.bytes().all(digit) {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(Self)
    }

    /// The entity of the grant.
    #[must_use]
    pub fn entity_id(self) -> EntityId {
        EntityId::new(Collection::Tokens, self.to_string()).expect("16 digits are a good key")
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The part of the data that a token is limited to: keys of one collection that begin with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    collection: Collection,
    prefix: String,
}

impl Limit {
    /// Keys of `collection` that begin with `prefix`. The keys of a topic begin with its name and a slash.
    #[must_use]
    pub const fn new(collection: Collection, prefix: String) -> Self {
        Self { collection, prefix }
    }

    /// The collection.
    #[must_use]
    pub const fn collection(&self) -> Collection {
        self.collection
    }

    /// What its keys begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether the entity lies within it. What belongs to a topic lies where the topic does.
    #[must_use]
    pub fn takes(&self, id: &EntityId) -> bool {
        let key = match id.collection() {
            Collection::Topics => match id.key().split_once('/') {
                Some((topic, _)) => &id.key()[..=topic.len()],
                None => id.key(),
            },
            Collection::Contacts
            | Collection::Counters
            | Collection::Kv
            | Collection::Roster
            | Collection::Tokens => id.key(),
        };
        self.takes_keys(id.collection(), key)
    }

    /// Whether all keys of `collection` that begin with `prefix` lie within it.
    #[must_use]
    pub fn takes_keys(&self, collection: Collection, prefix: &str) -> bool {
        self.collection == collection && prefix.starts_with(&self.prefix)
    }
}

/// Why there can be no such grant. No state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidGrant {
    /// The name has too many characters, or such that steer a terminal.
    #[error(
        "a name has at most {MAX_GRANT_NAME_CHARS} characters, none of them a control character"
    )]
    Name,
    /// The prefix is longer than a key.
    #[error("a prefix has at most {MAX_KEY_BYTES} bytes")]
    Prefix,
    /// An admin is not limited: who may make tokens may make an unlimited one.
    #[error("a token for an admin cannot be limited to a part of the data")]
    LimitedAdmin,
}

/// What a grant is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantDraft {
    /// What it is called: up to [`MAX_GRANT_NAME_CHARS`] characters.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// What it is limited to; `None` for everything.
    pub limit: Option<Limit>,
    /// From when on it is worth nothing, in milliseconds since 1970-01-01T00:00:00Z.
    pub expires_ms: Option<u64>,
}

/// What the holder of a token may do.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    id: GrantId,
    stored: Stored,
}

/// As it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    name: String,
    role: Role,
    limit: Option<Limit>,
    /// Milliseconds since 1970-01-01T00:00:00Z, like the next.
    created_ms: u64,
    expires_ms: Option<u64>,
    hash: [u8; 32],
}

impl Grant {
    /// The grant of `bearer` as `draft` says, made at `created_ms` (milliseconds since 1970-01-01T00:00:00Z).
    pub fn new(bearer: &Bearer, draft: GrantDraft, created_ms: u64) -> Result<Self, InvalidGrant> {
        let GrantDraft {
            name,
            role,
            limit,
            expires_ms,
        } = draft;
        if name.chars().count() > MAX_GRANT_NAME_CHARS || name.chars().any(char::is_control) {
            return Err(InvalidGrant::Name);
        }
        if limit
            .as_ref()
            .is_some_and(|limit| limit.prefix.len() > MAX_KEY_BYTES)
        {
            return Err(InvalidGrant::Prefix);
        }
        if role == Role::Admin && limit.is_some() {
            return Err(InvalidGrant::LimitedAdmin);
        }
        let stored = Stored {
            name,
            role,
            limit,
            created_ms,
            expires_ms,
            hash: bearer.hash(),
        };
        Ok(Self {
            id: bearer.id(),
            stored,
        })
    }

    /// What `entity` says of the grant `id`; `None` if it was never made, was revoked, or cannot be read.
    #[must_use]
    pub fn read(id: GrantId, entity: &Entity) -> Option<Self> {
        if !entity.is_visible() {
            return None;
        }
        let bytes = entity.field(&field(FIELD))?.shown().bytes()?;
        let stored: Stored = codec::decode_versioned(FORMAT, bytes).ok()?;
        // What a node of another mind wrote gives nobody more than it may.
        (stored.role != Role::Admin || stored.limit.is_none()).then_some(Self { id, stored })
    }

    /// The cell of the write `dot` at `time` that makes it.
    pub fn put(&self, dot: Dot, time: Timestamp) -> Result<FieldCell, CodecError> {
        let bytes = codec::encode_versioned(FORMAT, &self.stored)?;
        Ok(written(FIELD, Value::Bytes(bytes), dot, time))
    }

    /// The cells of the write `dot` at `time` that revokes what `entity` holds; none if it holds no grant.
    #[must_use]
    pub fn revoke(entity: &Entity, dot: Dot, time: Timestamp) -> Vec<FieldCell> {
        let held = entity.field(&field(FIELD));
        if held.is_none_or(|held| held.shown().bytes().is_none()) {
            return Vec::new();
        }
        vec![written(FIELD, Value::Tombstone, dot, time)]
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> GrantId {
        self.id
    }

    /// What whoever made it calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.stored.name
    }

    /// What it is for.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.stored.role
    }

    /// What it is limited to; `None` for everything.
    #[must_use]
    pub const fn limit(&self) -> Option<&Limit> {
        self.stored.limit.as_ref()
    }

    /// When it was made, in milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn created_ms(&self) -> u64 {
        self.stored.created_ms
    }

    /// From when on it is worth nothing, in milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn expires_ms(&self) -> Option<u64> {
        self.stored.expires_ms
    }

    /// Whether it has ended at the time of day `now_ms`.
    #[must_use]
    pub fn has_expired(&self, now_ms: u64) -> bool {
        self.stored
            .expires_ms
            .is_some_and(|expires| expires <= now_ms)
    }

    /// Whether `bearer` is its token. Takes the same time wherever they differ.
    #[must_use]
    pub fn is_of(&self, bearer: &Bearer) -> bool {
        let same =
            blake3::Hash::from_bytes(bearer.hash()) == blake3::Hash::from_bytes(self.stored.hash);
        same && self.id == bearer.id()
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("id", &self.id)
            .field("name", &self.stored.name)
            .field("role", &self.stored.role)
            .field("limit", &self.stored.limit)
            .finish_non_exhaustive()
    }
}

/// The entity of the mark that access is closed.
#[must_use]
pub fn closed_id() -> EntityId {
    EntityId::new(Collection::Tokens, CLOSED_KEY).expect("one byte is a good key")
}

/// Whether the entity [`closed_id`] says that access is closed.
#[must_use]
pub fn is_closed(entity: &Entity) -> bool {
    let field = entity.field(&field(CLOSED_FIELD));
    field.is_some_and(|field| field.shown().bytes().is_some())
}

/// The cell of the write `dot` at `time` that closes access.
#[must_use]
pub fn closing(dot: Dot, time: Timestamp) -> FieldCell {
    written(CLOSED_FIELD, Value::Bytes(CLOSED.to_vec()), dot, time)
}

fn field(name: &str) -> FieldKey {
    FieldKey::Register(name.to_owned())
}

fn written(name: &str, value: Value, dot: Dot, time: Timestamp) -> FieldCell {
    FieldCell {
        field: field(name),
        cell: Cell {
            rank: Rank::at(time),
            dot,
            seen: CausalContext::default(),
            value,
        },
    }
}

#[cfg(test)]
mod tests {
    use grapevine_crdt::{ReplicaId, Seq};

    use super::*;

    fn dot(seq: u64) -> Dot {
        Dot::new(ReplicaId::from_bytes([1; 16]), Seq::new(seq))
    }

    fn bearer(id: u64, secret: u8) -> Bearer {
        Bearer::new(GrantId::from_u64(id), [secret; 32])
    }

    fn grant(role: Role, limit: Option<Limit>) -> Result<Grant, InvalidGrant> {
        let draft = GrantDraft {
            name: "till".to_owned(),
            role,
            limit,
            expires_ms: Some(9),
        };
        Grant::new(&bearer(1, 7), draft, 5)
    }

    #[test]
    fn a_grant_is_read_back_until_it_is_revoked() {
        let limit = Limit::new(Collection::Kv, "a/".to_owned());
        let made = grant(Role::Write, Some(limit)).expect("it can be");
        let mut entity = Entity::default();
        entity.merge_cell(
            made.put(dot(1), Timestamp::from_u64(1))
                .expect("it is small"),
        );
        let read = Grant::read(made.id(), &entity).expect("it is there");
        assert_eq!(read, made);
        assert!(!read.has_expired(8) && read.has_expired(9));
        for cell in Grant::revoke(&entity, dot(2), Timestamp::from_u64(2)) {
            entity.merge_cell(cell);
        }
        assert_eq!(Grant::read(made.id(), &entity), None);
        assert_eq!(Grant::revoke(&entity, dot(3), Timestamp::from_u64(3)), []);
    }

    #[test]
    fn the_secret_alone_is_not_kept_nor_shown() {
        let made = grant(Role::Read, None).expect("it can be");
        let cell = made
            .put(dot(1), Timestamp::from_u64(1))
            .expect("it is small");
        let bytes = cell.cell.bytes().expect("it holds something");
        assert!(!bytes.windows(8).any(|window| window == [7; 8]));
        let hash = format!("{:?}", made.stored.hash);
        assert!(!format!("{made:?}").contains(&hash[1..9]));
    }

    #[test]
    fn another_secret_or_another_id_is_not_its_token() {
        let made = grant(Role::Read, None).expect("it can be");
        assert!(made.is_of(&bearer(1, 7)));
        assert!(!made.is_of(&bearer(1, 8)));
        assert!(!made.is_of(&bearer(2, 7)));
    }

    #[test]
    fn the_bytes_of_a_grant_are_a_promise() {
        let limit = Limit::new(Collection::Kv, "a/".to_owned());
        let made = grant(Role::Write, Some(limit)).expect("it can be");
        let cell = made
            .put(dot(1), Timestamp::from_u64(1))
            .expect("it is small");
        let mut expected = b"\x01\x04till\x01\x01\x03\x02a/\x05\x01\x09".to_vec();
        expected.extend(bearer(1, 7).hash());
        assert_eq!(cell.cell.bytes(), Some(&expected[..]));
    }

    #[test]
    fn a_limited_admin_could_lift_its_limit_and_is_refused() {
        let limit = Some(Limit::new(Collection::Kv, String::new()));
        assert_eq!(grant(Role::Admin, limit), Err(InvalidGrant::LimitedAdmin));
    }

    #[test]
    fn a_limit_takes_what_begins_with_its_prefix_in_its_collection_alone() {
        let limit = Limit::new(Collection::Kv, "a/".to_owned());
        let id = |collection, key: &str| EntityId::new(collection, key).expect("a good key");
        assert!(limit.takes(&id(Collection::Kv, "a/b")));
        assert!(!limit.takes(&id(Collection::Kv, "a")));
        assert!(!limit.takes(&id(Collection::Counters, "a/b")));
        let topics = Limit::new(Collection::Topics, "news/0".to_owned());
        assert!(!topics.takes(&id(Collection::Topics, "news/01")));
        let topics = Limit::new(Collection::Topics, "news/".to_owned());
        assert!(topics.takes(&id(Collection::Topics, "news/~01")));
        assert!(!topics.takes(&id(Collection::Topics, "newsletter/01")));
        assert!(limit.takes_keys(Collection::Kv, "a/") && !limit.takes_keys(Collection::Kv, "a"));
    }

    #[test]
    fn access_once_closed_stays_closed() {
        let mut entity = Entity::default();
        assert!(!is_closed(&entity));
        entity.merge_cell(closing(dot(1), Timestamp::from_u64(1)));
        assert!(is_closed(&entity));
    }
}
