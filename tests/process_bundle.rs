//! The danger: between sites that no network joins, files are carried late, twice, in the wrong order or damaged,
//! and something is lost, counted twice or half applied.

mod support;

use std::{fs, path::Path, process::Output};

use serde_json::{Value, json};
use support::{
    client::NodeClient,
    cluster::same_bytes,
    process::{NodeProcess, Start},
    program::{complaint, grapevine, run},
};

fn bundle(arguments: &[&str]) -> Output {
    run(grapevine().arg("bundle").args(arguments))
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", complaint(output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn token(node: &NodeProcess) -> String {
    said(&bundle(&["token", "--node", &node.url()]))
}

fn export(node: &NodeProcess, since: &str, file: &Path) {
    let file = file.to_str().expect("a path in UTF-8");
    let url = node.url();
    let mut arguments = vec!["export", "--node", &url, "-o", file];
    if !since.is_empty() {
        arguments.extend(["--since", since]);
    }
    said(&bundle(&arguments));
}

fn import(node: &NodeProcess, file: &Path) -> Output {
    let file = file.to_str().expect("a path in UTF-8");
    bundle(&["import", file, "--node", &node.url()])
}

fn taken(node: &NodeProcess, file: &Path) -> Value {
    serde_json::from_str(&said(&import(node, file))).expect("it answers with JSON")
}

const PATHS: [&str; 4] = [
    "/v1/contacts?limit=1000",
    "/v1/kv?limit=1000",
    "/v1/counters?limit=1000",
    "/v1/kv/notice",
];

#[tokio::test(flavor = "multi_thread")]
async fn nodes_without_a_network_between_them_agree_by_files() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let home = NodeProcess::start(Start::new("home", directory.path(), &[]));
    let ship = NodeProcess::start(Start::new("ship", directory.path(), &[]));
    let clients = [NodeClient::new(home.url()), NodeClient::new(ship.url())];
    for (number, node) in clients.iter().enumerate() {
        for key in 0..50 {
            let contact = json!({ "name": format!("{number}-{key}") });
            node.create_contact(contact).await.expect("acknowledged");
        }
        node.put_kv("notice", &number.to_string())
            .await
            .expect("acknowledged");
        node.increment("cargo", 10).await.expect("acknowledged");
    }
    let file = |name: &str| directory.path().join(name);
    let (first, back, second) = (file("first"), file("back"), file("second"));
    export(&home, &token(&ship), &first);
    assert!(!file("first.partial").exists());
    let answer = taken(&ship, &first);
    assert_eq!(answer["from"], "home");
    let told = answer["token"].as_str().expect("a token").to_owned();
    export(&ship, &token(&home), &back);
    taken(&home, &back);
    for path in PATHS {
        same_bytes(&clients, path).await;
    }
    assert_eq!(clients[1].counter("cargo").await.expect("it answers"), 20);
    // The next file holds only what is new, and builds upon the first.
    clients[0]
        .increment("cargo", 1)
        .await
        .expect("acknowledged");
    export(&home, &told, &second);
    assert!(fs::metadata(&second).expect("a file").len() < 10_000);
    let stranger = NodeProcess::start(Start::new("stranger", directory.path(), &[]));
    let refused = import(&stranger, &second);
    assert!(!refused.status.success());
    assert!(
        complaint(&refused).contains("does not hold"),
        "{}",
        complaint(&refused)
    );
    let stranger = NodeClient::new(stranger.url());
    assert_eq!(stranger.counter("cargo").await.expect("it answers"), 0);
    // Late, twice and in the wrong order it does no harm.
    for carried in [&second, &first, &second, &back, &first] {
        taken(&ship, carried);
    }
    assert_eq!(taken(&ship, &second)["changes"], 0);
    assert_eq!(clients[1].counter("cargo").await.expect("it answers"), 21);
    for path in PATHS {
        same_bytes(&clients, path).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_refused_whole_by_the_command_and_by_the_node() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let home = NodeProcess::start(Start::new("home", directory.path(), &[]));
    let ship = NodeProcess::start(Start::new("ship", directory.path(), &[]));
    let (at_home, at_sea) = (NodeClient::new(home.url()), NodeClient::new(ship.url()));
    for key in 0..200 {
        at_home
            .put_kv(&key.to_string(), "x")
            .await
            .expect("acknowledged");
    }
    let whole = directory.path().join("whole");
    export(&home, "", &whole);
    let bytes = fs::read(&whole).expect("a file");
    let damaged = directory.path().join("damaged");
    for place in [0, 8, bytes.len() / 2, bytes.len() - 40, bytes.len() - 1] {
        let mut wrong = bytes.clone();
        wrong[place] ^= 1;
        for wrong in [&wrong[..], &bytes[..place]] {
            fs::write(&damaged, wrong).expect("it can be written");
            let refused = import(&ship, &damaged);
            assert!(!refused.status.success(), "byte {place}");
            let body = Some(("application/octet-stream", wrong.to_vec()));
            let refused = at_sea.send(reqwest::Method::POST, "/v1/bundle", body).await;
            let refused = refused.expect("it answers");
            assert_eq!(refused.status().as_u16(), 400, "byte {place}");
        }
    }
    let listed = at_sea.get("/v1/kv").await.expect("it answers");
    assert_eq!(listed["items"], json!([]));
    let spooled = fs::read_dir(ship.data()).expect("a directory");
    let left = spooled.filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name();
        name.to_string_lossy().contains("bundle")
    });
    assert_eq!(left.count(), 0, "nothing is left behind");
    taken(&ship, &whole);
    assert_eq!(
        at_sea.get_kv("7").await.expect("it answers").as_deref(),
        Some("x")
    );
}
