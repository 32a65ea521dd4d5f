//! The danger: changing the secrets of a running cluster loses writes or parts the nodes; or a secret is there to be read
//! in what a node says.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use support::{
    client::{NodeClient, Refused},
    cluster::{all_agree, all_see_all, clients, same_bytes},
    process::{NodeProcess, Start},
    program::{complaint, grapevine, run},
    wait::until,
};
use tokio::task::JoinSet;

const NAMES: [&str; 3] = ["one", "two", "three"];

/// A new secret, as the program makes it.
fn new_secret() -> String {
    let output = run(grapevine().args(["secret", "new"]));
    assert!(output.status.success(), "{}", complaint(&output));
    let text = String::from_utf8(output.stdout).expect("it is plain");
    assert_eq!(text.lines().count(), 1);
    text.trim_end().to_owned()
}

fn fingerprint(secret: &str, directory: &Path) -> String {
    let file = directory.join("one-secret");
    fs::write(&file, secret).expect("it can be written");
    let output = run(grapevine().args(["secret", "show"]).arg(file));
    assert!(output.status.success(), "{}", complaint(&output));
    let text = String::from_utf8(output.stdout).expect("it is plain");
    text.trim_end().to_owned()
}

fn secret_file(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.secret"))
}

/// As an operator does it: whole, by renaming.
fn write_secrets(directory: &Path, name: &str, secrets: &[&str]) {
    let new = directory.join(format!("{name}.secret.new"));
    fs::write(&new, secrets.join("\n") + "\n").expect("it can be written");
    fs::rename(new, secret_file(directory, name)).expect("it can be renamed");
}

fn sealed(directory: &Path, name: &str, seeds: &[String], level: &str) -> Start {
    let mut start = Start::new(name, directory, seeds);
    start.more = vec![
        "--cluster-secret-file".into(),
        secret_file(directory, name).into(),
        "--log-level".into(),
        level.into(),
    ];
    start
}

fn log(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(format!("{name}.log"))).expect("a node logs")
}

/// Writes to one node until it is told to stop; every write must be taken.
async fn write(node: NodeClient, name: &'static str, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut written = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let key = format!("{name}-{}", written.len());
        node.put_kv(&key, &key).await.expect("a write is taken");
        written.push(key);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    written
}

/// Looks whether a node sees all as alive, until it is told to stop; yields how often, and what it saw otherwise.
async fn watch(node: NodeClient, stop: Arc<AtomicBool>) -> (usize, Vec<String>) {
    let (mut looks, mut missed) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let cluster = node.get("/v1/cluster").await.expect("it answers");
        let members = cluster["members"].as_array().expect("a list");
        let alive = members.iter().filter(|member| member["alive"] == true);
        if alive.count() != NAMES.len() {
            missed.push(cluster.to_string());
        }
        looks += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (looks, missed)
}

/// Waits until a node says that it uses these secrets.
async fn until_read(directory: &Path, name: &str, sends_with: &str, also: &str) {
    let parts = [
        format!("\"sends_with\":\"{sends_with}\""),
        format!("\"also_accepts\":\"{also}\""),
    ];
    until("line that the secrets were read", async || {
        let log = log(directory, name);
        let mut lines = log.lines();
        let told = lines.any(|told| parts.iter().all(|part| told.contains(part)));
        if told { Ok(()) } else { Err("none") }
    })
    .await;
}

