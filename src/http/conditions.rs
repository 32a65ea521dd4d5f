//! Entity tags and the conditions on them (RFC 9110, sections 8.8.3 and 13).

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};

use super::problem::{Problem, ProblemKind};

/// The most tags in one condition.
const MAX_TAGS: usize = 64;
const TAG_HEX_CHARS: usize = 32;

/// A strong entity tag, quotes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ETag(String);

impl ETag {
    /// The tag of exactly these bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let hash = blake3::hash(bytes).to_hex();
        Self(format!("\"{}\"", &hash[..TAG_HEX_CHARS]))
    }

    /// The tag `name`, which must be visible ASCII without quotes.
    pub(super) fn named(name: &str) -> Self {
        Self(format!("\"{name}\""))
    }

    /// Its text, quotes included.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Puts it on an answer.
    pub(super) fn put(self, response: &mut Response) {
        if let Ok(value) = HeaderValue::try_from(self.0) {
            response.headers_mut().insert(header::ETAG, value);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    Any,
    Listed(Vec<String>),
}

impl Tags {
    fn read(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Problem> {
        if !headers.contains_key(name) {
            return Ok(None);
        }
        let mut tags = Vec::new();
        for value in headers.get_all(name) {
            let malformed =
                || Problem::malformed(name.as_str(), "is `*`, or quoted tags with commas between");
            let mut rest = value.to_str().map_err(|_| malformed())?.trim();
            if rest == "*" {
                return Ok(Some(Self::Any));
            }
            while !rest.is_empty() {
                let (weak, quoted) = match rest.strip_prefix("W/") {
                    Some(quoted) => ("W/", quoted),
                    None => ("", rest),
                };
                let opaque = quoted.strip_prefix('"').ok_or_else(malformed)?;
                let (tag, after) = opaque.split_once('"').ok_or_else(malformed)?;
                if tags.len() == MAX_TAGS {
                    let detail = format!("more than {MAX_TAGS} tags");
                    return Err(Problem::malformed(name.as_str(), detail));
                }
                tags.push(format!("{weak}\"{tag}\""));
                rest = after.trim_start();
                rest = match rest.strip_prefix(',') {
                    Some(more) => more.trim_start(),
                    None if rest.is_empty() => rest,
                    None => return Err(malformed()),
                };
            }
        }
        Ok(Some(Self::Listed(tags)))
    }

    /// Strong comparison: weak tags match nothing.
    fn match_strongly(&self, current: Option<&ETag>) -> bool {
        match (self, current) {
            (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::Listed(tags), Some(ETag(current))) => tags.contains(current),
        }
    }

    /// Weak comparison: whether a tag is weak does not matter.
    fn match_weakly(&self, current: Option<&ETag>) -> bool {
        match (self, current) {
            (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::Listed(tags), Some(ETag(current))) => tags
                .iter()
                .any(|tag| tag.strip_prefix("W/").unwrap_or(tag) == current),
        }
    }
}

/// What a request demands of the state it finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

impl Conditions {
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        Ok(Self {
            if_match: Tags::read(headers, &header::IF_MATCH)?,
            if_none_match: Tags::read(headers, &header::IF_NONE_MATCH)?,
        })
    }

    /// Whether nothing is demanded.
    pub(super) const fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// Whether a write may happen to what has the tag `current` (`None`: nothing is there).
    pub(super) fn check_write(&self, current: Option<&ETag>) -> Result<(), Problem> {
        self.check_match(current)?;
        match &self.if_none_match {
            Some(tags) if tags.match_weakly(current) => Err(failed("If-None-Match", current)),
            Some(_) | None => Ok(()),
        }
    }

    fn check_match(&self, current: Option<&ETag>) -> Result<(), Problem> {
        match &self.if_match {
            Some(tags) if !tags.match_strongly(current) => Err(failed("If-Match", current)),
            Some(_) | None => Ok(()),
        }
    }

    /// The answer to a read: `full`, or 304 or 412 as the request demands. The tag goes on the answer.
    pub(super) fn answer_read(
        &self,
        current: ETag,
        full: impl FnOnce() -> Response,
    ) -> Result<Response, Problem> {
        self.check_match(Some(&current))?;
        let unchanged = self
            .if_none_match
            .as_ref()
            .is_some_and(|tags| tags.match_weakly(Some(&current)));
        let mut response = if unchanged {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            full()
        };
        current.put(&mut response);
        Ok(response)
    }
}

fn failed(header: &str, current: Option<&ETag>) -> Problem {
    let detail = match current {
        Some(ETag(tag)) => format!("the current tag is {tag}"),
        None => "nothing is there".to_owned(),
    };
    Problem::new(ProblemKind::PreconditionFailed, detail).about(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(name: &'static str, value: &'static str) -> Result<Conditions, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        Conditions::read(&headers)
    }

    #[test]
    fn a_weak_tag_never_guards_a_write() {
        let current = ETag::named("a");
        let weak = conditions("if-match", "W/\"a\"").expect("a tag");
        assert!(weak.check_write(Some(&current)).is_err());
        let strong = conditions("if-match", "\"b\", \"a\"").expect("two tags");
        assert!(strong.check_write(Some(&current)).is_ok());
        assert!(strong.check_write(None).is_err());
    }

    #[test]
    fn a_star_creates_only_what_is_absent() {
        let absent = conditions("if-none-match", "*").expect("a star");
        assert!(absent.check_write(None).is_ok());
        assert!(absent.check_write(Some(&ETag::named("a"))).is_err());
    }

    #[test]
    fn tags_without_quotes_are_refused() {
        for value in ["a", "\"a", "\"a\" \"b\"", "W/a"] {
            assert!(conditions("if-match", value).is_err(), "{value}");
        }
    }
}
