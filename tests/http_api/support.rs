//! A node's HTTP side on a free port, with a store of its own and a cluster that says what it is told.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use grapevine::{
    clock::{SystemClock, WallClock},
    cluster::{ClusterView, ForgetError, Health, MemberStatus, NodeStatus},
    http::{HttpLimits, HttpState, serve},
    model::{Claim, EntityCells, EntityId, Op, Region, Root},
    store::{Store, StoreOptions},
};
use grapevine_crdt::{CausalContext, FieldCell, ReplicaId, Seq, Timestamp};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

pub(crate) const MAX_BODY_BYTES: usize = 256 * 1_024;
pub(crate) const TOKEN_WAIT: Duration = Duration::from_millis(200);

/// The time of day, and what a test adds to it.
#[derive(Default)]
pub(crate) struct ShiftedClock(AtomicU64);

impl ShiftedClock {
    pub(crate) fn go_on(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).expect("tests do not take that long");
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl WallClock for ShiftedClock {
    fn unix_ms(&self) -> u64 {
        SystemClock.unix_ms() + self.0.load(Ordering::SeqCst)
    }
}

pub(crate) struct TestServer {
    /// By which HTTP tells the time, and not the store.
    pub(crate) clock: Arc<ShiftedClock>,
    pub(crate) address: SocketAddr,
    pub(crate) store: Store,
    pub(crate) cluster: Arc<FakeCluster>,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
    directory: tempfile::TempDir,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(Duration::from_secs(30)).await
    }

    pub(crate) async fn start_with(request_timeout: Duration) -> Self {
        Self::start_tuned(request_timeout, |_| {}).await
    }

    pub(crate) async fn start_tuned(
        request_timeout: Duration,
        tune: impl FnOnce(&mut StoreOptions),
    ) -> Self {
        Self::start_limited(tune, |limits| limits.request_timeout = request_timeout).await
    }

    pub(crate) async fn start_limited(
        tune: impl FnOnce(&mut StoreOptions),
        limit: impl FnOnce(&mut HttpLimits),
    ) -> Self {
        Self::start_set(tune, limit, |state| state).await
    }

    /// With phones read as in `region`.
    pub(crate) async fn start_in(region: &str) -> Self {
        let region = Some(Region::named(region).expect("a region"));
        Self::start_set(|_| {}, |_| {}, |state| state.reading_phones_in(region)).await
    }

