//! A hybrid logical clock: 48 bits of milliseconds, 16 bits of counter, in one integer.
//!
//! It stays close to the wall clock, rises strictly with every [`HybridClock::tick`] even when the wall
//! clock stands or jumps back, and never falls behind a time it has observed. `now` is an argument.
//!
//! Source: Kulkarni, Demirbas, Madappa, Avva, Leone, "Logical Physical Clocks and Consistent Snapshots in
//! Globally Distributed Databases" (2014).

use serde::{Deserialize, Serialize};

const COUNTER_BITS: u32 = 16;

/// A hybrid logical time.
///
/// ```
/// use grapevine_crdt::Timestamp;
///
/// let time = Timestamp::from_unix_ms(1_000);
/// assert_eq!(time.unix_ms(), 1_000);
/// assert_eq!(Timestamp::from_u64(time.as_u64() + 1).unix_ms(), 1_000);
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Before every edit.
    pub const ZERO: Self = Self(0);
    /// The last time that can be told: the year 10889.
    pub const MAX: Self = Self(u64::MAX);

    /// The first time of the millisecond `unix_ms` (milliseconds since 1970-01-01T00:00:00Z; what exceeds
    /// 48 bits is cut to the last millisecond that can be told).
    #[must_use]
    pub const fn from_unix_ms(unix_ms: u64) -> Self {
        let limit = u64::MAX >> COUNTER_BITS;
        let ms = if unix_ms > limit { limit } else { unix_ms };
        Self(ms << COUNTER_BITS)
    }

    /// The time whose integer form is `raw`: milliseconds in the upper 48 bits, the counter below.
    #[must_use]
    pub const fn from_u64(raw: u64) -> Self {
        Self(raw)
    }

    /// The integer form.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        self.0 >> COUNTER_BITS
    }
}

/// Why a clock could not tell a time. No state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClockError {
    /// The clock stands at [`Timestamp::MAX`].
    Exhausted,
}

impl core::fmt::Display for ClockError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Exhausted => f.write_str("the hybrid logical clock has reached its last time"),
        }
    }
}

impl core::error::Error for ClockError {}

/// The clock of one node.
///
/// ```
/// use grapevine_crdt::{HybridClock, Timestamp};
///
/// let mut clock = HybridClock::default();
/// let first = clock.tick(1_000)?;
/// let second = clock.tick(900)?; // the wall clock jumped back
/// assert!(second > first);
/// clock.observe(Timestamp::from_unix_ms(5_000));
/// assert_eq!(clock.tick(1_001)?.unix_ms(), 5_000);
/// # Ok::<(), grapevine_crdt::ClockError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HybridClock {
    last: Timestamp,
}

impl HybridClock {
    /// A clock that goes on after `high_water`.
    #[must_use]
    pub const fn resume(high_water: Timestamp) -> Self {
        Self { last: high_water }
    }

    /// The greatest time told or observed.
    #[must_use]
    pub const fn high_water(&self) -> Timestamp {
        self.last
    }

    /// The next time, strictly above every earlier one; `now_unix_ms` is the wall clock.
    pub fn tick(&mut self, now_unix_ms: u64) -> Result<Timestamp, ClockError> {
        let next = self.last.0.checked_add(1).ok_or(ClockError::Exhausted)?;
        self.last = Timestamp(next.max(Timestamp::from_unix_ms(now_unix_ms).0));
        Ok(self.last)
    }

    /// Never tell a time at or below `time` again.
    pub fn observe(&mut self, time: Timestamp) {
        self.last = self.last.max(time);
    }
}
