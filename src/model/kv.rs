//! A key-value: one register that holds a content type and bytes.
//!
//! The register's bytes are the format byte, the length of the content type (one byte), the content type, the
//! bytes themselves. It is laid out by hand so that a read borrows and a write copies once.

use grapevine_crdt::{
    CausalContext, Cell, Dot, Entity, FieldCell, FieldKey, Rank, Timestamp, Value,
};

/// The most bytes of a value.
pub const MAX_VALUE_BYTES: usize = 8 * 1_024 * 1_024;
/// The most bytes of a content type.
pub const MAX_CONTENT_TYPE_BYTES: usize = 255;
/// The content type of a value that was put without one.
pub const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";

const FORMAT: u8 = 1;
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
}

impl<'a> KeyValue<'a> {
    /// What `entity` holds; `None` if it was never put, or was deleted.
    #[must_use]
    pub fn read(entity: &'a Entity) -> Option<Self> {
        shown(entity.field(&field())?.shown())
    }
}

/// The register's bytes for `bytes` of `content_type`.
pub fn encode(content_type: &str, bytes: &[u8]) -> Result<Vec<u8>, InvalidValue> {
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
    let mut encoded = Vec::with_capacity(2 + content_type.len() + bytes.len());
    encoded.extend([FORMAT, length]);
    encoded.extend_from_slice(content_type.as_bytes());
    encoded.extend_from_slice(bytes);
    Ok(encoded)
}

fn decode(encoded: &[u8]) -> Option<(&str, &[u8])> {
    let (head, rest) = encoded.split_at_checked(2)?;
    if head[0] != FORMAT {
        return None;
    }
    let (content_type, bytes) = rest.split_at_checked(usize::from(head[1]))?;
    Some((core::str::from_utf8(content_type).ok()?, bytes))
}

/// What the cell of a register holds, if it holds a value.
#[must_use]
pub(super) fn shown(cell: &Cell) -> Option<KeyValue<'_>> {
    let (content_type, bytes) = decode(cell.bytes()?)?;
    Some(KeyValue {
        content_type,
        bytes,
        dot: cell.dot,
        updated: cell.rank.time(),
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
    if !unseen && KeyValue::read(entity).is_none() {
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
    use super::*;

    #[test]
    fn the_bytes_of_a_register_are_a_promise() {
        let encoded = encode("text/plain", b"hi").expect("within the bounds");
        assert_eq!(encoded, b"\x01\x0atext/plainhi");
        assert_eq!(decode(&encoded), Some(("text/plain", &b"hi"[..])));
    }

    #[test]
    fn damaged_registers_read_as_nothing() {
        for bytes in [
            &b""[..],
            b"\x01",
            b"\x02\x00",
            b"\x01\x05text",
            b"\x01\x01\xff",
        ] {
            assert_eq!(decode(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn content_types_that_could_not_be_answered_are_refused() {
        for content_type in ["", "a\nb", "é", &"x".repeat(256)] {
            assert_eq!(encode(content_type, b""), Err(InvalidValue::ContentType));
        }
    }
}
