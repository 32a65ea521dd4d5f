//! Which right each path needs: the one place where that is said.
//!
//! Paths are matched as the router matches them, by the same library, so that both mean the same request. What no
//! route here names is answered to nobody who needs a token (a test compares this list with the router).

use axum::http::Method;
use matchit::{Params, Router};
use percent_encoding::percent_decode_str;

use super::{
    contacts::contact_id, counters::counter_id, kv::kv_id, problem::Problem, within::outside,
};
use crate::model::{Collection, Limit, Role, Topic};

/// Which part of the data a request is about, and so whether a limited token may make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// No data.
    Nothing,
    /// The entity, or the topic, that the first part of the path names.
    Key(Collection),
    /// The two entities that the path names.
    Keys(Collection),
    /// Whatever lies within the limit of the token: the handler sees to it.
    Filtered,
    /// A whole collection.
    All(Collection),
    /// Everything.
    Everything,
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: anybody may ask.
    Nobody,
    /// A token of this role, for this part of the data.
    Token(Role, Reach),
}

/// What the requests of a path need: those that read (`GET`, `HEAD`), and all others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Right {
    pub(super) pattern: &'static str,
    read: Need,
    change: Need,
    /// Whether the answer may go on for long, so that it is looked again at the token.
    pub(super) lasts: bool,
}

const fn right(pattern: &'static str, read: Need, change: Need) -> Right {
    Right {
        pattern,
        read,
        change,
        lasts: false,
    }
}

/// Read with `read`, written with `write`, of the part of the data `reach`.
const fn data(pattern: &'static str, reach: Reach) -> Right {
    data_as(pattern, reach, reach)
}

const fn data_as(pattern: &'static str, read: Reach, change: Reach) -> Right {
    right(
        pattern,
        Need::Token(Role::Read, read),
        Need::Token(Role::Write, change),
    )
}

/// Only read, by whatever method.
const fn reading(pattern: &'static str, reach: Reach) -> Right {
    let need = Need::Token(Role::Read, reach);
    right(pattern, need, need)
}

const fn lasting(right: Right) -> Right {
    Right {
        lasts: true,
        ..right
    }
}

/// For an admin.
const fn admin(pattern: &'static str) -> Right {
    let need = Need::Token(Role::Admin, Reach::Everything);
    right(pattern, need, need)
}

const fn open(pattern: &'static str) -> Right {
    right(pattern, Need::Nobody, Need::Nobody)
}

const ADMIN: Need = Need::Token(Role::Admin, Reach::Everything);
const CONTACTS: Reach = Reach::All(Collection::Contacts);
const CONTACT: Reach = Reach::Key(Collection::Contacts);
const COUNTER: Reach = Reach::Key(Collection::Counters);
const TOPIC: Reach = Reach::Key(Collection::Topics);

