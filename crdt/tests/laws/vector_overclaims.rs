//! A version vector that claims more than was taken in loses writes for ever; one that claims less sends
//! them again.

use grapevine_crdt::{ReplicaId, Seq, VersionVector};
use proptest::prelude::*;

use crate::{
    cases,
    world::{World, dot, steps},
};

fn vector() -> impl Strategy<Value = VersionVector> {
    let entry = (0..4_u8, 0..6_u64);
    prop::collection::vec(entry, 0..6).prop_map(|entries| {
        let entry = |(id, seq)| (ReplicaId::from_bytes([id; 16]), Seq::new(seq));
        entries.into_iter().map(entry).collect()
    })
}

fn joined(first: &VersionVector, second: &VersionVector) -> VersionVector {
    let mut joined = first.clone();
    joined.join(second);
    joined
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn joining_is_commutative_associative_and_idempotent(
        a in vector(), b in vector(), c in vector(),
    ) {
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        prop_assert_eq!(joined(&a, &a), a);
    }

    #[test]
    fn a_join_covers_exactly_what_either_covers(a in vector(), b in vector()) {
        let join = joined(&a, &b);
        for id in 0..4 {
            for seq in 1..8 {
                let dot = dot(id, seq);
                prop_assert_eq!(join.covers(dot), a.covers(dot) || b.covers(dot));
            }
        }
        prop_assert!(join.includes(&a) && join.includes(&b));
        prop_assert_eq!(a.includes(&b), join == a);
        prop_assert_eq!(a.includes(&b), a.lag_behind(&b) == 0);
        let missing = b.iter().flat_map(|(replica, seq)| {
            (1..=seq.get()).map(move |seq| grapevine_crdt::Dot::new(replica, Seq::new(seq)))
        });
        let missing = missing.filter(|dot| !a.covers(*dot)).count();
        prop_assert_eq!(usize::try_from(a.lag_behind(&b)), Ok(missing));
    }

    /// Incorporation: what the vector covers is held, or replaced by what is held. A full state brings
    /// nothing new of it.
    #[test]
    fn what_it_covers_has_been_taken_in(steps in steps()) {
        let world = World::run(&steps, |_, _| ());
        for replica in &world.replicas {
            for write in world.writes.values() {
                if replica.vector.covers(write.dot) {
                    prop_assert!(replica.had[write.entity].contains(&write.dot));
                    let mut entity = replica.entities[write.entity].clone();
                    for cell in &write.cells {
                        prop_assert!(!entity.merge_cell(cell.clone()), "covered, yet new");
                    }
                }
            }
        }
    }
}

#[test]
fn an_entry_of_zero_is_never_kept() {
    let replica = ReplicaId::from_bytes([1; 16]);
    let vector: VersionVector = [(replica, Seq::ZERO)].into_iter().collect();
    assert!(vector.is_empty());
    assert_eq!(vector.len(), 0);
}

#[test]
fn the_lag_does_not_overflow() {
    let entry = |id| (ReplicaId::from_bytes([id; 16]), Seq::new(u64::MAX));
    let far: VersionVector = [entry(1), entry(2)].into_iter().collect();
    assert_eq!(VersionVector::default().lag_behind(&far), u64::MAX);
}

#[test]
fn the_last_seq_has_no_next() {
    assert_eq!(Seq::new(u64::MAX).next(), None);
    assert_eq!(Seq::new(u64::MAX - 1).next(), Some(Seq::new(u64::MAX)));
}
