use serde_json::{Value, json};

use crate::support::{TestServer, expect, expect_problem, send};

/// All pages of a list, one after another.
async fn pages(server: &TestServer, path: &str, limit: usize) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let page = expect(send(server.request("GET", path).query(&query)).await, 200).await;
        pages.push(page["items"].as_array().expect("items").clone());
        match &page["next"] {
            Value::Null => return pages,
            next => cursor = Some(next.as_str().expect("a cursor").to_owned()),
        }
    }
}

#[tokio::test]
async fn pages_are_complete_ordered_and_full() {
    let server = TestServer::start().await;
    let mut wanted = Vec::new();
    for n in 0..25 {
        let key = format!("k{n:02}");
        send(server.request("PUT", &format!("/v1/kv/{key}")).body("x")).await;
        if n % 5 == 4 {
            server.delete(&format!("/v1/kv/{key}")).await;
        } else {
            wanted.push(key);
        }
    }
    for limit in [1, 3, 10, 20, 21] {
        let pages = pages(&server, "/v1/kv", limit).await;
        let (last, full) = pages.split_last().expect("a page");
        assert!(full.iter().all(|page| page.len() == limit));
        assert!(!last.is_empty(), "the end is known with the last item");
        let keys: Vec<String> = pages
            .concat()
            .iter()
            .map(|item| item["key"].as_str().expect("a key").to_owned())
            .collect();
        assert_eq!(keys, wanted);
    }
}

#[tokio::test]
async fn contacts_are_listed_as_they_are_read() {
    let server = TestServer::start().await;
    for n in 0..7 {
        let at = format!("/v1/contacts/c{n}");
        server
            .json("PUT", &at, &json!({"name": format!("Name {n}")}))
            .await;
    }
    server.delete("/v1/contacts/c3").await;
    let listed = pages(&server, "/v1/contacts", 2).await.concat();
    assert_eq!(listed.len(), 6);
    for contact in listed {
        let at = format!("/v1/contacts/{}", contact["id"].as_str().expect("an id"));
        assert_eq!(expect(server.get(&at).await, 200).await, contact);
    }
    let empty = expect(TestServer::start().await.get("/v1/contacts").await, 200).await;
    assert_eq!(empty, json!({"items": [], "next": null}));
}

#[tokio::test]
async fn bad_parameters_are_refused_and_named() {
    let server = TestServer::start().await;
    for n in 0..2 {
        send(server.request("PUT", &format!("/v1/kv/{n}")).body("x")).await;
    }
    let page = expect(server.get("/v1/kv?limit=1").await, 200).await;
    let cursor = page["next"].as_str().expect("a cursor");
    for list in ["/v1/contacts", "/v1/counters", "/v1/kv"] {
        for limit in ["0", "1001", "-1", "ten", "", "1e3"] {
            let response = server.get(&format!("{list}?limit={limit}")).await;
            expect_problem(response, 400, Some("limit")).await;
        }
        for bad in ["x", "zz", "0101", "00", &cursor[1..]] {
            let response = server.get(&format!("{list}?cursor={bad}")).await;
            expect_problem(response, 400, Some("cursor")).await;
        }
        let unknown = server.get(&format!("{list}?offset=3")).await;
        expect_problem(unknown, 400, Some("offset")).await;
    }
    let foreign = server.get(&format!("/v1/contacts?cursor={cursor}")).await;
    expect_problem(foreign, 400, Some("cursor")).await;
    expect_problem(server.get("/v1/kv?prefix=%FF").await, 400, Some("prefix")).await;
    expect_problem(
        server.get("/v1/kv?limit=1&limit=2").await,
        400,
        Some("limit"),
    )
    .await;
}