    async fn start_set(
        tune: impl FnOnce(&mut StoreOptions),
        limit: impl FnOnce(&mut HttpLimits),
        set: impl FnOnce(HttpState) -> HttpState,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let mut options = StoreOptions::new(directory.path());
        tune(&mut options);
        let store = Store::open(options, Arc::new(SystemClock)).expect("a new store opens");
        let cluster = Arc::new(FakeCluster::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let mut limits = HttpLimits {
            max_body_bytes: MAX_BODY_BYTES,
            token_wait: TOKEN_WAIT,
            ..HttpLimits::default()
        };
        limit(&mut limits);
        let clock = Arc::new(ShiftedClock::default());
        let state = HttpState::new(store.clone(), cluster.clone(), limits)
            .with_clock(clock.clone())
            .allowing(vec!["https://a.example".to_owned()]);
        let state = set(state);
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(listener, state, async {
            let _dropped = stopped.await;
        }));
        Self {
            clock,
            address,
            store,
            cluster,
            client: reqwest::Client::new(),
            stop: Some(stop),
            served,
            directory,
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.client
            .request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        send(self.request("GET", path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Response {
        send(self.request("DELETE", path)).await
    }

    pub(crate) async fn json(&self, method: &str, path: &str, body: &Value) -> Response {
        send(self.request(method, path).json(body)).await
    }

    /// Asks for an orderly end and waits for it.
    /// Takes in `cells` of an entity, the first write of their replica there, as if a peer had sent it.
    pub(crate) async fn arrives(&self, id: EntityId, cells: Vec<FieldCell>, announced: Timestamp) {
        let dot = cells[0].cell.dot;
        let op = Op {
            partition: id.partition(),
            entities: vec![EntityCells { id, cells }],
            claim: Claim::Advance {
                replica: dot.replica,
                after: Seq::ZERO,
                upto: dot.seq,
                needs: CausalContext::default(),
            },
        };
        let outcome = self.store.enqueue(op, announced).await;
        let outcome = outcome.expect("the store is open").await;
        outcome.expect("it is answered").expect("it is taken in");
    }

    pub(crate) async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ended = stop.send(());
        }
        self.served.await.expect("serving ends without a panic");
    }

    /// Asks for an orderly end.
    pub(crate) fn begin_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ended = stop.send(());
        }
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Response {
    request.send().await.expect("the server answers")
}

pub(crate) async fn body(response: Response) -> Value {
    response.json().await.expect("the answer is JSON")
}

/// The body of an answer that must have `status`.
pub(crate) async fn expect(response: Response, status: u16) -> Value {
    let actual = response.status();
    let text = response.text().await.expect("the answer is text");
    assert_eq!(actual.as_u16(), status, "{text}");
    if text.is_empty() {
        return Value::Null;
    }
    serde_json::from_str(&text).expect("the answer is JSON")
}

/// Checks that the answer is a problem of `status` about `field`.
pub(crate) async fn expect_problem(response: Response, status: u16, field: Option<&str>) -> Value {
    let content_type = response.headers().get("content-type").cloned();
    let problem = expect(response, status).await;
    assert_eq!(
        content_type.expect("a problem has a content type"),
        "application/problem+json"
    );
    let kind = problem["type"].as_str().expect("a problem has a type");
    assert!(kind.starts_with("urn:problem-type:grapevine:"), "{problem}");
    assert_eq!(problem["status"], status, "{problem}");
    assert!(problem["title"].is_string(), "{problem}");
    assert!(problem["detail"].is_string(), "{problem}");
    assert_eq!(
        problem.get("field").and_then(Value::as_str),
        field,
        "{problem}"
    );
    problem
}

pub(crate) fn etag(response: &Response) -> String {
    let tag = response.headers().get("etag").expect("a tag");
    tag.to_str().expect("a tag is ASCII").to_owned()
}

pub(crate) const NO_CONTENT: StatusCode = StatusCode::NO_CONTENT;

/// Says what it is told.
#[derive(Default)]
pub(crate) struct FakeCluster {
    pub(crate) members: Mutex<Vec<MemberStatus>>,
    pub(crate) health: Mutex<Health>,
    /// Never answers whether the members agree.
    pub(crate) stuck: Mutex<bool>,
    pub(crate) asked: tokio::sync::Notify,
    /// How often the peers were asked what they have.
    pub(crate) peers_asked: AtomicUsize,
    pub(crate) release: tokio::sync::Notify,
}

#[async_trait::async_trait]
impl ClusterView for FakeCluster {
    fn node(&self) -> NodeStatus {
        NodeStatus {
            name: "alpha".to_owned(),
            cluster: "grapevine".to_owned(),
            replica: None,
            http: "127.0.0.1:1".to_owned(),
            peer: "127.0.0.1:2".to_owned(),
            root: Root(0xab),
            uptime: Duration::from_millis(1_500),
        }
    }

    fn ask_peers(&self) {
        self.peers_asked.fetch_add(1, Ordering::SeqCst);
    }

    async fn members(&self) -> Vec<MemberStatus> {
        self.members.lock().expect("no holder panics").clone()
    }

    async fn health(&self) -> Health {
        self.health.lock().expect("no holder panics").clone()
    }

    async fn forget(&self, replica: ReplicaId) -> Result<(), ForgetError> {
        let mut members = self.members.lock().expect("no holder panics");
        let place = members.iter().position(|member| member.replica == replica);
        let place = place.ok_or(ForgetError::Unknown)?;
        if members[place].alive {
            return Err(ForgetError::Alive);
        }
        members.remove(place);
        Ok(())
    }

    async fn converged(&self, _wait: Duration) -> Result<(), Vec<MemberStatus>> {
        let stuck = *self.stuck.lock().expect("no holder panics");
        if stuck {
            self.asked.notify_one();
            self.release.notified().await;
        }
        let members = self.members().await;
        let disagreeing: Vec<MemberStatus> = members
            .into_iter()
            .filter(|member| member.alive && !member.agrees)
            .collect();
        if disagreeing.is_empty() {
            Ok(())
        } else {
            Err(disagreeing)
        }
    }
}
