use grapevine::{
    cluster::MemberStatus,
    model::{Collection, ContactDraft, EntityId, WriteStamp, contact_edit},
};
use grapevine_crdt::{Dot, Entity, FieldCell, ReplicaId, Seq, Timestamp};
use serde_json::{Value, json};

use crate::support::{TestServer, etag, expect, expect_problem, send};

const NOW_MS: u64 = 1_700_000_000_000;

fn replica(number: u8) -> ReplicaId {
    ReplicaId::from_bytes([number; 16])
}

fn contact_id(id: &str) -> EntityId {
    EntityId::new(Collection::Contacts, id).expect("a good key")
}

/// What a peer that holds `held` writes when the contact is put there.
fn edit(held: &Entity, number: u8, contact: &Value) -> Vec<FieldCell> {
    let stamp = WriteStamp {
        dot: Dot::new(replica(number), Seq::new(1)),
        time: Timestamp::from_unix_ms(NOW_MS + u64::from(number)),
        collected: None,
        region: None,
    };
    let draft = ContactDraft::from_json(None, contact).expect("a valid contact");
    contact_edit::put(held, &draft, stamp).0
}

async fn arrives(server: &TestServer, id: &str, cells: Vec<FieldCell>) {
    let announced = Timestamp::from_unix_ms(NOW_MS + 1_000);
    server.arrives(contact_id(id), cells, announced).await;
}

/// A contact of which three peers edited what none had seen of the others.
async fn torn(server: &TestServer, id: &str) {
    let base = json!({"name": "Ada", "note": "n", "phones": [{"id": "home", "number": "1"}]});
    let path = format!("/v1/contacts/{id}");
    expect(server.json("PUT", &path, &base).await, 201).await;
    let snapshot = server.store.snapshot();
    let held = snapshot
        .entity(&contact_id(id))
        .expect("readable")
        .expect("it is there");
    let phone = |number| json!([{"id": "home", "number": number}]);
    for (number, contact) in [
        (
            1,
            json!({"name": "Ada", "note": "one", "phones": phone("1")}),
        ),
        (
            2,
            json!({"name": "Ada", "note": "two", "phones": phone("2")}),
        ),
        (
            3,
            json!({"name": "Ada", "note": "three", "phones": phone("3")}),
        ),
    ] {
        arrives(server, id, edit(&held, number, &contact)).await;
    }
}

async fn listed(server: &TestServer, path: &str) -> Vec<Value> {
    let page = expect(server.get(path).await, 200).await;
    assert_eq!(page["next"], Value::Null, "{page}");
    page["items"].as_array().expect("items").clone()
}

#[tokio::test]
async fn what_lost_is_listed_with_who_wrote_it_and_when_beside_what_is_shown() {
    let server = TestServer::start().await;
    torn(&server, "ada").await;
    server
        .cluster
        .members
        .lock()
        .expect("no holder panics")
        .push(MemberStatus {
            name: "ship".to_owned(),
            replica: replica(2),
            http: String::new(),
            peer: String::new(),
            alive: false,
            agrees: false,
            lag: None,
            last_heard: None,
            clock_offset_ms: None,
        });
    let items = listed(&server, "/v1/contacts/ada/conflicts").await;
    let contact = expect(server.get("/v1/contacts/ada").await, 200).await;
    assert_eq!(contact["conflicts"], items.len());
    let version = |number: u8, value: Value| {
        json!({
            "value": value, "deleted": value.is_null(), "replica": replica(number).to_string(),
            "node": (number == 2).then_some("ship"), "at": format!("2023-11-14T22:13:20.00{number}Z"),
        })
    };
    let conflict = |lost: Value, field: &str, element: Value, shown: &Value| {
        let mut lost = lost;
        lost["contact"] = json!("ada");
        lost["field"] = json!(field);
        lost["element"] = element;
        lost["shown"] = shown.clone();
        lost
    };
    let shown_note = version(3, json!("three"));
    let shown_phone = version(3, json!({"label": null, "number": "3"}));
    let expected = [
        conflict(version(2, json!("two")), "note", Value::Null, &shown_note),
        conflict(version(1, json!("one")), "note", Value::Null, &shown_note),
        conflict(
            version(2, json!({"label": null, "number": "2"})),
            "phones",
            json!("home"),
            &shown_phone,
        ),
    ];
    let bare: Vec<Value> = items
        .iter()
        .cloned()
        .map(|mut item| {
            let id = item.as_object_mut().expect("an object").remove("id");
            assert_eq!(id.expect("an id").as_str().expect("text").len(), 32);
            item
        })
        .collect();
    assert_eq!(bare, expected);
}

