//! Drivers over a network in memory, whose links can be cut at will.

mod nodes;
mod peers;

use std::{io, sync::Arc};

use grapevine::sync::transport::{Connection, Connector, MemoryConnector, MemoryNetwork};
use nodes::{Site, eventually, get, put};
use peers::{Peer, all_equal, cuttable};
use tokio_util::sync::CancellationToken;

/// Connects within a network, until its links are cut; then anew.
#[derive(Clone)]
struct CuttableConnector {
    inner: MemoryConnector,
    cut: Arc<std::sync::Mutex<CancellationToken>>,
}

impl CuttableConnector {
    fn new(network: &MemoryNetwork) -> Self {
        Self {
            inner: network.connector(),
            cut: Arc::default(),
        }
    }

    /// Cuts every link that there is.
    fn cut(&self) {
        let mut cut = self.cut.lock().expect("nobody panicked");
        std::mem::take(&mut *cut).cancel();
    }
}

#[async_trait::async_trait]
impl Connector for CuttableConnector {
    async fn connect(&self, address: &str) -> io::Result<Connection> {
        let connection = self.inner.connect(address).await?;
        let cut = self.cut.lock().expect("nobody panicked").clone();
        Ok(cuttable(connection, cut))
    }
}

async fn start(site: &Site, network: &MemoryNetwork, name: &str) -> (Peer, CuttableConnector) {
    let connector = CuttableConnector::new(network);
    let peer = Peer::start(site.data(name), network, name, connector.clone(), |_| {}).await;
    (peer, connector)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_cut_is_dialled_again_and_nothing_is_missing() {
    const ROUNDS: usize = 20;
    let (site, network) = (Site::new(), MemoryNetwork::default());
    let (ann, links) = start(&site, &network, "ann").await;
    let (bob, _) = start(&site, &network, "bob").await;
    ann.knows(&["bob"]);
    for round in 0..ROUNDS {
        for number in 0..20 {
            put(&ann.store, &format!("ann-{round}-{number}"), &[1; 2_000]).await;
            put(&bob.store, &format!("bob-{round}-{number}"), &[2; 2_000]).await;
            if number % 7 == round % 7 {
                links.cut();
            }
        }
    }
    all_equal(&[&ann, &bob]).await;
    for round in 0..ROUNDS {
        assert!(get(&bob.store, &format!("ann-{round}-19")).is_some());
        assert!(get(&ann.store, &format!("bob-{round}-19")).is_some());
    }
    assert!(ann.driver.totals().handshakes > 1);
    assert_eq!(ann.driver.totals().divergences, 0);
    ann.stop().await;
    bob.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_may_dial_and_each_is_one_peer_to_the_other() {
    let (site, network) = (Site::new(), MemoryNetwork::default());
    let (ann, _) = start(&site, &network, "ann").await;
    let (bob, _) = start(&site, &network, "bob").await;
    ann.knows(&["bob"]);
    bob.knows(&["ann"]);
    put(&ann.store, "ann", b"1").await;
    put(&bob.store, "bob", b"2").await;
    all_equal(&[&ann, &bob]).await;
    assert_eq!((ann.up().await, bob.up().await), (1, 1));
    ann.stop().await;
    eventually("bob is alone", async || (bob.up().await == 0).then_some(())).await;
    bob.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_finds_itself_is_no_peer_of_its_own() {
    let (site, network) = (Site::new(), MemoryNetwork::default());
    let (ann, _) = start(&site, &network, "ann").await;
    let (bob, _) = start(&site, &network, "bob").await;
    ann.knows(&["ann", "bob"]);
    eventually("bob is up", async || (ann.up().await == 1).then_some(())).await;
    put(&ann.store, "key", b"value").await;
    eventually("the write", async || get(&bob.store, "key")).await;
    assert_eq!(ann.up().await, 1);
    assert_eq!(ann.driver.totals().refusals, 0);
    ann.stop().await;
    bob.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_back_is_dialled_no_more() {
    let (site, network) = (Site::new(), MemoryNetwork::default());
    let (ann, links) = start(&site, &network, "ann").await;
    let (bob, _) = start(&site, &network, "bob").await;
    ann.knows(&["bob"]);
    eventually("bob is up", async || (ann.up().await == 1).then_some(())).await;
    ann.knows(&[]);
    links.cut();
    eventually("bob is down", async || (ann.up().await == 0).then_some(())).await;
    ann.knows(&["bob"]);
    eventually("bob is up again", async || {
        (ann.up().await == 1).then_some(())
    })
    .await;
    ann.stop().await;
    bob.stop().await;
}
