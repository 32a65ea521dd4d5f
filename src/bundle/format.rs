//! The bytes of a bundle: a magic number, a version, sections, and a checksum over all before it.
//!
//! A section is a length (4 bytes, big-endian, at most [`MAX_SECTION_BYTES`]) and a
//! [`codec`](crate::codec)-encoded [`Section`]. The first is [`Section::Header`]; then for each partition, in
//! order, [`Section::Partition`] and its [`Section::Page`]s; [`Section::End`] is the last. The checksum is the
//! BLAKE3 hash of everything before it.

use std::io::{self, ErrorKind, Read, Write};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::head::PartitionHead;
use crate::{
    codec::{self, CodecError},
    model::{EntityCells, Invalid, PartitionId},
    store::StoreError,
};

const MAGIC: &[u8; 8] = b"GVBUNDLE";

/// The version of the format; files of another are refused.
pub const BUNDLE_VERSION: u8 = 2;

/// The most bytes of a section behind its length: 16 MiB. One entity, which is never split, must fit.
pub const MAX_SECTION_BYTES: usize = 16 * 1024 * 1024;

const CHECKSUM_BYTES: usize = 32;

/// Whose bundle it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleHeader {
    /// The cluster; nodes of another refuse it.
    pub cluster: String,
    /// The name of the node that wrote it.
    pub node: String,
    /// Which store that is, through all its lives.
    pub store: Uuid,
    /// When it was begun, by that node's clock (milliseconds since 1970-01-01T00:00:00Z).
    pub unix_ms: u64,
}

/// One part of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Section {
    Header(BundleHeader),
    Partition(PartitionHead),
    Page(Vec<EntityCells>),
    End { partitions: u64, entities: u64 },
}

/// Why a bundle cannot be written or taken in. Unless a variant says otherwise, no state changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The file cannot be read or written.
    #[error("the bundle cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// It does not begin as a bundle does.
    #[error("this is no bundle")]
    NotABundle,
    /// It is of another version.
    #[error("this bundle is of version {0}; this program reads version {BUNDLE_VERSION}")]
    Version(u8),
    /// It ends too early.
    #[error("the bundle is cut off")]
    CutOff,
    /// Its bytes are not those that were written.
    #[error("the bundle is damaged: {0}")]
    Damaged(String),
    /// Something in it cannot be.
    #[error("the bundle holds what cannot be: {0}")]
    Impossible(#[from] Invalid),
    /// It is of another cluster.
    #[error("the bundle is of the cluster {theirs}, this node of {ours}")]
    Foreign {
        /// The cluster of the bundle.
        theirs: String,
        /// Ours.
        ours: String,
    },
    /// Its writer's clock is too far ahead.
    #[error("the clock of the node that wrote the bundle is {ahead_ms} ms ahead of this one's")]
    Clock {
        /// How far it is ahead.
        ahead_ms: u64,
    },
    /// It was made for a node that holds more than this one.
    #[error(
        "the bundle builds on {missing} writes that this node does not hold; import those before it first, \
         or export with the token of this node"
    )]
    Base {
        /// How many are missing.
        missing: u64,
    },
    /// It is not a bundle of everything.
    #[error(
        "it builds upon what another node holds; a directory is restored from a backup, or from a bundle of everything"
    )]
    Partial,
    /// One side has collected what the other has not taken in. If it was found out while the bundle was
    /// applied, the partitions before are taken in.
    #[error(
        "in partition {partition} one side has forgotten deletions that the other has not seen: \
         let the nodes meet over a network"
    )]
    Floor {
        /// Where.
        partition: PartitionId,
    },
    /// One side was expelled and has not taken part anew. If it was found out while the bundle was applied, the
    /// partitions before are taken in.
    #[error(
        "the {} was expelled from the cluster while it was away: let it meet a member over a network first",
        if *.ours { "node that takes the bundle in" } else { "node that wrote the bundle" }
    )]
    Expelled {
        /// Whether it is this side.
        ours: bool,
    },
    /// The token is older than what was deleted and forgotten.
    #[error("what was deleted since this token was given is forgotten")]
    Gone,
    /// Something cannot be encoded.
    #[error("{0}")]
    Codec(#[from] CodecError),
    /// The store cannot. While a bundle is applied, what was applied stays; import it again.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// Writes a bundle.
pub(super) struct BundleWriter<W> {
    out: W,
    hasher: blake3::Hasher,
}

impl<W: Write> BundleWriter<W> {
    pub(super) fn begin(out: W, header: BundleHeader) -> Result<Self, BundleError> {
        let mut writer = Self {
            out,
            hasher: blake3::Hasher::new(),
        };
        writer.put(MAGIC)?;
        writer.put(&[BUNDLE_VERSION])?;
        writer.section(&Section::Header(header))?;
        Ok(writer)
    }

    pub(super) fn section(&mut self, section: &Section) -> Result<(), BundleError> {
        let bytes = codec::encode(section)?;
        let length = u32::try_from(bytes.len()).ok();
        let length = length.filter(|_| bytes.len() <= MAX_SECTION_BYTES);
        let length = length.ok_or_else(|| {
            CodecError::Encode(format!("a section of {} bytes is too large", bytes.len()))
        })?;
        self.put(&length.to_be_bytes())?;
        self.put(&bytes)
    }

    /// Ends it with the checksum.
    pub(super) fn finish(mut self) -> Result<(), BundleError> {
        self.out.write_all(self.hasher.finalize().as_bytes())?;
        self.out.flush()?;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)?;
        Ok(())
    }
}

