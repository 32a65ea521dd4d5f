use serde_json::{Value, json};

use crate::support::{NO_CONTENT, TestServer, body, etag, expect, expect_problem, send};

async fn make(server: &TestServer, contact: &Value) -> Value {
    expect(server.json("POST", "/v1/contacts", contact).await, 201).await
}

fn path(contact: &Value) -> String {
    format!("/v1/contacts/{}", contact["id"].as_str().expect("an id"))
}

#[tokio::test]
async fn a_contact_has_the_promised_shape_and_place() {
    let server = TestServer::start().await;
    let wanted = json!({
        "name": "Ada Lovelace",
        "name_parts": {"family": "Lovelace", "given": "Ada"},
        "phones": [{"label": "home", "number": "+44 20 1"}, {"number": "+44 20 2"}],
        "emails": [{"label": "work", "address": "ada@example.org"}],
        "urls": [{"label": "blog", "url": "https://ada.example.org/"}],
        "addresses": [{"label": "home", "street": "12 St James's Square", "locality": "London"}],
        "organization": "Analytical Engines", "title": "Countess", "birthday": "1815-12-10",
        "address": "12 St James's Square\nLondon", "note": "é", "groups": ["poets", "maths", "maths"],
    });
    let response = server.json("POST", "/v1/contacts", &wanted).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    let location = response.headers()["location"]
        .to_str()
        .expect("ASCII")
        .to_owned();
    let tag = etag(&response);
    let made = expect(response, 201).await;
    assert_eq!(location, path(&made));
    let keys: Vec<&String> = made.as_object().expect("an object").keys().collect();
    for key in [
        "id",
        "name",
        "name_parts",
        "phones",
        "emails",
        "urls",
        "addresses",
        "organization",
        "title",
        "birthday",
        "address",
        "note",
        "groups",
        "created_at",
        "updated_at",
        "revived",
        "conflicts",
    ] {
        assert!(keys.contains(&&key.to_owned()), "{key}");
    }
    assert_eq!(made["phones"][0]["number"], "+44 20 1");
    assert_eq!(made["phones"][1]["label"], Value::Null);
    assert_eq!(made["urls"][0]["url"], "https://ada.example.org/");
    assert_eq!(made["addresses"][0]["locality"], "London");
    assert_eq!(made["addresses"][0]["country"], Value::Null);
    assert_eq!(made["groups"], json!(["maths", "poets"]));
    assert_eq!(made["revived"], false);
    assert_eq!(made["conflicts"], 0);
    assert_eq!(made["created_at"], made["updated_at"]);
    let time = made["created_at"].as_str().expect("a time");
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    let read = server.get(&location).await;
    assert_eq!(etag(&read), tag);
    assert_eq!(expect(read, 200).await, made);
}

#[tokio::test]
async fn what_was_read_can_be_put_back_and_writes_nothing() {
    let server = TestServer::start().await;
    let made = make(
        &server,
        &json!({"name": "Ada", "phones": [{"number": "1"}]}),
    )
    .await;
    let root = server.store.snapshot().state().root();
    let again = server.json("PUT", &path(&made), &made).await;
    assert_eq!(expect(again, 200).await, made);
    assert_eq!(server.store.snapshot().state().root(), root);
}

#[tokio::test]
async fn put_makes_what_was_not_there_and_replaces_what_was() {
    let server = TestServer::start().await;
    let at = "/v1/contacts/ada";
    let first =
        json!({"name": "Ada", "title": "Countess", "phones": [{"number": "1"}, {"number": "2"}]});
    let made = expect(server.json("PUT", at, &first).await, 201).await;
    assert_eq!(made["id"], "ada");
    let second = json!({"name": "Ada", "phones": [{"number": "2"}, {"number": "3"}]});
    let replaced = expect(server.json("PUT", at, &second).await, 200).await;
    assert_eq!(replaced["title"], Value::Null);
    assert_eq!(
        replaced["phones"][0], made["phones"][1],
        "an unchanged phone keeps its id"
    );
    assert_eq!(replaced["phones"][1]["number"], "3");
    assert_eq!(replaced["created_at"], made["created_at"]);
}

#[tokio::test]
async fn one_uuid_is_one_contact_however_it_is_written() {
    let server = TestServer::start().await;
    let upper = "/v1/contacts/477343C8-E6BF-375A-9BAC-1F96A5000837";
    let lower = "477343c8-e6bf-375a-9bac-1f96a5000837";
    let made = expect(
        server.json("PUT", upper, &json!({"name": "Ada"})).await,
        201,
    )
    .await;
    assert_eq!(made["id"], lower);
    let read = server.get(&format!("/v1/contacts/{lower}")).await;
    assert_eq!(expect(read, 200).await, made);
}

