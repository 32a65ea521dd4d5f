//! The dangers: two who read one connection see different requests in it, a small body becomes a giant, headers or
//! silence take a node's memory or places, and one client's requests are answered with another's answers.
//!
//! Raw bytes to a real node.

mod support;

use std::time::Duration;

use grapevine::node::Node;
use support::{client::NodeClient, local};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(60);

async fn node() -> (Node, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = local::node(directory.path(), "alone", &[]).await;
    (node, directory)
}

/// Sends bytes as they are, and reads until the node closes.
async fn raw(node: &Node, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(node.http_addr())
        .await
        .expect("it listens");
    // It may close before all is read.
    let _reset = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _reset = timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .expect("it closes");
    String::from_utf8_lossy(&answer).into_owned()
}

fn answers(text: &str) -> usize {
    text.matches("HTTP/1.1 ").count()
}

const SMUGGLED: &str = "PUT /v1/kv/smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";

#[tokio::test]
async fn a_request_whose_length_can_be_read_in_two_ways_smuggles_nothing() {
    let (node, _directory) = node().await;
    let heads = [
        // Both lengths, in either order: what is behind the chunks is another's, so nobody answers it.
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked, identity\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
        // Two lengths that differ, and lengths that are none.
        "Content-Length: 5\r\nContent-Length: 0\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 0\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        // Names that some read and others do not.
        "Transfer-Encoding : chunked\r\n",
        "Content-Length : 5\r\n",
        " Content-Length: 5\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\0\r\n",
    ];
    for head in heads {
        let request = format!("PUT /v1/kv/a HTTP/1.1\r\nHost: a\r\n{head}\r\n0\r\n\r\n{SMUGGLED}");
        let answer = raw(&node, request.as_bytes()).await;
        assert!(answers(&answer) <= 1, "{head:?}: {answer}");
        let client = NodeClient::new(local::url(&node));
        let smuggled = client.get_kv("smuggled").await.expect("it answers");
        assert_eq!(smuggled, None, "{head:?}: {answer}");
    }
}

#[tokio::test]
async fn a_chunk_that_is_none_ends_the_connection() {
    let (node, _directory) = node().await;
    for chunks in [
        "5\r\nab\r\n0\r\n\r\n",
        "zz\r\nab\r\n",
        "-1\r\nab\r\n",
        "ffffffffffffffffff\r\nab\r\n",
        "2;\nx\r\nab\r\n0\r\n\r\n",
    ] {
        let request = format!(
            "PUT /v1/kv/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{SMUGGLED}"
        );
        let mut stream = TcpStream::connect(node.http_addr())
            .await
            .expect("it listens");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it reads");
        stream.shutdown().await.expect("it is open");
        let mut answer = Vec::new();
        let _reset = timeout(DEADLINE, stream.read_to_end(&mut answer))
            .await
            .expect("it closes");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answers(&answer) <= 1, "{chunks:?}: {answer}");
        let client = NodeClient::new(local::url(&node));
        assert_eq!(
            client.get_kv("smuggled").await.expect("it answers"),
            None,
            "{chunks:?}"
        );
    }
}

#[tokio::test]
async fn a_compressed_body_is_not_unpacked() {
    let (node, _directory) = node().await;
    for coding in ["gzip", "br", "identity, gzip", "x"] {
        let request = format!(
            "PUT /v1/kv/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Encoding: {coding}\r\nContent-Length: 4\r\n\r\nabcd"
        );
        let answer = raw(&node, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 415 "), "{coding}: {answer}");
        assert!(answer.contains("accept-encoding: identity"), "{answer}");
        assert!(
            answer.contains("\"field\":\"Content-Encoding\""),
            "{answer}"
        );
    }
    let plain = "PUT /v1/kv/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Encoding: identity\r\nContent-Length: 4\r\n\r\nabcd";
    assert!(
        raw(&node, plain.as_bytes())
            .await
            .starts_with("HTTP/1.1 204 ")
    );
}

#[tokio::test]
async fn more_headers_than_a_request_may_have_are_refused_before_they_are_kept() {
    let (node, _directory) = node().await;
    let many = "X: y\r\n".repeat(101);
    let long = format!("X: {}\r\n", "y".repeat(64 * 1_024));
    let name = format!("{}: y\r\n", "x".repeat(64 * 1_024));
    for flood in [many, long, name] {
        let request = format!("GET /ping HTTP/1.1\r\nHost: a\r\n{flood}\r\n");
        let answer = raw(&node, request.as_bytes()).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
            "{answer}"
        );
        assert!(!answer.contains("pong"));
    }
    // One that never ends is not kept either.
    let mut stream = TcpStream::connect(node.http_addr())
        .await
        .expect("it listens");
    let _open = stream.write_all(b"GET /ping HTTP/1.1\r\nHost: a\r\n").await;
    let flood = async {
        loop {
            if stream
                .write_all(&b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(100))
                .await
                .is_err()
            {
                break;
            }
        }
    };
    timeout(DEADLINE, flood).await.expect("the node closes");
    let within = "X: y\r\n".repeat(90);
    let request = format!("GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{within}\r\n");
    assert!(raw(&node, request.as_bytes()).await.ends_with("pong"));
}

#[tokio::test]
async fn requests_that_come_at_once_are_answered_in_their_order() {
    let (node, _directory) = node().await;
    let both = |number: usize| {
        format!(
            "PUT /v1/kv/{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n{number:03}\
             GET /v1/kv/{number} HTTP/1.1\r\nHost: a\r\n\r\n"
        )
    };
    let mut requests = (0..200).map(both).collect::<Vec<_>>().concat();
    requests.push_str("GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = raw(&node, requests.as_bytes()).await;
    assert_eq!(answers(&answer), 401);
    let bodies: Vec<&str> = answer
        .split("HTTP/1.1 200 OK\r\n")
        .skip(1)
        .filter_map(|answer| answer.split("\r\n\r\n").nth(1))
        .map(|body| body.split("HTTP/1.1").next().unwrap_or_default())
        .collect();
    for (number, body) in bodies[..200].iter().enumerate() {
        assert_eq!(*body, format!("{number:03}"));
    }
    assert_eq!(bodies[200], "pong");
}
