//! The dangers: `dev` says it serves and does not, loses data between runs, or leaves the user alone with a
//! port that is taken.

mod support;

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Stdio},
    sync::mpsc::Receiver,
};

use support::{
    client::NodeClient,
    cluster::{all_agree, same_bytes},
    process::{lines_of, wait},
    program::{complaint, grapevine, run, signal},
    wait::DEADLINE,
};

/// A `dev` that runs; killed when dropped.
struct DevProcess {
    child: Child,
    lines: Receiver<String>,
    output: Vec<String>,
}

impl DevProcess {
    /// Starts it and waits for its last word.
    fn start(data: &Path) -> Self {
        let mut child = grapevine()
            .args(["dev", "--http-port", "0", "--peer-port", "0", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be run");
        let lines = lines_of(child.stdout.take().expect("standard output is piped"));
        let mut output = Vec::new();
        while !output
            .last()
            .is_some_and(|line: &String| line.contains("Ctrl-C"))
        {
            output.push(lines.recv_timeout(DEADLINE).expect("it goes on"));
        }
        Self {
            child,
            lines,
            output,
        }
    }

    /// The cells of the rows of its table that are about nodes.
    fn rows(&self) -> Vec<Vec<String>> {
        self.output
            .iter()
            .filter(|line| line.contains("node-"))
            .map(|line| {
                line.split(['│', '┆'])
                    .map(|cell| cell.trim().to_owned())
                    .filter(|cell| !cell.is_empty())
                    .collect()
            })
            .collect()
    }

    fn clients(&self) -> Vec<NodeClient> {
        self.rows()
            .iter()
            .map(|row| NodeClient::new(row[1].clone()))
            .collect()
    }

    /// Ctrl-C; yields what it still said.
    fn interrupt(mut self) -> Vec<String> {
        signal(self.child.id(), "INT");
        let status = wait(&mut self.child);
        assert!(status.success(), "it ended with {status}");
        self.lines.iter().collect()
    }
}

impl Drop for DevProcess {
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _ended_before = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_serves_a_joined_cluster_and_the_next_run_goes_on_with_the_same_data() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let data = directory.path().join("data");
    let dev = DevProcess::start(&data);
    let rows = dev.rows();
    assert_eq!(rows.len(), 3, "{:?}", dev.output);
    for (index, row) in rows.iter().enumerate() {
        let name = format!("node-{}", index + 1);
        assert_eq!(row[0], name);
        assert!(row[1].starts_with("http://127.0.0.1:"), "{row:?}");
        assert!(row[2].starts_with("127.0.0.1:"), "{row:?}");
        assert_eq!(Path::new(&row[3]), data.join(&name));
        assert!(data.join(&name).is_dir());
    }
    let curls = dev
        .output
        .iter()
        .filter(|line| line.contains("curl "))
        .count();
    assert_eq!(curls, 3, "{:?}", dev.output);
    let clients = dev.clients();
    clients[0]
        .put_kv("greeting", "hello")
        .await
        .expect("acknowledged");
    clients[1].increment("runs", 1).await.expect("acknowledged");
    all_agree(&clients).await;
    assert_eq!(same_bytes(&clients, "/v1/kv/greeting").await, b"hello");
    let last_words = dev.interrupt();
    assert!(last_words.iter().any(|line| line.contains("same data")));

    let dev = DevProcess::start(&data);
    let clients = dev.clients();
    clients[2].increment("runs", 1).await.expect("acknowledged");
    all_agree(&clients).await;
    assert_eq!(same_bytes(&clients, "/v1/kv/greeting").await, b"hello");
    assert_eq!(clients[0].counter("runs").await.expect("it answers"), 2);
    dev.interrupt();
}

#[test]
fn a_port_that_is_taken_is_named_with_the_flag_that_changes_it() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let address = format!("127.0.0.1:{port}");
    let data = directory.path().join("data");
    let cases: [(&[&str], &str); 4] = [
        (
            &["dev", "--http-port", &port, "--peer-port", "0"],
            "--http-port",
        ),
        (
            &["dev", "--peer-port", &port, "--http-port", "0"],
            "--peer-port",
        ),
        (
            &[
                "serve",
                "--name",
                "n",
                "--http",
                &address,
                "--peer",
                "127.0.0.1:0",
            ],
            "--http",
        ),
        (
            &[
                "serve",
                "--name",
                "n",
                "--peer",
                &address,
                "--http",
                "127.0.0.1:0",
            ],
            "--peer",
        ),
    ];
    for (args, flag) in cases {
        let output = run(grapevine().args(args).arg("--data").arg(&data));
        let said = complaint(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for part in ["taken", &port, flag] {
            assert!(said.contains(part), "no {part:?} in {said:?}");
        }
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!data.exists(), "the data directory was made: {said}");
    }
}

#[test]
fn a_range_of_ports_beyond_the_last_is_refused() {
    let output = run(grapevine().args(["dev", "--http-port", "65534"]));
    let said = complaint(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in ["--http-port", "65534", "0 to 65533 with 3 nodes"] {
        assert!(said.contains(part), "no {part:?} in {said:?}");
    }
}
