//! `/openapi.json`: the description of this API (`OpenAPI` 3.1), made from the routes themselves.
//!
//! Each handler says what is its own; what follows from that is added here once: the operation's problems, the headers of
//! its answers, and 304 where a read may be conditional.

use std::sync::LazyLock;

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, Method, header},
    response::Response,
};
use serde_json::{Map, Value, json};
use utoipa::{OpenApi, PartialSchema as _};

use super::{
    describe,
    problem::ProblemKind,
    rights::{Need, Rights},
    router,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What is asked by POST because a URL could not carry it.
const READS_BY_POST: [&str; 2] = ["askChanges", "exportBundleSince"];
const PROBLEM: &str = "#/components/schemas/Problem";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Grapevine",
        description = "A gossip-based, eventually consistent store that stays writable when the network does not. Every \
                       node answers every request. A write is answered once it is durable on the node that took it.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
        contact()
    ),
    servers((url = "/", description = "This node; any other takes the same requests")),
    tags(
        (name = "contacts", description = "The address book"),
        (name = "conflicts", description = "What lost a merge unseen, and settling it"),
        (name = "counters", description = "Counters that count on every node"),
        (name = "key-values", description = "Bytes under keys"),
        (name = "topics", description = "Messages, in one order on every node"),
        (name = "live", description = "What a node takes in, as it does"),
        (name = "many", description = "Many writes in one request"),
        (name = "offline", description = "What an offline client asks for and brings"),
        (name = "bundles", description = "Files between nodes that share no network"),
        (name = "cluster", description = "Who is a member, and whether they agree"),
        (name = "access", description = "Who may ask"),
        (name = "health", description = "Whether the node answers"),
        (name = "description", description = "What the API is"),
    )
)]
pub(super) struct Description;

/// What is answered; made once, for it takes every route.
static ANSWER: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(description().to_string()));

/// This description
///
/// As `OpenAPI` 3.1.
#[utoipa::path(get, path = "/openapi.json", tag = "description", operation_id = "getDescription",
    responses((status = 200, description = "The description", body = Object)))]
