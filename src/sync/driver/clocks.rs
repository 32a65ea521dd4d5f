//! What is known of the clocks of peers, and whether it is ours that is off.
//!
//! Every handshake tells how far a peer's wall clock is from ours, also one that ends in a refusal. If our own clock is moved
//! afterwards, that shows against the monotonic one, and what was measured is corrected by it: so a node whose
//! clock jumps knows it before it writes once more.
//!
//! The rule: our clock is taken to be the wrong one when the peers heard within [`HEARD_WITHIN_MS`] that disagree
//! with it are more than those that agree and we ourselves. So of two nodes that disagree both stay writable:
//! neither can know.
//!
//! Peers are told apart by the address at which they listen: a node that is started again and again has many
//! lives but one clock.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use grapevine_crdt::ReplicaId;

use crate::sync::{
    PeerInfo,
    engine::{MAX_HELLO_TEXT_BYTES, Now, Refusal},
};

/// For how long what a peer told of its clock counts: 3 minutes.
const HEARD_WITHIN_MS: u64 = 3 * 60 * 1_000;

/// For how long it counts after our clock was moved. Whoever is there is asked again at once; who is not must
/// not keep a machine that slept from writing.
const COUNTS_AFTER_MOVE_MS: u64 = 10_000;

/// The most peers of whose clocks is known.
const MAX_CLOCKS: usize = 1_024;

/// The most refused peers that are told of.
pub const MAX_REFUSED: usize = 64;

/// A peer that is not talked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedPeer {
    /// Its name; empty if it did not come as far as to say it.
    pub name: String,
    /// The life it said it writes under.
    pub replica: Option<ReplicaId>,
    /// Where it listens for peers, as it says; of one that did not come so far, where it was dialled or from which
    /// host it came.
    pub address: String,
    /// Why.
    pub reason: String,
    /// How far its wall clock was ahead of ours (negative: behind), in milliseconds.
    pub offset_ms: Option<i64>,
    /// Since when it is refused, by our wall clock (milliseconds since 1970-01-01T00:00:00Z).
    pub since_unix_ms: u64,
}

/// What was measured of one clock.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_field_names, reason = "units come last")]
struct Measured {
    /// How far it was ahead of ours.
    offset_ms: i64,
    /// How far our wall clock was ahead of our monotonic one.
    base_ms: i64,
    /// Until when it counts, on the monotonic clock.
    until_ms: u64,
}

#[derive(Debug)]
struct Refused {
    peer: RefusedPeer,
    heard_ms: u64,
}

#[derive(Debug, Default)]
struct Known {
    measured: BTreeMap<String, Measured>,
    refused: BTreeMap<String, Refused>,
}

/// The clocks of peers.
#[derive(Debug)]
pub(super) struct Clocks {
    max_skew_ms: u64,
    known: Mutex<Known>,
}

/// How far the wall clock is ahead of the monotonic one: it changes only if one of them is wrong, or moved.
pub(super) fn base_ms(now: Now) -> i64 {
    difference_ms(now.unix_ms, now.monotonic_ms)
}

fn difference_ms(one: u64, other: u64) -> i64 {
    let difference = i128::from(one) - i128::from(other);
    let bounded = difference.clamp(i64::MIN.into(), i64::MAX.into());
    i64::try_from(bounded).unwrap_or_default()
}

impl Clocks {
    pub(super) fn new(max_skew_ms: u64) -> Self {
        Self {
            max_skew_ms,
            known: Mutex::default(),
        }
    }

