//! What leaves the address book comes back the same, on another node too.

use std::fs;

use serde_json::{Value, json};

use crate::support::{TestServer, expect, expect_problem, send};

async fn export(server: &TestServer, query: &str) -> String {
    let response = server.get(&format!("/v1/contacts/export{query}")).await;
    assert_eq!(response.status(), 200);
    response.text().await.expect("it is UTF-8")
}

async fn import(server: &TestServer, content_type: &str, file: impl Into<Vec<u8>>) -> Value {
    let request = server.request("POST", "/v1/contacts/import");
    let request = request.header("content-type", content_type);
    expect(send(request.body(file.into())).await, 200).await
}

/// All contacts, without what says when and what kept lines are called.
async fn contacts(server: &TestServer) -> Vec<Value> {
    let listed = expect(server.get("/v1/contacts?limit=1000").await, 200).await;
    let mut items = listed["items"].as_array().expect("items").clone();
    for item in &mut items {
        for gone in ["created_at", "updated_at", "vcard"] {
            item.as_object_mut().expect("an object").remove(gone);
        }
    }
    items
}

async fn filled() -> TestServer {
    let server = TestServer::start().await;
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/vcards");
    for entry in fs::read_dir(directory).expect("the test data is there") {
        let path = entry.expect("the directory can be read").path();
        if path.extension().is_some_and(|extension| extension == "vcf") {
            let bytes = fs::read(path).expect("the file can be read");
            import(&server, "text/vcard", bytes).await;
        }
    }
    let named = json!({"name": "Ada", "phones": [{"label": "Summer house", "number": "1"}], "groups": ["b, c"]});
    expect(server.json("PUT", "/v1/contacts/ada", &named).await, 201).await;
    server
}

#[tokio::test]
async fn an_address_book_is_not_the_same_on_the_node_it_was_carried_to() {
    let server = filled().await;
    let before = contacts(&server).await;
    assert_eq!(before.len(), 17);
    for format in ["vcard3", "vcard4"] {
        let file = export(&server, &format!("?format={format}")).await;
        let other = TestServer::start().await;
        let report = import(&other, "text/vcard", file.clone()).await;
        assert_eq!(report["created"], 17, "{report}");
        assert_eq!(contacts(&other).await, before, "{format}");
        // Onto itself it changes nothing that is shown.
        import(&server, "text/vcard", file).await;
        assert_eq!(contacts(&server).await, before, "{format}");
    }
}

#[tokio::test]
async fn more_than_one_piece_is_exported_whole_and_in_order() {
    let server = TestServer::start().await;
    let note = "x".repeat(10_000);
    for number in 0..60 {
        let json = json!({"name": format!("Person {number}"), "note": note});
        let path = format!("/v1/contacts/c{number:02}");
        expect(server.json("PUT", &path, &json).await, 201).await;
    }
    let file = export(&server, "").await.replace("\r\n ", "");
    let ids: Vec<&str> = file
        .lines()
        .filter_map(|line| line.strip_prefix("UID:"))
        .collect();
    let expected: Vec<String> = (0..60).map(|number| format!("c{number:02}")).collect();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn only_what_is_asked_for_is_exported_in_the_form_that_is_asked_for() {
    let server = TestServer::start().await;
    for (id, json) in [
        ("ada", json!({"name": "Ada", "groups": ["friends"]})),
        ("eve", json!({"name": "Eve"})),
    ] {
        let path = format!("/v1/contacts/{id}");
        expect(server.json("PUT", &path, &json).await, 201).await;
    }
    expect(
        server
            .json("PUT", "/v1/contacts/gone", &json!({"name": "Gone"}))
            .await,
        201,
    )
    .await;
    server.delete("/v1/contacts/gone").await;
    let all = export(&server, "").await;
    assert!(all.contains("FN:Ada") && all.contains("FN:Eve") && !all.contains("Gone"));
    assert!(all.contains("VERSION:3.0"));
    let friends = export(&server, "?group=friends").await;
    assert!(friends.contains("FN:Ada") && !friends.contains("FN:Eve"));
    let found = export(&server, "?q=ev").await;
    assert!(!found.contains("FN:Ada") && found.contains("FN:Eve"));
    assert_eq!(export(&server, "?group=nobody").await, "");
    let request = server.request("GET", "/v1/contacts/export").header(
        "accept",
        "text/vcard;version=3.0;q=0.5, text/vcard; version=4.0",
    );
    let response = send(request).await;
    assert_eq!(
        response.headers()["content-type"],
        "text/vcard; version=4.0; charset=utf-8"
    );
    assert!(response.text().await.expect("text").contains("VERSION:4.0"));
    for (query, field) in [("?format=pdf", "format"), ("?limit=1", "limit")] {
        let response = server.get(&format!("/v1/contacts/export{query}")).await;
        expect_problem(response, 400, Some(field)).await;
    }
}
