//! Times as users see them: RFC 3339 in UTC with milliseconds.

use grapevine_crdt::Timestamp;
use time::{
    OffsetDateTime,
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros::format_description,
};

const FORMAT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// The most milliseconds that a client may give as a time, either way: the year 9999.
const MAX_CLIENT_MS: u64 = 253_402_300_799_999;

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

/// Milliseconds since 1970-01-01T00:00:00Z, negative before that, of a time that a client gives: RFC 3339, or the
/// number itself.
#[must_use]
pub fn read_instant(json: &serde_json::Value) -> Option<i64> {
    if let Some(text) = json.as_str() {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        return i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok();
    }
    json.as_i64()
        .filter(|ms| ms.unsigned_abs() <= MAX_CLIENT_MS)
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
    fn a_client_may_give_a_time_as_text_or_as_a_number() {
        use serde_json::json;
        assert_eq!(
            read_instant(&json!("1970-01-01T01:00:00.25+01:00")),
            Some(250)
        );
        assert_eq!(read_instant(&json!("1969-12-31T23:59:59Z")), Some(-1_000));
        assert_eq!(
            read_instant(&json!(1_709_208_000_042_u64)),
            Some(1_709_208_000_042)
        );
        for bad in [json!("yesterday"), json!(1.5), json!(null), json!(i64::MAX)] {
            assert_eq!(read_instant(&bad), None, "{bad}");
        }
    }

    #[test]
    fn times_beyond_rfc3339_are_shown_as_its_last() {
        assert_eq!(rfc3339(Timestamp::MAX), LAST);
    }
}
