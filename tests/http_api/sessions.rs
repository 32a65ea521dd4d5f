use std::{sync::atomic::Ordering, time::Instant};

use grapevine::{
    cluster::MemberStatus,
    model::{Collection, EntityId, MAX_SESSION_TOKEN_BYTES, PartitionId, SessionToken},
};
use grapevine_crdt::{Dot, ReplicaId, Seq};
use reqwest::Response;
use serde_json::json;

use crate::support::{TOKEN_WAIT, TestServer, etag, expect, expect_problem, send};

const HEADER: &str = "grapevine-token";

fn token(response: &Response) -> String {
    let token = response
        .headers()
        .get(HEADER)
        .expect("every write has a token");
    token.to_str().expect("a token is ASCII").to_owned()
}

/// A token that names writes which nobody made.
fn unheard_of(lives: u8, partitions: usize) -> SessionToken {
    let mut token = SessionToken::default();
    for life in 0..lives {
        let dot = Dot::new(ReplicaId::from_bytes([life; 16]), Seq::new(1));
        for partition in PartitionId::all().take(partitions) {
            token.insert(partition, dot);
        }
    }
    token
}

const READS: [&str; 10] = [
    "/v1/kv/a",
    "/v1/kv",
    "/v1/contacts/ada",
    "/v1/contacts",
    "/v1/counters/visits",
    "/v1/counters",
    "/v1/counters/visits/tallies",
    "/v1/counters/visits/tallies/kiosk",
    "/v1/conflicts",
    "/v1/contacts/ada/conflicts",
];