#[tokio::test]
async fn a_put_after_a_removal_brings_nothing_old_back() {
    let server = TestServer::start().await;
    let at = "/v1/contacts/ada";
    let old =
        json!({"name": "Ada", "note": "secret", "phones": [{"number": "1"}], "groups": ["g"]});
    expect(server.json("PUT", at, &old).await, 201).await;
    assert_eq!(server.delete(at).await.status(), NO_CONTENT);
    expect_problem(server.get(at).await, 404, None).await;
    let new = expect(server.json("PUT", at, &json!({"name": "Ada"})).await, 201).await;
    assert_eq!(new["note"], Value::Null);
    assert_eq!(new["phones"], json!([]));
    assert_eq!(new["groups"], json!([]));
    assert_eq!(new["revived"], false);
    assert_eq!(new["conflicts"], 0);
}

#[tokio::test]
async fn what_is_absent_is_not_found() {
    let server = TestServer::start().await;
    for method in ["GET", "DELETE"] {
        let response = send(server.request(method, "/v1/contacts/nobody")).await;
        expect_problem(response, 404, None).await;
    }
    let patched = server
        .json("PATCH", "/v1/contacts/nobody", &json!({"name": "Ada"}))
        .await;
    expect_problem(patched, 404, None).await;
    let head = send(server.request("HEAD", "/v1/contacts/nobody")).await;
    assert_eq!(head.status().as_u16(), 404);
}

#[tokio::test]
async fn a_merge_patch_changes_what_it_names_and_nothing_else() {
    let server = TestServer::start().await;
    let made = make(
        &server,
        &json!({"name": "Ada", "title": "Countess", "note": "n", "phones": [{"number": "1"}, {"number": "2"}]}),
    )
    .await;
    let at = path(&made);
    let patch = json!({"title": null, "organization": "AE", "note": "m"});
    let request = server
        .request("PATCH", &at)
        .header("content-type", "application/merge-patch+json")
        .body(patch.to_string());
    let patched = expect(send(request).await, 200).await;
    assert_eq!(patched["title"], Value::Null);
    assert_eq!(patched["organization"], "AE");
    assert_eq!(patched["note"], "m");
    assert_eq!(patched["phones"], made["phones"]);
    // An array is replaced whole; what is in it already keeps its id.
    let phones = json!({"phones": [{"number": "2"}]});
    let patched = expect(server.json("PATCH", &at, &phones).await, 200).await;
    assert_eq!(patched["phones"], json!([made["phones"][1]]));
    let id = &made["phones"][1]["id"];
    let phones = json!({"phones": [{"id": id, "label": "home", "number": "22", "e164": null}]});
    let patched = expect(server.json("PATCH", &at, &phones).await, 200).await;
    assert_eq!(patched["phones"], phones["phones"]);
    let nothing = expect(server.json("PATCH", &at, &json!({})).await, 200).await;
    assert_eq!(nothing, patched);
    // A field that only deletes is an edit too.
    expect(
        server.json("PATCH", &at, &json!({"phones": null})).await,
        200,
    )
    .await;
}

/// What has parts that are not as they may be.
fn bad_parts() -> Vec<(Value, &'static str)> {
    vec![
        (
            json!({"name": "A", "addresses": [{"label": "home"}]}),
            "addresses[0].street",
        ),
        (
            json!({"name": "A", "addresses": [{"street": "x"}, {"country": "x".repeat(513)}]}),
            "addresses[1].country",
        ),
        (
            json!({"name": "A", "addresses": [{"town": "x"}]}),
            "addresses[0].town",
        ),
        (json!({"name": "A", "name_parts": []}), "name_parts"),
        (json!({"name_parts": {}}), "name"),
        (
            json!({"name": "A", "urls": [{"url": "x".repeat(2049)}]}),
            "urls[0].url",
        ),
        (
            json!({"name": "A", "urls": [{"address": "x"}]}),
            "urls[0].address",
        ),
    ]
}

