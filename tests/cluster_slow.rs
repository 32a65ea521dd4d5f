//! The danger: a peer stops reading, and what it does not take piles up in memory or slows the others down.

mod nodes;
mod peers;

use std::{io, time::Duration};

use grapevine::sync::{
    driver::DriverConfig,
    transport::{Connection, Connector, LinkConfig, MemoryConnector, MemoryNetwork},
};
use nodes::{Site, eventually, get, put, put_many};
use peers::{Peer, all_equal};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, duplex, split},
    sync::watch,
};

const WRITES: usize = 50_000;
const VALUE_BYTES: usize = 200;

/// The most bytes of pushes that wait for one peer: far less than is written.
const MAX_PUSH_BYTES: usize = 1024 * 1024;

/// Probes and what else is said while nobody pulls.
const MAX_OTHER_BYTES: usize = 128 * 1024;

/// Connects within a network; what is sent to one address can be held back.
#[derive(Clone)]
struct Holding {
    inner: MemoryConnector,
    slow: String,
    flows: watch::Receiver<bool>,
}

#[async_trait::async_trait]
impl Connector for Holding {
    async fn connect(&self, address: &str) -> io::Result<Connection> {
        let connection = self.inner.connect(address).await?;
        if address != self.slow {
            return Ok(connection);
        }
        let Connection {
            mut reading,
            mut writing,
            remote,
        } = connection;
        let (near, far) = duplex(1024);
        let (mut sent, mut heard) = split(far);
        let mut flows = self.flows.clone();
        tokio::spawn(async move {
            let mut chunk = [0; 1024];
            while let Ok(read) = sent.read(&mut chunk).await {
                let open = flows.wait_for(|flows| *flows).await.is_ok();
                if read == 0 || !open || writing.write_all(&chunk[..read]).await.is_err() {
                    break;
                }
            }
            let _ended = writing.shutdown().await;
        });
        tokio::spawn(async move {
            let _ended = copy(&mut reading, &mut heard).await;
            let _ended = heard.shutdown().await;
        });
        let (reading, writing) = split(near);
        Ok(Connection {
            reading: Box::new(reading),
            writing: Box::new(writing),
            remote,
        })
    }
}

/// Never gives up a peer that does not read.
fn patient(config: &mut DriverConfig) {
    config.link = LinkConfig {
        silent_after: Duration::from_secs(600),
        stalled_after: Duration::from_secs(600),
        max_push_bytes: MAX_PUSH_BYTES,
        ..LinkConfig::default()
    };
}

/// How many bytes wait for the peer for which most wait.
async fn waiting_bytes(peer: &Peer) -> usize {
    let reports = peer.driver.peers().await;
    let waiting = reports.iter().map(|report| report.waiting_bytes);
    waiting.max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_stops_reading_takes_memory_or_holds_the_others_up() {
    let (site, network) = (Site::new(), MemoryNetwork::default());
    let (flow, flows) = watch::channel(true);
    let holding = Holding {
        inner: network.connector(),
        slow: "eve".to_owned(),
        flows,
    };
    let ann = Peer::start(site.data("ann"), &network, "ann", holding, patient).await;
    let start = |name| {
        let connector = network.connector();
        Peer::start(site.data(name), &network, name, connector, patient)
    };
    let bob = start("bob").await;
    let eve = start("eve").await;
    ann.knows(&["bob", "eve"]);
    eventually("both are up", async || (ann.up().await == 2).then_some(())).await;
    all_equal(&[&ann, &eve]).await;

    flow.send_replace(false);
    let store = ann.store.clone();
    let writing = tokio::spawn(async move {
        let keys = (0..WRITES).map(|number| format!("key-{number}"));
        put_many(&store, keys, &[7; VALUE_BYTES]).await;
    });
    let mut most = 0;
    while !writing.is_finished() {
        most = most.max(waiting_bytes(&ann).await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    writing.await.expect("it wrote");
    // The one that reads has it all, while nothing reaches the other.
    all_equal(&[&ann, &bob]).await;
    most = most.max(waiting_bytes(&ann).await);
    assert!(get(&eve.store, &format!("key-{}", WRITES - 1)).is_none());
    let totals = ann.driver.totals().traffic;
    assert!(totals.fell_behind >= 1, "{totals:?}");
    assert!(totals.pushes_dropped > 0, "{totals:?}");
    let bound = MAX_PUSH_BYTES + MAX_OTHER_BYTES;
    assert!(most <= bound, "{most} bytes waited for a peer");
    eprintln!("at most {most} bytes waited: {totals:?}");

    flow.send_replace(true);
    all_equal(&[&ann, &eve]).await;
    // It is pushed to again, at the first write after it has asked.
    eventually("a push", async || {
        let before = ann.driver.totals().traffic.pushes_dropped;
        put(&ann.store, "again", b"value").await;
        all_equal(&[&ann, &eve]).await;
        (ann.driver.totals().traffic.pushes_dropped == before).then_some(())
    })
    .await;
    for peer in [ann, bob, eve] {
        peer.stop().await;
    }
}
