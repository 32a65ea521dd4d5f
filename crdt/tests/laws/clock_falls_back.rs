//! A clock that tells a time twice, or below one it has heard of, loses edits.

use grapevine_crdt::{ClockError, HybridClock, Timestamp};
use proptest::prelude::*;

use crate::cases;

const LAST_MS: u64 = u64::MAX >> 16;

/// The wall clock of a tick, or a time heard from a peer.
#[derive(Clone, Debug)]
enum Event {
    Tick(u64),
    Observe(Timestamp),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let near = 1_000..1_020_u64;
    let event = prop_oneof![
        4 => prop_oneof![near.clone(), 0..LAST_MS / 2].prop_map(Event::Tick),
        1 => (near, 0..=u64::from(u16::MAX))
            .prop_map(|(ms, counter)| Event::Observe(Timestamp::from_u64((ms << 16) | counter))),
    ];
    prop::collection::vec(event, 1..200)
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn every_time_told_is_above_all_told_and_observed(events in events()) {
        let mut clock = HybridClock::default();
        let mut greatest = Timestamp::ZERO;
        for event in events {
            match event {
                Event::Tick(now) => {
                    let told = clock.tick(now).expect("far from the end of time");
                    prop_assert!(told > greatest);
                    greatest = told;
                }
                Event::Observe(time) => {
                    clock.observe(time);
                    greatest = greatest.max(time);
                }
            }
            prop_assert_eq!(clock.high_water(), greatest);
        }
    }

    #[test]
    fn it_runs_ahead_of_the_greatest_input_by_one_count_a_tick_at_most(events in events()) {
        let mut clock = HybridClock::default();
        let mut input = Timestamp::ZERO;
        let mut ticks = 0;
        for event in events {
            match event {
                Event::Tick(now) => {
                    input = input.max(Timestamp::from_unix_ms(now));
                    ticks += 1;
                    let told = clock.tick(now).expect("far from the end of time");
                    prop_assert!(told >= Timestamp::from_unix_ms(now));
                    prop_assert!(told.as_u64() <= input.as_u64() + ticks);
                }
                Event::Observe(time) => {
                    clock.observe(time);
                    input = input.max(time);
                }
            }
        }
    }

    #[test]
    fn a_clock_that_resumes_goes_on_above_its_high_water(events in events(), now in 0..2_000_u64) {
        let mut clock = HybridClock::default();
        for event in events {
            match event {
                Event::Tick(now) => {
                    clock.tick(now).expect("far from the end of time");
                }
                Event::Observe(time) => clock.observe(time),
            }
        }
        let mut resumed = HybridClock::resume(clock.high_water());
        prop_assert!(resumed.tick(now).expect("far from the end") > clock.high_water());
    }

    #[test]
    fn observing_is_commutative_associative_and_idempotent(times in any::<[u64; 3]>()) {
        let observed = |order: &[usize]| {
            let mut clock = HybridClock::default();
            for index in order {
                clock.observe(Timestamp::from_u64(times[*index]));
            }
            clock
        };
        prop_assert_eq!(observed(&[0, 1, 2]), observed(&[2, 1, 0]));
        prop_assert_eq!(observed(&[0, 1, 2]), observed(&[0, 1, 0, 2, 2, 1]));
    }
}

#[test]
fn the_counter_carries_into_the_milliseconds() {
    let full = Timestamp::from_u64((7 << 16) | u64::from(u16::MAX));
    let mut clock = HybridClock::resume(full);
    let next = clock.tick(7).expect("far from the end of time");
    assert_eq!(next, Timestamp::from_unix_ms(8));
}

#[test]
fn an_exhausted_clock_says_so_and_stands() {
    let mut clock = HybridClock::resume(Timestamp::from_u64(u64::MAX - 1));
    assert_eq!(clock.tick(0), Ok(Timestamp::MAX));
    assert_eq!(clock.tick(0), Err(ClockError::Exhausted));
    assert_eq!(clock.tick(u64::MAX), Err(ClockError::Exhausted));
    assert_eq!(clock.high_water(), Timestamp::MAX);
}

#[test]
fn a_wall_clock_beyond_48_bits_is_cut_to_the_last_millisecond() {
    assert_eq!(Timestamp::from_unix_ms(u64::MAX).unix_ms(), LAST_MS);
    assert_eq!(
        Timestamp::from_unix_ms(LAST_MS + 1),
        Timestamp::from_unix_ms(LAST_MS)
    );
}