#[tokio::test]
async fn bad_contacts_are_refused_and_their_field_is_named() {
    let server = TestServer::start().await;
    let long = "x".repeat(257);
    let many: Vec<Value> = (0..101).map(|n| json!({"number": n.to_string()})).collect();
    let cases = [
        (json!({}), "name"),
        (json!({"name": ""}), "name"),
        (json!({"name": "  "}), "name"),
        (json!({"name": 7}), "name"),
        (json!({"name": long}), "name"),
        (json!({"name": "a\u{0}b"}), "name"),
        (json!({"name": "a\nb"}), "name"),
        (json!({"name": "A", "nmae": "B"}), "nmae"),
        (json!({"name": "A", "title": ["x"]}), "title"),
        (json!({"name": "A", "organization": long}), "organization"),
        (json!({"name": "A", "birthday": "yesterday"}), "birthday"),
        (json!({"name": "A", "birthday": "2001-02-29"}), "birthday"),
        (
            json!({"name": "A", "address": "x".repeat(1_025)}),
            "address",
        ),
        (json!({"name": "A", "note": "x".repeat(65_537)}), "note"),
        (json!({"name": "A", "phones": {}}), "phones"),
        (json!({"name": "A", "phones": many}), "phones"),
        (json!({"name": "A", "phones": ["1"]}), "phones[0]"),
        (json!({"name": "A", "phones": [{}]}), "phones[0].number"),
        (
            json!({"name": "A", "phones": [{"number": 1}]}),
            "phones[0].number",
        ),
        (
            json!({"name": "A", "phones": [{"number": "x".repeat(129)}]}),
            "phones[0].number",
        ),
        (
            json!({"name": "A", "phones": [{"number": "1"}, {"number": "1", "kind": "x"}]}),
            "phones[1].kind",
        ),
        (
            json!({"name": "A", "phones": [{"number": "1", "id": "a/b"}]}),
            "phones[0].id",
        ),
        (
            json!({"name": "A", "phones": [{"number": "1", "id": "a"}, {"number": "2", "id": "a"}]}),
            "phones[1].id",
        ),
        (
            json!({"name": "A", "emails": [{"address": "x".repeat(321)}]}),
            "emails[0].address",
        ),
        (
            json!({"name": "A", "emails": [{"address": "a", "label": "x".repeat(65)}]}),
            "emails[0].label",
        ),
        (
            json!({"name": "A", "name_parts": {"first": "x"}}),
            "name_parts.first",
        ),
        (
            json!({"name": "A", "name_parts": {"given": "x".repeat(257)}}),
            "name_parts.given",
        ),
        (json!({"name": "A", "groups": [1]}), "groups[0]"),
        (
            json!({"name": "A", "groups": ["ok", "x".repeat(129)]}),
            "groups[1]",
        ),
        (json!({"name": "A", "id": "mine"}), "id"),
        (json!([]), "body"),
        (json!("Ada"), "body"),
    ];
    for (contact, field) in cases.into_iter().chain(bad_parts()) {
        let response = server.json("POST", "/v1/contacts", &contact).await;
        expect_problem(response, 422, Some(field)).await;
    }
    let made = make(&server, &json!({"name": "Ada"})).await;
    for (patch, field) in [
        (json!({"name": null}), "name"),
        (json!({"nmae": "B"}), "nmae"),
        (json!({"id": "other"}), "id"),
        (json!({"phones": [{"label": "x"}]}), "phones[0].number"),
        (json!([]), "body"),
    ] {
        let response = server.json("PATCH", &path(&made), &patch).await;
        expect_problem(response, 422, Some(field)).await;
    }
    assert_eq!(expect(server.get(&path(&made)).await, 200).await, made);
}

#[tokio::test]
async fn bad_ids_are_refused() {
    let server = TestServer::start().await;
    for id in ["a%20b", "a%2Fb", "%FF", "%C3%A9", &"x".repeat(129)] {
        let at = format!("/v1/contacts/{id}");
        expect_problem(server.get(&at).await, 400, Some("id")).await;
        let put = server.json("PUT", &at, &json!({"name": "Ada"})).await;
        expect_problem(put, 400, Some("id")).await;
    }
}

