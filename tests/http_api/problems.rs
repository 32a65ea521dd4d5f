//! What every resource has in common: unknown paths, wrong methods, bodies that cannot be read, time.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{TestServer, expect, expect_problem, send};

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems() {
    let server = TestServer::start().await;
    for path in [
        "/",
        "/v1",
        "/v2/kv/a",
        "/v1/kv/",
        "/v1/contacts/a/b",
        "/v1/counters/a/double",
    ] {
        expect_problem(server.get(path).await, 404, None).await;
    }
    for (method, path, allowed) in [
        ("DELETE", "/v1/contacts", "POST"),
        ("POST", "/v1/contacts/a", "PATCH"),
        ("GET", "/v1/contacts/import", "POST"),
        ("PUT", "/v1/counters/a", "DELETE"),
        ("GET", "/v1/counters/a/increment", "POST"),
        ("POST", "/v1/kv/a", "PUT"),
        ("PUT", "/ping", "GET"),
        ("BREW", "/v1/cluster", "GET"),
    ] {
        let response = send(server.request(method, path)).await;
        let allow = response
            .headers()
            .get("allow")
            .cloned()
            .expect("what is allowed");
        expect_problem(response, 405, None).await;
        let allow = allow.to_str().expect("ASCII").to_owned();
        assert!(allow.contains(allowed), "{method} {path}: {allow}");
    }
}

#[tokio::test]
async fn bodies_that_are_no_json_are_refused() {
    let server = TestServer::start().await;
    let post = |body: Vec<u8>, content_type: &'static str| {
        let request = server
            .request("POST", "/v1/contacts")
            .header("content-type", content_type);
        send(request.body(body))
    };
    for bad in [
        &b"{"[..],
        b"",
        b"{\"name\": \"Ada\"} x",
        b"{\"name\": \"\xff\xfe\"}",
        b"\xff\xfe{\x00",
        b"{name: 'Ada'}",
    ] {
        expect_problem(
            post(bad.to_vec(), "application/json").await,
            400,
            Some("body"),
        )
        .await;
    }
    let deep = "[".repeat(100_000).into_bytes();
    expect_problem(post(deep, "application/json").await, 400, Some("body")).await;
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
    ] {
        let response = post(b"{\"name\": \"Ada\"}".to_vec(), content_type).await;
        expect_problem(response, 415, Some("Content-Type")).await;
    }
    let charset = post(
        b"{\"name\": \"Ada\"}".to_vec(),
        "application/json; charset=utf-8",
    )
    .await;
    expect(charset, 201).await;
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(300_000));
    expect_problem(
        post(large.into_bytes(), "application/json").await,
        413,
        Some("body"),
    )
    .await;
}

/// Sends `request` and reads until the server closes or answers in full.
async fn raw(server: &TestServer, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address)
        .await
        .expect("it listens");
    stream.write_all(request).await.expect("it reads");
    let mut answer = Vec::new();
    let _closed = timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .expect("it closes");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_chunked_body_above_its_bound_is_refused_too() {
    let server = TestServer::start().await;
    let mut request = b"PUT /v1/kv/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..40 {
        request.extend_from_slice(b"2000\r\n");
        request.extend_from_slice(&[b'x'; 0x2000]);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    let answer = raw(&server, &request).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test]
