use grapevine::model::{Claim, Collection, ContactDraft, EntityId, Op, WriteStamp, contact_edit};
use grapevine_crdt::{Dot, Entity, FieldCell, ReplicaId, Seq, Timestamp};
use serde_json::{Value, json};

use crate::support::{TestServer, etag, expect, expect_problem, send};

fn ada() -> EntityId {
    EntityId::new(Collection::Contacts, "ada").expect("a good key")
}

fn held(server: &TestServer) -> Entity {
    let held = server.store.snapshot().entity(&ada()).expect("readable");
    held.unwrap_or_default()
}

/// A peer's first write, made when the contact was as `seen`.
fn edit_elsewhere(seen: &Entity, at_ms: u64, contact: &Value) -> Vec<FieldCell> {
    let stamp = WriteStamp {
        dot: Dot::new(ReplicaId::from_bytes([7; 16]), Seq::new(1)),
        time: Timestamp::from_unix_ms(at_ms),
        collected: None,
        region: None,
    };
    let draft = ContactDraft::from_json(None, contact).expect("a valid contact");
    contact_edit::put(seen, &draft, stamp).0
}

async fn arrives(server: &TestServer, cells: Vec<FieldCell>) {
    server.arrives(ada(), cells, Timestamp::ZERO).await;
}

async fn post(server: &TestServer, what: &str, status: u16) -> Value {
    let request = server.request("POST", &format!("/v1/contacts/ada/{what}"));
    expect(send(request).await, status).await
}

async fn put(server: &TestServer, contact: Value) {
    let answer = server.json("PUT", "/v1/contacts/ada", &contact).await;
    assert!(answer.status().is_success(), "{answer:?}");
}