#[tokio::test]
async fn conditions_guard_reads_and_writes() {
    let server = TestServer::start().await;
    let at = "/v1/contacts/ada";
    let put = |name: &'static str, header: &'static str, tag: String| {
        let request = server.request("PUT", at).header(header, tag);
        send(request.json(&json!({ "name": name })))
    };
    expect_problem(
        put("Ada", "if-match", "*".to_owned()).await,
        412,
        Some("If-Match"),
    )
    .await;
    let made = put("Ada", "if-none-match", "*".to_owned()).await;
    let tag = etag(&made);
    expect(made, 201).await;
    expect_problem(
        put("Eve", "if-none-match", "*".to_owned()).await,
        412,
        Some("If-None-Match"),
    )
    .await;
    let unchanged = send(server.request("GET", at).header("if-none-match", &tag)).await;
    assert_eq!(unchanged.status().as_u16(), 304);
    assert_eq!(etag(&unchanged), tag);
    let stale = send(server.request("GET", at).header("if-match", "\"x\"")).await;
    expect_problem(stale, 412, Some("If-Match")).await;
    let changed = put("Ada Lovelace", "if-match", tag.clone()).await;
    assert_ne!(etag(&changed), tag);
    expect(changed, 200).await;
    let patch = server
        .request("PATCH", at)
        .header("if-match", &tag)
        .json(&json!({"note": "n"}));
    expect_problem(send(patch).await, 412, Some("If-Match")).await;
    let delete = server.request("DELETE", at).header("if-match", &tag);
    expect_problem(send(delete).await, 412, Some("If-Match")).await;
    let malformed = server.request("DELETE", at).header("if-match", "oops");
    expect_problem(send(malformed).await, 400, Some("if-match")).await;
    assert_eq!(body(server.get(at).await).await["name"], "Ada Lovelace");
    assert_eq!(server.delete(at).await.status(), NO_CONTENT);
}

#[tokio::test]
async fn of_many_guarded_writers_one_wins() {
    let server = TestServer::start().await;
    let at = "/v1/contacts/ada";
    let made = server.json("PUT", at, &json!({"name": "Ada"})).await;
    let tag = etag(&made);
    let writers = (0..16).map(|n| {
        let request = server.request("PUT", at).header("if-match", &tag);
        let request = request.json(&json!({"name": format!("Ada {n}")}));
        tokio::spawn(async move { send(request).await.status().as_u16() })
    });
    let mut won = 0;
    for writer in writers.collect::<Vec<_>>() {
        won += usize::from(writer.await.expect("a writer does not panic") == 200);
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_retried_post_makes_one_contact_on_any_node() {
    let server = TestServer::start().await;
    let post = |server: &TestServer, contact: Value| {
        let request = server
            .request("POST", "/v1/contacts")
            .header("idempotency-key", "k1");
        send(request.json(&contact))
    };
    let ada = json!({"name": "Ada"});
    let first = expect(post(&server, ada.clone()).await, 201).await;
    let again = post(&server, ada.clone()).await;
    assert_eq!(again.headers()["location"], path(&first));
    assert_eq!(expect(again, 201).await, first);
    let other = post(&server, json!({"name": "Eve"})).await;
    expect_problem(other, 409, Some("Idempotency-Key")).await;
    let elsewhere = TestServer::start().await;
    let there = expect(post(&elsewhere, ada.clone()).await, 201).await;
    assert_eq!(there["id"], first["id"]);
    assert_eq!(server.delete(&path(&first)).await.status(), NO_CONTENT);
    expect_problem(post(&server, ada).await, 409, Some("Idempotency-Key")).await;
    let empty = server
        .request("POST", "/v1/contacts")
        .header("idempotency-key", "");
    let empty = send(empty.json(&json!({"name": "Ada"}))).await;
    expect_problem(empty, 400, Some("Idempotency-Key")).await;
}

#[tokio::test]
async fn a_name_in_parts_is_one_value_and_found_by_its_words() {
    let server = TestServer::start().await;
    let parts = json!({"prefix": "Lady", "given": "Ada", "family": "Lovelace"});
    let made = make(&server, &json!({"name_parts": parts})).await;
    assert_eq!(made["name"], "Lady Ada Lovelace");
    let at = path(&made);
    let patch = json!({"name": "Ada", "name_parts": {"prefix": null, "additional": "Augusta"}});
    let patched = expect(server.json("PATCH", &at, &patch).await, 200).await;
    assert_eq!(
        (&patched["name"], &patched["name_parts"]),
        (
            &json!("Ada"),
            &json!({"family": "Lovelace", "given": "Ada", "additional": "Augusta", "prefix": null, "suffix": null})
        )
    );
    let found = expect(server.get("/v1/contacts?q=augus").await, 200).await;
    assert_eq!(found["items"][0]["id"], made["id"]);
    let gone = json!({"name_parts": null});
    let patched = expect(server.json("PATCH", &at, &gone).await, 200).await;
    assert_eq!(
        (&patched["name"], &patched["name_parts"]),
        (&json!("Ada"), &Value::Null)
    );
    let found = expect(server.get("/v1/contacts?q=augus").await, 200).await;
    assert_eq!(found["items"], json!([]));
}
