//! The description of the API against running nodes: what it says there is answers, what it does not say does not,
//! and every example in it works and is answered as described.

mod support;

use std::collections::BTreeMap;

use grapevine::{config::Layers, logging::Logging, node::Node};
use reqwest::{Client, Method, Response, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};
use support::{
    local::{node, url},
    wait::until,
};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// What never ends is not read.
const ENDLESS: [&str; 2] = ["watch", "streamTopic"];

/// One operation of the description.
struct Operation<'a> {
    path: &'a str,
    method: &'a str,
    said: &'a Value,
}

impl Operation<'_> {
    fn name(&self) -> &str {
        self.said["operationId"].as_str().expect("it has a name")
    }

    fn parameters(&self) -> impl Iterator<Item = &Value> {
        self.said["parameters"].as_array().into_iter().flatten()
    }

    /// The request with the examples of its parameters, but for what only the nodes can know.
    fn request(
        &self,
        client: &Client,
        node: &str,
        known: &BTreeMap<String, String>,
        with_optional: bool,
    ) -> reqwest::RequestBuilder {
        let mut path = self.path.to_owned();
        let (mut query, mut headers) = (Vec::new(), Vec::new());
        for parameter in self.parameters() {
            let name = parameter["name"].as_str().expect("it has a name");
            let example = known.get(name).cloned().or_else(|| example(parameter));
            let required = parameter["required"] == true;
            let Some(example) = example.filter(|_| required || with_optional) else {
                assert!(!required, "{} has no example of {name}", self.name());
                continue;
            };
            match parameter["in"].as_str() {
                Some("path") => path = path.replace(&format!("{{{name}}}"), &example),
                Some("query") => query.push((name.to_owned(), example)),
                Some("header") => headers.push((name.to_owned(), example)),
                other => panic!("{name} is in {other:?}"),
            }
        }
        let method = Method::from_bytes(self.method.to_uppercase().as_bytes()).expect("a method");
        let mut request = client
            .request(method, format!("{node}{path}"))
            .query(&query);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request
    }

    /// The bodies that its examples are, each with its content type; `None` where it needs none.
    fn bodies(&self) -> Vec<Option<(String, Vec<u8>)>> {
        let content = self.said["requestBody"]["content"].as_object();
        let required = self.said["requestBody"]["required"] == true;
        let examples = content.into_iter().flatten().filter_map(|(kind, content)| {
            let bytes = match &content["example"] {
                Value::Null => return None,
                Value::String(text) => text.clone().into_bytes(),
                json => json.to_string().into_bytes(),
            };
            Some(Some((kind.clone(), bytes)))
        });
        let mut bodies: Vec<_> = examples.collect();
        if !required || bodies.is_empty() {
            bodies.push(None);
        }
        bodies
    }
}

fn example(of: &Value) -> Option<String> {
    match [&of["example"], &of["schema"]["example"]] {
        [Value::Null, Value::Null] => None,
        [Value::String(text), _] | [Value::Null, Value::String(text)] => Some(text.clone()),
        [Value::Null, other] | [other, _] => Some(other.to_string()),
    }
}

fn operations(description: &Value) -> Vec<Operation<'_>> {
    let paths = description["paths"].as_object().expect("there are paths");
    let mut all: Vec<Operation<'_>> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = METHODS
                .into_iter()
                .filter(|method| item[method].is_object());
            methods.map(move |method| Operation {
                path,
                method,
                said: &item[method],
            })
        })
        .collect();
    // The first token comes first, for from then on requests need one; what removes comes last.
    all.sort_by_key(|operation| {
        (
            operation.name() != "createFirstToken",
            operation.method == "delete",
        )
    });
    all
}

/// Checks `value` against a schema of the description.
fn check(description: &Value, schema: &Value, value: &Value, what: &str) {
    let mut whole = schema.clone();
    whole["components"] = description["components"].clone();
    let validator = jsonschema::validator_for(&whole).expect("the schema is one");
    let errors: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, [""; 0], "{what}: {value}");
}

