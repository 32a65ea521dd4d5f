//! Who was turned away before it could say who it is, and how many may try at once.
//!
//! Invariants: at most [`MAX_HANDSHAKES`] accepted connections have not passed the handshake, [`MAX_HANDSHAKES_OF_ONE`]
//! of them from one host, so a stranger cannot keep all others out; of those turned away [`MAX_STRANGERS`] are
//! remembered.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::RefusedPeer;
use crate::sync::engine::Now;

/// The most accepted connections that have not passed the handshake.
pub const MAX_HANDSHAKES: usize = 64;

/// The most of them from one host.
pub const MAX_HANDSHAKES_OF_ONE: usize = 16;

/// The most places of which it is remembered that somebody there was turned away.
const MAX_STRANGERS: usize = 64;

/// For how long it is told: 3 minutes.
const TOLD_FOR_MS: u64 = 3 * 60 * 1_000;

#[derive(Debug)]
struct Stranger {
    reason: String,
    since_unix_ms: u64,
    heard_ms: u64,
}

/// Those who were turned away, by the address that was dialled or the host that came.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<BTreeMap<String, Stranger>>);

impl Strangers {
    /// Somebody at `place` was turned away.
    pub(super) fn turned_away(&self, place: &str, reason: String, now: Now) {
        let mut known = self.known();
        let before = known.remove(place);
        if known.len() >= MAX_STRANGERS {
            let oldest = known.iter().min_by_key(|(_, stranger)| stranger.heard_ms);
            if let Some(oldest) = oldest.map(|(place, _)| place.clone()) {
                known.remove(&oldest);
            }
        }
        let stranger = Stranger {
            since_unix_ms: before
                .filter(|before| before.is_told(now) && before.reason == reason)
                .map_or(now.unix_ms, |before| before.since_unix_ms),
            reason,
            heard_ms: now.monotonic_ms,
        };
        known.insert(place.to_owned(), stranger);
    }

    /// Whoever is at `place` was let in.
    pub(super) fn let_in(&self, place: &str) {
        self.known().remove(place);
    }

    /// Those turned away within the last minutes.
    pub(super) fn told(&self, now: Now) -> Vec<RefusedPeer> {
        let known = self.known();
        let recent = known.iter().filter(|(_, stranger)| stranger.is_told(now));
        recent
            .map(|(place, stranger)| RefusedPeer {
                name: String::new(),
                replica: None,
                address: place.clone(),
                reason: stranger.reason.clone(),
                offset_ms: None,
                since_unix_ms: stranger.since_unix_ms,
            })
            .collect()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Stranger>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stranger {
    const fn is_told(&self, now: Now) -> bool {
        now.monotonic_ms.saturating_sub(self.heard_ms) <= TOLD_FOR_MS
    }
}

/// The handshakes of accepted connections that are under way, by host.
#[derive(Debug, Default)]
pub(super) struct Doorstep(Mutex<BTreeMap<String, usize>>);

/// A place on the doorstep, until it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    doorstep: Arc<Doorstep>,
    host: String,
}

impl Doorstep {
    /// A place for a connection from `host`, if there is one.
    pub(super) fn enter(self: &Arc<Self>, host: &str) -> Option<Waiting> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_host = waiting.get(host).copied().unwrap_or_default();
        let of_all: usize = waiting.values().sum();
        if of_host >= MAX_HANDSHAKES_OF_ONE || of_all >= MAX_HANDSHAKES {
            return None;
        }
        waiting.insert(host.to_owned(), of_host + 1);
        Some(Waiting {
            doorstep: Arc::clone(self),
            host: host.to_owned(),
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let waiting = self.doorstep.0.lock();
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        if let Some(of_host) = waiting.get_mut(&self.host) {
            *of_host -= 1;
            if *of_host == 0 {
                waiting.remove(&self.host);
            }
        }
    }
}

/// The host of `host:port`: the port of one who comes is another each time.
pub(super) fn host(remote: &str) -> &str {
    remote.rsplit_once(':').map_or(remote, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(monotonic_ms: u64) -> Now {
        Now {
            monotonic_ms,
            unix_ms: 1_000_000 + monotonic_ms,
        }
    }

    #[test]
    fn one_host_takes_every_place_on_the_doorstep() {
        let doorstep = Arc::new(Doorstep::default());
        let held: Vec<_> = (0..100)
            .filter_map(|_| doorstep.enter("192.0.2.1"))
            .collect();
        assert_eq!(held.len(), MAX_HANDSHAKES_OF_ONE);
        assert!(doorstep.enter("192.0.2.2").is_some());
        let others: Vec<_> = (0..1_000)
            .filter_map(|number| doorstep.enter(&format!("198.51.100.{number}")))
            .collect();
        assert_eq!(held.len() + others.len(), MAX_HANDSHAKES);
        drop((held, others));
        assert!(doorstep.0.lock().expect("nobody panicked").is_empty());
        assert!(doorstep.enter("192.0.2.1").is_some());
    }

    #[test]
    fn a_flood_of_strangers_fills_memory_or_is_told_for_ever() {
        let strangers = Strangers::default();
        for number in 0..1_000 {
            let place = format!("192.0.2.1:{number}");
            strangers.turned_away(&place, "no".to_owned(), at(number));
        }
        assert_eq!(strangers.told(at(1_000)).len(), MAX_STRANGERS);
        strangers.turned_away("192.0.2.1:999", "no".to_owned(), at(2_000));
        let told = strangers.told(at(2_000));
        let again = told.iter().find(|told| told.address == "192.0.2.1:999");
        assert_eq!(again.map(|told| told.since_unix_ms), Some(1_000_999));
        strangers.let_in("192.0.2.1:999");
        assert_eq!(strangers.told(at(2_000)).len(), MAX_STRANGERS - 1);
        assert_eq!(strangers.told(at(TOLD_FOR_MS + 1_001)), []);
    }

    #[test]
    fn a_host_is_what_stands_before_the_port() {
        assert_eq!(host("192.0.2.1:80"), "192.0.2.1");
        assert_eq!(host("[2001:db8::1]:80"), "[2001:db8::1]");
        assert_eq!(host("memory"), "memory");
    }
}
