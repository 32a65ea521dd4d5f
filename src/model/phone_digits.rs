//! The digits of telephone numbers, as they are looked up: whether a number was typed with the code of its country,
//! with the zero that some countries put in front at home, or without either.

use super::fold::fold;

/// The most places within one number at which a search may begin, beside its beginning and its national part.
const MAX_STARTS: usize = 4;
/// A search may begin at a group of digits as it was typed if at least so many digits follow: local numbers.
const MIN_TAIL_DIGITS: usize = 6;
/// What has fewer digits is an extension or a short code, which many have in common.
const MIN_DISTINCT_DIGITS: usize = 5;

/// What of a number is looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PhoneDigits {
    /// All its digits, then what follows the code of the country, then what begins where groups of digits do.
    pub(super) readings: Vec<String>,
    /// Equal for numbers that are the same; `None` if it is too short to tell.
    pub(super) same: Option<String>,
}

impl PhoneDigits {
    /// The digits of a number as it was written.
    pub(super) fn of(number: &str) -> Self {
        let mut text = fold(number);
        let plus = text.trim_start().starts_with('+');
        if plus {
            // `+44 (0)20`: the zero is dialled at home only.
            text = text.replacen("(0)", " ", 1);
        }
        let mut digits = String::new();
        let mut starts = Vec::new();
        let mut within = false;
        for c in text.chars() {
            let is_digit = c.is_ascii_digit();
            if is_digit && !within {
                starts.push(digits.len());
            }
            if is_digit {
                digits.push(c);
            }
            within = is_digit;
        }
        let international = match (plus, digits.strip_prefix("00")) {
            (true, _) => Some(digits.as_str()),
            (false, abroad) => abroad,
        };
        let mut readings = Vec::new();
        let mut add = |digits: &str| {
            let digits = significant(digits);
            if !digits.is_empty() && !readings.iter().any(|known| known == digits) {
                readings.push(digits.to_owned());
            }
        };
        add(&digits);
        if let Some(digits) = international {
            add(&digits[country_digits(digits).min(digits.len())..]);
        }
        let tails = starts.iter().skip(1).map(|start| &digits[*start..]);
        tails
            .filter(|tail| tail.len() >= MIN_TAIL_DIGITS)
            .take(MAX_STARTS)
            .for_each(&mut add);
        let same = match international {
            Some(digits) => format!("+{digits}"),
            None => digits.clone(),
        };
        Self {
            readings,
            same: (digits.len() >= MIN_DISTINCT_DIGITS).then_some(same),
        }
    }
}

/// Digits without zeros in front, but for the last.
pub(super) fn significant(digits: &str) -> &str {
    let trimmed = digits.trim_start_matches('0');
    if trimmed.is_empty() {
        &digits[digits.len().saturating_sub(1)..]
    } else {
        trimmed
    }
}

/// How many digits the code of the country takes (ITU-T E.164, list of assigned codes).
fn country_digits(digits: &str) -> usize {
    let Some(two) = digits.get(..2) else {
        return digits.len();
    };
    match two.as_bytes() {
        [b'1' | b'7', _] => 1,
        [b'2', b'0' | b'7']
        | [b'3', b'0'..=b'4' | b'6' | b'9']
        | [b'4', b'0' | b'1' | b'3'..=b'9']
        | [b'5', b'1'..=b'8']
        | [b'6', b'0'..=b'6']
        | [b'8', b'1' | b'2' | b'4' | b'6']
        | [b'9', b'0'..=b'5' | b'8'] => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(number: &str) -> Vec<String> {
        PhoneDigits::of(number).readings
    }

    #[test]
    fn a_number_is_found_abroad_at_home_and_in_town() {
        for number in [
            "+44 20 7946 0000",
            "+44 (0)20 7946 0000",
            "0044 20 7946 0000",
        ] {
            assert_eq!(
                readings(number),
                ["442079460000", "2079460000", "79460000"],
                "{number}"
            );
        }
        assert_eq!(readings("020 7946-0000"), ["2079460000", "79460000"]);
        assert_eq!(readings("+442079460000"), ["442079460000", "2079460000"]);
        assert_eq!(
            readings("+1 (212) 555-0100"),
            ["12125550100", "2125550100", "5550100"]
        );
        assert_eq!(
            readings("+358 9 123 4567"),
            ["35891234567", "91234567", "1234567"]
        );
        assert_eq!(readings("none"), [""; 0]);
        assert_eq!(readings("000"), ["0"]);
        assert_eq!(readings("+"), [""; 0]);
        assert_eq!(readings("+4"), ["4"]);
    }

    #[test]
    fn the_same_number_is_the_same_however_it_is_written() {
        let same = |number| PhoneDigits::of(number).same;
        assert_eq!(same("+44 20 7946 0000"), same("0044 (20) 7946-0000"));
        assert_eq!(same("+44 20 7946 0000"), same("+44 (0)20 79460000"));
        assert_ne!(same("+44 20 7946 0000"), same("44 20 7946 0000"));
        assert_eq!(same("1234"), None);
    }

    #[test]
    fn a_number_of_many_groups_is_looked_up_at_few() {
        let number = "1-".repeat(60);
        assert!(readings(&number).len() <= 2 + MAX_STARTS);
    }
}