    /// A peer told its clock and was taken, or refused for a reason.
    pub(super) fn heard(&self, theirs: &PeerInfo, refusal: Option<&Refusal>, now: Now) {
        if theirs.peer.len().max(theirs.name.len()) > MAX_HELLO_TEXT_BYTES {
            return;
        }
        let offset_ms = difference_ms(theirs.unix_ms, now.unix_ms);
        let mut known = self.known();
        known.forget_the_oldest();
        let is_of_a_clock = match refusal {
            None | Some(Refusal::WallClock { .. } | Refusal::LogicalClock { .. }) => true,
            // Of another cluster, or ourselves: what its clock says does not matter.
            Some(
                Refusal::Version { .. }
                | Refusal::Cluster { .. }
                | Refusal::Ourselves
                | Refusal::TooLong(_),
            ) => false,
        };
        let address = theirs.peer.clone();
        if is_of_a_clock {
            let measured = Measured {
                offset_ms,
                base_ms: base_ms(now),
                until_ms: now.monotonic_ms.saturating_add(HEARD_WITHIN_MS),
            };
            known.measured.insert(address.clone(), measured);
        }
        match refusal {
            None => {
                known.refused.remove(&address);
            }
            Some(Refusal::Ourselves | Refusal::TooLong(_)) => {}
            Some(refusal) => {
                let since_unix_ms = known
                    .refused
                    .get(&address)
                    .map_or(now.unix_ms, |before| before.peer.since_unix_ms);
                let refused = Refused {
                    peer: RefusedPeer {
                        name: theirs.name.clone(),
                        replica: Some(theirs.replica),
                        address: address.clone(),
                        reason: refusal.to_string(),
                        offset_ms: Some(offset_ms),
                        since_unix_ms,
                    },
                    heard_ms: now.monotonic_ms,
                };
                known.refused.insert(address, refused);
            }
        }
    }

    /// Our clock was moved: what was measured before counts only until everybody was asked again.
    pub(super) fn moved(&self, now: Now) {
        let until_ms = now.monotonic_ms.saturating_add(COUNTS_AFTER_MOVE_MS);
        for measured in self.known().measured.values_mut() {
            if base_ms(now).abs_diff(measured.base_ms) > self.max_skew_ms {
                measured.until_ms = measured.until_ms.min(until_ms);
            }
        }
    }

    /// How far the clock of the peer at `address` is ahead of ours now.
    pub(super) fn offset_ms(&self, address: &str, now: Now) -> Option<i64> {
        let known = self.known();
        known.measured.get(address).map(|of| of.offset_now_ms(now))
    }

    /// Whom we refused within the last minutes.
    pub(super) fn refused(&self, now: Now) -> Vec<RefusedPeer> {
        let known = self.known();
        let recent = known
            .refused
            .values()
            .filter(|refused| now.monotonic_ms.saturating_sub(refused.heard_ms) <= HEARD_WITHIN_MS);
        recent.map(|refused| refused.peer.clone()).collect()
    }

