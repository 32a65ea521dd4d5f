//! The bytes of a sealed datagram.
//!
//! | bytes | |
//! |---|---|
//! | 1 | the version, 2 |
//! | 16 | the life of the sender: random, for as long as its process runs |
//! | 8 | the number of the datagram in that life, big-endian |
//! | … | sealed with XChaCha20-Poly1305; the 24 bytes before are the nonce, the version is authenticated along |
//!
//! Sealed is: what it is (1 byte), the proof (16), the offer (16), the address it is sent to (an IPv6 address, for IPv4 a
//! mapped one, and a port, big-endian: 18), and in a message the datagram that it would have been without a secret. What
//! proof and offer are is the matter of the [`courier`](super::courier).
//!
//! A nonce comes twice only if two processes draw the same 128 random bits.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};

use crate::secret::SecretKeys;

/// By how much sealing lengthens a datagram.
pub const SEALED_EXTRA_BYTES: usize = 1 + NONCE_BYTES + HEADER_BYTES + TAG_BYTES;

pub(super) const VERSION: u8 = 2;

const LIFE_BYTES: usize = 16;
const NONCE_BYTES: usize = LIFE_BYTES + 8;
const TAG_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 18;
const HEADER_BYTES: usize = 1 + 16 + 16 + ADDRESS_BYTES;

/// What one process is called in the datagrams that it seals.
pub(super) type Life = [u8; LIFE_BYTES];

/// What shows that somebody receives at an address.
pub(super) type Token = [u8; 16];

/// The one datagram of a sender that has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) life: Life,
    pub(super) number: u64,
}

/// What a letter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message of gossip.
    Message,
    /// A wish for a token.
    Greeting,
    /// A token, in answer to a letter whose proof was not good.
    Answer,
}

/// What is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) kind: Kind,
    /// In a message the token that the receiver gave for the sender's address; in an answer the life of whom it answers.
    pub(super) proof: Token,
    /// The token that the receiver is to prove itself by.
    pub(super) offer: Token,
    /// Where it is sent; in an answer, where the letter that it answers was sent.
    pub(super) sent_to: SocketAddr,
    /// The message; else nothing.
    pub(super) body: Vec<u8>,
}

/// Why a datagram is no letter to us. No state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// It is not sealed.
    #[error("it is not sealed, and this node has a cluster secret")]
    Unsealed,
    /// It is sealed.
    #[error("it is sealed, and this node has no cluster secret")]
    Sealed,
    /// It is too short to be one.
    #[error("it is too short to be sealed gossip")]
    Short,
    /// No key of ours opens it.
    #[error("it is sealed with another cluster secret, or for another cluster")]
    Stranger,
    /// It opens, and what is in it makes no sense.
    #[error("what is sealed in it is no letter")]
    Garbage,
    /// It came before.
    #[error("it came before")]
    Repeated,
}

/// One of our keys.
pub(super) struct Seal(XChaCha20Poly1305);

impl Seal {
    pub(super) fn new(keys: &SecretKeys) -> Self {
        Self(XChaCha20Poly1305::new(keys.gossip.bytes().into()))
    }

    /// The datagram that carries `letter`.
    pub(super) fn close(&self, name: Name, letter: &Letter) -> Vec<u8> {
        let nonce = name.nonce();
        let plain = letter.encode();
        let payload = Payload {
            msg: &plain,
            aad: &[VERSION],
        };
        let sealed = self.0.encrypt(XNonce::from_slice(&nonce), payload);
        let sealed = sealed.expect("a letter is shorter than 256 GiB");
        [&[VERSION], &nonce[..], &sealed].concat()
    }
}

/// The letter in a datagram, with the first of `seals` that opens it.
pub(super) fn open<'a>(
    seals: impl IntoIterator<Item = &'a Seal>,
    datagram: &[u8],
) -> Result<(Name, Letter), SealError> {
    let (version, rest) = datagram.split_first().ok_or(SealError::Short)?;
    if *version != VERSION {
        return Err(SealError::Unsealed);
    }
    let (nonce, sealed) = rest
        .split_first_chunk::<NONCE_BYTES>()
        .filter(|(_, sealed)| sealed.len() >= HEADER_BYTES + TAG_BYTES)
        .ok_or(SealError::Short)?;
    let payload = || Payload {
        msg: sealed,
        aad: &[VERSION],
    };
    let plain = seals
        .into_iter()
        .find_map(|seal| seal.0.decrypt(XNonce::from_slice(nonce), payload()).ok())
        .ok_or(SealError::Stranger)?;
    let letter = Letter::decode(&plain).ok_or(SealError::Garbage)?;
    Ok((Name::of(nonce), letter))
}

/// Whether the bytes are a letter that is sealed with these keys, or what is sealed in one: for fuzzing.
#[must_use]
pub fn is_letter(keys: &SecretKeys, bytes: &[u8]) -> bool {
    let seal = Seal::new(keys);
    let open = open([&seal], bytes).is_ok();
    open || Letter::decode(bytes).is_some_and(|letter| letter.encode() == bytes)
}

