//! The dangers: a program that uses the client stops because one of several nodes is down, writes something twice
//! because an answer was lost, or is told that something happened, or did not, which nobody knows.

mod support;

use std::{path::Path, time::Duration};

use grapevine::{
    client::{Client, ClientError, ClientOptions, Condition, ContactDraft, ProblemKind},
    node::Node,
};
use serde_json::json;
use support::{
    local::{Mute, nobody, node, url},
    proxy::TearingProxy,
};

fn client(nodes: &[String]) -> Client {
    options(nodes).connect().expect("there is a node")
}

fn options(nodes: &[String]) -> ClientOptions {
    nodes
        .iter()
        .fold(ClientOptions::default(), |options, node| {
            options.node(node).expect("an address")
        })
}

fn called(name: &str) -> ContactDraft {
    ContactDraft {
        name: name.to_owned(),
        ..ContactDraft::default()
    }
}

async fn alone(directory: &Path) -> Node {
    node(directory, "one", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_node_is_asked_when_one_is_down() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = alone(directory.path()).await;
    let client = client(&[nobody(), url(&node), nobody()]);
    client
        .counters()
        .increment("visits", 2)
        .await
        .expect("one node is up, and nothing was sent to the other");
    let visits = client.counters().get("visits").await.expect("it answers");
    assert_eq!(visits.value.value, 2);
    assert_eq!(client.ping().await.expect("it answers"), url(&node));
    node.shutdown().await;
    let error = client.ping().await.expect_err("nobody is left");
    let ClientError::Unreachable { tried } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(tried.len(), 3);
    assert!(!error.may_have_happened());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_answered_is_repeated_only_if_it_does_no_harm() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = alone(directory.path()).await;
    for silent in [false, true] {
        let mute = Mute::start(silent).await;
        let fresh = || {
            options(&[mute.url.clone(), url(&node)])
                .answer_timeout(Duration::from_millis(500))
                .connect()
                .expect("there is a node")
        };
        let name = format!("visits-{silent}");
        let error = fresh().counters().increment(&name, 1).await;
        let error = error.expect_err("nobody knows");
        assert!(error.may_have_happened(), "{error}");
        assert!(error.to_string().contains("unknown"), "{error}");
        let error = fresh().counters().reset(&name, &Condition::None).await;
        assert!(error.expect_err("nobody knows").may_have_happened());
        let absent = &Condition::Absent;
        let error = fresh().kv().put_if(&name, "text/plain", "x", absent).await;
        assert!(error.expect_err("nobody knows").may_have_happened());
        let stands = client(&[url(&node)]).counters().get(&name).await;
        assert_eq!(stands.expect("it answers").value.value, 0);

        let counters = fresh();
        let counted = counters.counters().increment_once(&name, 3, &name).await;
        assert_eq!(counted.expect("it is repeated").value, 3);
        fresh()
            .kv()
            .put(&name, "text/plain", "hello")
            .await
            .expect("it is repeated");
        fresh()
            .contacts()
            .create(&called(&name))
            .await
            .expect("it is repeated");
        fresh()
            .kv()
            .get(&name)
            .await
            .expect("a question is repeated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_makes_nothing_twice() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = alone(directory.path()).await;
    let direct = client(&[url(&node)]);
    // Each first attempt reaches the node, and its answer is torn off.
    let torn = async || {
        let proxy = TearingProxy::start(node.http_addr().to_string(), vec![1]).await;
        let client = client(&[format!("http://{}", proxy.address()), url(&node)]);
        (proxy, client)
    };
    let (_proxy, client) = torn().await;
    let made = client.contacts().create(&called("Ada")).await;
    let made = made.expect("it is repeated");
    let all = direct.contacts().list().take(10).await.expect("a list");
    assert_eq!(all, std::slice::from_ref(&made));

    let (_proxy, client) = torn().await;
    let counted = client.counters().increment_once("sold", 5, "order-1").await;
    assert_eq!(counted.expect("it is repeated").value, 5);

    let (_proxy, client) = torn().await;
    let error = client.counters().increment("sold", 1).await;
    assert!(error.expect_err("nobody knows").may_have_happened());
    let sold = direct.counters().get("sold").await.expect("it answers");
    assert_eq!(sold.value.value, 6, "it had counted");

    let (_proxy, client) = torn().await;
    client
        .contacts()
        .delete(&made.id)
        .await
        .expect("the first attempt deleted it");
    let error = direct.contacts().delete(&made.id).await;
    assert!(error.expect_err("it is gone").is_not_found());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_reads_what_it_wrote_or_hears_that_it_cannot() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let here = node(directory.path(), "here", &[]).await;
    let elsewhere = directory.path().join("elsewhere");
    let apart = node(&elsewhere, "apart", &[]).await;
    let writer = client(&[url(&here)]);
    writer
        .kv()
        .put("greeting", "text/plain", "hello")
        .await
        .expect("acknowledged");
    let token = writer.token().expect("it wrote");
    let reader = options(&[url(&apart)]).rounds(1).connect();
    let reader = reader.expect("there is a node").new_session(Some(&token));
    let error = reader.kv().get("greeting").await;
    assert!(error.expect_err("it is apart").is(ProblemKind::Behind));
    let reader = client(&[url(&apart), url(&here)]).new_session(Some(&token));
    let value = reader
        .kv()
        .get("greeting")
        .await
        .expect("one of both has it");
    assert_eq!(value.expect("it is there").value.bytes, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_typed_and_a_condition_holds() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = alone(directory.path()).await;
    let client = client(&[url(&node)]);
    let error = client.contacts().create(&called("")).await;
    let error = error.expect_err("a contact has a name");
    let problem = error.problem().expect("the node says so");
    assert_eq!(problem.kind, ProblemKind::InvalidField);
    assert_eq!(
        (problem.status, problem.field.as_deref()),
        (422, Some("name"))
    );
    assert!(!error.may_have_happened());
    let error = client.contacts().get("nobody").await;
    assert!(error.expect_err("there is none").is_not_found());
    assert_eq!(client.kv().get("nothing").await.expect("it answers"), None);

    let contacts = client.contacts();
    let made = contacts
        .put("ada", &called("Ada"), &Condition::Absent)
        .await;
    let made = made.expect("it was not there");
    let patch = json!({ "title": "Countess" });
    let edited = contacts.patch("ada", &patch, &made.unchanged()).await;
    let edited = edited.expect("nobody else edits");
    assert_eq!(edited.value.fields.title.as_deref(), Some("Countess"));
    let late = contacts.patch("ada", &patch, &made.unchanged()).await;
    let late = late.expect_err("it has changed");
    assert!(late.is(ProblemKind::PreconditionFailed), "{late}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_many_pages_is_read_to_its_end() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = alone(directory.path()).await;
    let client = client(&[url(&node)]);
    let mut writing = tokio::task::JoinSet::new();
    for number in 0..1_203 {
        let client = client.clone();
        writing.spawn(async move {
            let key = format!("many/{number:04} ü/%2F?&#");
            client.kv().put(&key, "text/plain", "").await
        });
    }
    while let Some(written) = writing.join_next().await {
        written.expect("it does not panic").expect("acknowledged");
    }
    let keys = client.kv().list("many/").take(usize::MAX).await;
    let keys: Vec<String> = keys
        .expect("a list")
        .into_iter()
        .map(|entry| entry.key)
        .collect();
    let expected: Vec<String> = (0..1_203)
        .map(|number| format!("many/{number:04} ü/%2F?&#"))
        .collect();
    assert_eq!(keys, expected);
}
