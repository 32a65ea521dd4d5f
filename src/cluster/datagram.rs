//! The bytes of a gossip datagram: a version byte, then a message as chitchat encodes it.
//!
//! The only place that knows them. With a cluster secret they are sealed as they are in a [`letter`](super::letter).

use chitchat::{ChitchatMessage, Deserializable, Serializable};

/// The most bytes of a datagram: what UDP over IPv4 can carry.
pub const MAX_DATAGRAM_BYTES: usize = 65_507;

const VERSION: u8 = 1;

/// Why a datagram could not be made or read. No state changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatagramError {
    /// There are no bytes at all.
    #[error("empty")]
    Empty,
    /// The version byte is not one that this version reads.
    #[error("unknown version {0}, expected {VERSION}")]
    Version(u8),
    /// The bytes are no message.
    #[error("no message: {0}")]
    Garbage(String),
    /// The bytes go on after the message.
    #[error("{0} bytes follow the message")]
    Trailing(usize),
}

/// The datagram that carries `message`. It may be longer than a datagram can be.
pub(super) fn encode(message: &ChitchatMessage) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    message.serialize(&mut bytes);
    bytes
}

/// The message that a datagram carries.
pub fn decode(datagram: &[u8]) -> Result<ChitchatMessage, DatagramError> {
    let (version, mut rest) = datagram.split_first().ok_or(DatagramError::Empty)?;
    if *version != VERSION {
        return Err(DatagramError::Version(*version));
    }
    let message = ChitchatMessage::deserialize(&mut rest)
        .map_err(|error| DatagramError::Garbage(error.to_string()))?;
    match rest.len() {
        0 => Ok(message),
        trailing => Err(DatagramError::Trailing(trailing)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_comes_back_from_its_datagram() {
        let bytes = encode(&ChitchatMessage::BadCluster);
        assert_eq!(bytes[0], VERSION);
        let message = decode(&bytes).expect("it is whole");
        assert_eq!(message, ChitchatMessage::BadCluster);
    }

    #[test]
    fn what_is_no_datagram_of_ours_is_an_error() {
        let good = encode(&ChitchatMessage::BadCluster);
        assert!(matches!(decode(&[]), Err(DatagramError::Empty)));
        let mut other = good.clone();
        other[0] = VERSION + 1;
        assert!(matches!(decode(&other), Err(DatagramError::Version(_))));
        let mut longer = good.clone();
        longer.push(0);
        assert!(matches!(decode(&longer), Err(DatagramError::Trailing(1))));
        let torn = &good[..good.len() - 1];
        assert!(matches!(decode(torn), Err(DatagramError::Garbage(_))));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0_u8..4) {
            let _any = decode(&bytes);
            // Past the version, chitchat's magic number and its version.
            let mut likely = vec![VERSION, 0x53, 0xb0, 0, kind];
            likely.append(&mut bytes);
            let _any = decode(&likely);
        }
    }
}
