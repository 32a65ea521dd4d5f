//! Warnings that somebody outside can cause as often as he likes, told once in a while.
//!
//! Invariant: at most [`MAX_REMEMBERED`] different ones are told within [`REPEATED_AFTER`]. It must not know what they say.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long the same warning is not repeated.
const REPEATED_AFTER: Duration = Duration::from_secs(60);

/// The most different warnings told within that time; of more nothing is told.
const MAX_REMEMBERED: usize = 256;

/// Which warnings were told when.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Mutex<BTreeMap<String, Instant>>);

impl Warnings {
    /// Whether `warning` is to be told now.
    pub(crate) fn is_due(&self, warning: &str) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(last) = told.get(warning)
            && now.duration_since(*last) < REPEATED_AFTER
        {
            return false;
        }
        if told.len() >= MAX_REMEMBERED {
            told.retain(|_, last| now.duration_since(*last) < REPEATED_AFTER);
        }
        if told.len() >= MAX_REMEMBERED {
            return false;
        }
        told.insert(warning.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_not_repeated_and_others_are_still_told() {
        let warnings = Warnings::default();
        assert!(warnings.is_due("one"));
        assert!(!warnings.is_due("one"));
        assert!(warnings.is_due("two"));
    }

    #[test]
    fn a_flood_of_warnings_fills_memory_or_the_log() {
        let warnings = Warnings::default();
        let flood = 0..10 * MAX_REMEMBERED;
        let due = flood.filter(|number| warnings.is_due(&number.to_string()));
        assert_eq!(due.count(), MAX_REMEMBERED);
        let told = warnings.0.lock().expect("nobody panicked");
        assert!(told.len() <= MAX_REMEMBERED);
    }
}
