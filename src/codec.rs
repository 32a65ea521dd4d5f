//! The one encoding of Grapevine, at rest and between peers: bincode 2.0.1 over serde, always with a limit.
//!
//! The line of bincode 2 is finished, so it is pinned; golden vectors in `crdt/tests` and `tests` keep a
//! byte-compatible successor possible. Nothing else in the project names bincode.

use bincode::config::{Configuration, Limit};
use serde::{Serialize, de::DeserializeOwned};

/// The most bytes that one encoded value may have: 64 MiB. Frames and rows have lower limits of their own.
pub const MAX_ENCODED_BYTES: usize = 64 * 1024 * 1024;

const CONFIG: Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    Limit<MAX_ENCODED_BYTES>,
> = bincode::config::standard().with_limit::<MAX_ENCODED_BYTES>();

/// Why bytes could not be made or read. No state changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The value cannot be encoded.
    #[error("cannot encode: {0}")]
    Encode(String),
    /// The bytes are not an encoding of the type.
    #[error("cannot decode: {0}")]
    Decode(String),
    /// The bytes go on after the value.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
    /// The format byte is not one that this version reads.
    #[error("unknown format {found}, expected {expected}")]
    Format {
        /// The format byte found.
        found: u8,
        /// The format byte of this version.
        expected: u8,
    },
    /// There are no bytes at all.
    #[error("empty")]
    Empty,
}

/// The encoding of `value`.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    encode_into(value, &mut bytes)?;
    Ok(bytes)
}

/// Appends the encoding of `value` to `bytes`. On error `bytes` may hold part of it.
pub fn encode_into<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
    bincode::serde::encode_into_std_write(value, bytes, CONFIG)
        .map(drop)
        .map_err(|error| CodecError::Encode(error.to_string()))
}

/// The value that `bytes`, all of them, encode.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, read) = bincode::serde::decode_from_slice(bytes, CONFIG)
        .map_err(|error| CodecError::Decode(error.to_string()))?;
    match bytes.len() - read {
        0 => Ok(value),
        trailing => Err(CodecError::Trailing(trailing)),
    }
}

/// The encoding of `value` behind the format byte `format`.
pub fn encode_versioned<T: Serialize>(format: u8, value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = vec![format];
    encode_into(value, &mut bytes)?;
    Ok(bytes)
}

/// The value behind the format byte, which must be `format`.
pub fn decode_versioned<T: DeserializeOwned>(format: u8, bytes: &[u8]) -> Result<T, CodecError> {
    let (found, rest) = bytes.split_first().ok_or(CodecError::Empty)?;
    if *found != format {
        return Err(CodecError::Format {
            found: *found,
            expected: format,
        });
    }
    decode(rest)
}
