//! The text of tokens: vectors by partition in few bytes, in the alphabet of base64url (RFC 4648, section 5), so
//! that a token fits into a header, a URL or a file name.
//!
//! A token is opaque to clients, but it comes back from them: whatever is read here may have been made up.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use grapevine_crdt::{ReplicaId, Seq, VersionVector};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::PartitionId;
use crate::codec;

/// Vectors of some partitions.
pub(super) type Vectors = BTreeMap<PartitionId, VersionVector>;

/// Why a text is no token. No state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidToken {
    /// It is longer than any token of its kind.
    #[error("a token has at most {0} characters")]
    TooLong(usize),
    /// It was not made by a node, is of another kind or version, or was damaged.
    #[error("it is no token that a node gave")]
    Unreadable,
}

/// How vectors are written: each replica once, entries by its place.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Packed {
    replicas: Vec<[u8; 16]>,
    partitions: Vec<(u8, Vec<(u32, u64)>)>,
}

impl Packed {
    pub(super) fn pack(vectors: &Vectors) -> Self {
        let mut places: BTreeMap<ReplicaId, u32> = BTreeMap::new();
        for (replica, _) in vectors.values().flat_map(VersionVector::iter) {
            places.insert(replica, 0);
        }
        for (number, place) in (0..).zip(places.values_mut()) {
            *place = number;
        }
        let entries = |vector: &VersionVector| {
            let entries = vector.iter();
            entries
                .map(|(replica, seq)| (places[&replica], seq.get()))
                .collect()
        };
        Self {
            replicas: places.keys().map(|replica| *replica.as_bytes()).collect(),
            partitions: vectors
                .iter()
                .map(|(partition, vector)| (partition.get(), entries(vector)))
                .collect(),
        }
    }

    pub(super) fn unpack(self) -> Result<Vectors, InvalidToken> {
        let mut vectors = Vectors::new();
        for (partition, entries) in self.partitions {
            let mut vector = VersionVector::default();
            for (place, seq) in entries {
                let replica = usize::try_from(place).ok();
                let replica = replica.and_then(|place| self.replicas.get(place));
                let replica = replica.ok_or(InvalidToken::Unreadable)?;
                vector.advance(ReplicaId::from_bytes(*replica), Seq::new(seq));
            }
            let twice = vectors.insert(PartitionId::new(partition), vector);
            if twice.is_some() {
                return Err(InvalidToken::Unreadable);
            }
        }
        Ok(vectors)
    }
}

/// The text of `value` behind the format byte `format`.
pub(super) fn write<T: Serialize>(format: u8, value: &T) -> String {
    let bytes = codec::encode_versioned(format, value)
        .expect("a token is far smaller than the limit of the codec");
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What [`write`] made; `max_bytes` bounds the bytes that the text stands for.
pub(super) fn read<T: DeserializeOwned>(
    format: u8,
    text: &str,
    max_bytes: usize,
) -> Result<T, InvalidToken> {
    let max_chars = max_bytes.div_ceil(3) * 4;
    if text.len() > max_chars {
        return Err(InvalidToken::TooLong(max_chars));
    }
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| InvalidToken::Unreadable)?;
    codec::decode_versioned(format, &bytes).map_err(|_| InvalidToken::Unreadable)
}