async fn garbage_on_the_wire_ends_its_connection_and_nothing_else() {
    let server = TestServer::start().await;
    let long = format!(
        "GET /ping HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    for garbage in [
        &b"\x00\x01\x02\x03\r\n\r\n"[..],
        b"GET\r\n\r\n",
        long.as_bytes(),
    ] {
        let answer = raw(&server, garbage).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    expect(server.get("/healthz").await, 200).await;
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered() {
    let server = TestServer::start_with(Duration::from_millis(150)).await;
    // A body that never ends.
    let mut stream = TcpStream::connect(server.address)
        .await
        .expect("it listens");
    let head =
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 10\r\n\r\nabc";
    stream.write_all(head).await.expect("it reads");
    let mut answer = Vec::new();
    let _closed = timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .expect("it answers");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains("urn:problem-type:grapevine:timeout"),
        "{answer}"
    );
    assert!(
        answer.to_ascii_lowercase().contains("retry-after: 1"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_shutdown_answers_what_was_accepted_and_takes_nothing_more() {
    let mut server = TestServer::start().await;
    *server.cluster.stuck.lock().expect("no holder panics") = true;
    let request = server.request("GET", "/v1/cluster/convergence?wait=10s");
    let waiting = tokio::spawn(send(request));
    timeout(DEADLINE, server.cluster.asked.notified())
        .await
        .expect("the request arrives");
    server.begin_stop();
    let refused = async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, refused)
        .await
        .expect("the listener closes");
    server.cluster.release.notify_one();
    let answered = timeout(DEADLINE, waiting).await.expect("it answers");
    expect(answered.expect("the client does not panic"), 200).await;
    timeout(DEADLINE, server.stop()).await.expect("it ends");
}

/// Sends `request` as it is, closes the sending side, and reads the answer to its end.
async fn answer_to_half_closed(server: &TestServer, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address)
        .await
        .expect("the server listens");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("the server reads");
    stream.shutdown().await.expect("the connection is open");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("the server answers");
    answer
}

#[tokio::test]
async fn a_client_that_closes_its_sending_side_gets_no_answer() {
    let server = TestServer::start().await;
    let request =
        "POST /v1/counters/half/increment HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    let answer = answer_to_half_closed(&server, request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#"{"name":"half","value":1}"#), "{answer}");
}

#[tokio::test]
async fn a_giant_body_is_waited_for_before_it_is_refused() {
    let server = TestServer::start().await;
    let request = "PUT /v1/kv/q HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 99999999999\r\n\r\nabc";
    let answer = answer_to_half_closed(&server, request).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_list_of_operations_is_read_as_a_merge_patch() {
    let server = TestServer::start().await;
    let patch = server
        .request("PATCH", "/v1/contacts/anybody")
        .header("content-type", "application/json-patch+json")
        .body(r#"{"title":"x"}"#);
    expect_problem(send(patch).await, 415, Some("Content-Type")).await;
}

#[tokio::test]
async fn a_member_that_is_there_twice_is_taken_as_its_last() {
    let server = TestServer::start().await;
    for (method, path, body, member) in [
        (
            "POST",
            "/v1/counters/visits/increment",
            r#"{"by": 1, "by": 100}"#,
            "by",
        ),
        (
            "PUT",
            "/v1/contacts/ada",
            r#"{"name": "Ada", "phones": [{"number": "1", "number": "2"}]}"#,
            "number",
        ),
        (
            "PATCH",
            "/v1/contacts/ada",
            r#"{"note": null, "note": "x"}"#,
            "note",
        ),
        (
            "POST",
            "/v1/merge",
            r#"{"now": 0, "edits": [], "edits": []}"#,
            "edits",
        ),
    ] {
        let request = server
            .request(method, path)
            .header("content-type", "application/json");
        expect_problem(send(request.body(body)).await, 422, Some(member)).await;
    }
    assert_eq!(
        expect(server.get("/v1/counters/visits").await, 200).await["value"],
        0
    );
}

#[tokio::test]
async fn who_sends_a_request_byte_by_byte_gives_its_place_back() {
    let server = TestServer::start_limited(
        |_| {},
        |limits| limits.headers_within = Duration::from_millis(200),
    )
    .await;
    let mut stream = TcpStream::connect(server.address)
        .await
        .expect("it listens");
    let head = b"GET /ping HTTP/1.1\r\n";
    stream.write_all(head).await.expect("it reads");
    // Its headers never end, and come steadily.
    let slow = async {
        let mut closed = [0];
        loop {
            tokio::select! {
                read = stream.read(&mut closed) => if read.is_err() || matches!(read, Ok(0)) {
                    return;
                },
                () = tokio::time::sleep(Duration::from_millis(20)) => {
                    if stream.write_all(b"X: y\r\n").await.is_err() {
                        return;
                    }
                }
            }
        }
    };
    timeout(DEADLINE, slow).await.expect("it is given up");
    // Who says nothing at all between two requests does too.
    let mut idle = TcpStream::connect(server.address)
        .await
        .expect("it listens");
    let request = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n";
    idle.write_all(request).await.expect("it reads");
    let mut answer = Vec::new();
    let _closed = timeout(DEADLINE, idle.read_to_end(&mut answer))
        .await
        .expect("it closes");
    assert!(answer.ends_with(b"pong"));
}
