//! The danger: a disk without room takes something acknowledged with it, ends reads, or needs somebody to
//! restart the node.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use reqwest::{Method, StatusCode};
use serde_json::Value;
use support::{
    client::{NodeClient, Refused},
    process::{NodeProcess, Start},
    wait::until,
};

/// The size of one value.
const VALUE_BYTES: usize = 64 * 1024;

/// No file may become longer: about 16 MiB (a shell counts in blocks of 512 or 1,024 bytes).
const FILE_LIMIT: &str = "trap '' XFSZ; ulimit -f 32768";

/// More writes than any of these disks hold.
const MAX_WRITES: usize = 4_096;

/// The value under a key: told from that of every other.
fn value(key: &str) -> Vec<u8> {
    let seed: u64 = key.bytes().map(u64::from).sum();
    (0..VALUE_BYTES as u64)
        .map(|index| (index.wrapping_mul(seed) >> 7).to_le_bytes()[0])
        .collect()
}

async fn put(node: &NodeClient, key: &str) -> (StatusCode, Option<Value>) {
    let body = Some(("application/octet-stream", value(key)));
    let response = node
        .send(Method::PUT, &format!("/v1/kv/{key}"), body)
        .await
        .expect("a full disk is answered, not cut off");
    let status = response.status();
    let problem = response.json().await.ok();
    (status, problem)
}

/// Writes until it is refused; yields what was acknowledged.
async fn write_until_refused(node: &NodeClient) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0..MAX_WRITES {
        let key = format!("key-{number:05}");
        let (status, problem) = put(node, &key).await;
        if status.is_success() {
            acknowledged.push(key);
            continue;
        }
        assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{problem:?}");
        let problem = problem.expect("a problem");
        assert_eq!(
            problem["type"],
            "urn:problem-type:grapevine:insufficient-storage"
        );
        assert_eq!(problem["status"], 507);
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("no room"), "{detail}");
        return acknowledged;
    }
    panic!("the disk is never full");
}

async fn all_there(node: &NodeClient, keys: &[String]) {
    for key in keys {
        let held = node
            .bytes(Method::GET, &format!("/v1/kv/{key}"), None)
            .await
            .unwrap_or_else(|error| panic!("{key} was acknowledged: {error:?}"));
        assert!(held == value(key), "{key} has another value");
    }
}

#[tokio::test]
async fn a_file_that_may_not_grow_loses_what_was_acknowledged() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let start = Start {
        prelude: Some(FILE_LIMIT.to_owned()),
        ..Start::new("one", directory.path(), &[])
    };
    let node = NodeProcess::start(start);
    let client = NodeClient::new(node.url());
    let acknowledged = write_until_refused(&client).await;
    assert!(!acknowledged.is_empty());
    // Reads go on, and writes go on being refused, whatever their size.
    for _ in 0..3 {
        all_there(&client, &acknowledged).await;
        let (status, problem) = put(&client, "more").await;
        assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{problem:?}");
    }
    client.get("/v1/cluster").await.expect("it is answered");
    // A file that comes in is kept beside, and there is no room for it either.
    let card = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ada\r\nEND:VCARD\r\n";
    let cards = card.repeat(34 * 1024 * 1024 / card.len()).into_bytes();
    let request = client.send(
        Method::POST,
        "/v1/contacts/import",
        Some(("text/vcard", cards)),
    );
    let refused = request.await.expect("a full disk is answered, not cut off");
    assert_eq!(refused.status(), StatusCode::INSUFFICIENT_STORAGE);
    let again = Start {
        prelude: None,
        ..node.terminate()
    };
    let node = NodeProcess::start(again);
    let client = NodeClient::new(node.url());
    all_there(&client, &acknowledged).await;
    let (status, problem) = put(&client, "more").await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{problem:?}");
}

/// A small disk of its own, if this machine lets us have one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, mebibytes: usize) -> Option<Self> {
        fs::create_dir_all(at).expect("the directory can be made");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(at)
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _gone_with_the_machine = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test]
async fn a_full_disk_needs_a_restart_once_there_is_room_again() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let Some(disk) = SmallDisk::mount(&directory.path().join("disk"), 40) else {
        eprintln!("not tested: no file system can be mounted here");
        return;
    };
    let ballast = disk.0.join("ballast");
    fs::write(&ballast, vec![1; 16 * 1024 * 1024]).expect("it fits");
    let start = Start {
        data: disk.0.join("data"),
        ..Start::new("one", directory.path(), &[])
    };
    let node = NodeProcess::start(start);
    let client = NodeClient::new(node.url());
    let mut acknowledged = write_until_refused(&client).await;
    for _ in 0..3 {
        all_there(&client, &acknowledged).await;
        let (status, problem) = put(&client, "more").await;
        assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{problem:?}");
    }
    fs::remove_file(&ballast).expect("it is there");
    until("write taken again", async || {
        let (status, problem) = put(&client, "more").await;
        if status.is_success() {
            return Ok(());
        }
        Err(Refused(format!("{problem:?}")))
    })
    .await;
    acknowledged.push("more".to_owned());
    all_there(&client, &acknowledged).await;
    let node = NodeProcess::start(node.kill_nine());
    all_there(&NodeClient::new(node.url()), &acknowledged).await;
}