/// Checks an answer against what is said of its status.
async fn check_answer(description: &Value, operation: &Operation<'_>, answer: Response) {
    let status = answer.status();
    let what = format!("{} answers {status}", operation.name());
    let said = &operation.said["responses"][status.as_str()];
    let endless = status.is_success() && ENDLESS.contains(&operation.name());
    let kind = answer.headers().get(CONTENT_TYPE);
    let kind = kind.map(|kind| kind.to_str().expect("it is text").to_owned());
    for (name, _) in said["headers"].as_object().into_iter().flatten() {
        // Of these two only some answers have one.
        let sometimes = ["Grapevine-Expires", "Retry-After"].contains(&name.as_str());
        let there = sometimes || answer.headers().contains_key(name);
        assert!(there, "{what} without {name}");
    }
    let bytes = if endless {
        Vec::new()
    } else {
        answer.bytes().await.expect("it is whole").to_vec()
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(said.is_object(), "{what}, which is not described: {text}");
    let content = said["content"].as_object();
    let Some(content) = content else {
        assert!(
            bytes.is_empty(),
            "{what} with a body, which is not described: {text}"
        );
        return;
    };
    let kind = kind.unwrap_or_default();
    let described = content.get(&kind).or_else(|| content.get("*/*"));
    let described =
        described.unwrap_or_else(|| panic!("{what} as {kind:?}, which is not described"));
    if kind.ends_with("json") {
        let value = serde_json::from_slice(&bytes).expect("it is JSON");
        check(description, &described["schema"], &value, &what);
    }
}

async fn described(client: &Client, node: &str) -> Value {
    let answer = client.get(format!("{node}/openapi.json")).send().await;
    answer
        .expect("it answers")
        .json()
        .await
        .expect("it is JSON")
}

/// Brings in an edit that had not seen a note and is older: it is kept as a conflict. Where an example deleted something
/// that is forgotten by now, a token from before is too old (410), and one is asked for anew.
async fn conflict(client: &Client, node: &str) {
    for _ in 0..10 {
        let mut pages = format!("{node}/v1/changes");
        let token = loop {
            let page = client.get(&pages).send().await.expect("it answers");
            let page: Value = page.json().await.expect("it is JSON");
            match page["next"].as_str() {
                Some(next) => pages = format!("{node}/v1/changes?since={next}"),
                None => break page["token"].clone(),
            }
        };
        let patch = json!({"note": uuid::Uuid::now_v7()});
        let noted = client.patch(format!("{node}/v1/contacts/ada")).json(&patch);
        let noted = noted.send().await.expect("it answers").status();
        assert!(noted.is_success(), "{noted}");
        let edit = json!({"id": uuid::Uuid::now_v7(), "at": "2020-01-01T00:00:00Z", "collection": "contacts", "key": "ada",
            "op": "patch", "patch": {"note": uuid::Uuid::now_v7()}});
        let edits = json!({"now": "2020-01-01T00:00:00Z", "token": token, "edits": [edit]});
        let merged = client.post(format!("{node}/v1/merge")).json(&edits);
        let merged = merged.send().await.expect("it answers").status();
        if merged != StatusCode::GONE {
            assert!(merged.is_success(), "{merged}");
            return;
        }
    }
    panic!("ten tokens in a row were too old");
}

/// Puts in place what the examples are about; yields what only the nodes can know, by the name of its parameter.
async fn seed(client: &Client, node: &str) -> BTreeMap<String, String> {
    let send = async |method: &str, path: &str, body: Value| {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = client.request(method, format!("{node}{path}")).json(&body);
        let answer = request.send().await.expect("it answers");
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        let bytes = answer.bytes().await.expect("it is whole");
        serde_json::from_slice::<Value>(&bytes).unwrap_or_default()
    };
    for id in ["ada", "ada-2"] {
        let contact = json!({"name": "Ada Lovelace", "note": "she counts", "groups": ["friends"],
            "phones": [{"id": "first", "label": "mobile", "number": "+44 20 7946 0000"}],
            "emails": [{"id": "first", "label": "work", "address": "ada@example.org"}],
            "urls": [{"id": "first", "label": "blog", "url": "https://ada.example.org/"}],
            "addresses": [{"id": "first", "label": "home", "street": "12 St James's Square"}]});
        send("PUT", &format!("/v1/contacts/{id}"), contact).await;
    }
    let photo = client.put(format!("{node}/v1/contacts/ada/photo"));
    let photo = photo.header(CONTENT_TYPE, "image/png").body("a photo");
    let photo = photo.send().await.expect("it answers").status();
    assert!(photo.is_success(), "{photo}");
    send("POST", "/v1/counters/visits/increment", json!({})).await;
    send(
        "PUT",
        "/v1/counters/visits/tallies/kiosk-7",
        json!({"value": 12}),
    )
    .await;
    send("PUT", "/v1/kv/greetings/hello", json!("hello")).await;
    let message = json!({"author": "ada", "body": "hello"});
    let message = send("POST", "/v1/topics/news/messages", message).await;
    conflict(client, node).await;
    let conflicts = client
        .get(format!("{node}/v1/contacts/ada/conflicts"))
        .send()
        .await;
    let conflicts: Value = conflicts
        .expect("it answers")
        .json()
        .await
        .expect("it is JSON");
    let token = send(
        "POST",
        "/v1/tokens",
        json!({"name": "reader", "role": "read"}),
    )
    .await;
    // There is something to take back.
    let patch = json!({"title": uuid::Uuid::now_v7()});
    let edited = client
        .patch(format!("{node}/v1/contacts/ada"))
        .json(&patch)
        .send()
        .await;
    assert!(edited.expect("it answers").status().is_success());
    let text = |value: &Value| value.as_str().expect("it is a text").to_owned();
    BTreeMap::from([
        ("message".to_owned(), text(&message["id"])),
        ("token".to_owned(), text(&token["id"])),
        ("conflict".to_owned(), text(&conflicts["items"][0]["id"])),
    ])
}

async fn get(client: &Client, node: &str, path: &str) -> Response {
    let answer = client.get(format!("{node}{path}")).send().await;
    answer.expect("it answers")
}

/// A member that is not there any more: its replica.
async fn lost_member(client: &Client, at: &Node, parent: &std::path::Path) -> String {
    let lost = node(parent, "lost", &[at]).await;
    let http = url(&lost);
    let put = client.put(format!("{http}/v1/kv/mine")).body("mine").send();
    assert!(put.await.expect("it answers").status().is_success());
    let seen = get(client, &http, "/v1/cluster")
        .await
        .json::<Value>()
        .await;
    let replica = seen.expect("it is JSON")["node"]["replica"].clone();
    let replica = replica.as_str().expect("it has written").to_owned();
    let member = async || {
        let seen = get(client, &url(at), "/v1/cluster")
            .await
            .json::<Value>()
            .await;
        let seen = seen.expect("it is JSON");
        let members = seen["members"].as_array().expect("a list").clone();
        members
            .into_iter()
            .find(|member| member["replica"] == replica.as_str())
    };
    until("member", async || member().await.ok_or("not yet")).await;
    lost.shutdown().await;
    until("lost member", async || {
        let member = member().await;
        let lost = member
            .as_ref()
            .is_some_and(|member| member["alive"] == false);
        lost.then_some(()).ok_or(member)
    })
    .await;
    replica
}

/// A client that carries a token.
fn bearing(token: &str) -> Client {
    let mut headers = reqwest::header::HeaderMap::new();
    let value = format!("Bearer {token}").parse().expect("a header");
    headers.insert(reqwest::header::AUTHORIZATION, value);
    let client = Client::builder().default_headers(headers).build();
    client.expect("a client needs nothing from outside")
}

/// A member that is alive, in the eyes of both, and holds what `at` holds.
async fn joined(client: &Client, at: &Node, parent: &std::path::Path) -> Node {
    let leaver = node(parent, "leaver", &[at]).await;
    for (node, other) in [(at, &leaver), (&leaver, at)] {
        until("two live members that agree", async || {
            let seen = client.get(format!("{}/v1/cluster", url(node))).send().await;
            let seen: Value = seen.expect("it answers").json().await.expect("it is JSON");
            let members = seen["members"].as_array().into_iter().flatten();
            let mut members = members.filter(|member| member["name"] == other.name());
            let there = members.any(|member| member["alive"] == true && member["agrees"] == true);
            there.then_some(()).ok_or(seen)
        })
        .await;
    }
    leaver
}

#[tokio::test(flavor = "multi_thread")]
async fn an_example_that_does_not_work_misleads_who_copies_it() {
    // What is logged is changed by one of the examples.
    let layers = Layers::read(None, []).expect("nothing is given");
    let logging = Logging::from_settings(&layers, "error").expect("nothing is given");
    logging.start();
    let directory = tempfile::tempdir().expect("a directory");
    let here = node(directory.path(), "here", &[]).await;
    let (client, http) = (Client::new(), url(&here));
    let description = described(&client, &http).await;
    let lost = lost_member(&client, &here, directory.path()).await;
    let first = operations(&description);
    let first = first.first().expect("there are operations");
    assert_eq!(first.name(), "createFirstToken");
    let request = first.request(&client, &http, &BTreeMap::new(), false);
    let made = request.send().await.expect("it answers");
    assert_eq!(made.status().as_u16(), 201);
    let made: Value = made.json().await.expect("it is JSON");
    let schema = &first.said["responses"]["201"]["content"]["application/json"]["schema"];
    check(&description, schema, &made, first.name());
    let client = bearing(made["token"].as_str().expect("a token"));
    let mut tried = 0;
    for operation in operations(&description).into_iter().skip(1) {
        for body in operation.bodies() {
            for with_optional in [false, true] {
                // These have one effect.
                if !with_optional && ["forgetMember", "leaveCluster"].contains(&operation.name()) {
                    continue;
                }
                let mut known = seed(&client, &http).await;
                let message = known.remove("message").expect("it was posted");
                let token = known.remove("token").expect("it was made");
                match operation.name() {
                    "forgetMember" => known.insert("id".to_owned(), lost.clone()),
                    "getToken" | "revokeToken" => known.insert("id".to_owned(), token),
                    "getMessage" | "deleteMessage" => known.insert("id".to_owned(), message),
                    // Each key is for one request.
                    _ => known.insert(
                        "Idempotency-Key".to_owned(),
                        uuid::Uuid::now_v7().to_string(),
                    ),
                };
                let mut asked = http.clone();
                let mut leaver = None;
                if operation.name() == "leaveCluster" {
                    let node = joined(&client, &here, directory.path()).await;
                    asked = url(&node);
                    leaver = Some(node);
                }
                let mut request = operation.request(&client, &asked, &known, with_optional);
                if operation.name() == "importBundle" {
                    let bundle = get(&client, &http, "/v1/bundle").await.bytes().await;
                    request = request.body(bundle.expect("it is whole"));
                } else if let Some((kind, bytes)) = body.clone() {
                    request = request.header(CONTENT_TYPE, kind).body(bytes);
                }
                let answer = request.send().await.expect("it answers");
                let status = answer.status();
                if !status.is_success() {
                    let text = answer.text().await.unwrap_or_default();
                    panic!(
                        "the example of {} is answered {status}: {text}",
                        operation.name()
                    );
                }
                check_answer(&description, &operation, answer).await;
                if let Some(leaver) = leaver {
                    leaver.shutdown().await;
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "{tried} requests");
    here.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_described_is_not_there_and_what_is_described_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = node(directory.path(), "here", &[]).await;
    let (client, http) = (Client::new(), url(&here));
    let description = described(&client, &http).await;
    assert_eq!(
        description["openapi"].as_str().map(|version| &version[..4]),
        Some("3.1.")
    );
    let paths = description["paths"].as_object().expect("there are paths");
    for (path, item) in paths {
        let asked = path.replace(['{', '}'], "");
        let mut allowed: Vec<String> = METHODS
            .into_iter()
            .filter(|method| item[method].is_object())
            .map(str::to_uppercase)
            .collect();
        if allowed.contains(&"GET".to_owned()) {
            allowed.push("HEAD".to_owned());
        }
        allowed.sort();
        let request = client.request(Method::TRACE, format!("{http}{asked}"));
        let answer = request.send().await.expect("it answers");
        assert_eq!(answer.status().as_u16(), 405, "{path}");
        let said = answer.headers()["allow"].to_str().expect("it is text");
        let mut said: Vec<&str> = said.split(',').map(str::trim).collect();
        said.sort_unstable();
        assert_eq!(said, allowed, "{path}");
    }
    let answer = get(&client, &http, "/v1/nothing").await;
    assert_eq!(answer.status().as_u16(), 404);
    here.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_shown_in_another_shape_misleads_who_reads_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = node(directory.path(), "here", &[]).await;
    let client = Client::new();
    let description = described(&client, &url(&here)).await;
    let mut shown = 0;
    for operation in operations(&description) {
        let responses = operation.said["responses"]
            .as_object()
            .expect("it has answers");
        let bodies = responses.values().map(|response| &response["content"]);
        for content in bodies.chain([&operation.said["requestBody"]["content"]]) {
            for (kind, content) in content.as_object().into_iter().flatten() {
                let example = &content["example"];
                if kind.ends_with("json") && !example.is_null() {
                    check(&description, &content["schema"], example, operation.name());
                    shown += 1;
                }
            }
        }
    }
    assert!(shown > 20, "{shown} examples");
    here.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_needs_the_network_is_blank_where_there_is_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = node(directory.path(), "here", &[]).await;
    let (client, http) = (Client::new(), url(&here));
    let description = described(&client, &http).await;
    let page = get(&client, &http, "/docs")
        .await
        .text()
        .await
        .expect("it is text");
    for outside in ["http:", "https:", "src=", "@import", "<script"] {
        assert!(!page.contains(outside), "it asks for {outside}");
    }
    for operation in operations(&description) {
        assert!(
            page.contains(&format!("<code>{}</code>", operation.path)),
            "{}",
            operation.name()
        );
    }
    here.shutdown().await;
}
