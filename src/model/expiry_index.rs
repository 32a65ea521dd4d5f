//! The rows of the index that say when key-values expire: in the order of their times, so that whoever removes what
//! has expired reads these and no others.

use bytes::Bytes;

/// The first byte of the rows; those of contacts have lower ones.
const TAG: u8 = 7;

/// When a key-value expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryRow<'a> {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub expires_ms: u64,
    /// The key.
    pub key: &'a str,
}

impl<'a> ExpiryRow<'a> {
    /// The row: the tag; the time, 8 bytes, the highest first; the key.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let mut row = Vec::with_capacity(9 + self.key.len());
        row.push(TAG);
        row.extend(self.expires_ms.to_be_bytes());
        row.extend_from_slice(self.key.as_bytes());
        row.into()
    }

    /// Reads a row; `None` if it is none.
    #[must_use]
    pub fn read(row: &'a [u8]) -> Option<Self> {
        let (&tag, rest) = row.split_first()?;
        let (expires, key) = rest.split_first_chunk()?;
        (tag == TAG).then_some(Self {
            expires_ms: u64::from_be_bytes(*expires),
            key: core::str::from_utf8(key).ok()?,
        })
    }

    /// The beginning of all rows.
    #[must_use]
    pub fn start() -> Vec<u8> {
        vec![TAG]
    }

    /// Behind the rows of what has expired by `before_ms`.
    #[must_use]
    pub fn end(before_ms: u64) -> Vec<u8> {
        match before_ms.checked_add(1) {
            Some(after) => [&[TAG], after.to_be_bytes().as_slice()].concat(),
            None => vec![TAG + 1],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(expires_ms: u64, key: &str) -> ExpiryRow<'_> {
        ExpiryRow { expires_ms, key }
    }

    #[test]
    fn rows_lie_out_of_the_order_of_their_times() {
        let sorted = [row(0, "z"), row(1, "y"), row(256, "b"), row(256, "c")];
        let encoded = sorted.map(ExpiryRow::encode);
        assert!(encoded.is_sorted());
        for (row, bytes) in sorted.into_iter().zip(&encoded) {
            assert_eq!(ExpiryRow::read(bytes), Some(row));
            assert!(bytes.as_ref() >= ExpiryRow::start().as_slice());
            assert_eq!(
                bytes.as_ref() < ExpiryRow::end(255).as_slice(),
                row.expires_ms < 256
            );
            assert!(bytes.as_ref() < ExpiryRow::end(u64::MAX).as_slice());
        }
    }

    #[test]
    fn damaged_rows_are_taken_for_good_ones() {
        for bytes in [
            &b""[..],
            b"\x07",
            b"\x07\0\0\0\0\0\0\0",
            b"\x06\0\0\0\0\0\0\0\0a",
            b"\x07\0\0\0\0\0\0\0\0\xff",
        ] {
            assert_eq!(ExpiryRow::read(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn the_bytes_of_a_row_are_a_promise() {
        assert_eq!(
            row(258, "a/b").encode().as_ref(),
            b"\x07\0\0\0\0\0\0\x01\x02a/b"
        );
    }
}
