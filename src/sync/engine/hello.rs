//! The handshake: who is talked to at all.
//!
//! A peer is refused as a whole, before anything else is exchanged, if its clocks could spoil ours.

use crate::sync::{PROTOCOL_VERSION, PeerInfo};

/// How far a hybrid logical clock may be ahead of our wall clock: 10 minutes, in milliseconds.
pub const MAX_CLOCK_AHEAD_MS: u64 = 10 * 60 * 1_000;

/// The most bytes of a name, a cluster or an address in a `Hello`.
pub const MAX_HELLO_TEXT_BYTES: usize = 256;

/// Why a peer is not talked to. No state changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It speaks another version of the protocol.
    #[error("it speaks version {theirs} of the protocol, we speak {PROTOCOL_VERSION}")]
    Version {
        /// Its version.
        theirs: u16,
    },
    /// It belongs to another cluster.
    #[error("it belongs to the cluster {theirs:?}, we to {ours:?}")]
    Cluster {
        /// Our cluster.
        ours: String,
        /// Its cluster.
        theirs: String,
    },
    /// It writes under our replica id: it is this node.
    #[error("it is this node itself")]
    Ourselves,
    /// A text of it is longer than [`MAX_HELLO_TEXT_BYTES`].
    #[error("its {0} is too long")]
    TooLong(&'static str),
    /// Its wall clock is too far off.
    #[error("its wall clock is {off_ms} ms from ours, at most {max_clock_skew_ms} ms are allowed")]
    WallClock {
        /// How far it is off.
        off_ms: u64,
        /// How far it may be off.
        max_clock_skew_ms: u64,
    },
    /// Its hybrid logical clock is too far ahead.
    #[error(
        "its logical clock is {ahead_ms} ms ahead of our wall clock, at most {MAX_CLOCK_AHEAD_MS} ms are allowed"
    )]
    LogicalClock {
        /// How far it is ahead.
        ahead_ms: u64,
    },
}

/// Whether we talk to a peer that says `theirs`; `ours` is what we say, with our clocks as they are now.
pub fn check_hello(
    ours: &PeerInfo,
    theirs: &PeerInfo,
    max_clock_skew_ms: u64,
) -> Result<(), Refusal> {
    if theirs.version != PROTOCOL_VERSION {
        return Err(Refusal::Version {
            theirs: theirs.version,
        });
    }
    let texts = [
        ("cluster", &theirs.cluster),
        ("name", &theirs.name),
        ("HTTP address", &theirs.http),
        ("peer address", &theirs.peer),
    ];
    for (what, text) in texts {
        if text.len() > MAX_HELLO_TEXT_BYTES {
            return Err(Refusal::TooLong(what));
        }
    }
    if theirs.cluster != ours.cluster {
        return Err(Refusal::Cluster {
            ours: ours.cluster.clone(),
            theirs: theirs.cluster.clone(),
        });
    }
    if theirs.replica == ours.replica {
        return Err(Refusal::Ourselves);
    }
    let off_ms = theirs.unix_ms.abs_diff(ours.unix_ms);
    if off_ms > max_clock_skew_ms {
        return Err(Refusal::WallClock {
            off_ms,
            max_clock_skew_ms,
        });
    }
    let ahead_ms = theirs.clock.unix_ms().saturating_sub(ours.unix_ms);
    if ahead_ms > MAX_CLOCK_AHEAD_MS {
        return Err(Refusal::LogicalClock { ahead_ms });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use grapevine_crdt::{ReplicaId, Timestamp};

    use super::*;

    const SKEW_MS: u64 = 60_000;

    fn info(replica: u8, unix_ms: u64) -> PeerInfo {
        PeerInfo {
            version: PROTOCOL_VERSION,
            cluster: "grapevine".to_owned(),
            name: "ann".to_owned(),
            replica: ReplicaId::from_bytes([replica; 16]),
            store: uuid::Uuid::nil(),
            http: "127.0.0.1:7000".to_owned(),
            peer: "127.0.0.1:7001".to_owned(),
            unix_ms,
            clock: Timestamp::from_unix_ms(unix_ms),
        }
    }

    fn refused(change: impl FnOnce(&mut PeerInfo)) -> Result<(), Refusal> {
        let mut theirs = info(2, 1_000_000);
        change(&mut theirs);
        check_hello(&info(1, 1_000_000), &theirs, SKEW_MS)
    }

    #[test]
    fn a_peer_within_all_bounds_is_taken() {
        assert_eq!(refused(|theirs| theirs.unix_ms += SKEW_MS), Ok(()));
        assert_eq!(refused(|theirs| theirs.unix_ms -= SKEW_MS), Ok(()));
        let ahead = Timestamp::from_unix_ms(1_000_000 + MAX_CLOCK_AHEAD_MS);
        assert_eq!(refused(|theirs| theirs.clock = ahead), Ok(()));
    }

    #[test]
    fn what_could_spoil_us_is_refused() {
        assert_eq!(
            refused(|theirs| theirs.version = 1),
            Err(Refusal::Version { theirs: 1 })
        );
        assert_eq!(
            refused(|theirs| theirs.cluster = "other".to_owned()),
            Err(Refusal::Cluster {
                ours: "grapevine".to_owned(),
                theirs: "other".to_owned()
            })
        );
        assert_eq!(
            refused(|theirs| theirs.replica = ReplicaId::from_bytes([1; 16])),
            Err(Refusal::Ourselves)
        );
        assert_eq!(
            refused(|theirs| theirs.name = "n".repeat(257)),
            Err(Refusal::TooLong("name"))
        );
        assert_eq!(
            refused(|theirs| theirs.unix_ms -= SKEW_MS + 1),
            Err(Refusal::WallClock {
                off_ms: SKEW_MS + 1,
                max_clock_skew_ms: SKEW_MS
            })
        );
        let ahead = Timestamp::from_unix_ms(1_000_001 + MAX_CLOCK_AHEAD_MS);
        assert_eq!(
            refused(|theirs| theirs.clock = ahead),
            Err(Refusal::LogicalClock {
                ahead_ms: MAX_CLOCK_AHEAD_MS + 1
            })
        );
    }
}
