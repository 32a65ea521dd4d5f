//! A token for a part of the data shows and changes that part alone, on whatever way.

use serde_json::{Value, json};

use crate::{
    support::wait::until,
    world::{World, sent, told},
};

/// A world with some of everything, within a limit of `mine` and outside.
async fn filled() -> (World, String) {
    let world = World::of(1).await;
    for key in ["mine/a", "mine/b", "yours/a"] {
        let put = sent(world.ask(0, "", "PUT", &format!("/v1/kv/{key}")).body("x")).await;
        assert_eq!(put.status().as_u16(), 204);
    }
    for name in ["mine-a", "yours-a"] {
        let counted = world
            .status("", "POST", &format!("/v1/counters/{name}/increment"))
            .await;
        assert_eq!(counted, 200);
        let contact = world.ask(0, "", "PUT", &format!("/v1/contacts/{name}"));
        let contact = contact.json(&json!({"name": format!("Secret {name}"), "groups": ["all"]}));
        told(sent(contact).await, 201).await;
        let message = world.ask(0, "", "POST", &format!("/v1/topics/{name}/messages"));
        let message = message.json(&json!({"author": "ada", "body": "hi"}));
        told(sent(message).await, 201).await;
    }
    let admin = world.first().await;
    (world, admin)
}

fn keys(list: &Value, name: &str) -> Vec<String> {
    let items = list["items"].as_array().expect("a list");
    let keys = items.iter().map(|item| item[name].as_str().expect("a key"));
    keys.map(str::to_owned).collect()
}

#[tokio::test]
async fn lists_show_what_the_token_is_for() {
    let (world, admin) = filled().await;
    let list = async |token: &str, path: &str| {
        told(sent(world.ask(0, token, "GET", path)).await, 200).await
    };
    let kv = world.limited(&admin, "read", "kv", "mine/").await;
    assert_eq!(
        keys(&list(&kv, "/v1/kv").await, "key"),
        ["mine/a", "mine/b"]
    );
    assert_eq!(
        keys(&list(&kv, "/v1/kv?prefix=mine/b").await, "key"),
        ["mine/b"]
    );
    assert_eq!(
        keys(&list(&kv, "/v1/kv?prefix=m").await, "key"),
        ["mine/a", "mine/b"]
    );
    assert_eq!(
        keys(&list(&kv, "/v1/kv?prefix=yours/").await, "key"),
        [""; 0]
    );
    let counters = world.limited(&admin, "read", "counters", "mine").await;
    assert_eq!(
        keys(&list(&counters, "/v1/counters").await, "name"),
        ["mine-a"]
    );
    let topics = world.limited(&admin, "read", "topics", "mine").await;
    assert_eq!(
        keys(&list(&topics, "/v1/topics").await, "topic"),
        ["mine-a"]
    );
    let contacts = world.limited(&admin, "read", "contacts", "mine").await;
    let some = list(&contacts, "/v1/contacts?fields=name").await;
    assert_eq!(keys(&some, "id"), ["mine-a"]);
    assert!(!some.to_string().contains("yours"));
    let all = world.limited(&admin, "read", "contacts", "").await;
    assert_eq!(
        keys(&list(&all, "/v1/contacts?q=secret").await, "id"),
        ["mine-a", "yours-a"]
    );
    for (token, path) in [
        (&contacts, "/v1/contacts?q=secret"),
        (&contacts, "/v1/contacts?group=all"),
        (&contacts, "/v1/contacts/duplicates"),
        (&contacts, "/v1/conflicts"),
        (&contacts, "/v1/contacts/yours-a"),
        (&contacts, "/v1/kv"),
        (&kv, "/v1/contacts"),
        (&kv, "/v1/topics"),
        (&kv, "/v1/counters"),
        (&kv, "/v1/kv/yours/a"),
        (&kv, "/v1/bundle"),
        (&kv, "/v1/bundle/token"),
        (&topics, "/v1/topics/yours-a/messages"),
        (&topics, "/v1/topics/yours-a/stream"),
        (&counters, "/v1/counters/yours-a"),
        (&counters, "/v1/watch?collection=kv"),
    ] {
        assert_eq!(world.status(token, "GET", path).await, 403, "{path}");
    }
    assert_eq!(world.status(&kv, "POST", "/v1/bundle/export").await, 403);
    // What is told of the cluster is no data.
    assert_eq!(world.status(&kv, "GET", "/v1/cluster").await, 200);
}