/// Every path there is, and those that are to come.
const RIGHTS: &[Right] = &[
    data("/v1/kv/{*key}", Reach::Key(Collection::Kv)),
    data("/v1/kv", Reach::Filtered),
    data_as("/v1/contacts", Reach::Filtered, CONTACTS),
    data("/v1/contacts/import", CONTACTS),
    data("/v1/contacts/export", CONTACTS),
    data("/v1/contacts/duplicates", CONTACTS),
    data("/v1/contacts/{id}", CONTACT),
    data("/v1/contacts/{id}/phones", CONTACT),
    data("/v1/contacts/{id}/phones/{element}", CONTACT),
    data("/v1/contacts/{id}/emails", CONTACT),
    data("/v1/contacts/{id}/emails/{element}", CONTACT),
    data("/v1/contacts/{id}/urls", CONTACT),
    data("/v1/contacts/{id}/urls/{element}", CONTACT),
    data("/v1/contacts/{id}/addresses", CONTACT),
    data("/v1/contacts/{id}/addresses/{element}", CONTACT),
    data("/v1/contacts/{id}/photo", CONTACT),
    data("/v1/conflicts", CONTACTS),
    data(
        "/v1/contacts/{id}/absorb/{other}",
        Reach::Keys(Collection::Contacts),
    ),
    data("/v1/contacts/{id}/history", CONTACT),
    data("/v1/contacts/{id}/undo", CONTACT),
    data("/v1/contacts/{id}/restore", CONTACT),
    data("/v1/contacts/{id}/conflicts", CONTACT),
    data("/v1/contacts/{id}/conflicts/{conflict}/choose", CONTACT),
    data("/v1/contacts/{id}/conflicts/{conflict}/dismiss", CONTACT),
    data("/v1/counters", Reach::Filtered),
    data("/v1/counters/{name}", COUNTER),
    data("/v1/counters/{name}/increment", COUNTER),
    data("/v1/counters/{name}/decrement", COUNTER),
    data("/v1/counters/{name}/reset", COUNTER),
    data("/v1/counters/{name}/tallies", COUNTER),
    data("/v1/counters/{name}/tallies/{writer}", COUNTER),
    right(
        "/v1/bundle",
        Need::Token(Role::Read, Reach::Everything),
        ADMIN,
    ),
    admin("/v1/backup"),
    reading("/v1/bundle/export", Reach::Everything),
    reading("/v1/bundle/token", Reach::Everything),
    data("/v1/topics", Reach::Filtered),
    data("/v1/topics/{topic}", TOPIC),
    data("/v1/topics/{topic}/messages", TOPIC),
    data("/v1/topics/{topic}/messages/{id}", TOPIC),
    lasting(data("/v1/topics/{topic}/stream", TOPIC)),
    lasting(data("/v1/watch", Reach::Filtered)),
    data("/v1/batch", Reach::Filtered),
    reading("/v1/changes", Reach::Filtered),
    data("/v1/merge", Reach::Filtered),
    right(
        "/v1/cluster",
        Need::Token(Role::Read, Reach::Nothing),
        ADMIN,
    ),
    right(
        "/v1/cluster/convergence",
        Need::Token(Role::Read, Reach::Nothing),
        ADMIN,
    ),
    admin("/v1/cluster/members/{id}"),
    admin("/v1/cluster/leave"),
    admin("/v1/tokens"),
    admin("/v1/tokens/first"),
    admin("/v1/tokens/{id}"),
    admin("/v1/admin/log-level"),
    reading("/metrics", Reach::Nothing),
    open("/openapi.json"),
    open("/docs"),
    open("/ping"),
    open("/healthz"),
    open("/readyz"),
];

/// The patterns of all paths, those that are to come among them.
pub(super) fn patterns() -> impl Iterator<Item = &'static str> {
    RIGHTS.iter().map(|right| right.pattern)
}

/// The rights by path.
#[derive(Clone)]
pub(super) struct Rights(Router<&'static Right>);

impl Rights {
    pub(super) fn new() -> Self {
        let mut router = Router::new();
        for right in RIGHTS {
            router
                .insert(right.pattern, right)
                .expect("no two patterns contradict each other");
        }
        Self(router)
    }

    /// The right that `path` needs, and the parts of the path; `None` if there is no such path.
    pub(super) fn at<'p>(&self, path: &'p str) -> Option<(&'static Right, Params<'_, 'p>)> {
        let found = self.0.at(path).ok()?;
        Some((found.value, found.params))
    }
}

impl Right {
    /// What a request by `method` needs.
    pub(super) fn need(&self, method: &Method) -> Need {
        if *method == Method::GET || *method == Method::HEAD {
            self.read
        } else {
            self.change
        }
    }
}

/// Refuses what reaches beyond `limit`.
pub(super) fn check_reach(
    reach: Reach,
    params: &Params<'_, '_>,
    limit: &Limit,
) -> Result<(), Problem> {
    let mut parts = params.iter().map(|(_, part)| part);
    let within = match reach {
        Reach::Nothing | Reach::Filtered => true,
        Reach::Everything => false,
        Reach::All(collection) => limit.takes_keys(collection, ""),
        Reach::Key(collection) => takes(limit, collection, parts.next())?,
        Reach::Keys(collection) => {
            takes(limit, collection, parts.next())? && takes(limit, collection, parts.next())?
        }
    };
    within.then_some(()).ok_or_else(|| outside(limit))
}

