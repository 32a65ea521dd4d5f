//! Phones, e-mails and addresses one by one.

use serde_json::{Value, json};

use crate::support::{TestServer, expect, expect_problem, send};

async fn with_ada() -> TestServer {
    let server = TestServer::start().await;
    let ada = json!({"name": "Ada", "phones": [{"id": "home", "label": "home", "number": "1"}]});
    expect(server.json("PUT", "/v1/contacts/ada", &ada).await, 201).await;
    server
}

async fn ada(server: &TestServer) -> Value {
    expect(server.get("/v1/contacts/ada").await, 200).await
}

#[tokio::test]
async fn one_element_is_made_read_changed_and_removed_and_the_others_are_not() {
    let server = with_ada().await;
    let list = "/v1/contacts/ada/phones";
    let response = server.json("POST", list, &json!({"number": "2"})).await;
    let at = response.headers()["location"]
        .to_str()
        .expect("ASCII")
        .to_owned();
    let made = expect(response, 201).await;
    assert_eq!(
        at,
        format!("{list}/{}", made["id"].as_str().expect("an id"))
    );
    let shown = server.get(&at).await;
    let tag = shown.headers()["etag"].clone();
    assert_eq!(expect(shown, 200).await, made);
    let again = server.request("GET", &at).header("if-none-match", &tag);
    assert_eq!(send(again).await.status(), 304);
    let patched = expect(
        server.json("PATCH", &at, &json!({"label": "work"})).await,
        200,
    )
    .await;
    assert_eq!(
        (&patched["label"], &patched["number"]),
        (&json!("work"), &json!("2"))
    );
    let stale = server.request("PUT", &at).header("if-match", &tag);
    let stale = send(stale.json(&json!({"number": "3"}))).await;
    expect_problem(stale, 412, Some("If-Match")).await;
    let put = expect(server.json("PUT", &at, &json!({"number": "3"})).await, 200).await;
    assert_eq!((&put["label"], &put["number"]), (&Value::Null, &json!("3")));
    let phones = ada(&server).await["phones"].clone();
    assert_eq!(
        phones[0],
        json!({"id": "home", "label": "home", "number": "1", "e164": null})
    );
    assert_eq!(phones[1], put);
    let items = expect(server.get(list).await, 200).await;
    assert_eq!(items, json!({"items": phones, "next": null}));
    assert_eq!(server.delete(&at).await.status(), 204);
    expect_problem(server.delete(&at).await, 404, None).await;
    expect_problem(server.get(&at).await, 404, None).await;
    assert_eq!(
        ada(&server).await["phones"]
            .as_array()
            .expect("phones")
            .len(),
        1
    );
    let email = json!({"address": "a@example.org"});
    let at = "/v1/contacts/ada/emails/mine";
    let made = expect(server.json("PUT", at, &email).await, 201).await;
    assert_eq!(
        made,
        json!({"id": "mine", "label": null, "address": "a@example.org"})
    );
    let at = "/v1/contacts/ada/urls/blog";
    let url = json!({"url": "https://a.example/"});
    let made = expect(server.json("PUT", at, &url).await, 201).await;
    let wanted = json!({"id": "blog", "label": null, "url": "https://a.example/"});
    assert_eq!(made, wanted);
    assert_eq!(ada(&server).await["urls"], json!([wanted]));
    expect_problem(
        server.json("PATCH", at, &json!({"url": ""})).await,
        422,
        Some("url"),
    )
    .await;
    assert_eq!(server.delete(at).await.status(), 204);
    assert_eq!(ada(&server).await["urls"], json!([]));
}

