//! The first token: there is one, it closes every node, and who lost it can get in again.

use std::{net::SocketAddr, path::Path};

use serde_json::Value;

use crate::{
    support::{
        program::{complaint, grapevine, run},
        wait::until,
    },
    world::{World, sent, token_of, told},
};

#[tokio::test]
async fn the_first_token_closes_every_node_that_hears_of_it() {
    let world = World::of(2).await;
    for node in [0, 1] {
        let open = sent(world.ask(node, "", "PUT", "/v1/kv/a").body("x")).await;
        assert_eq!(open.status().as_u16(), 204);
    }
    // A token is no reason to be refused where none is needed.
    assert_eq!(world.status("nonsense", "GET", "/v1/kv/a").await, 200);
    let admin = world.first().await;
    assert_eq!(world.status("", "GET", "/v1/kv/a").await, 401);
    assert_eq!(world.status("", "POST", "/v1/tokens/first").await, 401);
    assert_eq!(world.status(&admin, "POST", "/v1/tokens/first").await, 409);
    until("the other node is closed too", async || {
        let open = sent(world.ask(1, "", "GET", "/v1/kv/a")).await;
        (open.status().as_u16() == 401)
            .then_some(())
            .ok_or("it is open")
    })
    .await;
    until("the other node knows the token", async || {
        let read = sent(world.ask(1, &admin, "GET", "/v1/kv/a")).await;
        let status = read.status().as_u16();
        (status == 200).then_some(()).ok_or(status)
    })
    .await;
    for path in ["/ping", "/healthz"] {
        assert_eq!(world.status("", "GET", path).await, 200, "{path}");
    }
    until("the node is ready, and says so to everybody", async || {
        let status = world.status("", "GET", "/readyz").await;
        (status == 200).then_some(()).ok_or(status)
    })
    .await;
}

#[tokio::test]
async fn a_token_that_is_revoked_on_one_node_is_worth_nothing_on_another() {
    let world = World::of(2).await;
    let admin = world.first().await;
    let made = world
        .token(&admin, serde_json::json!({"role": "read"}))
        .await;
    let (id, token) = (made["id"].as_str().expect("an id"), token_of(&made));
    // Until it has heard of the first, it lets everybody in.
    until("the other node knows it", async || {
        let statuses = [
            sent(world.ask(1, "", "GET", "/v1/kv"))
                .await
                .status()
                .as_u16(),
            sent(world.ask(1, &token, "GET", "/v1/kv"))
                .await
                .status()
                .as_u16(),
            sent(world.ask(1, &admin, "GET", "/v1/kv"))
                .await
                .status()
                .as_u16(),
        ];
        (statuses == [401, 200, 200]).then_some(()).ok_or(statuses)
    })
    .await;
    let revoke = world.ask(1, &admin, "DELETE", &format!("/v1/tokens/{id}"));
    assert_eq!(sent(revoke).await.status().as_u16(), 204);
    let read = sent(world.ask(1, &token, "GET", "/v1/kv")).await;
    assert_eq!(read.status().as_u16(), 401);
    until("the first node has heard of it", async || {
        let read = sent(world.ask(0, &token, "GET", "/v1/kv")).await;
        (read.status().as_u16() == 401)
            .then_some(())
            .ok_or("it has not")
    })
    .await;
}

#[tokio::test]
async fn revoking_every_token_opens_nothing() {
    let world = World::of(1).await;
    let admin = world.first().await;
    let all = told(sent(world.ask(0, &admin, "GET", "/v1/tokens")).await, 200).await;
    let id = all["items"][0]["id"].as_str().expect("an id").to_owned();
    let revoke = world
        .status(&admin, "DELETE", &format!("/v1/tokens/{id}"))
        .await;
    assert_eq!(revoke, 204);
    assert_eq!(world.status(&admin, "GET", "/v1/kv").await, 401);
    assert_eq!(world.status("", "GET", "/v1/kv").await, 401);
}

