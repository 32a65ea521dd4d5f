//! The danger: what a client edited offline is lost, happens twice, or beats what was written after it, because
//! its clock is wrong, its answer was lost, or the node it comes back to is another.

mod islands;

use std::collections::BTreeMap;

use islands::{Archipelago, DEADLINE, Island, expect, send, token};
use serde_json::{Value, json};
use uuid::Uuid;

const YEAR_MS: i64 = 365 * 24 * 60 * 60 * 1_000;

/// A client that works offline, with a clock of its own.
#[derive(Default)]
struct Client {
    clock_off_ms: i64,
    token: Option<String>,
    held: BTreeMap<(String, String), Value>,
}

impl Client {
    fn now(&self) -> i64 {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("it is later than 1970");
        i64::try_from(now.as_millis()).expect("a time") + self.clock_off_ms
    }

    /// Waits until its clock has moved on, so that what follows is later.
    async fn next_millisecond(&self) {
        let now = self.now();
        while self.now() <= now + 1 {
            tokio::task::yield_now().await;
        }
    }

    /// Fetches what it has not seen.
    async fn fetch(&mut self, island: &Island, limit: usize) {
        loop {
            let body = json!({ "since": self.token, "limit": limit });
            let page = island.request("POST", "/v1/changes").json(&body);
            let page = expect(send(page).await, 200).await;
            for item in page["items"].as_array().expect("items") {
                let text = |name: &str| item[name].as_str().expect("a text").to_owned();
                let value = item.get("value").cloned().unwrap_or(Value::Null);
                assert_eq!(item["deleted"], value.is_null());
                self.held.insert((text("collection"), text("key")), value);
            }
            self.token = Some(page["token"].as_str().expect("a token").to_owned());
            if page["next"].is_null() {
                return;
            }
            assert_eq!(page["next"], page["token"]);
        }
    }

    fn request(&self, edits: &[Value]) -> Value {
        json!({ "now": self.now(), "token": self.token, "edits": edits })
    }

    async fn merge(&self, island: &Island, edits: &[Value]) -> Vec<Value> {
        merge(island, &self.request(edits)).await
    }

    fn patch(&self, key: &str, ago_ms: i64, patch: &Value) -> Value {
        json!({
            "id": Uuid::now_v7(), "collection": "contacts", "key": key, "op": "patch",
            "at": self.now() - ago_ms, "patch": patch,
        })
    }

    fn put(&self, key: &str, ago_ms: i64, text: &str) -> Value {
        json!({
            "id": Uuid::now_v7(), "collection": "kv", "key": key, "op": "put",
            "at": self.now() - ago_ms, "text": text, "content_type": "text/plain",
        })
    }
}

async fn merge(island: &Island, request: &Value) -> Vec<Value> {
    let answer = send(island.request("POST", "/v1/merge").json(request)).await;
    let _session = token(&answer);
    let answer = expect(answer, 200).await;
    answer["results"].as_array().expect("results").clone()
}

async fn contact(island: &Island, id: &str) -> Value {
    let got = send(island.request("GET", &format!("/v1/contacts/{id}"))).await;
    expect(got, 200).await
}

async fn write(island: &Island, method: &str, path: &str, body: &Value) {
    let done = send(island.request(method, path).json(body)).await;
    assert!(done.status().is_success(), "{method} {path}: {done:?}");
}

async fn text(island: &Island, key: &str) -> String {
    let got = send(island.request("GET", &format!("/v1/kv/{key}"))).await;
    got.text().await.expect("text")
}

