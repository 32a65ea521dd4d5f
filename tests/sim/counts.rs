//! What counters must stand at: the sum of what was counted, each request once, less what a reset had seen. Made from
//! what clients asked for and from what whoever forgot had seen, without slots or baselines.

use std::collections::{BTreeMap, BTreeSet};

use grapevine::model::EntityId;
use grapevine_crdt::{Dot, FieldKey};
use uuid::Uuid;

use crate::seen::Seen;

/// Who names a request that is counted once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Request {
    Key(u32),
    Offline(Uuid),
}

/// What a write does to a counter.
#[derive(Clone, Debug)]
pub(crate) enum Count {
    Up(u64),
    Down(u64),
    Once(Request, i128),
    Tally(u8, u64),
    Reset,
    Delete,
}

#[derive(Debug)]
struct Counted {
    dot: Dot,
    count: Count,
    seen: Seen,
}

/// Everything that was counted durably.
#[derive(Debug, Default)]
pub(crate) struct Counts(BTreeMap<EntityId, Vec<Counted>>);

/// What a counter must show.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) value: i128,
    pub(crate) visible: bool,
}

impl Counts {
    pub(crate) fn add(&mut self, id: &EntityId, dot: Dot, count: Count, seen: Seen) {
        let counted = self.0.entry(id.clone()).or_default();
        counted.push(Counted { dot, count, seen });
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&EntityId, Shown)> {
        self.0.iter().map(|(id, counted)| (id, shown(counted)))
    }
}

fn shown(counted: &[Counted]) -> Shown {
    let deleted = counted
        .iter()
        .any(|write| matches!(write.count, Count::Delete));
    let mut shown = Shown {
        value: 0,
        visible: false,
    };
    let (mut requests, mut writers) = (BTreeSet::new(), BTreeSet::new());
    for write in counted {
        match &write.count {
            Count::Up(by) => {
                let slot = FieldKey::Increments(write.dot.replica);
                shown.take(counted, &slot, write.dot, i128::from(*by));
            }
            Count::Down(by) => {
                let slot = FieldKey::Decrements(write.dot.replica);
                shown.take(counted, &slot, write.dot, -i128::from(*by));
            }
            Count::Once(request, by) => {
                let copies =
                    |other: &&Counted| matches!(&other.count, Count::Once(of, _) if of == request);
                let mut dots = counted.iter().filter(copies).map(|copy| copy.dot);
                let forgotten = dots.any(|dot| forgets(counted).any(|by| by.seen.knew(dot)));
                if requests.insert(request) && !forgotten {
                    shown.value += by;
                }
                shown.visible |= !deleted || !forgotten;
            }
            Count::Tally(writer, _) => {
                if writers.insert(*writer) {
                    let left = tally(counted, *writer);
                    shown.value += i128::from(left);
                    shown.visible |= !deleted || left > 0;
                }
            }
            Count::Reset | Count::Delete => {}
        }
    }
    shown
}

impl Shown {
    fn take(&mut self, counted: &[Counted], slot: &FieldKey, dot: Dot, by: i128) {
        let seen = |write: &Counted| write.seen.counted(slot, dot);
        if !forgets(counted).any(seen) {
            self.value += by;
        }
        let mut deletes = forgets(counted).filter(|write| matches!(write.count, Count::Delete));
        let hidden = deletes.any(seen);
        self.visible |= !hidden;
    }
}

fn forgets(counted: &[Counted]) -> impl Iterator<Item = &Counted> {
    counted
        .iter()
        .filter(|write| matches!(write.count, Count::Reset | Count::Delete))
}

/// What a writer told at most, less what of that some reset had heard.
fn tally(counted: &[Counted], writer: u8) -> u64 {
    let told: Vec<(Dot, u64)> = counted
        .iter()
        .filter_map(|write| match write.count {
            Count::Tally(of, count) if of == writer => Some((write.dot, count)),
            Count::Tally(..)
            | Count::Up(_)
            | Count::Down(_)
            | Count::Once(..)
            | Count::Reset
            | Count::Delete => None,
        })
        .collect();
    let greatest = told.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let heard = told
        .iter()
        .filter(|(dot, _)| forgets(counted).any(|by| by.seen.knew(*dot)));
    let forgotten = heard.map(|(_, count)| *count).max().unwrap_or(0);
    greatest - forgotten
}

#[test]
fn a_reset_forgets_what_it_had_seen_and_a_request_counts_once() {
    use grapevine_crdt::{ReplicaId, Seq, VersionVector};

    let dot = |replica, seq| Dot::new(ReplicaId::from_bytes([replica; 16]), Seq::new(seq));
    let seen = |dots: &[Dot]| {
        let mut vector = VersionVector::default();
        for dot in dots {
            vector.advance(dot.replica, dot.seq);
        }
        Seen::told(vector)
    };
    let write = |dot, count, dots: &[Dot]| Counted {
        dot,
        count,
        seen: seen(dots),
    };
    let once = |dot| write(dot, Count::Once(Request::Key(1), 50), &[]);
    let mut counted = vec![
        write(dot(1, 1), Count::Up(5), &[]),
        write(dot(2, 1), Count::Down(2), &[]),
        once(dot(1, 2)),
        once(dot(2, 2)),
        write(dot(1, 3), Count::Tally(0, 7), &[]),
    ];
    let of = |value, visible| Shown { value, visible };
    assert_eq!(shown(&counted), of(60, true));
    counted.push(write(dot(3, 1), Count::Delete, &[dot(1, 3)]));
    assert_eq!(shown(&counted), of(-2, true));
    counted.push(write(dot(3, 2), Count::Delete, &[dot(2, 2)]));
    assert_eq!(shown(&counted), of(0, false));
}

#[test]
fn bites_when_a_retry_counts_again_or_a_reset_forgets_what_it_had_not_seen() {
    use crate::{fault::Fault, random::bites_at_the_end};

    bites_at_the_end(Fault::CountsRetries, "instead of Shown");
    bites_at_the_end(Fault::ForgetsTooMuch, "instead of Shown");
}
