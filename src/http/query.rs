//! Query parameters: each known, each once, in UTF-8.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use axum::{extract::Query, http::Uri};

use super::problem::Problem;

/// What stands for bytes that are not UTF-8 after decoding.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;
/// How a client writes that character itself.
const REPLACEMENT_ESCAPED: &str = "%EF%BF%BD";

/// The parameters of a request.
#[derive(Debug, Default)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads the query of `uri`, in which only `known` parameters may be.
    pub(super) fn read(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|rejection| Problem::malformed("query", rejection.body_text()))?;
        let raw = uri.query().unwrap_or_default().to_ascii_uppercase();
        let said_so = raw.contains(REPLACEMENT_ESCAPED) || raw.contains(REPLACEMENT);
        let mut parameters = BTreeMap::new();
        for (name, value) in pairs {
            if !known.contains(&name.as_str()) {
                let detail = if known.is_empty() {
                    "no parameters are taken here".to_owned()
                } else {
                    format!("the parameters here are: {}", known.join(", "))
                };
                return Err(Problem::malformed(&name, detail));
            }
            if value.contains(REPLACEMENT) && !said_so {
                return Err(Problem::malformed(&name, "is not UTF-8"));
            }
            if parameters.contains_key(&name) {
                return Err(Problem::malformed(&name, "is there twice"));
            }
            parameters.insert(name, value);
        }
        Ok(Self(parameters))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A whole number within `range`.
    pub(super) fn number<T>(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<T>,
    ) -> Result<Option<T>, Problem>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        text.parse()
            .ok()
            .filter(|number| range.contains(number))
            .map(Some)
            .ok_or_else(|| {
                let (least, most) = (range.start(), range.end());
                let detail = format!("{name} is a whole number from {least} to {most}");
                Problem::malformed(name, detail)
            })
    }

    /// A length of time such as `500ms`, `10s` or `1m`, at most `most`.
    pub(super) fn duration(&self, name: &str, most: Duration) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        parse_duration(text)
            .filter(|duration| *duration <= most)
            .map(Some)
            .ok_or_else(|| {
                let detail = format!("{name} is a time such as 500ms, 10s or 1m, at most {most:?}");
                Problem::malformed(name, detail)
            })
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => number,
        "s" => number.checked_mul(1_000)?,
        "m" => number.checked_mul(60_000)?,
        _ => return None,
    };
    Some(Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_without_a_unit_are_refused() {
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("10s"), Some(Duration::from_secs(10)));
        assert_eq!(parse_duration("1m"), Some(Duration::from_secs(60)));
        for text in [
            "",
            "10",
            "s",
            "1.5s",
            "-1s",
            "1h",
            "99999999999999999999s",
            "18446744073709551615m",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_and_not_replaced() {
        let read = |uri: &'static str| Parameters::read(&Uri::from_static(uri), &["prefix"]);
        assert!(read("/?prefix=%ff").is_err());
        let said = read("/?prefix=%EF%BF%BD").expect("the character itself");
        assert_eq!(said.text("prefix"), Some("\u{fffd}"));
        assert!(read("/?prefix=a&prefix=b").is_err());
        assert!(read("/?limit=1").is_err());
    }
}