#[tokio::test]
async fn every_write_tells_a_token_that_its_node_accepts_at_once() {
    let server = TestServer::start().await;
    let contact = json!({ "name": "Ada" });
    let writes = [
        send(server.request("PUT", "/v1/kv/a").body("1")).await,
        server.delete("/v1/kv/a").await,
        server.delete("/v1/kv/a").await,
        server.json("POST", "/v1/contacts", &contact).await,
        server.json("PUT", "/v1/contacts/ada", &contact).await,
        server.json("PUT", "/v1/contacts/ada", &contact).await,
        server.json("PATCH", "/v1/contacts/ada", &contact).await,
        server.delete("/v1/contacts/ada").await,
        send(server.request("POST", "/v1/counters/visits/increment")).await,
        send(server.request("POST", "/v1/counters/visits/decrement")).await,
        send(server.request("POST", "/v1/counters/visits/reset")).await,
        server.delete("/v1/counters/visits").await,
        server
            .json(
                "PUT",
                "/v1/counters/visits/tallies/kiosk",
                &json!({ "value": 3 }),
            )
            .await,
        send(
            server
                .request("POST", "/v1/contacts/import")
                .header("content-type", "text/vcard")
                .body("BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Ada\r\nEND:VCARD\r\n"),
        )
        .await,
        send(server.request("PUT", "/v1/kv/a").body("1")).await,
        server.json("PUT", "/v1/contacts/ada", &contact).await,
    ];
    for write in writes {
        assert!(write.status().is_success(), "{write:?}");
        for path in READS {
            let read = server.request("GET", path).header(HEADER, token(&write));
            assert_eq!(send(read).await.status().as_u16(), 200, "{path}");
        }
    }
    assert_eq!(server.cluster.peers_asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_read_of_what_never_came_is_refused_after_the_wait_and_the_peers_were_asked() {
    let server = TestServer::start().await;
    let behind = unheard_of(1, 1).to_text();
    for path in READS {
        for method in ["GET", "HEAD"] {
            let began = Instant::now();
            let read = server.request(method, path).header(HEADER, &behind);
            let read = send(read).await;
            assert_eq!(read.status().as_u16(), 503, "{method} {path}");
            assert!(read.headers().contains_key("retry-after"));
            assert!(began.elapsed() >= TOKEN_WAIT);
        }
    }
    assert!(server.cluster.peers_asked.load(Ordering::SeqCst) >= READS.len());
    let read = server.request("GET", "/v1/kv/a").header(HEADER, &behind);
    let problem = expect_problem(send(read).await, 503, Some("Grapevine-Token")).await;
    assert_eq!(problem["type"], "urn:problem-type:grapevine:behind");
}

#[tokio::test]
async fn a_malformed_token_is_refused_wherever_it_comes() {
    let server = TestServer::start().await;
    let long = "A".repeat(8_001);
    for bad in ["x", "not a token", "AgAA", &long] {
        for (method, path) in [
            ("GET", "/v1/kv/a"),
            ("GET", "/v1/contacts"),
            ("PUT", "/v1/kv/a"),
            ("DELETE", "/v1/contacts/ada"),
            ("POST", "/v1/counters/visits/increment"),
        ] {
            let request = server.request(method, path).header(HEADER, bad);
            expect_problem(send(request).await, 400, Some("Grapevine-Token")).await;
        }
    }
    let twice = server
        .request("GET", "/v1/kv")
        .header(HEADER, unheard_of(0, 0).to_text())
        .header(HEADER, unheard_of(0, 0).to_text());
    expect_problem(send(twice).await, 400, Some("Grapevine-Token")).await;
}

#[tokio::test]
async fn a_token_grows_by_what_is_written_and_nothing_is_lost_from_it() {
    let server = TestServer::start().await;
    let elsewhere = unheard_of(2, 3);
    let put = server
        .request("PUT", "/v1/kv/a")
        .header(HEADER, elsewhere.to_text());
    let put = send(put.body("1")).await;
    let joined = SessionToken::from_text(&token(&put)).expect("a token");
    let state = server.store.snapshot();
    let vector = |partition| &state.state().partition(partition).vector;
    assert_eq!(joined.lacking(vector), 6, "the writes made elsewhere");
    let mut own = joined;
    own.forget(vector);
    assert_eq!(own, elsewhere);
}

#[tokio::test]
async fn conditional_reads_go_on_to_work() {
    let server = TestServer::start().await;
    let put = send(server.request("PUT", "/v1/kv/a").body("1")).await;
    let (tag, token) = (etag(&put), token(&put));
    let read = |tag: &str, token: &str| {
        let read = server.request("GET", "/v1/kv/a");
        send(read.header("if-none-match", tag).header(HEADER, token))
    };
    assert_eq!(read(&tag, &token).await.status().as_u16(), 304);
    let behind = unheard_of(1, 1).to_text();
    assert_eq!(read(&tag, &behind).await.status().as_u16(), 503);
}

#[tokio::test]
async fn a_full_token_is_emptied_of_what_every_member_holds_or_the_write_is_refused_unmade() {
    let server = TestServer::start().await;
    let first = send(server.request("PUT", "/v1/kv/a").body("1")).await;
    let ours = SessionToken::from_text(&token(&first)).expect("a token");
    // As full as can be: writes of others that never came here, and ours.
    let mut full = unheard_of(5, 240);
    let state = server.store.snapshot();
    for (partition, held) in state.state().partitions() {
        for (replica, seq) in held.vector.iter() {
            full.insert(partition, Dot::new(replica, seq));
        }
    }
    let mut life = 100;
    while full.weight() + SessionToken::growth(1) <= MAX_SESSION_TOKEN_BYTES {
        let replica = ReplicaId::from_bytes([life; 16]);
        full.insert(PartitionId::new(250), Dot::new(replica, Seq::new(1)));
        life += 1;
    }
    let put = |token: &SessionToken| {
        let put = server
            .request("PUT", "/v1/kv/b")
            .header(HEADER, token.to_text());
        send(put.body("2"))
    };
    let member = MemberStatus {
        name: "beta".to_owned(),
        replica: ReplicaId::from_bytes([9; 16]),
        http: String::new(),
        peer: String::new(),
        alive: false,
        agrees: false,
        lag: Some(1),
        last_heard: None,
        clock_offset_ms: None,
    };
    *server.cluster.members.lock().expect("no holder panics") = vec![member.clone()];
    let refused = put(&full).await;
    let problem = expect_problem(refused, 503, Some("Grapevine-Token")).await;
    assert_eq!(problem["type"], "urn:problem-type:grapevine:token-full");
    expect_problem(server.get("/v1/kv/b").await, 404, None).await;
    // Everybody holds what this node holds: its own writes need not be named any more.
    let lag = Some(0);
    *server.cluster.members.lock().expect("no holder panics") =
        vec![MemberStatus { lag, ..member }];
    let taken = put(&full).await;
    assert_eq!(taken.status().as_u16(), 204);
    let left = SessionToken::from_text(&token(&taken)).expect("a token");
    assert!(left.weight() <= MAX_SESSION_TOKEN_BYTES);
    let vector = |partition| &state.state().partition(partition).vector;
    let missing = full.lacking(vector);
    let state = server.store.snapshot();
    let vector = |partition| &state.state().partition(partition).vector;
    assert_eq!(
        left.lacking(vector),
        missing,
        "what is not here stays named"
    );
    assert_ne!(left, ours);
    expect(server.get("/v1/kv").await, 200).await;
}

/// Writes that are decided from what is there.
fn decided(server: &TestServer) -> Vec<reqwest::RequestBuilder> {
    let contact = json!({ "name": "Grace" });
    let conflict = "/v1/contacts/ada/conflicts/5f0c";
    vec![
        server.request("PUT", "/v1/contacts/ada").json(&contact),
        server.request("PATCH", "/v1/contacts/ada").json(&contact),
        server.request("DELETE", "/v1/contacts/ada"),
        server
            .request("POST", "/v1/contacts")
            .header("idempotency-key", "k")
            .json(&contact),
        server.request("POST", &format!("{conflict}/choose")),
        server.request("POST", &format!("{conflict}/dismiss")),
        server.request("POST", "/v1/counters/visits/reset"),
        server.request("DELETE", "/v1/counters/visits"),
        server
            .request("PUT", "/v1/counters/visits/tallies/kiosk")
            .header("if-none-match", "*")
            .json(&json!({ "value": 3 })),
        server
            .request("PUT", "/v1/kv/a")
            .header("if-none-match", "*")
            .body("1"),
        server
            .request("DELETE", "/v1/kv/a")
            .header("if-match", "\"other\""),
        server
            .request("POST", "/v1/contacts/import")
            .header("content-type", "text/vcard")
            .body("BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Ada\r\nEND:VCARD\r\n"),
        server.request("POST", "/v1/merge").json(&json!({
            "now": 0,
            "edits": [{
                "id": "01990000-0000-7000-8000-000000000000", "at": 0, "collection": "kv",
                "key": "old", "op": "delete",
            }],
        })),
    ]
}

/// Writes that say the same whatever is there.
fn blind(server: &TestServer) -> Vec<reqwest::RequestBuilder> {
    vec![
        server.request("PUT", "/v1/kv/b").body("1"),
        server.request("DELETE", "/v1/kv/b"),
        server
            .request("POST", "/v1/contacts")
            .json(&json!({ "name": "Ada" })),
        server.request("POST", "/v1/counters/sold/increment"),
        server
            .request("POST", "/v1/counters/sold/decrement")
            .header("idempotency-key", "k"),
        server
            .request("PUT", "/v1/counters/sold/tallies/kiosk")
            .json(&json!({ "value": 3 })),
    ]
}

#[tokio::test]
async fn a_write_upon_what_never_came_is_refused_unmade_and_only_if_it_depends_on_that() {
    let server = TestServer::start().await;
    let contact = json!({ "name": "Ada" });
    server.json("PUT", "/v1/contacts/ada", &contact).await;
    send(server.request("POST", "/v1/counters/visits/increment")).await;
    let before = server.store.snapshot().state().root();
    let behind = unheard_of(1, 256).to_text();
    for write in decided(&server) {
        let refused = send(write.header(HEADER, &behind)).await;
        assert!(refused.headers().contains_key("retry-after"), "{refused:?}");
        let problem = expect_problem(refused, 503, Some("Grapevine-Token")).await;
        assert_eq!(problem["type"], "urn:problem-type:grapevine:behind");
    }
    assert_eq!(server.store.snapshot().state().root(), before);
    assert!(server.cluster.peers_asked.load(Ordering::SeqCst) > 0);
    for write in blind(&server) {
        let done = send(write.header(HEADER, &behind)).await;
        assert!(done.status().is_success(), "{done:?}");
    }
}

#[tokio::test]
async fn a_write_waits_for_nothing_but_its_own_partition_and_without_a_token_for_nothing() {
    let server = TestServer::start().await;
    let ada = EntityId::new(Collection::Contacts, "ada".to_owned()).expect("an id");
    let mut elsewhere = SessionToken::default();
    let unheard_of = Dot::new(ReplicaId::from_bytes([1; 16]), Seq::new(1));
    for partition in PartitionId::all().filter(|partition| *partition != ada.partition()) {
        elsewhere.insert(partition, unheard_of);
    }
    let put = server.request("PUT", "/v1/contacts/ada");
    let put = put.header(HEADER, elsewhere.to_text());
    let put = send(put.json(&json!({ "name": "Ada" }))).await;
    assert_eq!(put.status().as_u16(), 201);
    for write in decided(&server).into_iter().chain(blind(&server)) {
        let done = send(write).await;
        assert_ne!(done.status().as_u16(), 503, "{done:?}");
    }
    assert_eq!(server.cluster.peers_asked.load(Ordering::SeqCst), 0);
}
