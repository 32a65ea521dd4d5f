//! A counter that counts twice, forgets an increment, or lets a reset take what it had not seen.

use grapevine_crdt::{
    CounterError, Dot, Entity, FieldCell, FieldKey, LwwMap, MAX_REQUESTS, MAX_TALLIES, PnCounter,
    RequestKey, Value,
};
use proptest::prelude::*;

use crate::{
    cases,
    world::{COUNTER, Deed, World, counter_steps, dot, request},
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
            // Without a reset nothing is forgotten.
            let plain = world.writes.values().all(|write| {
                !write.is_reset() && !matches!(write.deed, Deed::AddOnce(..) | Deed::TakeOnce(..) | Deed::Tell(..))
            });
            if plain {
                let counted: i128 = world.writes.values().map(|write| write.deed.counts_each()).sum();
                prop_assert_eq!(value, counted);
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
    let mut taken = PnCounter::new(&entity).decrement(u64::MAX, dot(1, 2));
    entity.merge_cell(taken.expect("an empty slot has room"));
    taken = PnCounter::new(&entity).decrement(1, dot(1, 3));
    assert_eq!(taken, Err(CounterError::Overflow));
    assert_eq!(PnCounter::new(&entity).value(), 0);
}

#[test]
fn a_sum_that_would_leave_its_range_is_refused_and_one_that_merged_beyond_it_is_told_exactly() {
    let mut here = Entity::default();
    add(&mut here, u64::MAX, dot(1, 1));
    let counter = PnCounter::new(&here);
    let refused = [
        counter.increment(1, dot(2, 1)).map(Some),
        counter.increment_once(request(1), 1, dot(2, 1)),
        counter.raise_tally("kiosk", 1, dot(2, 1)),
    ];
    assert_eq!(refused, [const { Err(CounterError::OutOfRange) }; 3]);
    let mut there = Entity::default();
    add(&mut there, u64::MAX, dot(2, 1));
    here.merge(there);
    let most = i128::from(u64::MAX);
    assert_eq!(PnCounter::new(&here).value(), 2 * most);
    let refused = PnCounter::new(&here).increment(1, dot(3, 1));
    assert_eq!(refused, Err(CounterError::OutOfRange));
    sub(&mut here, 5, dot(3, 1));
    assert_eq!(
        PnCounter::new(&here).value(),
        2 * most - 5,
        "back is possible"
    );
    let mut low = Entity::default();
    sub(&mut low, u64::MAX, dot(1, 1));
    let refused = PnCounter::new(&low).decrement_once(request(1), 1, dot(2, 1));
    assert_eq!(refused, Err(CounterError::OutOfRange));
}

fn once(entity: &mut Entity, key: u8, by: u64, dot: Dot) -> bool {
    let cell = PnCounter::new(entity).increment_once(request(key), by, dot);
    let cell = cell.expect("the key is free or used for the same");
    let new = cell.is_some();
    take(entity, cell.into_iter().collect());
    new
}

fn tell(entity: &mut Entity, writer: &str, count: u64, dot: Dot) -> bool {
    let cell = PnCounter::new(entity).raise_tally(writer, count, dot);
    let cell = cell.expect("few writers");
    let new = cell.is_some();
    take(entity, cell.into_iter().collect());
    new
}

#[test]
fn one_request_through_two_replicas_that_are_cut_off_counts_once() {
    let (mut here, mut there) = (Entity::default(), Entity::default());
    assert!(once(&mut here, 1, 5, dot(1, 1)));
    assert!(!once(&mut here, 1, 5, dot(1, 2)));
    assert!(once(&mut there, 1, 5, dot(2, 1)));
    assert!(once(&mut there, 2, 7, dot(2, 2)));
    let ours = here.clone();
    here.merge(there.clone());
    there.merge(ours);
    assert_eq!(here, there);
    assert_eq!(PnCounter::new(&here).value(), 12);
}

#[test]
fn a_key_used_for_another_count_is_refused_and_merges_to_the_greatest() {
    let mut here = Entity::default();
    once(&mut here, 1, 5, dot(1, 1));
    let other = PnCounter::new(&here).increment_once(request(1), 6, dot(1, 2));
    assert_eq!(other, Err(CounterError::KeyReused));
    let other = PnCounter::new(&here).decrement_once(request(1), 5, dot(1, 2));
    assert_eq!(other, Err(CounterError::KeyReused));
    let mut there = Entity::default();
    once(&mut there, 1, 6, dot(2, 1));
    here.merge(there);
    assert_eq!(PnCounter::new(&here).value(), 6);
}

#[test]
fn a_retry_after_a_reset_or_a_deletion_that_knew_of_it_counts_nothing_and_brings_nothing_back() {
    let mut here = Entity::default();
    once(&mut here, 1, 5, dot(1, 1));
    tell(&mut here, "kiosk", 3, dot(1, 2));
    let cells = [
        PnCounter::new(&here).reset(dot(3, 1)),
        LwwMap::new(&here).remove(dot(3, 1)),
    ];
    take(&mut here, cells.concat());
    assert!(!once(&mut here, 1, 5, dot(3, 2)));
    assert!(!here.is_visible());
    // Retries through a replica that was cut off from all that, under dots above and below.
    for replica in [0, 2] {
        let mut there = Entity::default();
        once(&mut there, 1, 5, dot(replica, 1));
        tell(&mut there, "kiosk", 3, dot(replica, 2));
        assert_eq!(PnCounter::new(&there).value(), 8);
        here.merge(there);
        assert_eq!(PnCounter::new(&here).value(), 0);
        assert!(!here.is_visible());
    }
    tell(&mut here, "kiosk", 4, dot(1, 3));
    assert!(here.is_visible());
    assert_eq!(PnCounter::new(&here).value(), 1, "only what is new");
}

#[test]
fn a_keyed_count_or_a_tally_unseen_by_a_reset_survives_it() {
    let mut here = Entity::default();
    once(&mut here, 1, 5, dot(1, 1));
    tell(&mut here, "kiosk", 10, dot(1, 2));
    let mut there = here.clone();
    once(&mut here, 2, 7, dot(1, 3));
    tell(&mut here, "kiosk", 12, dot(1, 4));
    let cells = PnCounter::new(&there).reset(dot(2, 1));
    take(&mut there, cells);
    assert_eq!(PnCounter::new(&there).value(), 0);
    here.merge(there);
    assert_eq!(PnCounter::new(&here).value(), 9);
}

#[test]
fn a_tally_only_rises_and_is_the_same_through_any_replica() {
    let (mut here, mut there) = (Entity::default(), Entity::default());
    assert!(tell(&mut here, "kiosk", 5, dot(1, 1)));
    assert!(!tell(&mut here, "kiosk", 5, dot(1, 2)));
    assert!(!tell(&mut here, "kiosk", 4, dot(1, 2)));
    assert!(tell(&mut there, "kiosk", 9, dot(2, 1)));
    assert!(tell(&mut there, "phone", 1, dot(2, 2)));
    here.merge(there);
    assert_eq!(PnCounter::new(&here).value(), 10);
    let tallies: Vec<(&str, u64)> = PnCounter::new(&here)
        .tallies()
        .map(|tally| (tally.writer, tally.counted()))
        .collect();
    assert_eq!(tallies, [("kiosk", 9), ("phone", 1)]);
}

#[test]
fn a_counter_full_of_requests_or_writers_refuses_more_and_still_knows_those_it_has() {
    let mut entity = Entity::default();
    let key = |number: usize| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
        RequestKey::from_bytes(bytes)
    };
    let mut seq = 0;
    for number in 0..MAX_REQUESTS {
        seq += 1;
        let cell = PnCounter::new(&entity).increment_once(key(number), 1, dot(1, seq));
        take(
            &mut entity,
            cell.expect("there is room").into_iter().collect(),
        );
    }
    for number in 0..MAX_TALLIES {
        seq += 1;
        assert!(tell(
            &mut entity,
            &format!("kiosk {number}"),
            1,
            dot(1, seq)
        ));
    }
    let counter = PnCounter::new(&entity);
    let next = dot(1, seq + 1);
    let refused = counter.decrement_once(key(MAX_REQUESTS), 1, next);
    assert_eq!(refused, Err(CounterError::TooManyRequests));
    assert_eq!(counter.increment_once(key(7), 1, next), Ok(None));
    let refused = counter.raise_tally("one more", 1, next);
    assert_eq!(refused, Err(CounterError::TooManyTallies));
    assert!(tell(&mut entity, "kiosk 7", 2, next));
    add(&mut entity, 1, dot(1, seq + 2));
    let all = i128::try_from(MAX_REQUESTS + MAX_TALLIES + 2).expect("few");
    assert_eq!(PnCounter::new(&entity).value(), all);
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
