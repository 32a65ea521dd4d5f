//! Each role may do what it is for, on every path, and no more.

use serde_json::{Value, json};

use crate::world::{World, sent, token_of, told};

/// What each path takes at least.
const NEEDS: &[(&str, &str, &str)] = &[
    ("GET", "/v1/kv/a", "read"),
    ("HEAD", "/v1/kv/a", "read"),
    ("PUT", "/v1/kv/a", "write"),
    ("DELETE", "/v1/kv/a", "write"),
    ("GET", "/v1/kv", "read"),
    ("GET", "/v1/contacts", "read"),
    ("POST", "/v1/contacts", "write"),
    ("POST", "/v1/contacts/import", "write"),
    ("GET", "/v1/contacts/duplicates", "read"),
    ("GET", "/v1/contacts/a", "read"),
    ("PUT", "/v1/contacts/a", "write"),
    ("PATCH", "/v1/contacts/a", "write"),
    ("DELETE", "/v1/contacts/a", "write"),
    ("GET", "/v1/conflicts", "read"),
    ("GET", "/v1/contacts/a/conflicts", "read"),
    ("POST", "/v1/contacts/a/conflicts/b/choose", "write"),
    ("POST", "/v1/contacts/a/conflicts/b/dismiss", "write"),
    ("POST", "/v1/contacts/a/absorb/b", "write"),
    ("GET", "/v1/counters", "read"),
    ("GET", "/v1/counters/a", "read"),
    ("DELETE", "/v1/counters/a", "write"),
    ("POST", "/v1/counters/a/increment", "write"),
    ("POST", "/v1/counters/a/decrement", "write"),
    ("POST", "/v1/counters/a/reset", "write"),
    ("GET", "/v1/counters/a/tallies", "read"),
    ("PUT", "/v1/counters/a/tallies/b", "write"),
    ("GET", "/v1/bundle", "read"),
    ("POST", "/v1/bundle", "admin"),
    ("POST", "/v1/bundle/export", "read"),
    ("GET", "/v1/bundle/token", "read"),
    ("GET", "/v1/topics", "read"),
    ("PUT", "/v1/topics/a", "write"),
    ("POST", "/v1/topics/a/messages", "write"),
    ("GET", "/v1/topics/a/messages", "read"),
    ("GET", "/v1/topics/a/stream", "read"),
    ("GET", "/v1/watch", "read"),
    ("POST", "/v1/batch", "write"),
    ("GET", "/v1/changes", "read"),
    ("POST", "/v1/changes", "read"),
    ("POST", "/v1/merge", "write"),
    ("GET", "/v1/cluster", "read"),
    ("GET", "/v1/cluster/convergence", "read"),
    ("DELETE", "/v1/cluster/members/a", "admin"),
    ("GET", "/v1/tokens", "admin"),
    ("POST", "/v1/tokens", "admin"),
    ("GET", "/v1/tokens/a", "admin"),
    ("DELETE", "/v1/tokens/a", "admin"),
    ("POST", "/v1/tokens/first", "admin"),
    ("GET", "/v1/nowhere", "read"),
];

#[tokio::test]
async fn a_token_does_no_more_than_it_is_for() {
    let world = World::of(1).await;
    let admin = world.first().await;
    let roles = ["read", "write", "admin"];
    let mut tokens = Vec::new();
    for role in roles {
        tokens.push(token_of(&world.token(&admin, json!({"role": role})).await));
    }
    for (method, path, need) in NEEDS {
        let least = roles.iter().position(|role| role == need).expect("a role");
        assert_eq!(world.status("", method, path).await, 401, "{method} {path}");
        for (place, token) in tokens.iter().enumerate() {
            let answer = sent(world.ask(0, token, method, path)).await;
            let status = answer.status().as_u16();
            let case = format!("{method} {path} by {}", roles[place]);
            assert_ne!(status, 401, "{case}");
            assert_eq!(status == 403, place < least, "{case}: {status}");
            if status == 403 {
                let challenge = &answer.headers()["www-authenticate"];
                let expected = "Bearer realm=\"grapevine\", error=\"insufficient_scope\"";
                assert_eq!(challenge, expected, "{case}");
                if *method != "HEAD" {
                    let problem: Value = answer.json().await.expect("a problem");
                    assert!(
                        problem["type"]
                            .as_str()
                            .is_some_and(|kind| kind.ends_with(":forbidden"))
                    );
                }
            }
        }
    }
    assert_eq!(world.status(&tokens[0], "GET", "/v1/nowhere").await, 404);
}

#[tokio::test]
async fn tokens_are_told_once_and_listed_without_their_secrets() {
    let world = World::of(1).await;
    let admin = world.first().await;
    let draft = json!({"role": "write", "name": "till 7", "collection": "kv", "prefix": "till-7/", "expires_in": 60});
    let made = sent(world.ask(0, &admin, "POST", "/v1/tokens").json(&draft)).await;
    assert_eq!(made.headers()["cache-control"], "no-store");
    let location = made.headers()["location"]
        .to_str()
        .expect("ASCII")
        .to_owned();
    let mut made = told(made, 201).await;
    let token = token_of(&made);
    let secret = token.rsplit('.').next().expect("it has parts").to_owned();
    let one = sent(world.ask(0, &admin, "GET", &location)).await;
    let one = told(one, 200).await;
    made.as_object_mut().expect("an object").remove("token");
    assert_eq!(one, made);
    assert_eq!(one["prefix"], "till-7/");
    let all = sent(world.ask(0, &admin, "GET", "/v1/tokens?limit=1")).await;
    let all = told(all, 200).await;
    let next = all["next"].as_str().expect("there is another page");
    let rest = sent(world.ask(0, &admin, "GET", &format!("/v1/tokens?cursor={next}"))).await;
    let rest = told(rest, 200).await;
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(1));
    assert!(!format!("{all}{rest}{one}").contains(&secret));
    for (bad, field) in [
        (json!({}), "role"),
        (json!({"role": "root"}), "role"),
        (
            json!({"role": "read", "collection": "roster"}),
            "collection",
        ),
        (
            json!({"role": "read", "collection": "tokens"}),
            "collection",
        ),
        (json!({"role": "read", "prefix": "a"}), "prefix"),
        (json!({"role": "read", "expires_in": 0}), "expires_in"),
        (json!({"role": "read", "expires_in": "1"}), "expires_in"),
        (json!({"role": "admin", "collection": "kv"}), "body"),
        (json!({"role": "read", "name": "x".repeat(129)}), "body"),
        (json!({"role": "read", "secret": "x"}), "secret"),
    ] {
        let refused = sent(world.ask(0, &admin, "POST", "/v1/tokens").json(&bad)).await;
        assert_eq!(told(refused, 422).await["field"], field, "{bad}");
    }
    let keyed = world
        .ask(0, &admin, "POST", "/v1/tokens")
        .header("idempotency-key", "a");
    told(sent(keyed.json(&json!({"role": "read"}))).await, 422).await;
    assert_eq!(
        world
            .status(&admin, "DELETE", "/v1/tokens/0123456789abcdef")
            .await,
        404
    );
    assert_eq!(world.status(&admin, "DELETE", "/v1/tokens/x").await, 400);
}
