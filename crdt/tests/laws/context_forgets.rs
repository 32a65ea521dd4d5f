//! A causal context that forgets a dot brings back what was settled; one that invents a dot loses an edit.

use std::collections::BTreeSet;

use grapevine_crdt::{CausalContext, Dot};
use proptest::prelude::*;

use crate::{cases, world::dot};

fn dots() -> impl Strategy<Value = Vec<Dot>> {
    prop::collection::vec(
        (0..4_u8, 1..8_u64).prop_map(|(id, seq)| dot(id, seq)),
        0..12,
    )
}

fn context(dots: &[Dot]) -> CausalContext {
    dots.iter().copied().collect()
}

fn merged(first: &CausalContext, second: &CausalContext) -> CausalContext {
    let mut merged = first.clone();
    merged.merge(second);
    merged
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn merging_is_commutative_associative_and_idempotent(a in dots(), b in dots(), c in dots()) {
        let (a, b, c) = (context(&a), context(&b), context(&c));
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a);
    }

    #[test]
    fn it_covers_each_replica_up_to_its_highest_dot_and_no_further(dots in dots()) {
        let context = context(&dots);
        for id in 0..4 {
            for seq in 1..9 {
                let expected = dots.iter().any(|held| *held >= dot(id, seq) && *held <= dot(id, 9));
                prop_assert_eq!(context.covers(dot(id, seq)), expected);
            }
        }
        let replicas: BTreeSet<_> = dots.iter().map(|dot| dot.replica).collect();
        prop_assert_eq!(context.len(), replicas.len());
        prop_assert_eq!(context.is_empty(), dots.is_empty());
        prop_assert_eq!(context.iter().collect::<CausalContext>(), context);
    }

    #[test]
    fn inserting_dots_one_by_one_equals_merging_contexts(first in dots(), second in dots()) {
        let together = context(&[first.clone(), second.clone()].concat());
        prop_assert_eq!(merged(&context(&first), &context(&second)), together);
    }
}

#[test]
fn a_dot_that_names_no_write_is_not_recorded() {
    let context = context(&[dot(1, 0)]);
    assert!(context.is_empty());
    assert!(!context.covers(dot(1, 0)));
    assert_eq!(context, CausalContext::default());
}
