//! Whether the machine was put back to an earlier moment while this process ran.
//!
//! Memory goes back with the machine, so nothing kept in it can tell. But the time of day usually does not: once it
//! is right again it has leapt against the monotonic clock, which went on from where it was. So has it after a
//! sleep, and when somebody sets it; a new life is cheap, and those are taken for the same.
//!
//! What it cannot see: a machine that is put back together with its time of day, for as long as nobody mends that.
//!
//! Pure: both clocks are handed in.

/// A time of day that is where it was against the monotonic clock, give or take this many milliseconds, has only
/// been adjusted.
pub const CLOCK_LEAP_MS: u64 = 5_000;

/// The most leaps within [`LEAPS_COUNTED_FOR_MS`] that count; of a clock that leaps more often nothing can be said.
pub const MAX_LEAPS: u32 = 60;

/// For how long leaps are counted: an hour, in milliseconds.
pub const LEAPS_COUNTED_FOR_MS: u64 = 3_600_000;

/// Watches the time of day against the monotonic clock.
#[derive(Clone, Debug, Default)]
pub struct ClockWatch {
    /// How far the time of day was ahead of the monotonic clock when it was looked at last, in milliseconds.
    ahead_ms: Option<i128>,
    leapt: bool,
    leaps: u32,
    counted_since_ms: u64,
}

impl ClockWatch {
    /// Looks at both clocks, in milliseconds. To be called often: what a clock drifts between two looks must stay
    /// small.
    pub fn look(&mut self, unix_ms: u64, monotonic_ms: u64) {
        let ahead_ms = i128::from(unix_ms) - i128::from(monotonic_ms);
        let before_ms = self.ahead_ms.replace(ahead_ms);
        let moved_ms = before_ms.map_or(0, |before_ms| before_ms.abs_diff(ahead_ms));
        if moved_ms < u128::from(CLOCK_LEAP_MS) {
            return;
        }
        let counted_ms = monotonic_ms.saturating_sub(self.counted_since_ms);
        if self.leaps == 0 || counted_ms > LEAPS_COUNTED_FOR_MS {
            self.leaps = 0;
            self.counted_since_ms = monotonic_ms;
        }
        if self.leaps < MAX_LEAPS {
            self.leaps += 1;
            self.leapt = true;
        }
    }

    /// Whether the time of day has leapt since this was asked last.
    pub const fn take_leap(&mut self) -> bool {
        let leapt = self.leapt;
        self.leapt = false;
        leapt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: u64 = 1_700_000_000_000;

    fn leaps(looks: &[(u64, u64)]) -> usize {
        let mut watch = ClockWatch::default();
        let looked = looks.iter().filter(|(unix_ms, monotonic_ms)| {
            watch.look(START_MS + unix_ms, *monotonic_ms);
            watch.take_leap()
        });
        looked.count()
    }

    #[test]
    fn a_machine_that_was_put_back_goes_unnoticed() {
        assert_eq!(leaps(&[(0, 0), (50, 50), (60_100, 100), (60_150, 150)]), 1);
        assert_eq!(leaps(&[(100_000, 0), (40_000, 50)]), 1);
    }

    #[test]
    fn a_leap_is_forgotten_before_anybody_asks() {
        let mut watch = ClockWatch::default();
        for (unix_ms, monotonic_ms) in [(0, 0), (60_000, 50), (60_050, 100)] {
            watch.look(START_MS + unix_ms, monotonic_ms);
        }
        assert!(watch.take_leap());
        assert!(!watch.take_leap());
    }

    #[test]
    fn a_clock_that_drifts_or_is_adjusted_ends_life_after_life() {
        let drifting: Vec<_> = (0..1_000_u64).map(|look| (look * 55, look * 50)).collect();
        assert_eq!(leaps(&drifting), 0);
        assert_eq!(leaps(&[(0, 0), (CLOCK_LEAP_MS - 1, 0)]), 0);
        // It leaps each second, for two hours.
        let leaping: Vec<_> = (0..7_200_u64)
            .map(|look| (look * 20_000, look * 1_000))
            .collect();
        let counted = leaps(&leaping);
        assert!(counted <= 2 * MAX_LEAPS as usize, "{counted}");
    }
}
