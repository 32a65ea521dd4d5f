//! Imports of any size: what is ahead of the node is bounded, and a file that is cut off changes nothing.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    import::{card, import},
    support::{TestServer, expect, expect_problem, send},
};

#[tokio::test]
async fn many_cards_go_in_and_are_reported_in_their_order() {
    let server = TestServer::start().await;
    let file: String = (0..1_500)
        .map(|n| card(&format!("FN:Person {n}")))
        .collect();
    let report = import(&server, file).await;
    assert_eq!(report["created"], 1_500);
    let cards = report["cards"].as_array().expect("cards");
    for (index, card) in cards.iter().enumerate() {
        assert_eq!(card["index"], index);
        assert_eq!(card["name"], format!("Person {index}"));
    }
}

#[tokio::test]
async fn a_file_larger_than_any_body_goes_in_and_one_without_bound_does_not() {
    let limited =
        |limits: &mut grapevine::http::HttpLimits| limits.max_import_bytes = 1_024 * 1_024;
    let server = TestServer::start_limited(|_| {}, limited).await;
    let note = format!("FN:Ada\r\nNOTE:{}", "x".repeat(60_000));
    let file: String = (0..10).map(|n| card(&format!("{note}{n}"))).collect();
    assert!(file.len() > 2 * crate::support::MAX_BODY_BYTES);
    assert_eq!(import(&server, file.clone()).await["created"], 10);
    let request = server.request("POST", "/v1/contacts/import");
    let response = send(request.body(file.repeat(2))).await;
    expect_problem(response, 413, Some("body")).await;
}

#[tokio::test]
async fn a_property_of_fifty_megabytes_takes_the_next_card_with_it() {
    let server = TestServer::start().await;
    let huge = format!("FN:Huge\r\nNOTE:{}", "x".repeat(50 * 1_024 * 1_024));
    let report = import(&server, [card("FN:A"), card(&huge), card("FN:B")].concat()).await;
    assert_eq!(report["created"], 2, "{report}");
    let problem = report["cards"][1]["problem"].as_str().expect("a problem");
    assert_eq!(problem, "it has more than 4194304 bytes");
    assert_eq!(report["cards"][2]["name"], "B");
}

#[tokio::test]
async fn a_body_that_is_cut_off_leaves_half_of_it_behind() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.address)
        .await
        .expect("it listens");
    let head = "POST /v1/contacts/import HTTP/1.1\r\nhost: here\r\ncontent-length: 100000\r\n\r\n";
    let sent = [head, &card("FN:Ada")].concat();
    stream
        .write_all(sent.as_bytes())
        .await
        .expect("it is taken");
    stream.shutdown().await.expect("it can be closed");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let listed = expect(server.get("/v1/contacts").await, 200).await;
    assert_eq!(listed["items"], json!([]));
}

#[tokio::test]
async fn each_card_is_told_as_it_is_decided_to_who_asks_for_it() {
    let server = TestServer::start().await;
    let post = |body: String| {
        let request = server.request("POST", "/v1/contacts/import");
        send(request.header("accept", "application/x-ndjson").body(body))
    };
    let file = [card("FN:A"), card("X-NOTHING:1"), card("FN:B")].concat();
    let response = post(file).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().await.expect("text");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let told: Vec<&str> = lines[..3]
        .iter()
        .map(|line| line["status"].as_str().expect("a status"))
        .collect();
    assert_eq!(told, ["created", "rejected", "created"]);
    let summary =
        json!({"created": 2, "updated": 0, "unchanged": 0, "rejected": 1, "stray_lines": 0});
    assert_eq!(lines[3]["summary"], summary);
    // Its token is that of the writes.
    let token = lines[3]["token"].as_str().expect("a token").to_owned();
    let request = server
        .request("GET", "/v1/contacts")
        .header("grapevine-token", token);
    let listed = expect(send(request).await, 200).await;
    assert_eq!(listed["items"].as_array().expect("items").len(), 2);
    let text = post("nothing".to_owned()).await.text().await.expect("text");
    let last: Value = serde_json::from_str(text.trim()).expect("JSON");
    assert_eq!(last["problem"]["field"], "body", "{last}");
}