    /// Why this node must not write now, if it is its clock that is off.
    pub(super) fn fault(&self, now: Now) -> Option<String> {
        let known = self.known();
        let mut counting = known
            .measured
            .values()
            .filter(|measured| measured.until_ms > now.monotonic_ms);
        let agrees =
            |measured: &Measured| measured.offset_now_ms(now).unsigned_abs() <= self.max_skew_ms;
        let (mut agreeing, mut disagreeing, mut nearest) = (0_usize, 0_usize, None);
        for measured in &mut counting {
            if agrees(measured) {
                agreeing += 1;
            } else {
                disagreeing += 1;
                let offset_ms = measured.offset_now_ms(now);
                nearest = nearest
                    .into_iter()
                    .chain([offset_ms])
                    .min_by_key(|offset| offset.unsigned_abs());
            }
        }
        let offset_ms = nearest.filter(|_| disagreeing > agreeing + 1)?;
        let side = if offset_ms > 0 { "behind" } else { "ahead of" };
        Some(format!(
            "the clock of this node is off: it is at least {} ms {side} those of {disagreeing} peers and agrees with \
             {agreeing}; at most {} ms are allowed",
            offset_ms.unsigned_abs(),
            self.max_skew_ms
        ))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Measured {
    fn offset_now_ms(&self, now: Now) -> i64 {
        let moved = base_ms(now).saturating_sub(self.base_ms);
        self.offset_ms.saturating_sub(moved)
    }
}

impl Known {
    /// Makes room for one more of each.
    fn forget_the_oldest(&mut self) {
        if self.measured.len() >= MAX_CLOCKS {
            let oldest = self.measured.iter().min_by_key(|(_, of)| of.until_ms);
            if let Some(address) = oldest.map(|(address, _)| address.clone()) {
                self.measured.remove(&address);
            }
        }
        if self.refused.len() >= MAX_REFUSED {
            let oldest = self.refused.iter().min_by_key(|(_, of)| of.heard_ms);
            if let Some(address) = oldest.map(|(address, _)| address.clone()) {
                self.refused.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use grapevine_crdt::Timestamp;

    use super::*;
    use crate::sync::PROTOCOL_VERSION;

    const SKEW_MS: u64 = 60_000;
    const START_MS: u64 = 1_000_000_000_000;

    fn at(monotonic_ms: u64, moved_ms: i64) -> Now {
        Now {
            monotonic_ms,
            unix_ms: (START_MS + monotonic_ms).saturating_add_signed(moved_ms),
        }
    }

    /// A handshake with a peer whose clock is `offset_ms` ahead of the true time.
    fn meet(clocks: &Clocks, peer: usize, offset_ms: i64, now: Now) {
        let theirs = PeerInfo {
            version: PROTOCOL_VERSION,
            cluster: "grapevine".to_owned(),
            name: format!("peer-{peer}"),
            replica: ReplicaId::from_bytes([7; 16]),
            store: uuid::Uuid::nil(),
            http: String::new(),
            peer: format!("127.0.0.1:{peer}"),
            unix_ms: (START_MS + now.monotonic_ms).saturating_add_signed(offset_ms),
            clock: Timestamp::ZERO,
        };
        let off_ms = theirs.unix_ms.abs_diff(now.unix_ms);
        let refusal = (off_ms > SKEW_MS).then_some(Refusal::WallClock {
            off_ms,
            max_clock_skew_ms: SKEW_MS,
        });
        clocks.heard(&theirs, refusal.as_ref(), now);
    }

    #[test]
    fn one_of_two_refuses_writes_although_nobody_knows_who_is_wrong() {
        let clocks = Clocks::new(SKEW_MS);
        meet(&clocks, 1, 3_600_000, at(0, 0));
        assert_eq!(clocks.fault(at(1, 0)), None);
        let refused = clocks.refused(at(1, 0));
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].name, "peer-1");
        assert_eq!(refused[0].offset_ms, Some(3_600_000));
        meet(&clocks, 2, 3_600_000, at(2, 0));
        let fault = clocks.fault(at(3, 0)).expect("two against one");
        assert!(fault.contains("behind"), "{fault}");
        // What nobody repeats is forgotten.
        assert_eq!(clocks.fault(at(HEARD_WITHIN_MS + 10, 0)), None);
        assert_eq!(clocks.refused(at(HEARD_WITHIN_MS + 10, 0)), Vec::new());
    }

    #[test]
    fn a_clock_that_jumps_is_noticed_only_at_the_next_handshake() {
        let century_ms = 75 * 365 * 86_400_000;
        let clocks = Clocks::new(SKEW_MS);
        meet(&clocks, 1, 0, at(0, 0));
        meet(&clocks, 2, 20_000, at(0, 0));
        assert_eq!(clocks.fault(at(1, 0)), None);
        assert_eq!(clocks.offset_ms("127.0.0.1:2", at(1, 0)), Some(20_000));
        let jumped = at(2, century_ms);
        assert!(
            clocks
                .fault(jumped)
                .is_some_and(|fault| fault.contains("ahead of"))
        );
        assert_eq!(clocks.fault(at(3, 0)), None, "it jumped back");
        // A machine that slept and finds nobody may write again soon.
        clocks.moved(at(4, century_ms));
        assert!(clocks.fault(at(5, century_ms)).is_some());
        assert_eq!(clocks.fault(at(20_000, century_ms)), None);
    }

    #[test]
    fn a_peer_that_is_started_again_and_again_counts_more_than_once() {
        let clocks = Clocks::new(SKEW_MS);
        meet(&clocks, 1, 0, at(0, 0));
        for life in 0..10 {
            meet(&clocks, 2, 3_600_000, at(life, 0));
        }
        assert_eq!(clocks.fault(at(20, 0)), None);
        for peer in 0..10 * MAX_CLOCKS {
            meet(&clocks, peer, 3_600_000, at(30, 0));
        }
        let known = clocks.known();
        assert!(known.measured.len() <= MAX_CLOCKS);
        assert!(known.refused.len() <= MAX_REFUSED);
    }
}
