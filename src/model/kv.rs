//! A key-value: one register that holds a content type and bytes.
//!
//! The register's bytes are the format byte, the length of the content type (one byte), the content type, the
//! bytes themselves. It is laid out by hand so that a read borrows and a write copies once. A value that expires
//! has another format byte, and behind it when: milliseconds since 1970, 8 bytes, the highest first.
//!
//! Law: when a value expires is part of it, so whoever holds it agrees; from then on no read shows it. Later it is
//! removed ([`remove_expired`]), as what was held and nothing else: a renewal that the remover had not seen stays.

use grapevine_crdt::{
    CausalContext, Cell, Dot, Entity, FieldCell, FieldKey, LwwMap, Rank, Timestamp, Value,
};

/// The most bytes of a value.
pub const MAX_VALUE_BYTES: usize = 8 * 1_024 * 1_024;
/// The most bytes of a content type.
pub const MAX_CONTENT_TYPE_BYTES: usize = 255;
/// The content type of a value that was put without one.
pub const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";

const FORMAT: u8 = 1;
/// The format of values that expire.
const EXPIRING_FORMAT: u8 = 2;
const FIELD: &str = "value";

/// Why a value cannot be put. No state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidValue {
    /// More than [`MAX_VALUE_BYTES`].
    #[error("a value has at most {MAX_VALUE_BYTES} bytes")]
    TooLarge,
    /// The content type has more than [`MAX_CONTENT_TYPE_BYTES`], or none, or others than visible ASCII.
    #[error("a content type is 1 to {MAX_CONTENT_TYPE_BYTES} visible ASCII characters")]
    ContentType,
}

/// A key-value that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyValue<'a> {
    /// What the bytes are said to be.
    pub content_type: &'a str,
    /// The bytes.
    pub bytes: &'a [u8],
    /// The write that put them.
    pub dot: Dot,
    /// When.
    pub updated: Timestamp,
    /// From when on it is not there any more, in milliseconds since 1970-01-01T00:00:00Z.
    pub expires_ms: Option<u64>,
}

impl<'a> KeyValue<'a> {
    /// What `entity` shows at the time of day `now_ms`; `None` if it was never put, was deleted, or has expired.
    #[must_use]
    pub fn read(entity: &'a Entity, now_ms: u64) -> Option<Self> {
        Self::held(entity).filter(|value| !value.has_expired(now_ms))
    }

    /// What `entity` holds, expired or not.
    fn held(entity: &'a Entity) -> Option<Self> {
        let field = entity.field(&field())?;
        // Most have but this one field, and nothing removed it.
        let is_alone = entity.fields().nth(1).is_none();
        (is_alone || entity.is_visible())
            .then(|| shown(field.shown()))
            .flatten()
    }

    /// Whether it has expired at the time of day `now_ms`.
    #[must_use]
    pub fn has_expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|expires| expires <= now_ms)
    }
}

/// Whether `entity` holds a value that had expired by `before_ms`.
fn is_expired(entity: &Entity, before_ms: u64) -> bool {
    KeyValue::held(entity).is_some_and(|value| value.has_expired(before_ms))
}

/// When what `entity` holds expires, whether it has or not; `None` if it holds nothing that does.
pub(super) fn expires_ms(entity: &Entity) -> Option<u64> {
    KeyValue::held(entity).and_then(|value| value.expires_ms)
}

/// The cells of the write `dot` that removes a value which had expired by `before_ms`; none if there is no such.
#[must_use]
pub fn remove_expired(entity: &Entity, before_ms: u64, dot: Dot) -> Vec<FieldCell> {
    if !is_expired(entity, before_ms) {
        return Vec::new();
    }
    LwwMap::new(entity).remove(dot)
}

/// The register's bytes for `bytes` of `content_type`, which expire at `expires_ms` if at all.
pub fn encode(
    content_type: &str,
    bytes: &[u8],
    expires_ms: Option<u64>,
) -> Result<Vec<u8>, InvalidValue> {
    if bytes.len() > MAX_VALUE_BYTES {
        return Err(InvalidValue::TooLarge);
    }
    let visible = content_type
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let length = u8::try_from(content_type.len()).unwrap_or(0);
    if length == 0 || !visible {
        return Err(InvalidValue::ContentType);
    }
    let mut encoded = Vec::with_capacity(10 + content_type.len() + bytes.len());
    match expires_ms {
        None => encoded.push(FORMAT),
        Some(expires) => {
            encoded.push(EXPIRING_FORMAT);
            encoded.extend(expires.to_be_bytes());
        }
    }
    encoded.push(length);
    encoded.extend_from_slice(content_type.as_bytes());
    encoded.extend_from_slice(bytes);
    Ok(encoded)
}

fn decode(encoded: &[u8]) -> Option<(&str, &[u8], Option<u64>)> {
    let (format, rest) = encoded.split_first()?;
    let (expires, rest) = match *format {
        FORMAT => (None, rest),
        EXPIRING_FORMAT => {
            let (expires, rest) = rest.split_first_chunk()?;
            (Some(u64::from_be_bytes(*expires)), rest)
        }
        _ => return None,
    };
    let (length, rest) = rest.split_first()?;
    let (content_type, bytes) = rest.split_at_checked(usize::from(*length))?;
    Some((core::str::from_utf8(content_type).ok()?, bytes, expires))
}

