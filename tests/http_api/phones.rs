//! The danger: a number is read as another, its reading is lost or made up by who sends it, or one written in two ways
//! passes as two.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{TestServer, expect, expect_problem, send};

const READ: &str = "+33123456789";

async fn put(server: &TestServer, id: &str, phones: Value) -> Value {
    let contact = json!({"name": id, "phones": phones});
    let path = format!("/v1/contacts/{id}");
    let answer = server.json("PUT", &path, &contact).await;
    let status = answer.status().as_u16();
    assert!([200, 201].contains(&status), "{status}");
    expect(answer, status).await
}

async fn read(server: &TestServer, id: &str) -> Value {
    expect(server.get(&format!("/v1/contacts/{id}")).await, 200).await
}

#[tokio::test]
async fn a_number_is_read_however_it_is_written() {
    let server = TestServer::start_in("FR").await;
    let number = json!([{"number": "01 23 45 67 89"}]);
    assert_eq!(
        put(&server, "put", number.clone()).await["phones"][0]["e164"],
        READ
    );

    let made = json!({"name": "made", "phones": number});
    let made = expect(server.json("POST", "/v1/contacts", &made).await, 201).await;
    assert_eq!(made["phones"][0]["e164"], READ);

    put(&server, "patched", json!([])).await;
    let at = "/v1/contacts/patched";
    let patch = json!({"phones": [{"number": "01.23.45.67.89"}]});
    let patched = expect(server.json("PATCH", at, &patch).await, 200).await;
    assert_eq!(patched["phones"][0]["e164"], READ);
    let element = json!({"number": "0033 1 23 45 67 89 x12"});
    let added = server.json("POST", &format!("{at}/phones"), &element).await;
    assert_eq!(expect(added, 201).await["e164"], READ);

    let batch = json!({"writes": [{"op": "put", "collection": "contacts", "key": "batch",
        "contact": {"name": "batch", "phones": number}}]});
    let batch = expect(server.json("POST", "/v1/batch", &batch).await, 200).await;
    assert_eq!(batch["results"][0]["status"], 201, "{batch}");
    assert_eq!(read(&server, "batch").await["phones"][0]["e164"], READ);

    let card =
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:card\r\nFN:Card\r\nTEL:01 23 45 67 89\r\nEND:VCARD\r\n";
    let import = server.request("POST", "/v1/contacts/import");
    let import = import.header("content-type", "text/vcard").body(card);
    expect(send(import).await, 200).await;
    let found = expect(server.get("/v1/contacts?q=Card").await, 200).await;
    assert_eq!(found["items"][0]["phones"][0]["e164"], READ, "{found}");
    let exported = server.get("/v1/contacts/export").await;
    let exported = exported.text().await.expect("a text");
    assert!(exported.contains("01 23 45 67 89"), "{exported}");
    assert!(!exported.contains(READ), "{exported}");

    let changes = server.json("POST", "/v1/changes", &json!({})).await;
    let token = expect(changes, 200).await["token"].clone();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = u64::try_from(now.expect("it is after 1970").as_millis()).expect("a time");
    let edit = |op: &str, key: &str, member: &str, value: Value| json!({"id": Uuid::now_v7(), "collection": "contacts", "key": key, "op": op, "at": now, member: value});
    let edits = json!([
        edit(
            "create",
            "offline",
            "contact",
            json!({"name": "Offline", "phones": number})
        ),
        edit(
            "patch",
            "put",
            "patch",
            json!({"phones": {"away": {"number": "+44 20 7946 0000"}}})
        ),
    ]);
    let merge = json!({"now": now, "token": token, "edits": edits});
    let merged = expect(server.json("POST", "/v1/merge", &merge).await, 200).await;
    for result in merged["results"].as_array().expect("results") {
        let key = result["key"].as_str().expect("a key");
        let phones = read(&server, key).await["phones"].clone();
        let phones = phones.as_array().expect("phones").iter();
        let all: Vec<&str> = phones.filter_map(|phone| phone["e164"].as_str()).collect();
        let wanted: &[&str] = if key == "put" {
            &[READ, "+442079460000"]
        } else {
            &[READ]
        };
        assert_eq!(all, wanted, "{merged}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_stays_as_it_was_written() {
    let server = TestServer::start().await;
    for number in ["01 23 45 67 89", "ask Bob", "+33 1", "1234"] {
        let made = put(&server, "a", json!([{"number": number}])).await;
        assert_eq!(made["phones"][0]["number"], number);
        assert_eq!(made["phones"][0]["e164"], Value::Null);
    }
    let made = put(&server, "a", json!([{"number": "+33 1 23 45 67 89"}])).await;
    assert_eq!(made["phones"][0]["e164"], READ);
}

#[tokio::test]
async fn a_reading_that_is_sent_is_not_taken_for_one() {
    let server = TestServer::start_in("FR").await;
    let made = put(&server, "a", json!([{"number": "ask Bob", "e164": READ}])).await;
    assert_eq!(made["phones"][0]["e164"], Value::Null);
    let made = put(
        &server,
        "a",
        json!([{"number": "01 23 45 67 89", "e164": "+1"}]),
    )
    .await;
    assert_eq!(made["phones"][0]["e164"], READ);
    let at = format!(
        "/v1/contacts/a/phones/{}",
        made["phones"][0]["id"].as_str().expect("an id")
    );
    let same = expect(server.json("PUT", &at, &made["phones"][0]).await, 200).await;
    assert_eq!(same, made["phones"][0]);
    assert_eq!(
        put(&server, "a", made["phones"].clone()).await,
        made,
        "nothing is written"
    );
    let other = json!([{"number": "01 23 45 67 89", "E164": READ}]);
    let other = json!({"name": "a", "phones": other});
    expect_problem(
        server.json("PUT", "/v1/contacts/a", &other).await,
        422,
        Some("phones[0].E164"),
    )
    .await;
}

#[tokio::test]
async fn a_number_written_in_two_ways_is_one_number() {
    let server = TestServer::start_in("FR").await;
    put(&server, "abroad", json!([{"number": "+33 1 23 45 67 89"}])).await;
    put(&server, "home", json!([{"number": "01 23 45 67 89"}])).await;
    put(&server, "other", json!([{"number": "01 23 45 67 80"}])).await;
    let told = expect(server.get("/v1/contacts/duplicates").await, 200).await;
    let group = &told["items"][0];
    assert_eq!(
        (&group["reason"], &group["value"]),
        (&json!("phone"), &json!(READ)),
        "{told}"
    );
    let ids: Vec<&Value> = group["contacts"]
        .as_array()
        .expect("who")
        .iter()
        .map(|who| &who["id"])
        .collect();
    assert_eq!(ids, ["abroad", "home"]);
    for typed in [
        "0123456789",
        "%2B33123456789",
        "33123456789",
        "123456789",
        "0033%201%2023",
    ] {
        let found = expect(server.get(&format!("/v1/contacts?q={typed}")).await, 200).await;
        let mut ids: Vec<&str> = found["items"]
            .as_array()
            .expect("who")
            .iter()
            .filter_map(|who| who["id"].as_str())
            .collect();
        ids.retain(|id| *id != "other");
        assert_eq!(ids, ["abroad", "home"], "{typed}");
    }
    let joined = send(server.request("POST", "/v1/contacts/abroad/absorb/home"));
    let joined = expect(joined.await, 200).await;
    assert_eq!(
        joined["phones"].as_array().expect("phones").len(),
        1,
        "{joined}"
    );
}
