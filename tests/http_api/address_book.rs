//! Finding contacts: search, sorted lists, duplicates, and joining two into one.

use serde_json::{Value, json};

use crate::support::{TestServer, etag, expect, expect_problem, send};

async fn put(server: &TestServer, id: &str, contact: &Value) {
    let response = server
        .json("PUT", &format!("/v1/contacts/{id}"), contact)
        .await;
    assert!(response.status().is_success());
}

/// The ids of all pages.
async fn ids(server: &TestServer, parameters: &[(&str, &str)], limit: usize) -> Vec<String> {
    let (mut ids, mut cursor): (Vec<String>, Option<String>) = (Vec::new(), None);
    loop {
        let mut query: Vec<(&str, String)> = parameters
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        query.push(("limit", limit.to_string()));
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let request = server.request("GET", "/v1/contacts").query(&query);
        let page = expect(send(request).await, 200).await;
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= limit);
        ids.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().expect("an id").to_owned()),
        );
        match &page["next"] {
            Value::Null => return ids,
            next => cursor = Some(next.as_str().expect("a cursor").to_owned()),
        }
    }
}

async fn found(server: &TestServer, query: &str) -> Vec<String> {
    let one_by_one = ids(server, &[("q", query)], 1).await;
    assert_eq!(
        ids(server, &[("q", query)], 100).await,
        one_by_one,
        "{query}"
    );
    one_by_one
}

async fn book() -> TestServer {
    let server = TestServer::start().await;
    for (id, contact) in [
        (
            "nguyen",
            json!({"name": "Nguyễn Văn Đức", "groups": ["Đội bóng"]}),
        ),
        (
            "strasse",
            json!({"name": "Østergård", "organization": "Straßenbau AG", "groups": ["Kunden"]}),
        ),
        (
            "ada",
            json!({"name": "Ada Lovelace", "organization": "Analytical Engines", "note": "knows Babbage",
            "phones": [{"number": "+44 (0)20 7946-0000"}], "emails": [{"address": "ada.l@Example.org"}]}),
        ),
        (
            "adam",
            json!({"name": "adam Smith", "phones": [{"number": "020 7946 0999"}], "groups": ["Kunden"]}),
        ),
        (
            "smith",
            json!({"name": "Zoë Smithers", "organization": "Ada"}),
        ),
        (
            "studio",
            json!({"name": "Studio 54", "organization": "20th Floor"}),
        ),
    ] {
        put(&server, id, &contact).await;
    }
    server
}

#[tokio::test]
async fn a_contact_is_not_found_by_what_people_type() {
    let server = book().await;
    for (query, wanted) in [
        ("nguyen", &["nguyen"][..]),
        ("NGUYÊN duc", &["nguyen"]),
        ("van nguyen doi", &["nguyen"]),
        ("ostergard strasse", &["strasse"]),
        ("STRASSEN", &["strasse"]),
        // The very word before longer ones, the name before other fields.
        ("ada", &["ada", "smith", "adam"]),
        ("smith", &["adam", "smith"]),
        ("ada smith", &["adam", "smith"]),
        ("example.org", &["ada"]),
        ("ada.l@exam", &["ada"]),
        ("+44 20", &["ada"]),
        ("+44 20 79 46", &["ada"]),
        ("020 7946", &["ada", "adam"]),
        ("0207946099", &["adam"]),
        ("7946-0000", &["ada"]),
        ("studio 54 20", &["studio"]),
        ("babbage", &[]),
        ("ada nobody", &[]),
        ("lovelac ana", &["ada"]),
    ] {
        assert_eq!(found(&server, query).await, wanted, "{query}");
    }
    // Nothing is asked for.
    for query in ["", " ", "+"] {
        assert_eq!(found(&server, query).await.len(), 6);
    }
}

#[tokio::test]
async fn what_was_changed_or_deleted_is_still_found() {
    let server = book().await;
    let renamed = server
        .json(
            "PATCH",
            "/v1/contacts/ada",
            &json!({"name": "Augusta", "phones": null}),
        )
        .await;
    expect(renamed, 200).await;
    server.delete("/v1/contacts/adam").await;
    assert_eq!(found(&server, "lovelace").await, [""; 0]);
    assert_eq!(found(&server, "7946").await, [""; 0]);
    assert_eq!(
        found(&server, "ada").await,
        ["ada", "smith"],
        "by organization and address"
    );
    assert_eq!(found(&server, "augusta").await, ["ada"]);
}

#[tokio::test]
async fn lists_are_sorted_by_name_and_by_group() {
    let server = book().await;
    let all = ["ada", "adam", "nguyen", "strasse", "studio", "smith"];
    for limit in [1, 4, 5, 6, 1_000] {
        assert_eq!(ids(&server, &[], limit).await, all);
    }
    assert_eq!(
        ids(&server, &[("group", "Kunden")], 1).await,
        ["adam", "strasse"]
    );
    assert_eq!(
        ids(&server, &[("group", "Kunden"), ("q", "ster")], 1).await,
        [""; 0]
    );
    assert_eq!(
        ids(&server, &[("group", "Kunden"), ("q", "oster")], 1).await,
        ["strasse"]
    );
    assert_eq!(ids(&server, &[("group", "nobody")], 1).await, [""; 0]);
}