/// Reads a bundle, section by section.
pub(super) struct BundleReader<R> {
    input: R,
    hasher: blake3::Hasher,
}

impl<R: Read> BundleReader<R> {
    pub(super) fn begin(input: R) -> Result<(Self, BundleHeader), BundleError> {
        let mut reader = Self {
            input,
            hasher: blake3::Hasher::new(),
        };
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(BundleError::NotABundle);
        }
        match reader.take(1)?[0] {
            BUNDLE_VERSION => {}
            other => return Err(BundleError::Version(other)),
        }
        match reader.section()? {
            Section::Header(header) => Ok((reader, header)),
            Section::Partition(_) | Section::Page(_) | Section::End { .. } => {
                Err(BundleError::Damaged("it has no header".to_owned()))
            }
        }
    }

    pub(super) fn section(&mut self) -> Result<Section, BundleError> {
        let length = self.take(4)?;
        let length: [u8; 4] = length.try_into().expect("four bytes were taken");
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_SECTION_BYTES {
            return Err(BundleError::Damaged("a section is too large".to_owned()));
        }
        let bytes = self.take(length)?;
        codec::decode(&bytes).map_err(|error| BundleError::Damaged(error.to_string()))
    }

    /// After the last section: the checksum, and nothing else.
    pub(super) fn finish(mut self) -> Result<(), BundleError> {
        let expected = self.hasher.finalize();
        if self.take(CHECKSUM_BYTES)? != expected.as_bytes() {
            return Err(BundleError::Damaged("its checksum is another".to_owned()));
        }
        if self.input.read(&mut [0])? > 0 {
            return Err(BundleError::Damaged("it goes on after its end".to_owned()));
        }
        Ok(())
    }

    /// Takes as many bytes as come before anything is reserved for them.
    fn take(&mut self, count: usize) -> Result<Vec<u8>, BundleError> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(count).unwrap_or(u64::MAX);
        let read = self.input.by_ref().take(limit).read_to_end(&mut bytes);
        match read {
            Ok(read) if read == count => {}
            Ok(_) => return Err(BundleError::CutOff),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(BundleError::CutOff);
            }
            Err(error) => return Err(error.into()),
        }
        self.hasher.update(&bytes);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use core::fmt::Write as _;

    use grapevine_crdt::{
        CausalContext, Cell, Dot, FieldCell, FieldKey, Rank, ReplicaId, Seq, Timestamp, Value,
        VersionVector,
    };

    use super::*;
    use crate::model::{Collection, EntityId, Floor};

    const GOLDEN: &str = concat!(
        "475642554e444c45020000001e0005666c65657404736869701008080808080808080808080808080808050000001c01",
        "19000107070707070707070707070707070707010000fc0000050000000023020103016101000576616c756503070707",
        "070707070707070707070707070100010178000000030301014f482ddce4039537a915229ae99d98be96d3c393bcfe5a",
        "91fe96e5d41b9f476b",
    );

    fn sections() -> Vec<Section> {
        let replica = ReplicaId::from_bytes([7; 16]);
        let id = EntityId::new(Collection::Kv, "a").expect("a good key");
        let head = PartitionHead {
            partition: id.partition(),
            base: VersionVector::default(),
            vector: [(replica, Seq::new(1))].into_iter().collect(),
            floor: Floor::default(),
            clock: Timestamp::from_unix_ms(5),
        };
        let cell = Cell {
            rank: Rank::new(3),
            dot: Dot::new(replica, Seq::new(1)),
            seen: CausalContext::default(),
            value: Value::Bytes(b"x".to_vec()),
        };
        let field = FieldKey::Register("value".to_owned());
        let cells = vec![FieldCell { field, cell }];
        vec![
            Section::Partition(head),
            Section::Page(vec![EntityCells { id, cells }]),
            Section::End {
                partitions: 1,
                entities: 1,
            },
        ]
    }

    fn header() -> BundleHeader {
        BundleHeader {
            cluster: "fleet".to_owned(),
            node: "ship".to_owned(),
            store: Uuid::from_bytes([8; 16]),
            unix_ms: 5,
        }
    }

    fn bundle() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = BundleWriter::begin(&mut bytes, header()).expect("memory");
        for section in sections() {
            writer.section(&section).expect("memory");
        }
        writer.finish().expect("memory");
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<Section>, BundleError> {
        let (mut reader, _) = BundleReader::begin(bytes)?;
        let mut sections = Vec::new();
        for _ in 0..3 {
            sections.push(reader.section()?);
        }
        reader.finish()?;
        Ok(sections)
    }

    #[test]
    fn the_bytes_of_a_bundle_are_a_promise() {
        let bytes = bundle();
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a text takes everything");
            hex
        });
        assert_eq!(hex, GOLDEN);
        assert_eq!(read(&bytes).expect("what was written"), sections());
    }

    #[test]
    fn whatever_byte_is_damaged_or_missing_the_file_is_refused() {
        let bytes = bundle();
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x10;
            assert!(read(&damaged).is_err(), "byte {place}");
            assert!(read(&bytes[..place]).is_err(), "cut off at {place}");
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(matches!(read(&longer), Err(BundleError::Damaged(_))));
        assert!(matches!(read(b"GVBUNDL?"), Err(BundleError::NotABundle)));
        assert!(matches!(
            read(b"GVBUNDLE\x03"),
            Err(BundleError::Version(3))
        ));
        assert!(matches!(
            read(b"GVBUNDLE\x02\xff\xff\xff\xff"),
            Err(BundleError::Damaged(_))
        ));
    }
}
