//! What an offline client has seen, as a token: the vectors of all partitions, valid on any node, and between two
//! pages of changes the place at which the next page goes on.
//!
//! Invariant: the vector of a partition that was fetched covers a write only if the client was told the entity of
//! that write as it stood with it, or later. A partition that was never fetched has no vector, which is less
//! than an empty one: an empty one says that nothing was there.

use grapevine_crdt::{Dot, VersionVector};
use serde::{Deserialize, Serialize};

use super::{
    PARTITIONS, PartitionId,
    token_text::{self, InvalidToken, Packed, Vectors},
};

/// Not that of session tokens, which mean something else.
const FORMAT: u8 = 2;

/// The most bytes of a token of changes: room for some thousand lives of nodes.
pub const MAX_CHANGES_TOKEN_BYTES: usize = 4 * 1_024 * 1_024;

/// How far a partition was read that did not fit on one page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// What need not be told; `None` for what the token covers.
    pub base: Option<VersionVector>,
    /// The vector of the partition when this pass over it began.
    pub begun: VersionVector,
    /// The content of the partition when this pass over it began.
    pub steps: u64,
    /// The place in the log behind which it goes on; `None` at its beginning.
    pub position: Option<Dot>,
}

/// Where the next page goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The store to which this place means something.
    pub source: u64,
    /// The first partition that is not told.
    pub partition: PartitionId,
    /// How far it was told.
    pub pass: Pass,
}

/// What an offline client has seen.
///
/// ```
/// use grapevine::model::{ChangesToken, PartitionId};
/// use grapevine_crdt::VersionVector;
///
/// let mut token = ChangesToken::default();
/// assert_eq!(token.fetched(PartitionId::new(0)), None);
/// token.fetch(PartitionId::new(0), VersionVector::default());
/// let read = ChangesToken::from_text(&token.to_text())?;
/// assert_eq!(read.fetched(PartitionId::new(0)), Some(&VersionVector::default()));
/// # Ok::<(), grapevine::model::InvalidToken>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangesToken {
    vectors: Vectors,
    resume: Option<Resume>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    vectors: Packed,
    resume: Option<Resume>,
}

impl ChangesToken {
    /// The token that [`Self::to_text`] told.
    pub fn from_text(text: &str) -> Result<Self, InvalidToken> {
        let stored: Stored = token_text::read(FORMAT, text, MAX_CHANGES_TOKEN_BYTES)?;
        Ok(Self {
            vectors: stored.vectors.unpack()?,
            resume: stored.resume,
        })
    }

    /// As text, of visible ASCII that needs no escaping in a URL.
    #[must_use]
    pub fn to_text(&self) -> String {
        let stored = Stored {
            vectors: Packed::pack(&self.vectors),
            resume: self.resume.clone(),
        };
        token_text::write(FORMAT, &stored)
    }

    /// What was seen of a partition; `None` if it was never fetched.
    #[must_use]
    pub fn fetched(&self, partition: PartitionId) -> Option<&VersionVector> {
        self.vectors.get(&partition)
    }

    /// Whether every partition was fetched.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.vectors.len() == PARTITIONS
    }

    /// All of a partition up to `vector` was told.
    pub fn fetch(&mut self, partition: PartitionId, vector: VersionVector) {
        self.vectors.insert(partition, vector);
    }

    /// Takes out where the page before ended, at whatever store that was.
    pub const fn take_resume(&mut self) -> Option<Resume> {
        self.resume.take()
    }

    /// The next page goes on here.
    pub fn set_resume(&mut self, resume: Resume) {
        self.resume = Some(resume);
    }

    /// How many writes that were seen of the partitions `of` are missing where `vector` tells what was taken in.
    pub fn lacking<'a>(
        &self,
        of: impl Fn(PartitionId) -> bool,
        vector: impl Fn(PartitionId) -> &'a VersionVector,
    ) -> u64 {
        self.vectors
            .iter()
            .filter(|(partition, _)| of(**partition))
            .map(|(partition, seen)| vector(*partition).lag_behind(seen))
            .fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use grapevine_crdt::{ReplicaId, Seq};

    use super::*;

    #[test]
    fn the_text_of_a_token_is_a_promise() {
        let replica = ReplicaId::from_bytes([1; 16]);
        let vector: VersionVector = [(replica, Seq::new(300))].into_iter().collect();
        let mut token = ChangesToken::default();
        token.fetch(PartitionId::new(0), VersionVector::default());
        token.fetch(PartitionId::new(1), vector.clone());
        assert_eq!(token.to_text(), "AgEBAQEBAQEBAQEBAQEBAQEBAgAAAQEA-ywBAA");
        token.set_resume(Resume {
            source: 7,
            partition: PartitionId::new(2),
            pass: Pass {
                base: None,
                begun: vector,
                steps: 4,
                position: Some(Dot::new(replica, Seq::new(2))),
            },
        });
        let read = ChangesToken::from_text(&token.to_text());
        assert_eq!(read.as_ref(), Ok(&token));
        let mut read = read.expect("a token");
        assert!(read.take_resume().is_some());
    }

    #[test]
    fn a_token_of_a_session_is_none_of_changes() {
        let session = crate::model::SessionToken::default().to_text();
        assert!(ChangesToken::from_text(&session).is_err());
    }
}
