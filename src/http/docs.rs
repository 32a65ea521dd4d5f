//! `/docs`: the description as a page for people, made here, so that it needs nothing from elsewhere.

use std::{fmt::Write as _, sync::LazyLock};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::Response,
};
use serde_json::Value;

use super::openapi::description;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
/// The page has its style in itself and no script.
const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
const STYLE: &str = include_str!("docs.css");
/// The methods, in the order in which they are shown.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

static PAGE: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(page(&description())));

/// This description, to read
///
/// A page that works without a network.
#[utoipa::path(get, path = "/docs", tag = "description", operation_id = "readDescription",
    responses((status = 200, description = "The page", body = String, content_type = "text/html; charset=utf-8")))]
#[allow(clippy::unused_async, reason = "handlers are async")]
pub(super) async fn get() -> Response {
    let mut response = Response::new(Body::from(PAGE.clone()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HTML);
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}

/// Text that is put together; writing to it does not fail.
#[derive(Default)]
struct Html(String);

impl Html {
    fn raw(&mut self, html: &str) -> &mut Self {
        self.0.push_str(html);
        self
    }

    /// Text as text, with what stands between backquotes as code.
    fn text(&mut self, text: &str) -> &mut Self {
        for (place, part) in text.split('`').enumerate() {
            let code = place % 2 == 1;
            self.raw(if code { "<code>" } else { "" });
            self.plain(part).raw(if code { "</code>" } else { "" });
        }
        self
    }

    /// Text as it is.
    fn plain(&mut self, text: &str) -> &mut Self {
        for character in text.chars() {
            match character {
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '&' => self.0.push_str("&amp;"),
                '"' => self.0.push_str("&quot;"),
                other => self.0.push(other),
            }
        }
        self
    }

    fn json(&mut self, value: &Value) -> &mut Self {
        let text = match value {
            Value::String(text) => text.clone(),
            other => serde_json::to_string_pretty(other).unwrap_or_default(),
        };
        self.raw("<pre>").plain(&text).raw("</pre>")
    }
}

fn page(description: &Value) -> String {
    let mut html = Html::default();
    let info = &description["info"];
    html.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">")
        .raw("<meta name=\"viewport\" content=\"width=device-width\"><title>Grapevine: the HTTP API</title><style>")
        .raw(STYLE)
        .raw("</style></head><body><nav><h1>Grapevine</h1>");
    let tags: Vec<&Value> = description["tags"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    for tag in &tags {
        let name = text(&tag["name"]);
        html.raw("<a href=\"#")
            .plain(name)
            .raw("\">")
            .plain(name)
            .raw("</a>");
    }
    html.raw(
        "<a href=\"#schemas\">schemas</a><a href=\"/openapi.json\">openapi.json</a></nav><main><p>",
    )
    .text(text(&info["description"]))
    .raw(" Version ")
    .plain(text(&info["version"]))
    .raw(".</p>");
    for tag in tags {
        let name = text(&tag["name"]);
        html.raw("<h2 id=\"")
            .plain(name)
            .raw("\">")
            .plain(name)
            .raw("</h2><p>");
        html.text(text(&tag["description"])).raw("</p>");
        for (path, item) in members(&description["paths"]) {
            for method in METHODS {
                let operation = &item[method];
                if operation["tags"][0] == name {
                    show_operation(&mut html, path, method, operation);
                }
            }
        }
    }
    html.raw("<h2 id=\"schemas\">schemas</h2>");
    for (name, schema) in members(&description["components"]["schemas"]) {
        html.raw("<details class=\"schema\" id=\"schema-")
            .plain(name)
            .raw("\"><summary>");
        html.plain(name)
            .raw("</summary>")
            .json(schema)
            .raw("</details>");
    }
    html.raw("</main></body></html>");
    html.0
}

fn show_operation(html: &mut Html, path: &str, method: &str, operation: &Value) {
    html.raw("<details><summary><b class=\"")
        .raw(method)
        .raw("\">");
    html.plain(&method.to_uppercase())
        .raw("</b> <code>")
        .plain(path)
        .raw("</code> <span>");
    html.text(text(&operation["summary"]))
        .raw("</span></summary><p>");
    html.text(text(&operation["description"])).raw("</p>");
    let parameters = operation["parameters"].as_array();
    if let Some(parameters) = parameters.filter(|all| !all.is_empty()) {
        html.raw("<table><tr><th>parameter</th><th>in</th><th>what</th><th>example</th></tr>");
        for parameter in parameters {
            html.raw("<tr><td><code>")
                .plain(text(&parameter["name"]))
                .raw("</code></td><td>");
            html.plain(text(&parameter["in"])).raw("</td><td>");
            html.text(text(&parameter["description"])).raw("</td><td>");
            if let Some(example) = example(parameter) {
                html.raw("<code>").plain(&inline(example)).raw("</code>");
            }
            html.raw("</td></tr>");
        }
        html.raw("</table>");
    }
    for (media_type, content) in members(&operation["requestBody"]["content"]) {
        html.raw("<h4>body: ").plain(media_type);
        show_type(html, &content["schema"]);
        html.raw("</h4>");
        if let Some(example) = example(content) {
            html.json(example);
        }
    }
    html.raw("<table><tr><th>answer</th><th>what</th><th>body</th></tr>");
    for (status, response) in members(&operation["responses"]) {
        html.raw("<tr><td>").plain(status).raw("</td><td>");
        html.text(text(&response["description"]));
        for (name, header) in members(&response["headers"]) {
            html.raw("<br><code>")
                .plain(name)
                .raw("</code>: ")
                .text(text(&header["description"]));
        }
        html.raw("</td><td>");
        for (media_type, content) in members(&response["content"]) {
            html.plain(media_type);
            show_type(html, &content["schema"]);
            if let Some(example) = example(content) {
                html.json(example);
            }
        }
        html.raw("</td></tr>");
    }
    html.raw("</table></details>");
}

/// The name of a schema, with where it is said.
fn show_type(html: &mut Html, schema: &Value) {
    let alternatives = schema["oneOf"].as_array().into_iter().flatten();
    for schema in std::iter::once(schema).chain(alternatives) {
        let reference = schema["$ref"].as_str().unwrap_or_default();
        if let Some(name) = reference.strip_prefix("#/components/schemas/") {
            html.raw(" <a href=\"#schema-")
                .plain(name)
                .raw("\">")
                .plain(name)
                .raw("</a>");
        }
    }
}

/// The example of a parameter or of a content.
fn example(of: &Value) -> Option<&Value> {
    [
        &of["example"],
        &of["schema"]["example"],
        &of["schema"]["examples"][0],
    ]
    .into_iter()
    .find(|example| !example.is_null())
}

fn inline(value: &Value) -> String {
    let mut inline = String::new();
    match value {
        Value::String(text) => inline.push_str(text),
        other => {
            // Writing to a text does not fail.
            let _written = write!(inline, "{other}");
        }
    }
    inline
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
