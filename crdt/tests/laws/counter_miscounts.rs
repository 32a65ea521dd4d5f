//! A counter that counts twice, forgets an increment, or lets a reset take what it had not seen.

use grapevine_crdt::{CounterError, Dot, Entity, FieldCell, FieldKey, LwwMap, PnCounter, Value};
use proptest::prelude::*;

use crate::{
    cases,
    world::{COUNTER, Deed, World, counter_steps, dot},
};

proptest! {
    #![proptest_config(cases(192))]

    /// At every moment, on every replica but while it lacks a reset that another reset had had: the second
    /// does not raise again what the first had raised.
    #[test]
    fn the_value_is_what_was_counted_less_what_resets_had_had(steps in counter_steps()) {
        World::run(&steps, |world, replica| {
            if world.has_resets_of_resets(replica) {
                let value = PnCounter::new(&replica.entities[COUNTER]).value();
                assert_eq!(value, world.count(replica));
            }
        });
    }

    #[test]
    fn replicas_that_have_everything_read_the_sum(steps in counter_steps()) {
        let mut world = World::run(&steps, |_, _| ());
        world.settle();
        for replica in &world.replicas {
            let value = PnCounter::new(&replica.entities[COUNTER]).value();
            prop_assert_eq!(value, world.count(replica));
            let counts: Vec<i128> = world
                .writes
                .values()
                .map_while(|write| match write.deed {
                    Deed::Add(by) => Some(i128::from(by)),
                    Deed::Take(by) => Some(-i128::from(by)),
                    Deed::Reset | Deed::Discard | Deed::Put(_) | Deed::Edit(..) | Deed::Replace(..) | Deed::Remove(_) => None,
                })
                .collect();
            // Without a reset nothing is forgotten.
            if counts.len() == world.writes.len() {
                prop_assert_eq!(value, counts.iter().sum::<i128>());
            }
        }
    }

    #[test]
    fn whoever_resets_reads_zero(steps in counter_steps()) {
        let world = World::run(&steps, |_, _| ());
        for replica in &world.replicas {
            let mut entity = replica.entities[COUNTER].clone();
            let cells = PnCounter::new(&entity).reset(dot(255, 1_000));
            take(&mut entity, cells);
            prop_assert_eq!(PnCounter::new(&entity).value(), 0);
            prop_assert!(PnCounter::new(&entity).reset(dot(255, 1_001)).is_empty());
        }
    }
}

fn take(entity: &mut Entity, cells: Vec<FieldCell>) {
    for cell in cells {
        entity.merge_cell(cell);
    }
}

fn add(entity: &mut Entity, by: u64, dot: Dot) {
    let cell = PnCounter::new(entity).increment(by, dot);
    entity.merge_cell(cell.expect("small counts"));
}

fn sub(entity: &mut Entity, by: u64, dot: Dot) {
    let cell = PnCounter::new(entity).decrement(by, dot);
    entity.merge_cell(cell.expect("small counts"));
}

#[test]
fn an_increment_unseen_by_a_reset_survives_it() {
    let mut here = Entity::default();
    add(&mut here, 5, dot(1, 1));
    let mut there = here.clone();
    add(&mut here, 2, dot(1, 2));
    let cells = PnCounter::new(&there).reset(dot(2, 1));
    take(&mut there, cells);
    assert_eq!(PnCounter::new(&there).value(), 0);
    here.merge(there);
    assert_eq!(PnCounter::new(&here).value(), 2);
}

#[test]
fn two_resets_that_saw_different_counts_do_not_forget_twice() {
    let mut here = Entity::default();
    add(&mut here, 5, dot(1, 1));
    let mut there = here.clone();
    add(&mut here, 2, dot(1, 2));
    let cells = PnCounter::new(&there).reset(dot(2, 1));
    take(&mut there, cells);
    let cells = PnCounter::new(&here).reset(dot(1, 3));
    take(&mut here, cells);
    add(&mut here, 3, dot(1, 4));
    here.merge(there);
    assert_eq!(PnCounter::new(&here).value(), 3);
}

#[test]
fn a_baseline_that_comes_before_its_slot_does_not_count_the_other_way() {
    let mut here = Entity::default();
    add(&mut here, 5, dot(1, 1));
    sub(&mut here, 7, dot(1, 2));
    let (mut none, mut some) = (Entity::default(), here.clone());
    add(&mut here, 1, dot(1, 3));
    sub(&mut here, 1, dot(1, 4));
    let reset = PnCounter::new(&here).reset(dot(2, 1));
    for early in [&mut none, &mut some] {
        take(early, reset.clone());
        assert_eq!(PnCounter::new(early).value(), 0);
        early.merge(here.clone());
        assert_eq!(PnCounter::new(early).value(), 0);
    }
}

#[test]
fn a_discarded_counter_is_hidden_until_somebody_counts_unseen() {
    let mut here = Entity::default();
    add(&mut here, 5, dot(1, 1));
    let mut there = here.clone();
    add(&mut there, 1, dot(1, 2));
    let cells = [
        PnCounter::new(&here).reset(dot(2, 1)),
        LwwMap::new(&here).remove(dot(2, 1)),
    ];
    take(&mut here, cells.concat());
    assert!(!here.is_visible());
    here.merge(there);
    assert!(here.is_visible());
    assert_eq!(PnCounter::new(&here).value(), 1);
}

#[test]
fn a_slot_that_is_full_refuses_more_and_nothing_wraps() {
    let mut entity = Entity::default();
    add(&mut entity, u64::MAX, dot(1, 1));
    let before = entity.clone();
    let refused = PnCounter::new(&entity).increment(1, dot(1, 2));
    assert_eq!(refused, Err(CounterError::Overflow));
    assert_eq!(entity, before);
    add(&mut entity, u64::MAX, dot(2, 1));
    assert_eq!(PnCounter::new(&entity).value(), 2 * i128::from(u64::MAX));
    let mut taken = PnCounter::new(&entity).decrement(u64::MAX, dot(1, 2));
    entity.merge_cell(taken.expect("an empty slot has room"));
    taken = PnCounter::new(&entity).decrement(1, dot(1, 3));
    assert_eq!(taken, Err(CounterError::Overflow));
    assert_eq!(PnCounter::new(&entity).value(), i128::from(u64::MAX));
}

#[test]
fn a_counter_nobody_has_touched_reads_zero() {
    assert_eq!(PnCounter::new(&Entity::default()).value(), 0);
    assert!(
        PnCounter::new(&Entity::default())
            .reset(dot(1, 1))
            .is_empty()
    );
}

#[test]
fn an_increment_is_the_whole_slot_so_far() {
    let mut entity = Entity::default();
    add(&mut entity, 5, dot(1, 1));
    let cell = PnCounter::new(&entity).increment(2, dot(1, 2));
    let cell = cell.expect("small counts");
    assert_eq!(cell.field, FieldKey::Increments(dot(1, 1).replica));
    assert_eq!(
        (cell.cell.rank.get(), &cell.cell.value),
        (7, &Value::Counted)
    );
}