/// What the cell of a register holds, if it holds a value.
#[must_use]
pub(super) fn shown(cell: &Cell) -> Option<KeyValue<'_>> {
    let (content_type, bytes, expires_ms) = decode(cell.bytes()?)?;
    Some(KeyValue {
        content_type,
        bytes,
        dot: cell.dot,
        updated: cell.rank.time(),
        expires_ms,
    })
}

/// The cell of the write `dot` at `time` that puts what [`encode`] made.
#[must_use]
pub fn put(encoded: Vec<u8>, dot: Dot, time: Timestamp) -> FieldCell {
    written(Value::Bytes(encoded), dot, time)
}

/// The cells of the write `dot` at `time` that deletes the key; none if nothing is there, unless what whoever
/// deletes has seen is `unseen` here: that may be a value, and is to go too.
#[must_use]
pub fn delete(entity: &Entity, unseen: bool, dot: Dot, time: Timestamp) -> Vec<FieldCell> {
    if !unseen && KeyValue::held(entity).is_none() {
        return Vec::new();
    }
    vec![written(Value::Tombstone, dot, time)]
}

/// The field that holds the value.
pub(super) fn field() -> FieldKey {
    FieldKey::Register(FIELD.to_owned())
}

fn written(value: Value, dot: Dot, time: Timestamp) -> FieldCell {
    FieldCell {
        field: field(),
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
    use proptest::prelude::*;

    use super::*;

    fn dot(replica: u8, seq: u64) -> Dot {
        Dot::new(ReplicaId::from_bytes([replica; 16]), Seq::new(seq))
    }

    fn value(expires_ms: Option<u64>, dot: Dot, rank: u64) -> FieldCell {
        let encoded = encode("a/b", b"hi", expires_ms).expect("within the bounds");
        put(encoded, dot, Timestamp::from_u64(rank))
    }

    fn merged(cells: &[FieldCell], order: &[usize]) -> Entity {
        let mut entity = Entity::default();
        for place in order {
            entity.merge_cell(cells[place % cells.len()].clone());
        }
        for cell in cells {
            entity.merge_cell(cell.clone());
        }
        entity
    }

    proptest! {
        /// Of a value that expires, its renewal elsewhere and its removals by two nodes, in whatever order they
        /// come, everybody holds the same, and a renewal that no remover had seen is there.
        #[test]
        fn everybody_agrees_on_what_has_expired(
            renewed_at in 1..40_u64,
            renewed_until in proptest::option::of(1..40_u64),
            seen_by_second in any::<bool>(),
            now in 0..50_u64,
            order in proptest::collection::vec(0..4_usize, 0..12),
        ) {
            let first = value(Some(10), dot(1, 1), 20);
            let renewal = value(renewed_until, dot(2, 1), renewed_at);
            let mut alone = Entity::default();
            alone.merge_cell(first.clone());
            let mut cells = vec![first, renewal.clone()];
            cells.extend(remove_expired(&alone, 10, dot(3, 1)));
            prop_assert_eq!(cells.len(), 3);
            if seen_by_second {
                alone.merge_cell(renewal);
            }
            cells.extend(remove_expired(&alone, 10, dot(4, 1)));
            let one = merged(&cells, &order);
            let other = merged(&cells, &[]);
            prop_assert_eq!(&one, &other);
            let shown = KeyValue::read(&one, now).map(|value| value.dot);
            let outlives = renewed_at >= 20 && renewed_until.is_none_or(|until| until > now);
            let removed = seen_by_second && renewed_until.is_some_and(|until| until <= 10);
            let expected = (outlives && !removed).then(|| dot(2, 1));
            prop_assert_eq!(shown, expected);
        }

        /// Once a value has expired it never shows again, and before that it does, on whatever node.
        #[test]
        fn a_value_is_there_until_it_expires(expires in any::<u64>(), now in any::<u64>()) {
            let entity = merged(&[value(Some(expires), dot(1, 1), 1)], &[]);
            prop_assert_eq!(KeyValue::read(&entity, now).is_some(), now < expires);
            let removal = remove_expired(&entity, now, dot(1, 2));
            prop_assert_eq!(removal.is_empty(), now < expires);
        }
    }

    #[test]
    fn the_bytes_of_a_register_are_a_promise() {
        let encoded = encode("text/plain", b"hi", None).expect("within the bounds");
        assert_eq!(encoded, b"\x01\x0atext/plainhi");
        assert_eq!(decode(&encoded), Some(("text/plain", &b"hi"[..], None)));
        let encoded = encode("a/b", b"hi", Some(258)).expect("within the bounds");
        assert_eq!(encoded, b"\x02\0\0\0\0\0\0\x01\x02\x03a/bhi");
        assert_eq!(decode(&encoded), Some(("a/b", &b"hi"[..], Some(258))));
    }

    #[test]
    fn damaged_registers_read_as_nothing() {
        for bytes in [
            &b""[..],
            b"\x01",
            b"\x03\x00",
            b"\x02\0\0\0\0\0\0\x01",
            b"\x02\0\0\0\0\0\0\0\0",
            b"\x01\x05text",
            b"\x01\x01\xff",
        ] {
            assert_eq!(decode(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn content_types_that_could_not_be_answered_are_refused() {
        for content_type in ["", "a\nb", "é", &"x".repeat(256)] {
            assert_eq!(
                encode(content_type, b"", None),
                Err(InvalidValue::ContentType)
            );
        }
    }
}
