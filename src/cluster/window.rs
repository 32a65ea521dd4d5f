//! Which datagrams of one sender's life came already.

/// How many numbers below the greatest that came are still told apart; datagrams overtaken by more are dropped.
pub(super) const WINDOW_NUMBERS: u64 = 128;

/// The numbers that came (RFC 4303, section 3.4.3): the greatest, and which of those below it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    greatest: u64,
    /// Bit `n` says that `greatest - n` came.
    came: u128,
}

impl Window {
    /// Whether `number` comes for the first time; then it has come.
    pub(super) fn take(&mut self, number: u64) -> bool {
        if self.came == 0 || number > self.greatest {
            let ahead = number.saturating_sub(self.greatest);
            let moved = u32::try_from(ahead)
                .ok()
                .and_then(|by| self.came.checked_shl(by));
            self.came = moved.unwrap_or_default() | 1;
            self.greatest = number;
            return true;
        }
        let behind = self.greatest - number;
        if behind >= WINDOW_NUMBERS {
            return false;
        }
        let bit = 1_u128 << behind;
        let is_new = self.came & bit == 0;
        self.came |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_taken_twice_or_never() {
        let mut window = Window::default();
        assert!(window.take(5));
        assert!(!window.take(5));
        assert!(window.take(0), "overtaken, and still told apart");
        assert!(window.take(5 + WINDOW_NUMBERS));
        assert!(!window.take(5), "too far behind");
        assert!(window.take(6));
        assert!(!window.take(6));
        assert!(window.take(u64::MAX));
        assert!(!window.take(u64::MAX));
        assert!(!window.take(7));
        let mut fresh = Window::default();
        assert!(fresh.take(0));
        assert!(!fresh.take(0));
        assert!(fresh.take(1));
    }

    proptest! {
        #[test]
        fn whatever_the_order_nothing_is_taken_twice(numbers in proptest::collection::vec(0_u64..400, 0..400)) {
            let (mut window, mut taken, mut greatest) = (Window::default(), BTreeSet::new(), 0);
            for number in numbers {
                let is_near = number + WINDOW_NUMBERS > greatest;
                let expected = is_near && !taken.contains(&number);
                prop_assert_eq!(window.take(number), expected, "{}", number);
                if expected {
                    taken.insert(number);
                }
                greatest = greatest.max(number);
            }
        }
    }
}