#[tokio::test]
async fn changes_and_watch_tell_what_the_token_is_for() {
    let (world, admin) = filled().await;
    let kv = world.limited(&admin, "read", "kv", "mine/").await;
    let mut watching = sent(world.ask(0, &kv, "GET", "/v1/watch")).await;
    for key in ["yours/new", "mine/new"] {
        let put = sent(
            world
                .ask(0, &admin, "PUT", &format!("/v1/kv/{key}"))
                .body("x"),
        )
        .await;
        assert_eq!(put.status().as_u16(), 204);
    }
    let mut heard = String::new();
    while !heard.contains("mine/new") {
        let chunk = tokio::time::timeout(std::time::Duration::from_secs(30), watching.chunk());
        let chunk = chunk.await.expect("in time").expect("it goes on");
        heard.push_str(&String::from_utf8_lossy(&chunk.expect("it does not end")));
    }
    assert!(!heard.contains("yours"), "{heard}");
    let mut found = Vec::new();
    let mut path = "/v1/changes?limit=1000".to_owned();
    loop {
        let page = told(sent(world.ask(0, &kv, "GET", &path)).await, 200).await;
        found.extend(keys(&page, "key"));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/v1/changes?limit=1000&since={next}");
    }
    found.sort();
    assert_eq!(found, ["mine/a", "mine/b", "mine/new"]);
}

#[tokio::test]
async fn each_write_of_a_batch_and_each_edit_of_a_merge_is_judged_alone() {
    let (world, admin) = filled().await;
    let kv = world.limited(&admin, "write", "kv", "mine/").await;
    let batch = json!({"writes": [
        {"collection": "kv", "op": "put", "key": "yours/a", "text": "stolen"},
        {"collection": "kv", "op": "put", "key": "mine/a", "text": "new"},
        {"collection": "kv", "op": "delete", "key": "yours/a"},
        {"collection": "counters", "op": "increment", "key": "mine/a"},
        {"collection": "contacts", "op": "create", "contact": {"name": "Eve"}},
        {"collection": "topics", "op": "post", "key": "mine", "message": {"author": "a", "body": "b"}},
    ]});
    let results = sent(world.ask(0, &kv, "POST", "/v1/batch").json(&batch)).await;
    let results = told(results, 200).await;
    let statuses = results["results"].as_array().expect("results").iter();
    let statuses: Vec<u64> = statuses
        .filter_map(|result| result["status"].as_u64())
        .collect();
    assert_eq!(statuses, [403, 204, 403, 403, 403, 403]);
    let edit = |id: u8, key: &str| {
        json!({"id": format!("0199a0b1-0000-7000-8000-0000000000{id:02}"), "at": 1_800_000_000_000_u64,
               "collection": "kv", "key": key, "op": "put", "text": "offline"})
    };
    let merge =
        json!({"now": 1_800_000_000_001_u64, "edits": [edit(1, "yours/a"), edit(2, "mine/c")]});
    let merged = sent(world.ask(0, &kv, "POST", "/v1/merge").json(&merge)).await;
    let merged = told(merged, 200).await;
    assert_eq!(merged["results"][0]["status"], "rejected", "{merged}");
    assert_eq!(merged["results"][1]["status"], "applied", "{merged}");
    let text = async |key: &str| {
        let read = sent(world.ask(0, &admin, "GET", &format!("/v1/kv/{key}"))).await;
        read.text().await.expect("it is text")
    };
    assert_eq!(text("yours/a").await, "x");
    assert_eq!(text("mine/a").await, "new");
    for (method, path) in [
        ("PUT", "/v1/kv/yours/a"),
        ("DELETE", "/v1/kv/yours/a"),
        ("POST", "/v1/contacts"),
        ("POST", "/v1/counters/mine/increment"),
        ("POST", "/v1/bundle"),
    ] {
        assert_eq!(
            world.status(&kv, method, path).await,
            403,
            "{method} {path}"
        );
    }
    until(
        "the bundle of everything takes an unlimited token",
        async || {
            let all = sent(world.ask(0, &admin, "GET", "/v1/bundle/token")).await;
            (all.status().as_u16() == 200)
                .then_some(())
                .ok_or("refused")
        },
    )
    .await;
}
