//! What was acknowledged, and what nobody knows of.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hdrhistogram::Histogram;

use super::command::Kind;
use crate::client::ClientError;

/// The longest latency that is told apart from longer ones.
const MAX_LATENCY_US: u64 = 600_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// Where a connection writes a value: nobody else writes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) connection: u32,
    pub(super) slot: u32,
}

/// What a counter must stand at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) acknowledged: i128,
    /// Not answered: each may have counted or not.
    pub(super) unknown: i128,
}

impl Counted {
    pub(super) fn allows(self, value: i128) -> bool {
        (self.acknowledged..=self.acknowledged + self.unknown).contains(&value)
    }
}

/// What a place must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// The number that was acknowledged last.
    pub(super) acknowledged: Option<u64>,
    /// Not answered: each may be there in its place.
    pub(super) unknown: Vec<u64>,
}

impl Held {
    pub(super) fn allows(&self, value: Option<u64>) -> bool {
        value == self.acknowledged || value.is_some_and(|value| self.unknown.contains(&value))
    }
}

/// What a topic must hold, in which numbers rise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Posted {
    pub(super) acknowledged: BTreeSet<u64>,
    /// Not answered: each may be there or not.
    pub(super) unknown: BTreeSet<u64>,
}

impl Posted {
    /// What is wrong with a topic that holds `numbers`, in the order in which it lists them.
    pub(super) fn wrong(&self, numbers: &[u64]) -> Option<String> {
        if !numbers.is_sorted_by(|one, next| one < next) {
            return Some(
                "lists messages twice, or not in the order in which they were posted".to_owned(),
            );
        }
        let held: BTreeSet<u64> = numbers.iter().copied().collect();
        let missing = self.acknowledged.difference(&held).count();
        let known =
            |number: &&u64| self.acknowledged.contains(*number) || self.unknown.contains(*number);
        let strange = held.len() - held.iter().filter(known).count();
        (missing + strange > 0).then(|| {
            format!("lacks {missing} messages that were acknowledged, and has {strange} that nobody posted")
        })
    }
}

/// What became of the writes of a connection, or of all.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) counters: BTreeMap<u32, Counted>,
    pub(super) values: BTreeMap<Place, Held>,
    /// By connection.
    pub(super) posted: BTreeMap<u32, Posted>,
    pub(super) acknowledged: u64,
    pub(super) unanswered: u64,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) latency_us: Histogram<u64>,
}

impl Default for Ledger {
    fn default() -> Self {
        let latency_us = Histogram::new_with_bounds(1, MAX_LATENCY_US, SIGNIFICANT_DIGITS);
        Self {
            counters: BTreeMap::new(),
            values: BTreeMap::new(),
            posted: BTreeMap::new(),
            acknowledged: 0,
            unanswered: 0,
            errors: BTreeMap::new(),
            latency_us: latency_us.expect("the bounds are in order"),
        }
    }
}

impl Ledger {
    /// Takes note that a count was answered like this.
    pub(super) fn counted(&mut self, number: u32, answer: &Result<(), ClientError>) {
        let counted = self.counters.entry(number).or_default();
        match answer {
            Ok(()) => counted.acknowledged += 1,
            Err(error) if error.may_have_happened() => counted.unknown += 1,
            Err(_) => {}
        }
    }

    /// Takes note that the value `number` was answered like this.
    pub(super) fn put(&mut self, place: Place, number: u64, answer: &Result<(), ClientError>) {
        let held = self.values.entry(place).or_default();
        match answer {
            Ok(()) => held.acknowledged = Some(number),
            Err(error) if error.may_have_happened() => held.unknown.push(number),
            Err(_) => {}
        }
    }

    /// Takes note that the post of `number` was answered like this.
    pub(super) fn posted(
        &mut self,
        connection: u32,
        number: u64,
        answer: &Result<(), ClientError>,
    ) {
        let posted = self.posted.entry(connection).or_default();
        match answer {
            Ok(()) => posted.acknowledged.insert(number),
            Err(error) if error.may_have_happened() => posted.unknown.insert(number),
            Err(_) => false,
        };
    }

    /// Takes note of an answer, whatever was asked.
    pub(super) fn answered(&mut self, answer: &Result<(), ClientError>, after: Duration) {
        match answer {
            Ok(()) => {
                self.acknowledged += 1;
                let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
                self.latency_us.saturating_record(us.max(1));
            }
            Err(error) => {
                self.unanswered += u64::from(error.may_have_happened());
                *self.errors.entry(kind(error)).or_default() += 1;
            }
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        for (counter, counted) in other.counters {
            let all = self.counters.entry(counter).or_default();
            all.acknowledged += counted.acknowledged;
            all.unknown += counted.unknown;
        }
        self.values.extend(other.values);
        self.posted.extend(other.posted);
        self.acknowledged += other.acknowledged;
        self.unanswered += other.unanswered;
        for (kind, count) in other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        self.latency_us += other.latency_us;
    }
}

/// What errors are counted by.
fn kind(error: &ClientError) -> String {
    match error {
        ClientError::Problem(problem) if problem.title.is_empty() => problem.status.to_string(),
        ClientError::Problem(problem) => problem.title.clone(),
        ClientError::Unreachable { .. } => "not reached".to_owned(),
        ClientError::Unanswered { .. } => "not answered".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_lost_doubled_or_shuffled_messages_is_right() {
        let posted = Posted {
            acknowledged: BTreeSet::from([1, 2, 4]),
            unknown: BTreeSet::from([3, 5]),
        };
        for right in [&[1, 2, 4][..], &[1, 2, 3, 4], &[1, 2, 3, 4, 5]] {
            assert_eq!(posted.wrong(right), None, "{right:?}");
        }
        for wrong in [&[1, 2][..], &[1, 2, 2, 4], &[2, 1, 4], &[1, 2, 4, 6], &[]] {
            assert!(posted.wrong(wrong).is_some(), "{wrong:?}");
        }
    }

    #[test]
    fn only_what_was_not_answered_is_left_open() {
        let unanswered = || {
            Err(ClientError::Unanswered {
                node: String::new(),
                why: String::new(),
                write: true,
            })
        };
        let unreachable = || Err(ClientError::Unreachable { tried: Vec::new() });
        let mut ledger = Ledger::default();
        let place = Place {
            kind: Kind::Kv,
            connection: 0,
            slot: 0,
        };
        for answer in [Ok(()), Ok(()), unreachable(), unanswered()] {
            ledger.counted(7, &answer);
        }
        for (number, answer) in [Ok(()), Ok(()), unreachable(), unanswered()]
            .iter()
            .enumerate()
        {
            ledger.put(place, number as u64, answer);
        }
        let counted = ledger.counters[&7];
        let allowed: Vec<i128> = (0..=5).filter(|value| counted.allows(*value)).collect();
        assert_eq!(allowed, [2, 3]);
        let held = &ledger.values[&place];
        let allowed: Vec<u64> = (0..=5).filter(|value| held.allows(Some(*value))).collect();
        assert_eq!(allowed, [1, 3]);
        assert!(!held.allows(None));
    }
}