#[tokio::test]
async fn a_postal_address_is_one_element_of_many_parts() {
    let server = with_ada().await;
    let at = "/v1/contacts/ada/addresses/home";
    let home = json!({"street": "12 St James's Square", "locality": "London"});
    let made = expect(server.json("PUT", at, &home).await, 201).await;
    let patch = json!({"street": null, "country": "UK", "label": "home"});
    let patched = expect(server.json("PATCH", at, &patch).await, 200).await;
    let wanted = json!({"id": "home", "label": "home", "street": null, "locality": "London", "region": null,
        "postal_code": null, "country": "UK", "po_box": null, "extended": null});
    assert_eq!(patched, wanted);
    assert_ne!(patched, made);
    assert_eq!(ada(&server).await["addresses"], json!([wanted]));
    let nothing = json!({"locality": null, "country": ""});
    expect_problem(
        server.json("PATCH", at, &nothing).await,
        422,
        Some("street"),
    )
    .await;
    let list = "/v1/contacts/ada/addresses";
    let post = async |street: &str| {
        let request = server.request("POST", list).header("idempotency-key", "k");
        send(request.json(&json!({"street": street}))).await
    };
    let first = expect(post("1").await, 201).await;
    assert_eq!(expect(post("1").await, 201).await, first);
    expect_problem(post("2").await, 409, Some("Idempotency-Key")).await;
    assert_eq!(server.delete(at).await.status(), 204);
    assert_eq!(ada(&server).await["addresses"], json!([first]));
}

#[tokio::test]
async fn a_retry_makes_a_second_element() {
    let server = with_ada().await;
    let post = |number: &str| {
        let request = server.request("POST", "/v1/contacts/ada/phones");
        send(
            request
                .header("idempotency-key", "k")
                .json(&json!({"number": number})),
        )
    };
    let first = expect(post("2").await, 201).await;
    assert_eq!(expect(post("2").await, 201).await, first);
    expect_problem(post("3").await, 409, Some("Idempotency-Key")).await;
    assert_eq!(
        ada(&server).await["phones"]
            .as_array()
            .expect("phones")
            .len(),
        2
    );
}

#[tokio::test]
async fn bad_elements_are_named_by_field_and_bound_and_write_nothing() {
    let server = with_ada().await;
    let before = ada(&server).await;
    let at = "/v1/contacts/ada/phones/home";
    for (body, field) in [
        (json!({"number": 1}), "number"),
        (json!({}), "number"),
        (json!({"number": " "}), "number"),
        (json!({"number": "x".repeat(129)}), "number"),
        (json!({"number": "1", "label": "x".repeat(65)}), "label"),
        (json!({"number": "1", "address": "x"}), "address"),
        (json!({"number": "1", "id": "other"}), "id"),
        (json!([]), "body"),
    ] {
        expect_problem(server.json("PUT", at, &body).await, 422, Some(field)).await;
    }
    expect_problem(
        server.json("PATCH", at, &json!({"number": null})).await,
        422,
        Some("number"),
    )
    .await;
    let own = json!({"id": "mine", "number": "2"});
    expect_problem(
        server.json("POST", "/v1/contacts/ada/phones", &own).await,
        422,
        Some("id"),
    )
    .await;
    let phone = json!({"number": "2"});
    expect_problem(
        server
            .json("PATCH", "/v1/contacts/ada/phones/x", &phone)
            .await,
        404,
        None,
    )
    .await;
    expect_problem(
        server
            .json("PUT", "/v1/contacts/ada/phones/a%20b", &phone)
            .await,
        400,
        Some("element"),
    )
    .await;
    expect_problem(
        server.json("POST", "/v1/contacts/eve/phones", &phone).await,
        404,
        None,
    )
    .await;
    assert_eq!(ada(&server).await, before);
    let many: Vec<Value> = (0..100)
        .map(|number| json!({"number": number.to_string()}))
        .collect();
    let full = json!({"name": "Full", "phones": many});
    expect(server.json("PUT", "/v1/contacts/full", &full).await, 201).await;
    expect_problem(
        server
            .json("POST", "/v1/contacts/full/phones", &phone)
            .await,
        422,
        Some("phones"),
    )
    .await;
}
