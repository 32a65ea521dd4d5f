//! Failed attempts by address: after some, an address is heard only now and then.
//!
//! A secret of 256 bits is not found by trying, however often; the limit keeps whoever tries from taking the time of
//! the node, and from filling its log. It bounds itself too: the table has a bounded number of addresses.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// How many attempts of an address may fail at once.
pub const ATTEMPTS_BURST: u32 = 20;
/// After how long one of them is forgotten.
pub const ATTEMPT_PERIOD: Duration = Duration::from_secs(3);
/// The most addresses that are remembered; of more, the one that failed longest ago is forgotten.
pub const MAX_ADDRESSES: usize = 4_096;

/// The addresses from which attempts failed.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// When each will have been forgotten for.
    by_address: BTreeMap<IpAddr, Instant>,
}

impl Attempts {
    /// How long `address` has to wait before it is heard again.
    pub(super) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let clean = *self.by_address.get(&network(address))?;
        let most = ATTEMPT_PERIOD * (ATTEMPTS_BURST - 1);
        let wait = clean.saturating_duration_since(now).checked_sub(most)?;
        (!wait.is_zero()).then_some(wait)
    }

    /// Takes note of an attempt that failed.
    pub(super) fn failed(&mut self, address: IpAddr, now: Instant) {
        let address = network(address);
        if self.by_address.len() >= MAX_ADDRESSES && !self.by_address.contains_key(&address) {
            self.by_address.retain(|_, clean| *clean > now);
            if self.by_address.len() >= MAX_ADDRESSES {
                let longest_ago = self.by_address.iter().min_by_key(|(_, clean)| **clean);
                if let Some(longest_ago) = longest_ago.map(|(address, _)| *address) {
                    self.by_address.remove(&longest_ago);
                }
            }
        }
        let clean = self.by_address.entry(address).or_insert(now);
        let full = now + ATTEMPT_PERIOD * ATTEMPTS_BURST;
        *clean = ((*clean).max(now) + ATTEMPT_PERIOD).min(full);
    }
}

/// What one customer of a network has: an IPv4 address, or 64 bits of an IPv6 address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn v4(number: u32) -> IpAddr {
        Ipv4Addr::from(number).into()
    }

    #[test]
    fn who_fails_too_often_waits_and_is_heard_again() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..ATTEMPTS_BURST {
            assert_eq!(attempts.wait(v4(1), now), None);
            attempts.failed(v4(1), now);
        }
        assert_eq!(attempts.wait(v4(1), now), Some(ATTEMPT_PERIOD));
        assert_eq!(attempts.wait(v4(2), now), None);
        assert_eq!(attempts.wait(v4(1), now + ATTEMPT_PERIOD), None);
        for _ in 0..10 * ATTEMPTS_BURST {
            attempts.failed(v4(1), now);
        }
        assert_eq!(attempts.wait(v4(1), now), Some(ATTEMPT_PERIOD));
    }

    #[test]
    fn another_address_of_the_same_network_is_no_way_out() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for number in 0..ATTEMPTS_BURST {
            let address: Ipv6Addr = format!("2001:db8::{number:x}").parse().expect("an address");
            attempts.failed(address.into(), now);
        }
        let other = "2001:db8::ffff".parse().expect("an address");
        assert!(attempts.wait(other, now).is_some());
        let far = "2001:db8:0:1::1".parse().expect("an address");
        assert!(attempts.wait(far, now).is_none());
        let mapped = "::ffff:192.0.2.1".parse().expect("an address");
        assert_eq!(network(mapped), "192.0.2.1".parse::<IpAddr>().expect("one"));
    }

    #[test]
    fn however_many_addresses_fail_a_bounded_number_is_remembered() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for number in 0..MAX_ADDRESSES + 100 {
            let number = u32::try_from(number).expect("it is small");
            attempts.failed(v4(number), now + Duration::from_micros(number.into()));
        }
        assert_eq!(attempts.by_address.len(), MAX_ADDRESSES);
    }
}
