//! Times as users see them: RFC 3339 in UTC with milliseconds.

use grapevine_crdt::Timestamp;
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

const FORMAT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// What is told for times after the year 9999, which RFC 3339 cannot tell.
const LAST: &str = "9999-12-31T23:59:59.999Z";

/// The wall-clock part of `time` as RFC 3339 in UTC with milliseconds, such as `2024-02-29T12:00:00.042Z`;
/// times after the year 9999 are shown as its last millisecond.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.unix_ms()) * 1_000_000)
        .ok()
        .and_then(|at| at.format(FORMAT).ok())
        .unwrap_or_else(|| LAST.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_keep_three_digits() {
        let at = |ms| rfc3339(Timestamp::from_unix_ms(ms));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(1_709_208_000_042), "2024-02-29T12:00:00.042Z");
    }

    #[test]
    fn times_beyond_rfc3339_are_shown_as_its_last() {
        assert_eq!(rfc3339(Timestamp::MAX), LAST);
    }
}
