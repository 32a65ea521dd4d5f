//! The first bytes of each side of a connection: that this is the protocol, its version, and whether what follows is
//! sealed.
//!
//! They are read before anything else, so two nodes that cannot understand each other know why. In a sealed connection
//! they are bound into the handshake, so nobody on the way can change them unnoticed.

use crate::sync::PROTOCOL_VERSION;

/// The bytes of a preface.
pub const PREFACE_BYTES: usize = 8;

const MAGIC: [u8; 4] = *b"GRPV";
const OPEN: u8 = 0;
const SEALED: u8 = 1;

/// What one side says first. Four bytes of magic, the version (2 bytes, big-endian), whether it seals, and its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Preface {
    pub(super) version: u16,
    pub(super) sealed: bool,
    pub(super) word: Word,
}

/// What one side answers the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Let us go on.
    Welcome,
    /// I do not talk to you: your version, your sealing or your not sealing says why.
    Unlike,
    /// Your part of the handshake does not open.
    Closed,
}

impl Preface {
    pub(super) const fn ours(sealed: bool, word: Word) -> Self {
        Self {
            version: PROTOCOL_VERSION,
            sealed,
            word,
        }
    }

    pub(super) const fn encode(self) -> [u8; PREFACE_BYTES] {
        let [one, two, three, four] = MAGIC;
        let [high, low] = self.version.to_be_bytes();
        let sealed = if self.sealed { SEALED } else { OPEN };
        let word = match self.word {
            Word::Welcome => 0,
            Word::Unlike => 1,
            Word::Closed => 2,
        };
        [one, two, three, four, high, low, sealed, word]
    }

    /// `None` if it is no preface. Of another version, only that is sure to be read right.
    pub(super) fn decode(bytes: [u8; PREFACE_BYTES]) -> Option<Self> {
        let [one, two, three, four, high, low, sealed, word] = bytes;
        if [one, two, three, four] != MAGIC {
            return None;
        }
        let version = u16::from_be_bytes([high, low]);
        if version != PROTOCOL_VERSION {
            let sealed = sealed == SEALED;
            let word = Word::Unlike;
            return Some(Self {
                version,
                sealed,
                word,
            });
        }
        Some(Self {
            version,
            sealed: match sealed {
                OPEN => false,
                SEALED => true,
                _ => return None,
            },
            word: match word {
                0 => Word::Welcome,
                1 => Word::Unlike,
                2 => Word::Closed,
                _ => return None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preface_of_this_version_changes() {
        let bytes = Preface::ours(true, Word::Closed).encode();
        assert_eq!(bytes, *b"GRPV\x00\x02\x01\x02");
        for sealed in [true, false] {
            for word in [Word::Welcome, Word::Unlike, Word::Closed] {
                let preface = Preface::ours(sealed, word);
                assert_eq!(Preface::decode(preface.encode()), Some(preface));
            }
        }
    }

    #[test]
    fn what_is_no_preface_is_taken_for_one() {
        assert_eq!(Preface::decode(*b"GET / HT"), None);
        assert_eq!(Preface::decode(*b"GRPV\x00\x02\x02\x00"), None);
        assert_eq!(Preface::decode(*b"GRPV\x00\x02\x00\x03"), None);
        let later = Preface::decode(*b"GRPV\x00\x03\xff\xff").expect("a later version");
        assert_eq!(later.version, 3);
    }
}
