//! The danger: a client that is sent from node to node reads, on one that was cut off, what was there before
//! its own last write, or writes there upon less than it wrote.

mod islands;

use islands::{Archipelago, Island, TOKEN_WAIT, expect, send, token};
use serde_json::json;

/// A client that carries its token.
#[derive(Default)]
struct Client {
    token: Option<String>,
}

impl Client {
    async fn write(&mut self, island: &Island, method: &str, path: &str, body: &str) {
        let mut request = island.request(method, path).body(body.to_owned());
        if let Some(token) = &self.token {
            request = request.header("grapevine-token", token);
        }
        let response = send(request).await;
        assert!(response.status().is_success(), "{path}: {response:?}");
        self.token = Some(token(&response));
    }

    /// What is read; `None` if the node refuses because it does not hold enough.
    async fn read(&self, island: &Island, path: &str) -> Option<String> {
        let mut request = island.request("GET", path);
        if let Some(token) = &self.token {
            request = request.header("grapevine-token", token);
        }
        let response = send(request).await;
        let status = response.status().as_u16();
        if status == 503 {
            assert!(response.headers().contains_key("retry-after"));
            let problem = expect(response, 503).await;
            assert_eq!(problem["type"], "urn:problem-type:grapevine:behind");
            return None;
        }
        assert_eq!(status, 200, "{path}");
        Some(response.text().await.expect("text"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hops_never_reads_older_than_it_wrote() {
    const ROUNDS: usize = 24;
    let archipelago = Archipelago::start(&["ann", "bob", "cid"]).await;
    let islands = &archipelago.islands;
    let mut client = Client::default();
    let (mut read, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let (here, there, third) = (round % 3, (round + 1) % 3, (round + 2) % 3);
        match round % 4 {
            0 => archipelago.isolate(here),
            1 => archipelago.cut(here, there),
            2 => archipelago.isolate(third),
            _ => {}
        }
        client
            .write(&islands[here], "PUT", "/v1/kv/log", &format!("{round:04}"))
            .await;
        client
            .write(&islands[here], "POST", "/v1/counters/rounds/increment", "")
            .await;
        for island in [&islands[there], &islands[third], &islands[here]] {
            match client.read(island, "/v1/kv/log").await {
                Some(value) => {
                    assert_eq!(value, format!("{round:04}"), "on {}", island.name);
                    let counter = client.read(island, "/v1/counters/rounds").await;
                    let counter: serde_json::Value =
                        serde_json::from_str(&counter.expect("it is covered")).expect("JSON");
                    assert_eq!(counter["value"], round + 1);
                    read += 1;
                }
                None => refused += 1,
            }
        }
        archipelago.heal();
        archipelago.settle().await;
    }
    // Both must have been seen, or nothing was tested.
    assert!(read > ROUNDS, "{read} reads were answered");
    assert!(refused > 0, "no read was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_on_its_way_is_waited_for() {
    let archipelago = Archipelago::start(&["ann", "bob"]).await;
    let islands = &archipelago.islands;
    archipelago.settle().await;
    archipelago.isolate(0);
    let mut client = Client::default();
    client.write(&islands[0], "PUT", "/v1/kv/a", "1").await;
    assert_eq!(client.read(&islands[1], "/v1/kv/a").await, None);
    archipelago.heal();
    let began = std::time::Instant::now();
    loop {
        if let Some(value) = client.read(&islands[1], "/v1/kv/a").await {
            assert_eq!(value, "1");
            break;
        }
        assert!(began.elapsed() < islands::DEADLINE, "it never comes");
    }
    // Linked again, a write reaches the other node within one wait.
    client.write(&islands[0], "PUT", "/v1/kv/a", "2").await;
    let began = std::time::Instant::now();
    let value = client.read(&islands[1], "/v1/kv/a").await;
    assert_eq!(value.as_deref(), Some("2"));
    assert!(began.elapsed() < TOKEN_WAIT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_deleted_where_it_has_not_come_yet_stays_deleted() {
    let archipelago = Archipelago::start(&["ann", "bob"]).await;
    let islands = &archipelago.islands;
    archipelago.settle().await;
    archipelago.isolate(0);
    let mut client = Client::default();
    client.write(&islands[0], "PUT", "/v1/kv/a", "1").await;
    client.write(&islands[1], "DELETE", "/v1/kv/a", "").await;
    archipelago.heal();
    archipelago.settle().await;
    for island in islands {
        expect(send(island.request("GET", "/v1/kv/a")).await, 404).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_edit_left_alone_is_seen_with_it() {
    let archipelago = Archipelago::start(&["ann", "bob", "cid"]).await;
    let islands = &archipelago.islands;
    archipelago.settle().await;
    // What Bob writes reaches Cid only when Cid asks Ann for it; what Ann writes she sends him at once.
    archipelago.cut(1, 2);
    for round in 0..10 {
        let path = format!("/v1/contacts/ada{round}");
        let contact = json!({ "name": "Ada", "title": "Countess" });
        expect(
            send(islands[1].request("PUT", &path).json(&contact)).await,
            201,
        )
        .await;
        let began = std::time::Instant::now();
        while !send(islands[0].request("GET", &path))
            .await
            .status()
            .is_success()
        {
            assert!(began.elapsed() < islands::DEADLINE, "it never comes");
        }
        // Ann puts the title that is there and a note that is not: she writes the note alone.
        let contact = json!({ "name": "Ada", "title": "Countess", "note": "x" });
        let put = send(islands[0].request("PUT", &path).json(&contact)).await;
        let client = Client {
            token: Some(token(&put)),
        };
        let began = std::time::Instant::now();
        loop {
            if let Some(text) = client.read(&islands[2], &path).await {
                assert!(text.contains("Countess") && text.contains("\"note\":\"x\""));
                break;
            }
            assert!(began.elapsed() < islands::DEADLINE, "it never comes");
        }
    }
}

/// Ann, who has what the client wrote, and Bob, who is cut off from it.
async fn cut_off(writes: &[(&str, &str, &str)]) -> (Archipelago, Client) {
    let archipelago = Archipelago::start(&["ann", "bob"]).await;
    archipelago.settle().await;
    archipelago.isolate(0);
    let mut client = Client::default();
    for (method, path, body) in writes {
        client
            .write(&archipelago.islands[0], method, path, body)
            .await;
    }
    (archipelago, client)
}

/// Does it where nothing of it has come, which is refused, and again once the network is whole.
async fn refused_then_done(
    archipelago: &Archipelago,
    client: &mut Client,
    (method, path, body): (&str, &str, &str),
) {
    let bob = &archipelago.islands[1];
    let before = bob.root();
    let write = |client: &Client| {
        let request = bob.request(method, path).body(body.to_owned());
        let token = client.token.as_ref().expect("it has written");
        send(request.header("grapevine-token", token))
    };
    let problem = expect(write(client).await, 503).await;
    assert_eq!(problem["type"], "urn:problem-type:grapevine:behind");
    assert_eq!(bob.root(), before, "nothing is written");
    archipelago.heal();
    let began = std::time::Instant::now();
    loop {
        let done = write(client).await;
        if done.status().is_success() {
            client.token = Some(token(&done));
            return;
        }
        expect(done, 503).await;
        assert!(began.elapsed() < islands::DEADLINE, "it is never done");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_deleted_where_it_has_not_come_yet_stays_deleted() {
    let (archipelago, mut client) = cut_off(&[
        ("PUT", "/v1/contacts/ada", r#"{"name": "Ada"}"#),
        ("PATCH", "/v1/contacts/ada", r#"{"note": "x"}"#),
    ])
    .await;
    let delete = ("DELETE", "/v1/contacts/ada", "");
    refused_then_done(&archipelago, &mut client, delete).await;
    archipelago.settle().await;
    for island in &archipelago.islands {
        expect(send(island.request("GET", "/v1/contacts/ada")).await, 404).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_back_to_what_a_lagging_node_shows_is_not_dropped() {
    let archipelago = Archipelago::start(&["ann", "bob"]).await;
    let islands = &archipelago.islands;
    let mut client = Client::default();
    let old = r#"{"name": "Ada", "note": "old"}"#;
    client
        .write(&islands[0], "PUT", "/v1/contacts/ada", old)
        .await;
    archipelago.settle().await;
    archipelago.isolate(0);
    let new = r#"{"note": "new"}"#;
    client
        .write(&islands[0], "PATCH", "/v1/contacts/ada", new)
        .await;
    refused_then_done(&archipelago, &mut client, ("PUT", "/v1/contacts/ada", old)).await;
    archipelago.settle().await;
    for island in islands {
        let ada = send(island.request("GET", "/v1/contacts/ada")).await;
        assert_eq!(expect(ada, 200).await["note"], "old");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_forgets_what_its_session_counted_elsewhere() {
    let (archipelago, mut client) = cut_off(&[
        ("POST", "/v1/counters/visits/increment", r#"{"by": 7}"#),
        ("POST", "/v1/counters/visits/increment", ""),
    ])
    .await;
    let reset = ("POST", "/v1/counters/visits/reset", "");
    refused_then_done(&archipelago, &mut client, reset).await;
    archipelago.settle().await;
    for island in &archipelago.islands {
        let visits = send(island.request("GET", "/v1/counters/visits")).await;
        assert_eq!(expect(visits, 200).await["value"], 0);
    }
}
