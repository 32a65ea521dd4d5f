//! The words in which routes are described: the parts of paths, the parameters, headers and answers that many have.
//!
//! A route is described where its handler is, by `#[utoipa::path]`, and registered in `router` with `routes!`: there is
//! no other way to register one, so none is left undescribed. What follows from a description (the problems that every
//! route may answer, the headers of its answers) is added in `openapi` and not repeated here.
//!
//! To add a route: write `#[utoipa::path(...)]` over its handler, with an `operation_id` and a `tag` of `openapi`, an
//! example for each part of the path and each body, and the statuses that are its own; then name the handler in
//! `router`. What an answer holds derives `ToSchema`, under a name that no other schema has. `tests/openapi.rs` sends the
//! examples to a node; what an example is about, `seed` there puts in place.
//!
//! The structures are never made: they describe what is read and written by hand elsewhere.

#![allow(dead_code, reason = "they describe, and are never made")]

use utoipa::{IntoParams, ToSchema};

/// The contact of a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ContactPath {
    /// The contact: a UUID, or 1 to 128 of the characters a-z, A-Z, 0-9, -, _, ., ~, @.
    #[param(
        example = "ada",
        min_length = 1,
        max_length = 128,
        pattern = "^[a-zA-Z0-9_~@-][a-zA-Z0-9_.~@-]*$"
    )]
    id: String,
}

/// An element of a contact, such as a phone, in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ElementPlace {
    /// Which one: 1 to 64 of the characters a-z, A-Z, 0-9, -, _, . (it is its `id` in the contact).
    #[param(
        example = "first",
        min_length = 1,
        max_length = 64,
        pattern = "^[a-zA-Z0-9_-][a-zA-Z0-9_.-]*$"
    )]
    element: String,
}

/// What the columns of CSV are.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CsvMap {
    /// For CSV: what a column is, where its header does not say it, as `Nom=name;Tel=phone:home`.
    #[param(max_length = 4096)]
    map: Option<String>,
}

/// The counter of a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct CounterPath {
    /// The counter: 1 to 1,024 bytes without control characters.
    #[param(example = "visits", min_length = 1, max_length = 256)]
    name: String,
}

/// The writer of a tally in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct WriterPath {
    /// Who counts: a name of 1 to 128 bytes without control characters.
    #[param(example = "kiosk-7", min_length = 1, max_length = 32)]
    writer: String,
}

/// The key of a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct KeyPath {
    /// The key: 1 to 1,024 bytes without control characters; it may have slashes.
    #[param(
        example = "greetings/hello",
        min_length = 1,
        max_length = 256,
        allow_reserved
    )]
    key: String,
}

/// The topic of a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct TopicPath {
    /// The topic: 1 to 128 bytes without `/` and control characters.
    #[param(
        example = "news",
        min_length = 1,
        max_length = 32,
        pattern = "^[^/\\x00-\\x1f\\x7f-\\x9f]+$"
    )]
    topic: String,
}

/// Which page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Paged {
    /// How many items a page may have; 100 if nothing is said.
    #[param(example = 10, minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// The `next` of the page before. Opaque: take it as it came.
    #[param(max_length = 16384)]
    cursor: Option<String>,
}

/// What the keys of a list begin with.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Prefixed {
    /// Only those that begin with this.
    #[param(example = "gr", max_length = 1024)]
    prefix: Option<String>,
}

/// What a client has seen.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Seen {
    /// The `Grapevine-Token` of the last answer: this node answers once it holds what that names, or says 503.
    #[param(rename = "Grapevine-Token", max_length = 8192)]
    token: Option<String>,
}

/// What must hold of what is there. The check is this node's own view.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Conditional {
    /// Entity tags with commas between, or `*`: only if what is there has one of them; else 412.
    #[param(rename = "If-Match", example = "*", pattern = r#"^(\*|"[a-z0-9]*")$"#)]
    if_match: Option<String>,
    /// Entity tags with commas between, or `*`: only if nothing there has one of them; else 304 to a read, and 412 to a
    /// write.
    #[param(
        rename = "If-None-Match",
        example = "\"another\"",
        pattern = r#"^(\*|"[a-z0-9]*")$"#
    )]
    if_none_match: Option<String>,
}

/// A request that has its effect once, however often it is sent.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Once {
    /// 1 to 255 visible ASCII characters of the client's choice: the same request under the same key has its effect
    /// once, through any node.
    #[param(
        rename = "Idempotency-Key",
        example = "4f5a2c1e",
        min_length = 1,
        max_length = 255,
        pattern = "^[!-~]+$"
    )]
    key: Option<String>,
}

/// A page of a list.
#[derive(ToSchema)]
pub(super) struct Page<T> {
    /// Those of this page; there may be none though a next follows.
    items: Vec<T>,
    /// The `cursor` of the next page; null at the end of the list.
    #[schema(required)]
    next: Option<String>,
}

/// No body, or an empty object.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// An error (RFC 9457). There may be more members.
#[derive(ToSchema)]
pub(super) struct Problem {
    /// What kind of problem it is, to switch on.
    #[schema(rename = "type", example = "urn:problem-type:grapevine:not-found")]
    kind: String,
    /// The same in words.
    title: String,
    /// The status of the answer.
    status: u16,
    /// What happened this time.
    detail: String,
    /// The field, parameter, header or part of the path that is to blame.
    #[schema(nullable = false)]
    field: Option<String>,
}