impl Name {
    fn nonce(self) -> [u8; NONCE_BYTES] {
        let mut nonce = [0; NONCE_BYTES];
        nonce[..LIFE_BYTES].copy_from_slice(&self.life);
        nonce[LIFE_BYTES..].copy_from_slice(&self.number.to_be_bytes());
        nonce
    }

    fn of(nonce: &[u8; NONCE_BYTES]) -> Self {
        let (life, number) = nonce.split_at(LIFE_BYTES);
        let mut name = Self {
            life: [0; LIFE_BYTES],
            number: 0,
        };
        name.life.copy_from_slice(life);
        let mut bytes = [0; 8];
        bytes.copy_from_slice(number);
        name.number = u64::from_be_bytes(bytes);
        name
    }
}

impl Letter {
    fn encode(&self) -> Vec<u8> {
        let mut plain = Vec::with_capacity(HEADER_BYTES + self.body.len());
        plain.push(match self.kind {
            Kind::Message => 0,
            Kind::Greeting => 1,
            Kind::Answer => 2,
        });
        plain.extend_from_slice(&self.proof);
        plain.extend_from_slice(&self.offer);
        plain.extend_from_slice(&address_bytes(self.sent_to));
        plain.extend_from_slice(&self.body);
        plain
    }

    fn decode(plain: &[u8]) -> Option<Self> {
        let (kind, rest) = plain.split_first()?;
        let (proof, rest) = rest.split_first_chunk::<16>()?;
        let (offer, rest) = rest.split_first_chunk::<16>()?;
        let (ip, rest) = rest.split_first_chunk::<16>()?;
        let (port, body) = rest.split_first_chunk::<2>()?;
        let kind = match kind {
            0 => Kind::Message,
            1 => Kind::Greeting,
            2 => Kind::Answer,
            _ => return None,
        };
        if kind != Kind::Message && !body.is_empty() {
            return None;
        }
        let ip = IpAddr::V6(Ipv6Addr::from(*ip)).to_canonical();
        Some(Self {
            kind,
            proof: *proof,
            offer: *offer,
            sent_to: SocketAddr::new(ip, u16::from_be_bytes(*port)),
            body: body.to_vec(),
        })
    }
}

/// An address as it is sealed and proved.
pub(super) fn address_bytes(address: SocketAddr) -> [u8; ADDRESS_BYTES] {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut bytes = [0; ADDRESS_BYTES];
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[16..].copy_from_slice(&address.port().to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::secret::{Secret, Secrets};

    fn seal(secret: u8, cluster: &str) -> Seal {
        let secrets = Secrets::new(vec![Secret::from_bytes([secret; 32])]).expect("one");
        Seal::new(&secrets.keys(cluster)[0])
    }

    fn letter(body: &[u8]) -> Letter {
        Letter {
            kind: Kind::Message,
            proof: [2; 16],
            offer: [3; 16],
            sent_to: SocketAddr::from(([192, 0, 2, 7], 7_901)),
            body: body.to_vec(),
        }
    }

    const NAME: Name = Name {
        life: [1; 16],
        number: 7,
    };

    fn hex(bytes: &[u8]) -> String {
        let hex = bytes.iter().map(|byte| format!("{byte:02x}"));
        hex.collect::<Vec<_>>().concat()
    }

    /// Nodes of two versions must read each other. Computed with Python's `blake3` and `PyNaCl`.
    #[test]
    fn a_new_version_seals_differently() {
        let sealed = seal(7, "grapevine").close(NAME, &letter(b"gossip"));
        assert_eq!(
            hex(&sealed),
            "020101010101010101010101010101010100000000000000072fa9b40ca4b87a874eb93953024e8d7f6aca1c4807f717fbcb428e\
             96894f98d184db40b778b648c02ead5913048cb089fbeba01f9c8e82d51a138c316c4e208a946af99fc2c753091c"
        );
        assert_eq!(sealed.len(), SEALED_EXTRA_BYTES + 6);
    }

    #[test]
    fn a_stranger_or_another_cluster_opens_a_letter() {
        let (ours, other) = (seal(7, "grapevine"), seal(8, "grapevine"));
        let sealed = ours.close(NAME, &letter(b"gossip"));
        assert_eq!(
            open([&other, &ours], &sealed),
            Ok((NAME, letter(b"gossip")))
        );
        assert_eq!(open([&other], &sealed), Err(SealError::Stranger));
        assert_eq!(open([&seal(7, "b")], &sealed), Err(SealError::Stranger));
        assert_eq!(open([], &sealed), Err(SealError::Stranger));
        assert_eq!(open([&ours], &[1, 2, 3]), Err(SealError::Unsealed));
        assert_eq!(open([&ours], &sealed[..91]), Err(SealError::Short));
        assert_eq!(open([&ours], &[]), Err(SealError::Short));
    }

    #[test]
    fn a_bit_changed_on_the_way_goes_unnoticed() {
        let ours = seal(7, "grapevine");
        let sealed = ours.close(NAME, &letter(b"gossip"));
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open([&ours], &changed).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _any = open([&seal(7, "grapevine")], &bytes);
            if let Some(letter) = Letter::decode(&bytes) {
                let again = Letter::decode(&letter.encode());
                prop_assert_eq!(again, Some(letter));
            }
        }
    }
}
