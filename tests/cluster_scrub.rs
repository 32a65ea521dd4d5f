//! The danger: a row rots on one disk, and because nothing was written, nobody looks and nobody says so; or the repair
//! spreads the rot.

mod nodes;

use std::{net::SocketAddr, path::Path};

use grapevine::node::Node;
use nodes::{Site, all_equal, eventually, get, put, start};
use redb::{Database, ReadableTable, TableDefinition};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const GOOD: &[u8] = b"good content";

/// Puts other content of the same length into a row of a closed store.
fn rot(data: &Path, to: &[u8]) {
    let database = Database::open(data.join("data.redb")).expect("it opens");
    let transaction = database.begin_write().expect("it can be written to");
    {
        let table: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entities_v1");
        let mut rows = transaction.open_table(table).expect("the table is there");
        let (key, mut row, place) = rows
            .iter()
            .expect("it is read")
            .find_map(|row| {
                let (key, row) = row.expect("it is read");
                let (key, row) = (key.value().to_vec(), row.value().to_vec());
                let mut windows = row.windows(GOOD.len());
                let place = windows.position(|window| window == GOOD)?;
                Some((key, row, place))
            })
            .expect("the row is there");
        row[place..place + GOOD.len()].copy_from_slice(to);
        rows.insert(key.as_slice(), row.as_slice())
            .expect("it can be changed");
    }
    transaction.commit().expect("it can be committed");
}

async fn alarms(address: SocketAddr) -> Value {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = "GET /v1/cluster HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n";
    let sent = stream.write_all(request.as_bytes()).await;
    sent.expect("it is sent");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer).await;
    read.expect("it answers");
    let (_, body) = answer.split_once("\r\n\r\n").expect("head and body");
    let mut body: Value = serde_json::from_str(body).expect("JSON");
    body["alarms"].take()
}

async fn stop(nodes: [Node; 2]) {
    for node in nodes {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bit_rot_on_one_disk_stays_unseen_or_spreads() {
    // What the cells are compared by must not decide: one is below the good content, one above.
    for bad in [b"evil content", b"zero content"] {
        let site = Site::new();
        let bob = site.start("bob", &[]).await;
        let ann = site.start("ann", &[&bob]).await;
        put(ann.store(), "key", GOOD).await;
        all_equal(&[&ann, &bob]).await;
        stop([ann, bob]).await;
        rot(&site.data("ann"), bad);

        // Nobody looks: the nodes agree, and show different things.
        let mut unchecked = site.config("bob", &[]);
        unchecked.scrub_pause_ms = 0;
        let bob = start(unchecked).await;
        let mut unchecked = site.config("ann", &[&bob]);
        unchecked.scrub_pause_ms = 0;
        let ann = start(unchecked.clone()).await;
        all_equal(&[&ann, &bob]).await;
        assert_eq!(get(ann.store(), "key").as_deref(), Some(&bad[..]));
        ann.shutdown().await;

        unchecked.scrub_pause_ms = 1;
        let ann = start(unchecked).await;
        eventually("the content is good again", async || {
            (get(ann.store(), "key").as_deref() == Some(GOOD)).then_some(())
        })
        .await;
        all_equal(&[&ann, &bob]).await;
        assert_eq!(get(bob.store(), "key").as_deref(), Some(GOOD));
        let told = alarms(ann.http_addr()).await;
        assert_eq!((&told["damaged"], &told["clashes"]), (&1.into(), &0.into()));
        eventually("who repairs says so", async || {
            let told = alarms(ann.http_addr()).await;
            (told["divergences"].as_u64() > Some(0)).then_some(())
        })
        .await;
        assert_eq!(alarms(bob.http_addr()).await["clashes"], 0);
        stop([ann, bob]).await;
    }
}