async fn history(server: &TestServer) -> Vec<Value> {
    let page = expect(server.get("/v1/contacts/ada/history").await, 200).await;
    assert_eq!(page["next"], Value::Null);
    page["items"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn a_change_is_told_with_what_was_before_and_who_made_it() {
    let server = TestServer::start().await;
    put(
        &server,
        json!({"name": "Ada", "phones": [{"id": "a", "number": "1"}]}),
    )
    .await;
    assert!(
        history(&server).await.is_empty(),
        "what is made replaces nothing"
    );
    let patch = json!({"name": "Ada L.", "note": "n", "phones": []});
    expect(server.json("PATCH", "/v1/contacts/ada", &patch).await, 200).await;
    expect(server.delete("/v1/contacts/ada").await, 204).await;
    let told = history(&server).await;
    let replica = server.store.replica().expect("it has written").to_string();
    assert_eq!(told.len(), 2);
    assert_eq!(told[0]["change"], "removed");
    assert_eq!(
        told[0]["fields"][0],
        json!({"field": "name", "element": null, "before": "Ada L.", "after": null})
    );
    assert_eq!(told[1]["change"], "edited");
    assert_eq!(told[1]["replica"], replica);
    assert_eq!(
        told[1]["fields"],
        json!([
            {"field": "name", "element": null, "before": "Ada", "after": "Ada L."},
            {"field": "note", "element": null, "before": null, "after": "n"},
            {"field": "phones", "element": "a", "before": {"label": null, "number": "1"}, "after": null},
        ])
    );
    expect_problem(server.get("/v1/contacts/nobody/history").await, 404, None).await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_undone_is_not_as_before_or_cannot_be_done_again() {
    let server = TestServer::start().await;
    put(
        &server,
        json!({"name": "Ada", "note": "before", "groups": ["x"]}),
    )
    .await;
    let before = expect(server.get("/v1/contacts/ada").await, 200).await;
    put(
        &server,
        json!({"name": "Ada", "note": "after", "title": "Countess"}),
    )
    .await;
    let undone = post(&server, "undo", 200).await;
    for field in ["name", "note", "title", "groups", "created_at"] {
        assert_eq!(undone[field], before[field], "{field}");
    }
    let again = post(&server, "undo", 200).await;
    assert_eq!(
        (&again["note"], &again["title"]),
        (&json!("after"), &json!("Countess"))
    );
    expect(server.delete("/v1/contacts/ada").await, 204).await;
    let back = post(&server, "undo", 200).await;
    assert_eq!(back["note"], "after");
    assert_eq!(back["created_at"], before["created_at"]);
    let nothing = post(&server, "undo", 204).await;
    assert_eq!(nothing, Value::Null, "the undone removal is done again");
    expect_problem(server.get("/v1/contacts/ada").await, 404, None).await;
    server.stop().await;
}

#[tokio::test]
async fn an_undo_takes_back_what_its_client_never_saw() {
    let server = TestServer::start().await;
    put(&server, json!({"name": "Ada", "note": "1"})).await;
    expect_problem(
        send(server.request("POST", "/v1/contacts/ada/undo")).await,
        404,
        None,
    )
    .await;
    put(&server, json!({"name": "Ada", "note": "2"})).await;
    let tag = etag(&server.get("/v1/contacts/ada").await);
    put(&server, json!({"name": "Ada", "note": "3"})).await;
    let undo = server.request("POST", "/v1/contacts/ada/undo");
    let refused = send(undo.header("If-Match", tag)).await;
    expect_problem(refused, 412, Some("If-Match")).await;
    let contact = expect(server.get("/v1/contacts/ada").await, 200).await;
    assert_eq!(contact["note"], "3");
    server.stop().await;
}

/// A peer edits what is undone here, and has seen neither the change nor its undoing.
#[tokio::test]
async fn an_edit_that_an_undo_had_not_seen_is_lost() {
    for at_ms in [1_000, 4_000_000_000_000] {
        let server = TestServer::start().await;
        put(&server, json!({"name": "Ada", "note": "1", "title": "t"})).await;
        let seen = held(&server);
        put(&server, json!({"name": "Ada", "note": "2", "title": "t"})).await;
        post(&server, "undo", 200).await;
        let elsewhere = json!({"name": "Ada", "note": "elsewhere", "title": "Admiral"});
        arrives(&server, edit_elsewhere(&seen, at_ms, &elsewhere)).await;
        let contact = expect(server.get("/v1/contacts/ada").await, 200).await;
        let conflicts = expect(server.get("/v1/contacts/ada/conflicts").await, 200).await;
        let lost = conflicts["items"].as_array().expect("a list");
        let mut notes = vec![contact["note"].clone()];
        notes.extend(lost.iter().map(|lost| lost["value"].clone()));
        assert!(notes.contains(&json!("elsewhere")), "{notes:?}");
        assert!(notes.contains(&json!("1")), "{notes:?}");
        assert!(!notes.contains(&json!("2")), "it was taken back: {notes:?}");
        // What was not undone is as the other edited it.
        assert_eq!(contact["title"], "Admiral");
        // Its arrival is a change too, and is taken back alone.
        let undone = post(&server, "undo", 200).await;
        assert_eq!(
            (&undone["note"], &undone["title"]),
            (&json!("1"), &json!("t"))
        );
        server.stop().await;
    }
}

#[tokio::test]
async fn a_restore_loses_an_edit_made_elsewhere_meanwhile() {
    let server = TestServer::start().await;
    put(
        &server,
        json!({"name": "Ada", "note": "1", "phones": [{"id": "a", "number": "1"}]}),
    )
    .await;
    let seen = held(&server);
    expect(server.delete("/v1/contacts/ada").await, 204).await;
    let restored = post(&server, "restore", 200).await;
    assert_eq!(
        (&restored["note"], &restored["phones"][0]["number"]),
        (&json!("1"), &json!("1"))
    );
    let elsewhere = json!({"name": "Ada", "note": "elsewhere", "phones": [{"id": "a", "number": "1"}, {"id": "b", "number": "2"}]});
    arrives(
        &server,
        edit_elsewhere(&seen, 4_000_000_000_000, &elsewhere),
    )
    .await;
    let contact = expect(server.get("/v1/contacts/ada").await, 200).await;
    assert_eq!(contact["note"], "elsewhere");
    assert_eq!(contact["phones"].as_array().map(Vec::len), Some(2));
    // A contact that is there is left alone.
    let left = post(&server, "restore", 200).await;
    assert_eq!(left, contact);
    expect_problem(
        send(server.request("POST", "/v1/contacts/nobody/restore")).await,
        404,
        None,
    )
    .await;
    server.stop().await;
}

/// Once a removal is collected no cell of the contact is left; what was is remembered all the same.
#[tokio::test]
async fn a_contact_of_which_nothing_is_held_any_more_cannot_be_restored() {
    let server = TestServer::start().await;
    put(
        &server,
        json!({"name": "Ada", "note": "1", "groups": ["x"]}),
    )
    .await;
    expect(server.delete("/v1/contacts/ada").await, 204).await;
    let partition = ada().partition();
    let stable = server
        .store
        .snapshot()
        .state()
        .partition(partition)
        .vector
        .clone();
    let collect = Op {
        partition,
        entities: Vec::new(),
        claim: Claim::Collect {
            stable,
            ids: vec![ada()],
        },
    };
    let outcome = server.store.enqueue(collect, Timestamp::ZERO).await;
    outcome
        .expect("it is open")
        .await
        .expect("answered")
        .expect("collected");
    assert!(held(&server).is_empty());
    let restored = post(&server, "restore", 200).await;
    assert_eq!(
        (&restored["note"], &restored["groups"]),
        (&json!("1"), &json!(["x"]))
    );
    // It is a new beginning: the removal before is not the last change any more.
    expect_problem(
        send(server.request("POST", "/v1/contacts/ada/undo")).await,
        404,
        None,
    )
    .await;
    server.stop().await;
}
