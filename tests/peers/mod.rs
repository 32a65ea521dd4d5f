//! Stores with drivers over a network in memory, and links that can be cut at will.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use grapevine::{
    clock::SystemClock,
    cluster::{Member, Roster},
    model::Root,
    store::{Store, StoreOptions},
    sync::{
        driver::{Driver, DriverConfig, LocalPeer},
        transport::{Connection, Connector, MemoryNetwork},
    },
};
use tokio::io::{copy_bidirectional, duplex, join, split};
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_secs(60);

/// A store and its driver; a member of the roster.
pub(crate) struct Peer {
    pub(crate) store: Store,
    pub(crate) driver: Driver,
}

impl Peer {
    /// Listens in `network` under its name, redials at once, and is otherwise as `tune` makes it.
    pub(crate) async fn start(
        data: PathBuf,
        network: &MemoryNetwork,
        name: &str,
        connector: impl Connector,
        tune: impl FnOnce(&mut DriverConfig),
    ) -> Self {
        let options = StoreOptions::new(data);
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
        let mut config = DriverConfig {
            min_redial_period: Duration::from_millis(1),
            max_redial_period: Duration::from_millis(20),
            ..DriverConfig::new(local, 60_000)
        };
        tune(&mut config);
        let driver = Driver::start(
            config,
            store.clone(),
            Arc::new(SystemClock),
            network.listen(name).expect("nobody listens there"),
            connector,
        );
        Self { store, driver }
    }

    pub(crate) fn knows(&self, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| (*address).to_owned());
        self.driver
            .set_addresses(addresses.collect::<BTreeSet<_>>());
    }

    pub(crate) async fn up(&self) -> usize {
        let reports = self.driver.peers().await;
        reports.iter().filter(|report| report.status.up).count()
    }

    pub(crate) fn root(&self) -> Root {
        self.store.snapshot().state().root()
    }

    pub(crate) async fn stop(self) {
        self.driver.shutdown().await;
        self.store.close().await;
    }
}

/// Waits until all hold the same.
pub(crate) async fn all_equal(peers: &[&Peer]) {
    let began = Instant::now();
    while peers.iter().any(|peer| peer.root() != peers[0].root()) {
        assert!(began.elapsed() < DEADLINE, "they never agree");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The connection, until it is cut.
pub(crate) fn cuttable(connection: Connection, cut: CancellationToken) -> Connection {
    let Connection {
        reading,
        writing,
        remote,
    } = connection;
    let (near, mut far) = duplex(1024);
    tokio::spawn(async move {
        let mut inner = join(reading, writing);
        cut.run_until_cancelled(copy_bidirectional(&mut far, &mut inner))
            .await;
    });
    let (reading, writing) = split(near);
    Connection {
        reading: Box::new(reading),
        writing: Box::new(writing),
        remote,
    }
}
