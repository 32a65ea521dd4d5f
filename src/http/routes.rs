//! The paths of this API as patterns, by which requests are counted: what a client asks for may be anything, the
//! patterns are these.

/// Every pattern that [`router`](super::router) answers.
pub(super) const ROUTES: &[&str] = &[
    "/healthz",
    "/metrics",
    "/ping",
    "/readyz",
    "/v1/admin/log-level",
    "/v1/backup",
    "/v1/batch",
    "/v1/bundle",
    "/v1/bundle/export",
    "/v1/bundle/token",
    "/v1/changes",
    "/v1/cluster",
    "/v1/cluster/convergence",
    "/v1/cluster/members/{id}",
    "/v1/conflicts",
    "/v1/contacts",
    "/v1/contacts/duplicates",
    "/v1/contacts/import",
    "/v1/contacts/{id}",
    "/v1/contacts/{id}/absorb/{other}",
    "/v1/contacts/{id}/conflicts",
    "/v1/contacts/{id}/conflicts/{conflict}/choose",
    "/v1/contacts/{id}/conflicts/{conflict}/dismiss",
    "/v1/counters",
    "/v1/counters/{name}",
    "/v1/counters/{name}/decrement",
    "/v1/counters/{name}/increment",
    "/v1/counters/{name}/reset",
    "/v1/counters/{name}/tallies",
    "/v1/counters/{name}/tallies/{writer}",
    "/v1/kv",
    "/v1/kv/{*key}",
    "/v1/merge",
    "/v1/topics",
    "/v1/topics/{topic}",
    "/v1/topics/{topic}/messages",
    "/v1/topics/{topic}/messages/{id}",
    "/v1/topics/{topic}/stream",
    "/v1/watch",
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn a_route_that_nobody_counts() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/router.rs");
        let source = fs::read_to_string(source).expect("a source can be read");
        let literals = source.split('"').skip(1).step_by(2);
        let answered: BTreeSet<&str> = literals.filter(|text| text.starts_with('/')).collect();
        let counted: BTreeSet<&str> = ROUTES.iter().copied().collect();
        assert_eq!(answered, counted);
    }
}