/// Whether what a part of a path names lies within `limit`. It is read as the handlers read it.
fn takes(limit: &Limit, collection: Collection, part: Option<&str>) -> Result<bool, Problem> {
    let part = part.unwrap_or_default();
    let Ok(key) = percent_decode_str(part).decode_utf8() else {
        return Ok(false);
    };
    Ok(match collection {
        Collection::Contacts => limit.takes(&contact_id(&key)?),
        Collection::Counters => limit.takes(&counter_id(key.into_owned())?),
        Collection::Kv => limit.takes(&kv_id(key.into_owned())?),
        Collection::Topics => limit.takes_keys(collection, &Topic::new(key)?.prefix()),
        Collection::Roster | Collection::Tokens => false,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The patterns of the router, as they are registered.
    fn routed() -> BTreeSet<String> {
        let routes = crate::http::router::routes().into_openapi();
        routes.paths.paths.into_keys().collect()
    }

    #[test]
    fn a_route_without_a_right_is_found() {
        let routed = routed();
        assert!(routed.len() > 30, "{routed:?}");
        let known: BTreeSet<&str> = RIGHTS.iter().map(|right| right.pattern).collect();
        let missing: Vec<&String> = routed
            .iter()
            .filter(|pattern| !known.contains(pattern.as_str()))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn only_what_tells_nothing_is_open() {
        let open: Vec<&str> = RIGHTS
            .iter()
            .filter(|right| right.read == Need::Nobody || right.change == Need::Nobody)
            .map(|right| right.pattern)
            .collect();
        assert_eq!(
            open,
            ["/openapi.json", "/docs", "/ping", "/healthz", "/readyz"]
        );
    }

    #[test]
    fn another_spelling_of_a_key_is_no_way_around_a_limit() {
        let rights = Rights::new();
        let allowed = |limit: &Limit, path: &str| {
            let (right, params) = rights.at(path)?;
            let Need::Token(_, reach) = right.need(&Method::GET) else {
                return None;
            };
            Some(check_reach(reach, &params, limit).is_ok())
        };
        let limit = Limit::new(Collection::Kv, "a/b".to_owned());
        for path in [
            "/v1/kv/a/b",
            "/v1/kv/a%2Fb",
            "/v1/kv/a/b/c",
            "/v1/kv/%61/bc",
        ] {
            assert_eq!(allowed(&limit, path), Some(true), "{path}");
        }
        for path in [
            "/v1/kv/a/",
            "/v1/kv/a/../a/b",
            "/v1/kv/A/b",
            "/v1/kv/a%252Fb",
            "/v1/kv/%ff",
            "/v1/counters/a%2Fb",
            "/v1/bundle/token",
            "/v1/cluster/members/a",
            "/v1/tokens",
        ] {
            assert_eq!(allowed(&limit, path), Some(false), "{path}");
        }
        assert_eq!(allowed(&limit, "/v1/%6bv/a/b"), None);
        // An id that is a UUID is stored in lower case.
        let limit = Limit::new(Collection::Contacts, "ABCD".to_owned());
        let uuid = "/v1/contacts/ABCD0000-0000-0000-0000-000000000000";
        assert_eq!(allowed(&limit, uuid), Some(false));
        let limit = Limit::new(Collection::Topics, "news/".to_owned());
        assert_eq!(allowed(&limit, "/v1/topics/news/messages"), Some(true));
        assert_eq!(
            allowed(&limit, "/v1/topics/newsletter/messages"),
            Some(false)
        );
        let limit = Limit::new(Collection::Contacts, "a".to_owned());
        for path in [
            "/v1/contacts/export",
            "/v1/contacts/duplicates",
            "/v1/contacts/a/absorb/b",
        ] {
            assert_eq!(allowed(&limit, path), Some(false), "{path}");
        }
        assert_eq!(allowed(&limit, "/v1/contacts/a/absorb/ab"), Some(true));
    }
}