#[tokio::test]
async fn one_call_chooses_or_dismisses() {
    let server = TestServer::start().await;
    torn(&server, "ada").await;
    let items = listed(&server, "/v1/contacts/ada/conflicts").await;
    let path = |item: &Value, act: &str| {
        let id = item["id"].as_str().expect("text");
        format!("/v1/contacts/ada/conflicts/{id}/{act}")
    };
    let stale = server
        .request("POST", &path(&items[0], "choose"))
        .header("if-match", "\"old\"");
    expect_problem(send(stale).await, 412, Some("If-Match")).await;
    let chosen = send(server.request("POST", &path(&items[0], "choose"))).await;
    let tag = etag(&chosen);
    assert!(chosen.headers().contains_key("grapevine-token"));
    let contact = expect(chosen, 200).await;
    assert_eq!(
        (&contact["note"], &contact["conflicts"]),
        (&json!("two"), &json!(1))
    );
    assert_eq!(etag(&server.get("/v1/contacts/ada").await), tag);
    // The other one of its field went with it.
    for item in &items[..2] {
        let gone = send(server.request("POST", &path(item, "choose"))).await;
        expect_problem(gone, 404, None).await;
    }
    let dismissed = send(server.request("POST", &path(&items[2], "dismiss"))).await;
    let contact = expect(dismissed, 200).await;
    assert_eq!(contact["phones"][0]["number"], "3");
    assert_eq!(contact["conflicts"], 0);
    assert!(
        listed(&server, "/v1/contacts/ada/conflicts")
            .await
            .is_empty()
    );
    let body = server
        .json("POST", &path(&items[2], "dismiss"), &json!({"value": 1}))
        .await;
    expect_problem(body, 422, Some("value")).await;
}

#[tokio::test]
async fn conflicts_are_listed_in_pages() {
    let server = TestServer::start().await;
    torn(&server, "ada").await;
    let all = listed(&server, "/v1/contacts/ada/conflicts").await;
    let first = expect(server.get("/v1/contacts/ada/conflicts?limit=2").await, 200).await;
    assert_eq!(first["items"], json!(all[..2]));
    let next = first["next"].as_str().expect("there is more");
    let rest = format!("/v1/contacts/ada/conflicts?limit=2&cursor={next}");
    assert_eq!(listed(&server, &rest).await, all[2..]);
    for (path, field) in [
        ("/v1/contacts/ada/conflicts?cursor=00".to_owned(), "cursor"),
        (format!("/v1/counters?cursor={next}"), "cursor"),
        ("/v1/contacts/ada/conflicts?limit=0".to_owned(), "limit"),
    ] {
        expect_problem(server.get(&path).await, 400, Some(field)).await;
    }
}

#[tokio::test]
async fn what_is_not_there_has_no_conflicts() {
    let server = TestServer::start().await;
    expect_problem(server.get("/v1/contacts/ada/conflicts").await, 404, None).await;
    torn(&server, "ada").await;
    let unknown = send(server.request("POST", "/v1/contacts/ada/conflicts/00/choose")).await;
    expect_problem(unknown, 404, None).await;
    server.delete("/v1/contacts/ada").await;
    expect_problem(server.get("/v1/contacts/ada/conflicts").await, 404, None).await;
}

#[tokio::test]
async fn the_conflicts_of_all_contacts_are_one_list() {
    let server = TestServer::start().await;
    assert!(listed(&server, "/v1/conflicts").await.is_empty());
    let calm = json!({"name": "Calm"});
    let mut all = Vec::new();
    for id in ["ada", "bob", "cid"] {
        torn(&server, id).await;
        expect(
            server
                .json("PUT", &format!("/v1/contacts/{id}-calm"), &calm)
                .await,
            201,
        )
        .await;
        all.extend(listed(&server, &format!("/v1/contacts/{id}/conflicts")).await);
    }
    assert_eq!(listed(&server, "/v1/conflicts").await, all);
    for limit in 1..=4 {
        let mut path = format!("/v1/conflicts?limit={limit}");
        let mut paged = Vec::new();
        loop {
            let page = expect(server.get(&path).await, 200).await;
            let items = page["items"].as_array().expect("items");
            assert!(items.len() <= limit);
            assert!(paged.len() < all.len(), "the list ends");
            paged.extend(items.iter().cloned());
            let Some(next) = page["next"].as_str() else {
                break;
            };
            path = format!("/v1/conflicts?limit={limit}&cursor={next}");
        }
        assert_eq!(paged, all, "limit {limit}");
    }
    // What is settled or deleted while somebody pages is skipped, and nothing else.
    let page = expect(server.get("/v1/conflicts?limit=1").await, 200).await;
    let next = page["next"].as_str().expect("there is more");
    let settle = format!(
        "/v1/contacts/ada/conflicts/{}/dismiss",
        all[0]["id"].as_str().expect("text")
    );
    expect(send(server.request("POST", &settle)).await, 200).await;
    server.delete("/v1/contacts/bob").await;
    let rest = listed(&server, &format!("/v1/conflicts?cursor={next}")).await;
    let left: Vec<Value> = all[2..3].iter().chain(&all[6..]).cloned().collect();
    assert_eq!(rest, left);
}