#[tokio::test]
async fn a_list_tells_more_than_the_fields_that_were_asked_for() {
    let server = book().await;
    let answer = expect(
        server.get("/v1/contacts?fields=name,phones&limit=1").await,
        200,
    )
    .await;
    let ada = &answer["items"][0];
    let phones = expect(server.get("/v1/contacts/ada").await, 200).await["phones"].clone();
    assert_eq!(
        ada,
        &json!({"id": "ada", "name": "Ada Lovelace", "phones": phones})
    );
    for bad in ["", "names", "name,", "name,phones.number"] {
        let response = server.get(&format!("/v1/contacts?fields={bad}")).await;
        expect_problem(response, 400, Some("fields")).await;
    }
}

#[tokio::test]
async fn queries_are_unbounded_or_cursors_are_mixed_up() {
    let server = book().await;
    let long = server
        .get(&format!("/v1/contacts?q={}", "x".repeat(2_000)))
        .await;
    expect_problem(long, 400, Some("q")).await;
    let many = "a+b+c+d+e+f+g+h+i+j+k+l+m+n+o+p+q";
    expect_problem(
        server.get(&format!("/v1/contacts?q={many}")).await,
        400,
        Some("q"),
    )
    .await;
    let page = expect(server.get("/v1/contacts?q=a&limit=1").await, 200).await;
    let cursor = page["next"].as_str().expect("a cursor");
    for other in ["q=ad&", "", "q=a&group=Kunden&"] {
        let response = server
            .get(&format!("/v1/contacts?{other}cursor={cursor}"))
            .await;
        expect_problem(response, 400, Some("cursor")).await;
    }
    expect(
        server
            .get(&format!("/v1/contacts?q=a&cursor={cursor}"))
            .await,
        200,
    )
    .await;
    let head = send(server.request("HEAD", "/v1/contacts?q=a")).await;
    assert_eq!(head.status(), 200);
}

#[tokio::test]
async fn duplicates_are_not_told() {
    let server = book().await;
    let none = expect(server.get("/v1/contacts/duplicates").await, 200).await;
    assert_eq!(none, json!({"items": [], "next": null}));
    put(
        &server,
        "ada2",
        &json!({"name": "LOVELACE, Ada", "phones": [{"number": "0044 2079460000"}],
        "emails": [{"address": "ADA.L@example.org"}]}),
    )
    .await;
    put(&server, "ada3", &json!({"name": "Ada  Lovelace"})).await;
    let told = |reason: &str, value: &str, ids: &[(&str, &str)]| {
        let contacts: Vec<Value> = ids
            .iter()
            .map(|(id, name)| json!({"id": id, "name": name}))
            .collect();
        json!({"reason": reason, "value": value, "contacts": contacts, "more": false})
    };
    let (ada, ada2) = (("ada", "Ada Lovelace"), ("ada2", "LOVELACE, Ada"));
    let wanted = [
        told("phone", "+442079460000", &[ada, ada2]),
        told("email", "ada.l@example.org", &[ada, ada2]),
        told("name", "ada lovelace", &[ada, ("ada3", "Ada  Lovelace")]),
    ];
    let whole = expect(server.get("/v1/contacts/duplicates").await, 200).await;
    assert_eq!(whole, json!({"items": wanted, "next": null}));
    let mut at = "/v1/contacts/duplicates?limit=1".to_owned();
    for item in wanted {
        let page = expect(server.get(&at).await, 200).await;
        assert_eq!(page["items"], json!([item]));
        let next = page["next"].as_str().unwrap_or_default();
        at = format!("/v1/contacts/duplicates?limit=1&cursor={next}");
    }
    expect_problem(server.get(&at).await, 400, Some("cursor")).await;
    let taken = server
        .json("PUT", "/v1/contacts/duplicates", &json!({"name": "x"}))
        .await;
    assert_eq!(taken.status(), 405);
}

