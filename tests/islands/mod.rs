//! Nodes with HTTP over a network in memory, each pair of which can be cut off from each other at will.

#![allow(dead_code, reason = "each test file uses its own part of this")]

#[path = "../peers/mod.rs"]
mod peers;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use grapevine::{
    cluster::{ClusterView, ForgetError, Health, MemberStatus, NodeStatus},
    http::{HttpLimits, HttpState, serve},
    model::Root,
    store::Store,
    sync::{
        driver::Driver,
        transport::{Connection, Connector, MemoryConnector, MemoryNetwork},
    },
};
use peers::{Peer, all_equal, cuttable};
use reqwest::{Method, RequestBuilder, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// How long a node waits for the writes that a token names.
pub(crate) const TOKEN_WAIT: Duration = Duration::from_millis(300);

/// Two names in order.
type Pair = (String, String);

fn pair(one: &str, other: &str) -> Pair {
    let (one, other) = (one.min(other), one.max(other));
    (one.to_owned(), other.to_owned())
}

/// Which pairs are cut off, and the links of those that are not.
#[derive(Default)]
struct Cables {
    cut: BTreeSet<Pair>,
    links: BTreeMap<Pair, CancellationToken>,
}

#[derive(Clone)]
struct CuttableConnector {
    name: String,
    inner: MemoryConnector,
    cables: Arc<Mutex<Cables>>,
}

#[async_trait::async_trait]
impl Connector for CuttableConnector {
    async fn connect(&self, address: &str) -> io::Result<Connection> {
        let pair = pair(&self.name, address);
        let link = {
            let mut cables = self.cables.lock().expect("nobody panicked");
            if cables.cut.contains(&pair) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            cables.links.entry(pair).or_default().clone()
        };
        Ok(cuttable(self.inner.connect(address).await?, link))
    }
}

/// What HTTP is told about the cluster: enough for sessions.
struct Neighbours {
    store: Store,
    driver: Driver,
}

#[async_trait::async_trait]
impl ClusterView for Neighbours {
    fn node(&self) -> NodeStatus {
        NodeStatus {
            name: "islander".to_owned(),
            cluster: "grapevine".to_owned(),
            replica: self.store.replica(),
            http: String::new(),
            peer: String::new(),
            root: Root::default(),
            uptime: Duration::ZERO,
        }
    }

    async fn members(&self) -> Vec<MemberStatus> {
        Vec::new()
    }

    async fn converged(&self, _wait: Duration) -> Result<(), Vec<MemberStatus>> {
        Ok(())
    }

    async fn health(&self) -> Health {
        Health::default()
    }

    async fn forget(&self, _replica: grapevine_crdt::ReplicaId) -> Result<(), ForgetError> {
        Err(ForgetError::Unknown)
    }

    fn ask_peers(&self) {
        self.driver.probe_all();
    }
}

/// One node.
pub(crate) struct Island {
    pub(crate) name: String,
    pub(crate) store: Store,
    peer: Peer,
    address: SocketAddr,
    client: reqwest::Client,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Island {
    async fn start(
        directory: &tempfile::TempDir,
        network: &MemoryNetwork,
        cables: &Arc<Mutex<Cables>>,
        name: &str,
    ) -> Self {
        let connector = CuttableConnector {
            name: name.to_owned(),
            inner: network.connector(),
            cables: cables.clone(),
        };
        let data = directory.path().join(name);
        let peer = Peer::start(data, network, name, connector, |_| {}).await;
        let store = peer.store.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let limits = HttpLimits {
            max_body_bytes: 8 * 1024 * 1024,
            request_timeout: Duration::from_secs(30),
            token_wait: TOKEN_WAIT,
            ..HttpLimits::default()
        };
        let cluster = Arc::new(Neighbours {
            store: store.clone(),
            driver: peer.driver.clone(),
        });
        let state = HttpState::new(store.clone(), cluster, limits);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(serve(listener, state, async {
            let _dropped = stopped.await;
        }));
        Self {
            name: name.to_owned(),
            store,
            peer,
            address,
            client: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client needs nothing from outside"),
            _stop: stop,
        }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let url = format!("http://{}{path}", self.address);
        self.client.request(method, url)
    }

    pub(crate) fn root(&self) -> Root {
        self.peer.root()
    }
}

/// Nodes of one cluster.
pub(crate) struct Archipelago {
    pub(crate) islands: Vec<Island>,
    cables: Arc<Mutex<Cables>>,
    _directory: tempfile::TempDir,
}

impl Archipelago {
    pub(crate) async fn start(names: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let network = MemoryNetwork::default();
        let cables = Arc::default();
        let mut islands = Vec::new();
        for name in names {
            islands.push(Island::start(&directory, &network, &cables, name).await);
        }
        for island in &islands {
            let others = names.iter().filter(|name| **name != island.name);
            let others = others.map(|name| (*name).to_owned()).collect();
            island.peer.driver.set_addresses(others);
        }
        Self {
            islands,
            cables,
            _directory: directory,
        }
    }

    /// Cuts two off from each other.
    pub(crate) fn cut(&self, one: usize, other: usize) {
        let pair = pair(&self.islands[one].name, &self.islands[other].name);
        let mut cables = self.cables.lock().expect("nobody panicked");
        if let Some(link) = cables.links.remove(&pair) {
            link.cancel();
        }
        cables.cut.insert(pair);
    }

    /// Cuts one off from all others.
    pub(crate) fn isolate(&self, one: usize) {
        for other in (0..self.islands.len()).filter(|other| *other != one) {
            self.cut(one, other);
        }
    }

    /// Everybody reaches everybody again.
    pub(crate) fn heal(&self) {
        self.cables.lock().expect("nobody panicked").cut.clear();
    }

    /// Waits until all hold the same.
    pub(crate) async fn settle(&self) {
        let peers: Vec<&Peer> = self.islands.iter().map(|island| &island.peer).collect();
        all_equal(&peers).await;
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Response {
    request.send().await.expect("the server answers")
}

/// The body of an answer that must have `status`.
pub(crate) async fn expect(response: Response, status: u16) -> serde_json::Value {
    let actual = response.status();
    let text = response.text().await.expect("the answer is text");
    assert_eq!(actual.as_u16(), status, "{text}");
    serde_json::from_str(&text).unwrap_or(serde_json::Value::Null)
}

pub(crate) fn token(response: &Response) -> String {
    let token = response.headers().get("grapevine-token").expect("a token");
    token.to_str().expect("a token is ASCII").to_owned()
}
