//! What keeping two nodes equal costs: the bytes and the time of an exchange when few of many entities differ, and
//! the time to agree after a long cut under load. It measures and asserts nothing of time; run it by hand:
//! `cargo test --release --test exchange -- --ignored --nocapture` (`ENTITIES`, `DIFFERENT`, `CUT_SECONDS` and
//! `WRITES_PER_SECOND` change what is played).

mod nodes;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use grapevine::{
    clock::SystemClock,
    cluster::{Member, Roster},
    store::{Store, StoreOptions},
    sync::{
        driver::{Driver, DriverConfig, LocalPeer},
        transport::MemoryNetwork,
    },
};
use nodes::{Site, put, put_many};

const VALUE: [u8; 100] = [7; 100];

fn number(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(default, |set| set.parse().expect("a number"))
}

async fn open(site: &Site, name: &str) -> Store {
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
    store
}

/// Two stores, linked now and then.
struct Pair {
    one: Store,
    other: Store,
}

impl Pair {
    fn start(&self, network: &MemoryNetwork) -> [Driver; 2] {
        let start = |name: &str, store: &Store| {
            let local = LocalPeer {
                cluster: "grapevine".to_owned(),
                name: name.to_owned(),
                http: String::new(),
                peer: name.to_owned(),
            };
            Driver::start(
                DriverConfig::new(local, 60_000),
                store.clone(),
                Arc::new(SystemClock),
                network.listen(name).expect("nobody listens there"),
                network.connector(),
            )
        };
        [start("ann", &self.one), start("bob", &self.other)]
    }

    fn agree(&self) -> bool {
        let root = |store: &Store| store.snapshot().state().root();
        root(&self.one) == root(&self.other)
    }

    /// Links the two until they agree, and says what that took: the time from the handshake on, and the bytes.
    async fn exchange(&self) -> (Duration, u64) {
        let network = MemoryNetwork::default();
        let drivers = self.start(&network);
        drivers[1].set_addresses(BTreeSet::from(["ann".to_owned()]));
        while drivers[0].totals().handshakes == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let began = Instant::now();
        while !self.agree() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let took = began.elapsed();
        let sent = drivers
            .iter()
            .map(|driver| driver.totals().traffic.bytes_out);
        let sent = sent.sum();
        for driver in drivers {
            driver.shutdown().await;
        }
        (took, sent)
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn few_differences_among_many_entities_cost_more_than_they_are() {
    let entities = number("ENTITIES", 1_000_000);
    let site = Site::new();
    let pair = Pair {
        one: open(&site, "ann").await,
        other: open(&site, "bob").await,
    };
    let key = |number: u64| format!("key-{number:012}");
    let raw = |count: u64| count * (key(0).len() + VALUE.len()) as u64;
    put_many(&pair.one, (0..entities).map(key), &VALUE).await;
    let (took, bytes) = pair.exchange().await;
    let all = raw(entities);
    println!("{entities} entities of {all} bytes: {bytes} bytes in {took:?}");
    let different = std::env::var("DIFFERENT").unwrap_or_else(|_| "1,100,10000".to_owned());
    for count in different.split(',') {
        let count: u64 = count.trim().parse().expect("a number");
        let step = (entities / count).max(1);
        put_many(&pair.one, (0..count).map(|at| key(at * step)), &VALUE).await;
        let (took, bytes) = pair.exchange().await;
        let raw = raw(count);
        let percent = bytes * 100 / raw;
        println!("{count} of them differ, {raw} bytes: {bytes} bytes ({percent} %) in {took:?}");
    }
    let (took, bytes) = pair.exchange().await;
    println!("none differs: {bytes} bytes in {took:?}");
    pair.one.close().await;
    pair.other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn a_long_cut_under_load_takes_long_to_heal() {
    let seconds = number("CUT_SECONDS", 600);
    let rate = number("WRITES_PER_SECOND", 1_000);
    let site = Site::new();
    let pair = Pair {
        one: open(&site, "ann").await,
        other: open(&site, "bob").await,
    };
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let began = Instant::now();
    let mut written = 0_u64;
    while began.elapsed() < Duration::from_secs(seconds) {
        tick.tick().await;
        let due = rate * u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX) / 1_000;
        // A third of the keys is written on both sides.
        let own = |side: &str, at: u64| match at % 3 {
            0 => format!("both-{at}"),
            _ => format!("{side}-{at}"),
        };
        let ones = put_many(&pair.one, (written..due).map(|at| own("ann", at)), &VALUE);
        let others = put_many(&pair.other, (written..due).map(|at| own("bob", at)), &VALUE);
        tokio::join!(ones, others);
        written = due;
    }
    put(&pair.one, "last", &VALUE).await;
    let (took, bytes) = pair.exchange().await;
    println!("cut for {seconds} s, {written} writes on each side: {bytes} bytes in {took:?}");
    pair.one.close().await;
    pair.other.close().await;
}