#[tokio::test]
async fn a_joined_contact_lacks_what_the_other_had() {
    let server = TestServer::start().await;
    put(
        &server,
        "a",
        &json!({"name": "Ada", "note": "first", "groups": ["x", "y"],
        "phones": [{"id": "p", "label": "home", "number": "+44 20 7946 0000"}],
        "emails": [{"address": "ada@x.org"}], "urls": [{"url": "x.org/ada"}],
        "addresses": [{"street": "12 Square", "country": "UK"}]}),
    )
    .await;
    put(&server, "b", &json!({"name": "Ada L.", "note": "second", "title": "Countess", "groups": ["y", "z"],
        "phones": [{"number": "0044 20 79460000"}, {"id": "p", "label": "work", "number": "555 0100"}],
        "emails": [{"address": "ADA@x.org"}, {"address": "ada@y.org"}], "name_parts": {"given": "Ada"},
        "urls": [{"url": "x.org/ada"}, {"url": "x.org/Ada"}],
        "addresses": [{"street": "12 SQUARE", "country": "UK"}, {"street": "12 Square"}]})).await;
    let before = server.get("/v1/contacts/a").await;
    let tag = etag(&before);
    let stale = send(
        server
            .request("POST", "/v1/contacts/a/absorb/b")
            .header("If-Match", "\"00\""),
    )
    .await;
    expect_problem(stale, 412, Some("If-Match")).await;
    expect(server.get("/v1/contacts/b").await, 200).await;
    let request = server
        .request("POST", "/v1/contacts/a/absorb/b")
        .header("If-Match", &tag);
    let response = send(request).await;
    let token = response
        .headers()
        .get("grapevine-token")
        .expect("a token")
        .clone();
    let joined = expect(response, 200).await;
    assert_eq!(
        (
            &joined["name"],
            &joined["note"],
            &joined["title"],
            &joined["groups"]
        ),
        (
            &json!("Ada"),
            &json!("first"),
            &json!("Countess"),
            &json!(["x", "y", "z"])
        )
    );
    let told = |list: &str, field: &str| -> Vec<String> {
        let items = joined[list].as_array().expect("a list").iter();
        items
            .map(|item| item[field].as_str().expect("a text").to_owned())
            .collect()
    };
    assert_eq!(told("phones", "number"), ["+44 20 7946 0000", "555 0100"]);
    assert_eq!(told("phones", "id")[0], "p");
    assert_ne!(told("phones", "id")[1], "p");
    assert_eq!(told("emails", "address"), ["ada@x.org", "ada@y.org"]);
    assert_eq!(told("urls", "url"), ["x.org/ada", "x.org/Ada"]);
    assert_eq!(told("addresses", "street"), ["12 Square", "12 Square"]);
    assert_eq!(joined["name_parts"]["given"], "Ada");
    expect_problem(server.get("/v1/contacts/b").await, 404, None).await;
    let read = send(
        server
            .request("GET", "/v1/contacts/a")
            .header("Grapevine-Token", token),
    )
    .await;
    assert_eq!(expect(read, 200).await, joined);
    // Asked again it is done, whatever was edited since.
    let again = send(server.request("POST", "/v1/contacts/a/absorb/b")).await;
    assert_eq!(expect(again, 200).await, joined);
    expect(
        server
            .json("PUT", "/v1/contacts/a", &json!({"name": "A"}))
            .await,
        200,
    )
    .await;
    let again = send(server.request("POST", "/v1/contacts/a/absorb/b")).await;
    assert_eq!(expect(again, 200).await["title"], Value::Null);
    // And who was absorbed absorbs nobody.
    let back = send(server.request("POST", "/v1/contacts/b/absorb/a")).await;
    expect_problem(back, 404, None).await;
    let unknown = send(server.request("POST", "/v1/contacts/a/absorb/c")).await;
    expect_problem(unknown, 404, Some("other")).await;
    let itself = send(server.request("POST", "/v1/contacts/a/absorb/a")).await;
    expect_problem(itself, 400, Some("other")).await;
}

#[tokio::test]
async fn a_join_that_is_too_large_writes_half() {
    let server = TestServer::start().await;
    for (id, first) in [("a", 0), ("b", 60)] {
        let groups: Vec<String> = (first..first + 60).map(|n| format!("g{n}")).collect();
        put(&server, id, &json!({"name": id, "groups": groups})).await;
    }
    let before = expect(server.get("/v1/contacts/a").await, 200).await;
    let response = send(server.request("POST", "/v1/contacts/a/absorb/b")).await;
    expect_problem(response, 422, Some("groups")).await;
    assert_eq!(
        expect(server.get("/v1/contacts/a").await, 200).await,
        before
    );
    expect(server.get("/v1/contacts/b").await, 200).await;
}

#[tokio::test]
async fn two_that_absorb_each_other_are_both_gone() {
    for _ in 0..8 {
        let server = TestServer::start().await;
        put(&server, "a", &json!({"name": "A"})).await;
        put(&server, "b", &json!({"name": "B", "title": "Countess"})).await;
        let (one, other) = tokio::join!(
            send(server.request("POST", "/v1/contacts/a/absorb/b")),
            send(server.request("POST", "/v1/contacts/b/absorb/a")),
        );
        let mut statuses = [one.status().as_u16(), other.status().as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 404]);
        assert_eq!(ids(&server, &[], 10).await.len(), 1);
        assert_eq!(
            found(&server, "countess").await,
            [""; 0],
            "titles are not searched"
        );
    }
}