#[allow(clippy::unused_async, reason = "handlers are async")]
pub(super) async fn get() -> Response {
    let mut response = Response::new(Body::from(ANSWER.clone()));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// The whole description, as JSON.
pub(super) fn description() -> Value {
    let described = router::routes().into_openapi();
    // It holds texts and numbers, and no map but with text keys.
    let mut description = serde_json::to_value(described).expect("a description is JSON");
    let schemas = &mut description["components"]["schemas"];
    schemas["Problem"] = json!(describe::Problem::schema());
    schemas["Problem"]["properties"]["type"]["enum"] =
        ProblemKind::ALL.map(ProblemKind::urn).to_vec().into();
    description["components"]["securitySchemes"]["bearer"] = json!({
        "type": "http",
        "scheme": "bearer",
        "description": "A token of `/v1/tokens`. Needed as soon as the cluster has one.",
    });
    if let Some(paths) = description["paths"].as_object_mut() {
        *paths = std::mem::take(paths)
            .into_iter()
            // Where axum takes the rest of a path, the description has a parameter like any.
            .map(|(path, item)| (path.replace("{*", "{"), item))
            .collect();
        for (path, method, operation) in operations(paths) {
            forget_null(operation);
            complete(path, method, operation);
        }
    }
    description
}

/// Each operation with its path and its method.
fn operations(paths: &mut Map<String, Value>) -> impl Iterator<Item = (&str, &str, &mut Value)> {
    let items = paths
        .iter_mut()
        .filter_map(|(path, item)| item.as_object_mut().map(|item| (path.as_str(), item)));
    items.flat_map(|(path, item)| {
        item.iter_mut()
            .map(move |(method, operation)| (path, method.as_str(), operation))
    })
}

/// What may be left out is no `null`: a parameter is text, and a body of `null` is a body.
fn forget_null(operation: &mut Value) {
    let parameters = operation.get_mut("parameters");
    let parameters = parameters.and_then(Value::as_array_mut);
    for schema in parameters
        .into_iter()
        .flatten()
        .filter_map(|parameter| parameter.get_mut("schema"))
    {
        if let Some(kind) = schema["type"].as_array().and_then(|kinds| kinds.first()) {
            schema["type"] = kind.clone();
        }
    }
    let contents = operation.pointer_mut("/requestBody/content");
    let contents = contents.and_then(Value::as_object_mut);
    for content in contents.into_iter().flat_map(Map::values_mut) {
        let alternatives = content.pointer("/schema/oneOf").and_then(Value::as_array);
        let first = alternatives.and_then(|all| all.iter().find(|schema| schema["type"] != "null"));
        if let Some(first) = first.cloned() {
            content["schema"] = first;
        }
    }
}

/// Adds what follows from the rest of it.
fn complete(path: &str, method: &str, operation: &mut Value) {
    let takes = |name: &str| {
        let parameters = operation["parameters"].as_array();
        parameters.is_some_and(|all| all.iter().any(|parameter| parameter["name"] == name))
    };
    let asks = READS_BY_POST.contains(&operation["operationId"].as_str().unwrap_or_default());
    let reads = method == "get" || asks;
    let conditional = takes("If-None-Match");
    let in_session = takes("Grapevine-Token");
    let body = &operation["requestBody"]["content"];
    let (has_body, has_json) = (body.is_object(), body["application/json"].is_object());
    let guarded = needs_token(path);
    if guarded {
        // While the cluster has no token, anybody may ask.
        operation["security"] = json!([{"bearer": []}, {}]);
    }
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    if reads && conditional {
        let unchanged = json!({"description": "It still has the tag that `If-None-Match` names"});
        responses.insert("304".to_owned(), unchanged);
    }
    let expected: [(u16, bool); 11] = [
        (400, path.starts_with("/v1/")),
        (401, guarded),
        (403, guarded),
        (412, conditional),
        (413, has_body),
        (415, has_json),
        (422, has_json),
        (429, guarded),
        (500, true),
        (503, true),
        (507, !reads),
    ];
    for (status, applies) in expected {
        if applies {
            let response = responses.entry(status.to_string());
            response.or_insert_with(|| json!({"description": ""}));
        }
    }
    let too_long = "Request line and headers are longer than 32 KiB; answered without a body";
    responses.insert("431".to_owned(), json!({"description": too_long}));
    for (status, response) in responses.iter_mut().filter(|(status, _)| *status != "431") {
        if status.starts_with(['4', '5']) {
            complete_problem(status, response);
        } else if status.starts_with('2') || status == "304" {
            let tagged = conditional && method != "delete";
            complete_success(response, tagged, in_session && !reads);
        }
    }
}

/// Whether any request of a path needs a token where there are some.
fn needs_token(path: &str) -> bool {
    static RIGHTS: LazyLock<Rights> = LazyLock::new(Rights::new);
    let right = RIGHTS.at(path).map(|(right, _)| right);
    right.is_some_and(|right| right.need(&Method::GET) != Need::Nobody)
}

fn complete_problem(status: &str, response: &mut Value) {
    let kinds = ProblemKind::ALL.into_iter();
    let kinds: Vec<String> = kinds
        .filter(|kind| kind.status().as_str() == status)
        .map(|kind| format!("`{}`: {}", kind.slug(), kind.title()))
        .collect();
    let said = response["description"].as_str().unwrap_or_default();
    let said = if said.is_empty() {
        kinds.join("; ")
    } else {
        format!("{said} ({})", kinds.join("; "))
    };
    response["description"] = said.into();
    if response.get("content").is_none() {
        response["content"] = json!({"application/problem+json": {"schema": {"$ref": PROBLEM}}});
    }
    if status == "503" {
        header(
            response,
            "Retry-After",
            "In how many seconds to come back",
            "integer",
        );
    }
}

fn complete_success(response: &mut Value, tagged: bool, in_session: bool) {
    if tagged {
        header(
            response,
            "ETag",
            "The strong entity tag of what is there now",
            "string",
        );
    }
    if in_session {
        let said =
            "What a client has seen with this write: sent back with a read, any node shows it";
        header(response, "Grapevine-Token", said, "string");
    }
}

fn header(response: &mut Value, name: &str, description: &str, kind: &str) {
    response["headers"][name] = json!({"description": description, "schema": {"type": kind}});
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_route_that_is_registered_otherwise_is_not_described() {
        let source = include_str!("router.rs");
        for other in [".route(", ".route_service(", ".nest(", ".merge("] {
            assert!(!source.contains(other), "use routes! in place of {other}");
        }
    }

    #[test]
    fn a_part_that_is_null_is_no_description() {
        // Only in an example is there null.
        fn nulls(value: &Value, at: &str, found: &mut Vec<String>) {
            match value {
                Value::Null => found.push(at.to_owned()),
                Value::Object(members) => {
                    for (name, value) in members.iter().filter(|(name, _)| *name != "example") {
                        nulls(value, &format!("{at}/{name}"), found);
                    }
                }
                Value::Array(items) => items.iter().for_each(|item| nulls(item, at, found)),
                Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let mut found = Vec::new();
        nulls(&description(), "", &mut found);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn two_operations_with_one_name_are_one_for_those_who_make_clients() {
        let mut description = description();
        let paths = description["paths"]
            .as_object_mut()
            .expect("there are paths");
        let mut names = BTreeSet::new();
        for (_, method, operation) in operations(paths) {
            let name = operation["operationId"]
                .as_str()
                .expect("it has a name")
                .to_owned();
            assert!(names.insert(name.clone()), "{name} is there twice");
            for member in ["summary", "tags"] {
                assert!(
                    !operation[member].is_null(),
                    "{method} {name} has no {member}"
                );
            }
        }
    }

    #[test]
    fn a_problem_that_is_documented_and_not_described_surprises_clients() {
        let documented: BTreeSet<&str> = include_str!("../../docs/api.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
            .filter(|(slug, _)| {
                slug.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
            })
            .filter(|(_, rest)| rest.as_bytes().iter().take(3).all(u8::is_ascii_digit))
            .map(|(slug, _)| slug)
            .collect();
        let described = BTreeSet::from(ProblemKind::ALL.map(ProblemKind::slug));
        assert_eq!(documented, described);
    }
}