/// Waits until a key reads so.
async fn reads(island: &Island, key: &str, value: &str) {
    let began = std::time::Instant::now();
    while text(island, key).await != value {
        assert!(began.elapsed() < DEADLINE, "{key} never reads {value}");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_by_a_clock_that_is_a_year_off_are_ranked_by_when_they_were_made() {
    for clock_off_ms in [-YEAR_MS, 0, YEAR_MS] {
        let archipelago = Archipelago::start(&["ann"]).await;
        let ann = &archipelago.islands[0];
        let ada = json!({ "name": "Ada", "title": "Countess", "note": "old" });
        write(ann, "PUT", "/v1/contacts/ada", &ada).await;
        write(ann, "PUT", "/v1/kv/seen", &json!("old")).await;
        let mut client = Client {
            clock_off_ms,
            ..Client::default()
        };
        client.fetch(ann, 1).await;
        let held = &client.held[&("contacts".to_owned(), "ada".to_owned())];
        assert_eq!(held, &contact(ann, "ada").await);
        // Others edit what the client has not seen: after its edit of the title, before that of the note.
        write(
            ann,
            "PATCH",
            "/v1/contacts/ada",
            &json!({ "title": "Lady", "note": "theirs" }),
        )
        .await;
        write(ann, "PUT", "/v1/kv/unseen", &json!("theirs")).await;
        client.next_millisecond().await;
        let results = client
            .merge(
                ann,
                &[
                    client.patch("ada", 60_000, &json!({ "title": "Enchantress" })),
                    client.patch("ada", 0, &json!({ "note": "mine" })),
                    client.patch(
                        "ada",
                        60_000,
                        &json!({ "title": "Mine", "organization": "Mine" }),
                    ),
                    client.put("unseen", 60_000, "mine"),
                    // It has seen the value: however long ago it says it was, it comes after that.
                    client.put("seen", YEAR_MS, "mine"),
                ],
            )
            .await;
        let statuses: Vec<&str> = results
            .iter()
            .map(|result| result["status"].as_str().expect("a status"))
            .collect();
        assert_eq!(
            statuses,
            ["lost", "applied", "applied", "lost", "applied"],
            "{results:?}"
        );
        assert_eq!(results[0]["lost"][0]["value"], "Lady");
        assert_eq!(results[0]["lost"][0]["field"], "title");
        let replica = ann.store.replica().expect("it has written").to_string();
        assert_eq!(results[0]["lost"][0]["by"], replica);
        assert_eq!(
            results[2]["lost"][0]["value"], "Lady",
            "the other field is applied"
        );
        assert_eq!(results[3]["lost"][0]["value"]["text"], "\"theirs\"");
        let ada = contact(ann, "ada").await;
        assert_eq!(
            (&ada["title"], &ada["note"]),
            (&json!("Lady"), &json!("mine"))
        );
        assert_eq!(ada["organization"], "Mine");
        assert_eq!(
            ada["conflicts"], 1,
            "the note that the client had not seen is kept"
        );
        assert_eq!(text(ann, "seen").await, "mine");
        // No time is ahead of the node's: the next edit wins, whoever makes it.
        write(ann, "PATCH", "/v1/contacts/ada", &json!({ "note": "last" })).await;
        assert_eq!(contact(ann, "ada").await["note"], "last");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_brought_again_through_another_node_happen_once() {
    let archipelago = Archipelago::start(&["ann", "bob"]).await;
    let [ann, bob] = &archipelago.islands[..] else {
        panic!("there are two");
    };
    write(ann, "PUT", "/v1/contacts/ada", &json!({ "name": "Ada" })).await;
    archipelago.settle().await;
    let mut client = Client::default();
    client.fetch(bob, 100).await;
    let made = json!({ "name": "Grace", "phones": [{ "number": "1" }], "groups": ["navy"] });
    let number = json!({ "label": "home", "number": "+44 20 7946 0000" });
    let edits = [
        json!({
            "id": Uuid::now_v7(), "collection": "contacts", "op": "create",
            "at": client.now(), "contact": made,
        }),
        client.patch(
            "ada",
            0,
            &json!({
                "title": "Countess", "phones": { "a": number }, "name_parts": { "given": "Ada" },
                "urls": { "blog": { "url": "https://ada.example.org/" } },
                "addresses": { "home": { "street": "12 Square", "country": "UK" } },
            }),
        ),
        client.put("notice", 0, "mine"),
        json!({
            "id": Uuid::now_v7(), "collection": "counters", "key": "cargo", "op": "increment",
            "at": client.now(), "by": 3,
        }),
        json!({
            "id": Uuid::now_v7(), "collection": "counters", "key": "cargo", "op": "decrement",
            "at": client.now(),
        }),
    ];
    archipelago.cut(0, 1);
    let first = client.merge(ann, &edits).await;
    assert!(
        first.iter().all(|result| result["status"] == "applied"),
        "{first:?}"
    );
    // The answer was lost; it asks the same node, and another that knows nothing of it.
    let again = client.merge(ann, &edits).await;
    assert!(
        again
            .iter()
            .all(|result| result["status"] == "already_there"),
        "{again:?}"
    );
    let elsewhere = client.merge(bob, &edits).await;
    assert!(
        elsewhere.iter().all(|result| result["status"] == "applied"),
        "{elsewhere:?}"
    );
    assert_eq!(first[0]["key"], elsewhere[0]["key"], "it makes one contact");
    // Meanwhile somebody who saw the first goes on from it.
    write(
        ann,
        "PATCH",
        "/v1/contacts/ada",
        &json!({ "title": "Lady" }),
    )
    .await;
    archipelago.heal();
    archipelago.settle().await;
    let listed = send(bob.request("GET", "/v1/contacts")).await;
    let listed = expect(listed, 200).await;
    assert_eq!(listed["items"].as_array().expect("items").len(), 2);
    let grace = contact(bob, first[0]["key"].as_str().expect("a key")).await;
    assert_eq!(grace["phones"].as_array().expect("phones").len(), 1);
    assert_eq!(
        (&grace["name"], &grace["conflicts"]),
        (&json!("Grace"), &json!(0))
    );
    let ada = contact(bob, "ada").await;
    assert_eq!(ada["phones"].as_array().expect("phones").len(), 1);
    assert_eq!(ada["name_parts"]["given"], "Ada");
    assert_eq!(ada["urls"][0]["url"], "https://ada.example.org/");
    assert_eq!(ada["addresses"][0]["country"], "UK");
    assert_eq!(text(bob, "notice").await, "mine");
    let cargo = send(bob.request("GET", "/v1/counters/cargo")).await;
    assert_eq!(expect(cargo, 200).await["value"], 2, "counted once");
    // Now every node knows of it.
    for island in [ann, bob] {
        let third = client.merge(island, &edits).await;
        assert_eq!(third[0]["status"], "already_there");
        assert_eq!(third[2]["status"], "already_there");
        assert_eq!(third[3]["status"], "already_there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_not_brought_back_unless_its_remover_had_not_seen_the_edit() {
    let archipelago = Archipelago::start(&["ann"]).await;
    let ann = &archipelago.islands[0];
    for id in ["ada", "bea", "cay"] {
        write(
            ann,
            "PUT",
            &format!("/v1/contacts/{id}"),
            &json!({ "name": id }),
        )
        .await;
    }
    let mut client = Client::default();
    client.fetch(ann, 100).await;
    let creation = json!({
        "id": Uuid::now_v7(), "collection": "contacts", "op": "create",
        "at": client.now(), "contact": { "name": "Dot" },
    });
    let before = client.request(&[
        client.patch("ada", 0, &json!({ "note": "before it was removed" })),
        creation.clone(),
    ]);
    let brought = merge(ann, &before).await;
    let dot = brought[1]["key"].as_str().expect("a key").to_owned();
    for id in ["ada", "bea", "cay", &dot] {
        write(ann, "DELETE", &format!("/v1/contacts/{id}"), &Value::Null).await;
    }
    // Brought again after somebody removed it, an edit does not bring the contact back.
    let again = merge(ann, &before).await;
    assert_eq!(again[0]["status"], "gone", "{again:?}");
    assert_eq!(again[1]["status"], "gone", "{again:?}");
    // An edit that the remover had not seen does, as that of any node would.
    let edit = client.patch("bea", 0, &json!({ "note": "unseen" }));
    let unseen = client.merge(ann, &[edit]).await;
    assert_eq!(unseen[0]["status"], "applied");
    assert_eq!(contact(ann, "bea").await["revived"], true);
    // One by a client that knew of the removal does not, and nothing comes of nothing.
    client.fetch(ann, 100).await;
    let results = client
        .merge(
            ann,
            &[
                client.patch("cay", 0, &json!({ "note": "too late" })),
                client.patch("nobody", 0, &json!({ "note": "x" })),
            ],
        )
        .await;
    assert_eq!(results[0]["status"], "gone");
    assert_eq!(results[1]["status"], "gone");
    // A removal takes away what was seen, and loses to what was not.
    let now = client.now();
    let remove = |id: &str| {
        json!({
            "id": Uuid::now_v7(), "collection": "contacts", "key": id, "op": "remove", "at": now,
        })
    };
    let request = client.request(&[remove("bea")]);
    write(
        ann,
        "PATCH",
        "/v1/contacts/bea",
        &json!({ "title": "unseen" }),
    )
    .await;
    let lost = merge(ann, &request).await;
    assert_eq!(lost[0]["status"], "lost", "{lost:?}");
    assert_eq!(lost[0]["lost"][0]["value"], "unseen");
    client.fetch(ann, 100).await;
    let edit = remove("bea");
    for status in ["applied", "already_there"] {
        let removed = client.merge(ann, std::slice::from_ref(&edit)).await;
        assert_eq!(removed[0]["status"], status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_goes_on_at_any_node_that_holds_what_it_has_seen() {
    let archipelago = Archipelago::start(&["ann", "bob"]).await;
    let [ann, bob] = &archipelago.islands[..] else {
        panic!("there are two");
    };
    for number in 0..30 {
        write(ann, "PUT", &format!("/v1/kv/{number}"), &json!(number)).await;
    }
    write(
        ann,
        "POST",
        "/v1/counters/visits/increment",
        &json!({ "by": 1 }),
    )
    .await;
    archipelago.settle().await;
    let mut client = Client::default();
    client.fetch(ann, 7).await;
    assert_eq!(client.held.len(), 31);
    write(bob, "DELETE", "/v1/kv/3", &Value::Null).await;
    client.held.clear();
    client.fetch(bob, 7).await;
    assert_eq!(client.held.len(), 1, "only what is new is told");
    assert!(client.held[&("kv".to_owned(), "3".to_owned())].is_null());
    // What the client has seen and a node lacks is neither read nor built upon there.
    archipelago.cut(0, 1);
    write(bob, "PUT", "/v1/kv/3", &json!("again")).await;
    client.fetch(bob, 7).await;
    let since = json!({ "since": client.token });
    let behind = send(ann.request("POST", "/v1/changes").json(&since)).await;
    let problem = expect(behind, 503).await;
    assert_eq!(problem["type"], "urn:problem-type:grapevine:behind");
    let edits = client.request(&[client.put("3", 0, "mine")]);
    let behind = send(ann.request("POST", "/v1/merge").json(&edits)).await;
    expect(behind, 503).await;
    archipelago.heal();
    reads(ann, "3", "\"again\"").await;
    let results = merge(ann, &edits).await;
    assert_eq!(results[0]["status"], "applied");
    reads(bob, "3", "mine").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_an_edit_is_rejected_by_itself_and_the_others_are_taken() {
    let archipelago = Archipelago::start(&["ann"]).await;
    let ann = &archipelago.islands[0];
    let client = Client::default();
    let good = client.put("good", 0, "1");
    let with = |member: &str, value: Value| {
        let mut edit = client.put("bad", 0, "1");
        edit[member] = value;
        edit
    };
    let edits = [
        json!("edit"),
        with("id", json!("x")),
        with("at", json!("yesterday")),
        with("op", json!("burn")),
        with("collection", json!("roster")),
        with("key", json!("")),
        with("base64", json!("AA==")),
        with("surprise", json!(1)),
        json!({
            "id": Uuid::now_v7(), "collection": "counters", "key": "bad", "op": "increment",
            "at": 1, "by": 0,
        }),
        client.patch("ada", 0, &json!({})),
        client.patch("ada", 0, &json!({ "name": null })),
        client.patch("ada", 0, &json!({ "phones": { "a b": null } })),
        client.patch("ada", 0, &json!({ "groups": { "a": 1 } })),
        good.clone(),
        good,
    ];
    let results = client.merge(ann, &edits).await;
    for (index, result) in results.iter().enumerate() {
        let expected = if index == 13 { "applied" } else { "rejected" };
        assert_eq!(result["status"], expected, "{index}: {result}");
    }
    assert_eq!(text(ann, "good").await, "1");
    assert_eq!(
        send(ann.request("GET", "/v1/kv/bad"))
            .await
            .status()
            .as_u16(),
        404
    );
    for (body, status, field) in [
        (json!([]), 422, "body"),
        (json!({ "edits": [] }), 422, "now"),
        (json!({ "now": 1 }), 422, "edits"),
        (json!({ "now": 1, "edits": [], "x": 1 }), 422, "x"),
        (json!({ "now": 1, "edits": [], "token": "x" }), 400, "token"),
        (json!({ "now": 1, "edits": vec![0; 1_001] }), 413, "edits"),
    ] {
        let refused = send(ann.request("POST", "/v1/merge").json(&body)).await;
        let problem = expect(refused, status).await;
        assert_eq!(problem["field"], field);
    }
    for query in ["since=x", "limit=0", "cursor=1"] {
        let refused = send(ann.request("GET", &format!("/v1/changes?{query}"))).await;
        expect(refused, 400).await;
    }
}