#[tokio::test]
async fn a_node_that_others_reach_is_closed_from_its_first_moment_unless_told_otherwise() {
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let world = World::set(|config| config.http = everywhere).await;
    for (method, path) in [
        ("GET", "/v1/kv"),
        ("POST", "/v1/tokens/first"),
        ("GET", "/v1/nowhere"),
    ] {
        let refused = sent(world.ask(0, "", method, path)).await;
        assert_eq!(
            refused.headers()["www-authenticate"],
            "Bearer realm=\"grapevine\""
        );
        let problem = told(refused, 401).await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("grapevine token bootstrap"), "{problem}");
    }
    assert_eq!(world.status("", "GET", "/healthz").await, 200);
    let open = World::set(|config| {
        config.http = everywhere;
        config.insecure = true;
    })
    .await;
    assert_eq!(open.status("", "GET", "/v1/kv").await, 200);
    open.first().await;
    assert_eq!(open.status("", "GET", "/v1/kv").await, 401);
}

/// What `token bootstrap` on a closed store answers.
fn bootstrap(data: &Path, out: &Path) -> std::process::Output {
    let mut command = grapevine();
    command
        .args(["token", "bootstrap", "--json", "--data"])
        .arg(data);
    run(command.arg("--out").arg(out))
}

#[tokio::test]
async fn the_first_token_is_made_before_a_node_ever_ran_and_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (data, out) = (
        directory.path().join("alone"),
        directory.path().join("token"),
    );
    let made = bootstrap(&data, &out);
    assert!(made.status.success(), "{}", complaint(&made));
    let info: Value = serde_json::from_slice(&made.stdout).expect("it is JSON");
    let token = std::fs::read_to_string(&out).expect("it is there");
    assert!(!String::from_utf8_lossy(&made.stdout).contains(token.trim()));
    assert_eq!(info["role"], "admin");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let bits = std::fs::metadata(&out)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(bits & 0o777, 0o600);
    }
    let other = directory.path().join("other");
    let again = bootstrap(&data, &other);
    assert_eq!(again.status.code(), Some(1), "{}", complaint(&again));
    assert!(!other.exists());
    let world = World::set(|config| {
        config.data.clone_from(&data);
        config.http = SocketAddr::from(([0, 0, 0, 0], 0));
    })
    .await;
    assert_eq!(world.status("", "GET", "/v1/kv").await, 401);
    assert_eq!(world.status(token.trim(), "GET", "/v1/tokens").await, 200);
    let running = bootstrap(&data, &other);
    assert_eq!(running.status.code(), Some(2), "{}", complaint(&running));
}

#[tokio::test]
async fn who_lost_every_token_gets_in_again_by_the_data_directory() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("alone");
    let make = |arguments: &[&str]| {
        let mut command = grapevine();
        command
            .args(["token"])
            .args(arguments)
            .arg("--data")
            .arg(&data);
        let made = run(&mut command);
        assert!(made.status.success(), "{}", complaint(&made));
        String::from_utf8(made.stdout)
            .expect("it is text")
            .trim()
            .to_owned()
    };
    let lost = make(&["bootstrap"]);
    let admin = make(&["new", "--role", "admin"]);
    let limited = make(&[
        "new",
        "--role",
        "read",
        "--collection",
        "kv",
        "--prefix",
        "a/",
        "--days",
        "1",
    ]);
    let world = World::set(|config| config.data.clone_from(&data)).await;
    let id = lost.split('.').nth(1).expect("it has an id");
    assert_eq!(
        world
            .status(&admin, "DELETE", &format!("/v1/tokens/{id}"))
            .await,
        204
    );
    assert_eq!(world.status(&lost, "GET", "/v1/kv").await, 401);
    assert_eq!(world.status(&limited, "GET", "/v1/kv").await, 200);
    assert_eq!(world.status(&limited, "GET", "/v1/kv/b").await, 403);
}
