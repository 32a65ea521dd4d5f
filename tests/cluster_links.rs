//! Drivers over a network in memory, whose links can be cut at will.

mod nodes;

use std::{collections::BTreeSet, io, sync::Arc, time::Duration};

use grapevine::{
    clock::SystemClock,
    cluster::{Member, Roster},
    store::{Store, StoreOptions},
    sync::{
        driver::{Driver, DriverConfig, LocalPeer},
        transport::{Connection, Connector, MemoryConnector, MemoryNetwork},
    },
};
use nodes::{Site, eventually, get, put};
use tokio::io::{copy_bidirectional, duplex, join, split};
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
        let Connection {
            reading,
            writing,
            remote,
        } = self.inner.connect(address).await?;
        let cut = self.cut.lock().expect("nobody panicked").clone();
        let (near, mut far) = duplex(1024);
        tokio::spawn(async move {
            let mut inner = join(reading, writing);
            cut.run_until_cancelled(copy_bidirectional(&mut far, &mut inner))
                .await;
        });
        let (reading, writing) = split(near);
        Ok(Connection {
            reading: Box::new(reading),
            writing: Box::new(writing),
            remote,
        })
    }
}

struct Peer {
    store: Store,
    driver: Driver,
    connector: CuttableConnector,
}

impl Peer {
    async fn start(site: &Site, network: &MemoryNetwork, name: &str) -> Self {
        let options = StoreOptions::new(site.data(name));
        let store = Store::open(options, Arc::new(SystemClock)).expect("it is free");
        let member = Member {
            name: name.to_owned(),
            http: String::new(),
            peer: name.to_owned(),
            store_id: store.identity().store_id,
        };
        let entered = Roster::new(store.clone()).enter(&member).await;
        entered.expect("it begins a life");
        let local = LocalPeer {
            cluster: "grapevine".to_owned(),
            name: name.to_owned(),
            http: String::new(),
            peer: name.to_owned(),
        };
        let connector = CuttableConnector::new(network);
        let driver = Driver::start(
            DriverConfig {
                min_redial_period: Duration::from_millis(1),
                max_redial_period: Duration::from_millis(20),
                ..DriverConfig::new(local, 60_000)
            },
            store.clone(),
            Arc::new(SystemClock),
            network.listen(name).expect("nobody listens there"),
            connector.clone(),
        );
        Self {
            store,
            driver,
            connector,
        }
    }

    fn knows(&self, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| (*address).to_owned());
        self.driver
            .set_addresses(addresses.collect::<BTreeSet<_>>());
    }

    async fn up(&self) -> usize {
        let reports = self.driver.peers().await;
        reports.iter().filter(|report| report.status.up).count()
    }

    async fn stop(self) {
        self.driver.shutdown().await;
        self.store.close().await;
    }
}

async fn equal(one: &Peer, other: &Peer) {
    let root = |peer: &Peer| peer.store.snapshot().state().root();
    eventually("equal roots", async || {
        (root(one) == root(other)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_cut_is_dialled_again_and_nothing_is_missing() {
    const ROUNDS: usize = 20;
    let (site, network) = (Site::new(), MemoryNetwork::default());
    let ann = Peer::start(&site, &network, "ann").await;
    let bob = Peer::start(&site, &network, "bob").await;
    ann.knows(&["bob"]);
    for round in 0..ROUNDS {
        for number in 0..20 {
            put(&ann.store, &format!("ann-{round}-{number}"), &[1; 2_000]).await;
            put(&bob.store, &format!("bob-{round}-{number}"), &[2; 2_000]).await;
            if number % 7 == round % 7 {
                ann.connector.cut();
            }
        }
    }
    equal(&ann, &bob).await;
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
    let ann = Peer::start(&site, &network, "ann").await;
    let bob = Peer::start(&site, &network, "bob").await;
    ann.knows(&["bob"]);
    bob.knows(&["ann"]);
    put(&ann.store, "ann", b"1").await;
    put(&bob.store, "bob", b"2").await;
    equal(&ann, &bob).await;
    assert_eq!((ann.up().await, bob.up().await), (1, 1));
    ann.stop().await;
    eventually("bob is alone", async || (bob.up().await == 0).then_some(())).await;
    bob.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_finds_itself_is_no_peer_of_its_own() {
    let (site, network) = (Site::new(), MemoryNetwork::default());
    let ann = Peer::start(&site, &network, "ann").await;
    let bob = Peer::start(&site, &network, "bob").await;
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
    let ann = Peer::start(&site, &network, "ann").await;
    let bob = Peer::start(&site, &network, "bob").await;
    ann.knows(&["bob"]);
    eventually("bob is up", async || (ann.up().await == 1).then_some(())).await;
    ann.knows(&[]);
    ann.connector.cut();
    eventually("bob is down", async || (ann.up().await == 0).then_some(())).await;
    ann.knows(&["bob"]);
    eventually("bob is up again", async || {
        (ann.up().await == 1).then_some(())
    })
    .await;
    ann.stop().await;
    bob.stop().await;
}