async fn until_there(node: &NodeClient, key: &str) {
    until("value of a key", async || match node.get_kv(key).await {
        Ok(Some(_)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_the_secrets_one_node_after_the_other_loses_a_write_or_a_member() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let directory = directory.path();
    let (old, new) = (new_secret(), new_secret());
    let mut nodes: Vec<NodeProcess> = Vec::new();
    for name in NAMES {
        write_secrets(directory, name, &[&old]);
        let seeds: Vec<String> = nodes.first().map(NodeProcess::seed).into_iter().collect();
        nodes.push(NodeProcess::start(sealed(directory, name, &seeds, "info")));
    }
    let to = clients(&nodes);
    all_see_all(&to).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (mut writers, mut watchers) = (JoinSet::new(), JoinSet::new());
    for (node, name) in to.iter().zip(NAMES) {
        writers.spawn(write(node.clone(), name, stop.clone()));
        watchers.spawn(watch(node.clone(), stop.clone()));
    }
    let prints = [fingerprint(&old, directory), fingerprint(&new, directory)];
    let steps: [(&[&str], [&str; 2]); 3] = [
        (&[&old, &new], [&prints[0], &prints[1]]),
        (&[&new, &old], [&prints[1], &prints[0]]),
        (&[&new], [&prints[1], ""]),
    ];
    for (secrets, [sends_with, also]) in steps {
        for name in NAMES {
            write_secrets(directory, name, secrets);
            until_read(directory, name, sends_with, also).await;
            // What is written now comes to all, whatever step each is at.
            let key = format!("step-{name}-{sends_with}-{also}");
            to[0].put_kv(&key, "x").await.expect("a write is taken");
            for node in &to {
                until_there(node, &key).await;
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    let written: Vec<String> = writers.join_all().await.concat();
    let watched = watchers.join_all().await;
    let looks: usize = watched.iter().map(|(looks, _)| looks).sum();
    println!(
        "{} writes and {looks} looks while the secrets were changed",
        written.len()
    );
    for (_, missed) in watched {
        assert_eq!(missed, [""; 0], "somebody was not seen alive");
    }
    assert!(written.len() > 100, "{}", written.len());
    all_agree(&to).await;
    for key in &written {
        let value = to[0].get_kv(key).await.expect("it answers");
        assert_eq!(value.as_deref(), Some(key.as_str()));
    }
    same_bytes(&to, "/v1/kv?limit=1000").await;
    the_old_secret_opens_no_door(directory, nodes, &to, &old).await;
}

/// Ends the third node and starts it with the old secret; then spoils the file of the first.
async fn the_old_secret_opens_no_door(
    directory: &Path,
    mut nodes: Vec<NodeProcess>,
    to: &[NodeClient],
    old: &str,
) {
    let last = nodes.pop().expect("there are three");
    let start = last.terminate();
    write_secrets(directory, "three", &[old]);
    let outside = NodeProcess::start(start);
    until("refusal of who has the old secret", async || {
        let cluster = to[0].get("/v1/cluster").await?;
        let refused = cluster["refused"].as_array().cloned().unwrap_or_default();
        let named = refused.iter().any(|refused| {
            let reason = refused["reason"].as_str().unwrap_or_default();
            reason.contains("another cluster secret")
        });
        if named {
            Ok(())
        } else {
            Err(Refused(cluster.to_string()))
        }
    })
    .await;
    to[0]
        .put_kv("afterwards", "x")
        .await
        .expect("a write is taken");
    until_there(&to[1], "afterwards").await;
    let outside_client = NodeClient::new(outside.url());
    assert_eq!(
        outside_client
            .get_kv("afterwards")
            .await
            .expect("it answers"),
        None
    );
    // A file that says nothing good changes nothing, and is told.
    fs::write(secret_file(directory, "one"), "gvsecret1_half").expect("it can be written");
    until("complaint about the file", async || {
        let told = log(directory, "one").contains("the secrets read before stay in use");
        if told { Ok(()) } else { Err("none") }
    })
    .await;
    to[0].put_kv("still", "x").await.expect("a write is taken");
    until_there(&to[1], "still").await;
}

/// All that must be nowhere: the text, and the bytes in any form in which a program might print them.
fn traces(secret: &str) -> Vec<String> {
    let body = secret.strip_prefix("gvsecret1_").expect("a secret");
    let decoded = base64_bytes(body);
    let hex = decoded.iter().map(|byte| format!("{byte:02x}"));
    let hex = hex.collect::<Vec<_>>().concat();
    let listed: Vec<String> = decoded.iter().map(ToString::to_string).collect();
    vec![
        body[..16].to_owned(),
        body[20..36].to_owned(),
        hex[..16].to_owned(),
        hex[..16].to_uppercase(),
        listed[..6].join(", "),
        listed[..6].join(","),
    ]
}

fn base64_bytes(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bits = 0_u32;
    let mut bytes = Vec::new();
    for (index, character) in text.bytes().enumerate() {
        let digit = DIGITS.iter().position(|digit| *digit == character);
        bits = (bits << 6) | u32::try_from(digit.expect("base64")).expect("it is small");
        if index % 4 == 3 {
            bytes.extend_from_slice(&bits.to_be_bytes()[1..]);
            bits = 0;
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_told_by_a_log_an_answer_or_an_error() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let directory = directory.path();
    let (secret, other, mistaken) = (new_secret(), new_secret(), new_secret());
    write_secrets(directory, "one", &[&secret, &other]);
    write_secrets(directory, "two", &[&secret]);
    write_secrets(directory, "three", &[&mistaken]);
    let one = NodeProcess::start(sealed(directory, "one", &[], "trace"));
    let seeds = [one.seed()];
    let two = NodeProcess::start(sealed(directory, "two", &seeds, "trace"));
    let three = NodeProcess::start(sealed(directory, "three", &seeds, "trace"));
    let to = [NodeClient::new(one.url()), NodeClient::new(two.url())];
    for node in &to {
        until("member of every node", async || {
            let cluster = node.get("/v1/cluster").await?;
            let members = cluster["members"].as_array().map_or(0, Vec::len);
            if members == 2 {
                Ok(())
            } else {
                Err(Refused(cluster.to_string()))
            }
        })
        .await;
    }
    to[0]
        .put_kv("key", "value")
        .await
        .expect("a write is taken");
    all_agree(&to).await;
    until("refusal of the third", async || {
        let cluster = to[0].get("/v1/cluster").await?;
        let refused = cluster["refused"].as_array().map_or(0, Vec::len);
        if refused > 0 {
            Ok(())
        } else {
            Err(Refused(cluster.to_string()))
        }
    })
    .await;
    let mut said = to[0]
        .get("/v1/cluster")
        .await
        .expect("it answers")
        .to_string();
    for node in [one, two, three] {
        let name = node.name().to_owned();
        node.terminate();
        let log = log(directory, &name);
        assert!(log.contains("\"level\":\"DEBUG\""), "it logs all");
        said.push_str(&log);
    }
    said.push_str(&mistakes(directory, &secret));
    for secret in [&secret, &other, &mistaken] {
        for trace in traces(secret) {
            assert!(!said.contains(&trace), "{trace} is told");
        }
    }
}

/// Arguments, variables, and what must be in the answer.
type Mistake<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a [&'a str]);

/// What is said to those who put a secret where none belongs.
fn mistakes(directory: &Path, secret: &str) -> String {
    let damaged = format!(
        "{}{}",
        &secret[..secret.len() - 1],
        if secret.ends_with('A') { "B" } else { "A" }
    );
    let half = &secret[..40];
    let settings = directory.join("settings.toml");
    fs::write(&settings, format!("cluster_secret = \"{secret}\"")).expect("it can be written");
    let in_the_file = directory.join("settings-2.toml");
    fs::write(&in_the_file, format!("cluster_secret_file = \"{secret}\""))
        .expect("it can be written");
    let bad_file = directory.join("bad.secret");
    fs::write(&bad_file, &damaged).expect("it can be written");
    let good_file = secret_file(directory, "two");
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let wrong: [Mistake<'_>; 9] = [
        (
            &[],
            &[("GRAPEVINE_CLUSTER_SECRET", &damaged)],
            &["GRAPEVINE_CLUSTER_SECRET", "checksum"],
        ),
        (
            &[],
            &[("GRAPEVINE_CLUSTER_SECRET", half)],
            &["GRAPEVINE_CLUSTER_SECRET", "48 characters"],
        ),
        (
            &[],
            &[("GRAPEVINE_CLUSTER_SECRET", "hunter2")],
            &["GRAPEVINE_CLUSTER_SECRET", "gvsecret1_"],
        ),
        (
            &[],
            &[("GRAPEVINE_CLUSTER_SECERT", secret)],
            &["GRAPEVINE_CLUSTER_SECERT", "GRAPEVINE_CLUSTER_SECRET"],
        ),
        (
            &["--config", &path(&settings)],
            &[],
            &["`cluster_secret`", "cluster_secret_file"],
        ),
        (
            &["--config", &path(&in_the_file)],
            &[],
            &["`cluster_secret_file`", "path of a file"],
        ),
        (
            &["--cluster-secret-file", secret],
            &[],
            &["`cluster_secret_file`", "path of a file"],
        ),
        (
            &["--cluster-secret-file", &path(&bad_file)],
            &[],
            &["cluster_secret_file", "bad.secret", "checksum"],
        ),
        (
            &["--cluster-secret-file", &path(&good_file)],
            &[("GRAPEVINE_CLUSTER_SECRET", secret)],
            &["both", "give one"],
        ),
    ];
    let mut said = String::new();
    for (arguments, variables, words) in wrong {
        let data = directory.join("never");
        let mut command = grapevine();
        command
            .args(["serve", "--name", "never", "--data"])
            .arg(&data);
        command.args(["--http", "127.0.0.1:0", "--peer", "127.0.0.1:0"]);
        command.args(arguments).envs(variables.iter().copied());
        let output = run(&mut command);
        let complaint = complaint(&output);
        assert_eq!(output.status.code(), Some(2), "{complaint}");
        for word in words {
            assert!(complaint.contains(word), "no {word} in {complaint}");
        }
        assert!(!data.exists(), "nothing was opened");
        said.push_str(&complaint);
        assert!(output.stdout.is_empty());
    }
    // A flag that takes the secret itself: there is none.
    let output = run(grapevine().args(["serve", "--cluster-secret", "hunter2"]));
    assert_eq!(output.status.code(), Some(2));
    said
}
