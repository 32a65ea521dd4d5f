//! What every handler is given.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use grapevine_crdt::HybridClock;
use ipnet::IpNet;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    caller::TrustedProxies,
    cors::Cors,
    counters::MAX_WAITING_FOR_COUNTERS,
    feed::Feed,
    import::{MAX_IMPORT_BYTES, MAX_IMPORTS},
    meter::Meter,
    server::HEADER_READ_TIMEOUT,
    session::Waiting,
    tls::Tls,
};
use crate::{
    access::Guard,
    clock::{SystemClock, WallClock},
    cluster::ClusterView,
    config::{AuditLog, NodeConfig},
    model::Retention,
    store::Store,
};

/// The bounds that are settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// The most bytes of a request body.
    pub max_body_bytes: usize,
    /// How long a request may take before it is answered with a problem.
    pub request_timeout: Duration,
    /// How long the headers of a request may take, and so the pause between two. No setting: 60 s.
    pub headers_within: Duration,
    /// How long a read waits for the writes that its token names.
    pub token_wait: Duration,
    /// How much is kept of any topic.
    pub retention: Retention,
    /// How many may listen at once, to topics or to all changes.
    pub max_listeners: usize,
    /// How often those who listen hear something, whatever happens.
    pub heartbeat: Duration,
    /// The most bytes of one import of contacts.
    pub max_import_bytes: u64,
    /// How long a node that is about to stop goes on as before, but for saying so.
    pub drain_notice: Duration,
    /// How long it then waits for the requests under way.
    pub drain_timeout: Duration,
}

impl Default for HttpLimits {
    /// Those of a node that nobody has told otherwise.
    fn default() -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::from(&NodeConfig::new("", PathBuf::new(), nowhere, nowhere))
    }
}

impl From<&NodeConfig> for HttpLimits {
    fn from(config: &NodeConfig) -> Self {
        Self {
            max_body_bytes: config.max_body_bytes,
            request_timeout: Duration::from_millis(config.request_timeout_ms),
            headers_within: HEADER_READ_TIMEOUT,
            token_wait: Duration::from_millis(config.token_wait_ms),
            retention: config.topic_retention(),
            max_listeners: config.max_listeners,
            heartbeat: Duration::from_millis(config.heartbeat_ms),
            max_import_bytes: MAX_IMPORT_BYTES,
            drain_notice: Duration::from_millis(config.drain_notice_ms),
            drain_timeout: Duration::from_millis(config.drain_timeout_ms),
        }
    }
}

/// The store, the cluster and the bounds. Cheap to clone.
#[derive(Clone)]
pub struct HttpState {
    /// Where everything is read and written.
    pub store: Store,
    /// What is said about the cluster.
    pub cluster: Arc<dyn ClusterView>,
    /// The bounds.
    pub limits: HttpLimits,
    /// Where a bundle that comes in is kept until it is whole.
    pub(super) spool: PathBuf,
    /// One bundle is taken in at a time.
    pub(super) importing: Arc<Semaphore>,
    /// So many imports of contacts at a time.
    pub(super) taking_in: Arc<Semaphore>,
    /// One backup is made at a time: each pins what it sees.
    pub(super) backing_up: Arc<Semaphore>,
    /// One contact absorbs another at a time: of two that absorb each other, one must stay.
    pub(super) absorbing: Arc<Semaphore>,
    /// The time of day.
    pub(super) clock: Arc<dyn WallClock>,
    /// The reads that wait for other nodes' writes.
    pub(super) waiting: Arc<Waiting>,
    /// The times of the messages that are posted here.
    pub(super) message_times: Arc<Mutex<HybridClock>>,
    /// The reads that wait for counters.
    pub(super) counting: Arc<Semaphore>,
    /// Which web pages may ask.
    pub(super) cors: Arc<Cors>,
    /// What is told to those who listen.
    pub(super) feed: Arc<Feed>,
    /// What is counted of requests.
    pub(super) meter: Arc<Meter>,
    /// This node is about to stop.
    pub(super) draining: CancellationToken,
    /// Who is let in.
    pub(super) guard: Arc<Guard>,
    /// Which changes the audit log tells.
    pub(super) audit: AuditLog,
    /// Whose word on who asks is believed.
    pub(super) proxies: TrustedProxies,
    /// How HTTP is carried over TLS, if it is.
    pub(super) tls: Option<Arc<Tls>>,
}

impl HttpState {
    /// The state of an API over `store`, in a cluster that looks like `cluster`. Everybody is let in until a token is
    /// made.
    #[must_use]
    pub fn new(store: Store, cluster: Arc<dyn ClusterView>, limits: HttpLimits) -> Self {
        Self {
            guard: Arc::new(Guard::new(store.clone(), true)),
            audit: AuditLog::default(),
            proxies: TrustedProxies::default(),
            tls: None,
            store,
            cluster,
            limits,
            spool: env::temp_dir(),
            importing: Arc::new(Semaphore::new(1)),
            taking_in: Arc::new(Semaphore::new(MAX_IMPORTS)),
            backing_up: Arc::new(Semaphore::new(1)),
            absorbing: Arc::new(Semaphore::new(1)),
            clock: Arc::new(SystemClock),
            waiting: Arc::default(),
            message_times: Arc::default(),
            counting: Arc::new(Semaphore::new(MAX_WAITING_FOR_COUNTERS)),
            cors: Arc::default(),
            feed: Arc::new(Feed::new(limits.max_listeners, limits.heartbeat)),
            meter: Arc::default(),
            draining: CancellationToken::new(),
        }
    }

    /// Tells the time by `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn WallClock>) -> Self {
        self.clock = clock;
        self
    }

    /// Lets web pages of `origins` ask: each a scheme and a host as browsers tell them, or `*` for all.
    #[must_use]
    pub fn allowing(mut self, origins: Vec<String>) -> Self {
        self.cors = Arc::new(Cors::new(origins));
        self
    }

    /// Lets in who shows a token, and nobody else, although none was made yet.
    #[must_use]
    pub fn closed(mut self) -> Self {
        self.guard = Arc::new(Guard::new(self.store.clone(), false));
        self
    }

    /// Tells the changes that `audit` names under the target `audit` of the log.
    #[must_use]
    pub const fn auditing(mut self, audit: AuditLog) -> Self {
        self.audit = audit;
        self
    }

    /// Believes proxies of `networks` what they say of who asks.
    #[must_use]
    pub fn trusting(mut self, networks: Vec<IpNet>) -> Self {
        self.proxies = TrustedProxies::new(networks);
        self
    }

    /// Serves over TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: Arc<Tls>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Keeps bundles that come in in `directory` until they are whole, not where temporary files are kept.
    #[must_use]
    pub fn spooling_in(mut self, directory: PathBuf) -> Self {
        self.spool = directory;
        self
    }
}
