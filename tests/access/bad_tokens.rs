//! What is no token, or none any more; and who tries too often.

use serde_json::json;

use crate::world::{World, sent, token_of, told};

#[tokio::test]
async fn what_is_no_token_is_refused_as_rfc_6750_says() {
    let world = World::of(1).await;
    let admin = world.first().await;
    let other = World::of(1).await.first().await;
    let mut cut = admin.clone();
    cut.pop();
    let (named, _) = admin.rsplit_once('.').expect("it has parts");
    let (_, secret) = other.rsplit_once('.').expect("it has parts");
    let mixed = format!("{named}.{secret}");
    for bad in ["x", &cut, &other, &mixed] {
        let refused = sent(world.ask(0, bad, "GET", "/v1/kv")).await;
        let challenge = &refused.headers()["www-authenticate"];
        assert_eq!(
            challenge,
            "Bearer realm=\"grapevine\", error=\"invalid_token\""
        );
        assert_eq!(refused.headers()["cache-control"], "no-store");
        let problem = told(refused, 401).await;
        assert_eq!(problem["type"], "urn:problem-type:grapevine:unauthorized");
        assert!(!problem.to_string().contains(bad) || bad == "x");
    }
    let ask = async |authorization: &str| {
        let request = world
            .ask(0, "", "GET", "/v1/kv")
            .header("authorization", authorization);
        sent(request).await
    };
    // Another scheme is no attempt: the answer says which one is spoken.
    let basic = ask("Basic YTpi").await;
    assert_eq!(
        basic.headers()["www-authenticate"],
        "Bearer realm=\"grapevine\""
    );
    assert_eq!(basic.status().as_u16(), 401);
    assert_eq!(ask(&format!("bEARER {admin}")).await.status().as_u16(), 200);
    let twice = world
        .ask(0, &admin, "GET", "/v1/kv")
        .header("authorization", "Bearer x");
    told(sent(twice).await, 400).await;
    // In the address it would be in every log on the way.
    assert_eq!(
        world
            .status("", "GET", &format!("/v1/kv?access_token={admin}"))
            .await,
        401
    );
}

#[tokio::test]
async fn an_expired_token_is_worth_nothing() {
    let world = World::of(1).await;
    let admin = world.first().await;
    let token = token_of(
        &world
            .token(&admin, json!({"role": "read", "expires_in": 1}))
            .await,
    );
    crate::support::wait::until("it expires", async || {
        let refused = sent(world.ask(0, &token, "GET", "/v1/kv")).await;
        if refused.status().as_u16() == 200 {
            return Err("it is worth something".to_owned());
        }
        let problem = told(refused, 401).await;
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|why| why.contains("expired"))
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn who_tries_too_often_waits_and_locks_out_nobody_who_was_let_in() {
    let world = World::of(1).await;
    let admin = world.first().await;
    assert_eq!(world.status(&admin, "GET", "/v1/kv").await, 200);
    let mut statuses = Vec::new();
    for number in 0..100 {
        let guess = format!("gvt1.{number:016x}.BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
        let refused = sent(world.ask(0, &guess, "GET", "/v1/kv")).await;
        let status = refused.status().as_u16();
        if status == 429 {
            let wait = refused.headers()["retry-after"].to_str().expect("ASCII");
            assert!((1..=60).contains(&wait.parse::<u64>().expect("seconds")));
            let problem = told(refused, 429).await;
            assert_eq!(
                problem["type"],
                "urn:problem-type:grapevine:too-many-attempts"
            );
        }
        statuses.push(status);
    }
    assert!(
        statuses[..20].iter().all(|status| *status == 401),
        "{statuses:?}"
    );
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!(refused > 50, "{statuses:?}");
    assert_eq!(world.status(&admin, "GET", "/v1/kv").await, 200);
    assert_eq!(world.status("", "GET", "/healthz").await, 200);
}

/// How many of 40 guesses by the client `forwarded` are heard.
async fn heard(world: &World, forwarded: impl Fn(usize) -> String) -> usize {
    let mut heard = 0;
    for number in 0..40 {
        let guess = world.ask(0, "nonsense", "GET", "/v1/kv");
        let guess = guess.header("x-forwarded-for", forwarded(number));
        heard += usize::from(sent(guess).await.status().as_u16() == 401);
    }
    heard
}

#[tokio::test]
async fn who_tries_too_often_writes_another_address_into_a_header() {
    let world = World::of(1).await;
    world.first().await;
    let heard = heard(&world, |number| format!("203.0.113.{number}")).await;
    assert!((20..30).contains(&heard), "{heard}");
}

#[tokio::test]
async fn one_who_tries_too_often_shuts_out_everybody_behind_the_proxy() {
    let world = World::set(|config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    })
    .await;
    world.first().await;
    // What it wrote there itself does not help it.
    let guesser = heard(&world, |number| format!("203.0.113.{number}, 192.0.2.1")).await;
    assert!((20..30).contains(&guesser), "{guesser}");
    let other = world.ask(0, "nonsense", "GET", "/v1/kv");
    let other = sent(other.header("x-forwarded-for", "192.0.2.2, 127.0.0.2")).await;
    assert_eq!(other.status().as_u16(), 401);
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_revoked() {
    let world = World::set(|config| config.heartbeat_ms = 100).await;
    let open = sent(world.ask(0, "", "GET", "/v1/watch")).await;
    let admin = world.first().await;
    let made = world.token(&admin, json!({"role": "read"})).await;
    let (id, token) = (made["id"].as_str().expect("an id"), token_of(&made));
    let watching = sent(world.ask(0, &token, "GET", "/v1/watch")).await;
    let listening = sent(world.ask(0, &token, "GET", "/v1/topics/news/stream")).await;
    assert_eq!(watching.status().as_u16(), 200);
    // Who listened while access was open does not go on when it is closed.
    let ended = async |stream: reqwest::Response| {
        tokio::time::timeout(std::time::Duration::from_secs(30), stream.bytes()).await
    };
    ended(open).await.expect("it ends").expect("in good order");
    assert_eq!(
        world
            .status(&admin, "DELETE", &format!("/v1/tokens/{id}"))
            .await,
        204
    );
    ended(watching)
        .await
        .expect("it ends")
        .expect("in good order");
    ended(listening)
        .await
        .expect("it ends")
        .expect("in good order");
}
