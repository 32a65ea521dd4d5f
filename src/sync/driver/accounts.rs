//! What went over the links, of all and by peer.
//!
//! Each link counts for itself. What is asked for is summed up then; links that ended are folded into the accounts of
//! their peers.
//!
//! Invariants: nothing is lost when a link ends; at most [`MAX_PEERS_COUNTED`] names are told apart, all others are one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use crate::sync::transport::{Traffic, TrafficTotals};

/// How many peers are told apart by their names.
pub const MAX_PEERS_COUNTED: usize = 256;

/// The account of all peers that are not told apart, and of links that never passed the handshake.
const OTHERS: &str = "";

/// A link that may still count.
#[derive(Debug)]
struct Counting {
    peer: String,
    traffic: Arc<Traffic>,
}

#[derive(Debug, Default)]
struct Books {
    links: Vec<Counting>,
    /// What ended links brought, by peer.
    closed: BTreeMap<String, TrafficTotals>,
}

/// The accounts of a driver.
#[derive(Debug, Default)]
pub(super) struct Accounts(Mutex<Books>);

impl Accounts {
    /// What a link that is opened now counts in.
    pub(super) fn open(&self) -> Arc<Traffic> {
        let traffic = Arc::new(Traffic::default());
        let mut books = self.books();
        books.close_ended();
        books.links.push(Counting {
            peer: OTHERS.to_owned(),
            traffic: Arc::clone(&traffic),
        });
        traffic
    }

    /// The link that counts in `traffic` is one to `peer`.
    pub(super) fn name(&self, traffic: &Arc<Traffic>, peer: &str) {
        let mut books = self.books();
        let known = books.closed.contains_key(peer);
        if !known && books.closed.len() >= MAX_PEERS_COUNTED {
            return;
        }
        books.closed.entry(peer.to_owned()).or_default();
        let mut links = books.links.iter_mut();
        if let Some(link) = links.find(|link| Arc::ptr_eq(&link.traffic, traffic)) {
            peer.clone_into(&mut link.peer);
        }
    }

    /// What was counted, by peer; all that are not told apart are under the empty name.
    pub(super) fn by_peer(&self) -> BTreeMap<String, TrafficTotals> {
        let books = self.books();
        let mut sums = books.closed.clone();
        for link in &books.links {
            let sum = sums.entry(link.peer.clone()).or_default();
            *sum += link.traffic.totals();
        }
        sums
    }

    /// What was counted in all.
    pub(super) fn totals(&self) -> TrafficTotals {
        let mut totals = TrafficTotals::default();
        for sum in self.by_peer().into_values() {
            totals += sum;
        }
        totals
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().expect("no holder of the lock panics")
    }
}

impl Books {
    /// Whoever counts holds its traffic as well: a link that nobody but this holds has ended.
    fn close_ended(&mut self) {
        let closed = &mut self.closed;
        self.links.retain(|link| {
            let counts = Arc::strong_count(&link.traffic) > 1;
            if !counts {
                *closed.entry(link.peer.clone()).or_default() += link.traffic.totals();
            }
            counts
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(bytes: usize) -> impl Fn(&Arc<Traffic>) {
        move |traffic| traffic.received(bytes)
    }

    #[test]
    fn nothing_is_lost_when_links_end_and_strangers_do_not_grow_the_accounts() {
        let accounts = Accounts::default();
        for round in 0..3 {
            let link = accounts.open();
            received(5)(&link);
            accounts.name(&link, "bob");
            received(7)(&link);
            let sum = accounts.by_peer()["bob"].bytes_in;
            assert_eq!(sum, 12 * (round + 1));
        }
        received(1)(&accounts.open());
        for number in 0..2 * MAX_PEERS_COUNTED {
            let link = accounts.open();
            accounts.name(&link, &format!("peer-{number}"));
            received(1)(&link);
        }
        let by_peer = accounts.by_peer();
        assert!(by_peer.len() <= MAX_PEERS_COUNTED + 1);
        assert_eq!(by_peer["bob"].bytes_in, 36);
        let all = 36 + 1 + 2 * MAX_PEERS_COUNTED as u64;
        assert_eq!(accounts.totals().bytes_in, all);
        assert!(accounts.books().links.len() <= 1, "ended links are kept");
    }
}
