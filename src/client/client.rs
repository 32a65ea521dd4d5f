//! Asking one of several nodes: the next when one is down, again when that can do no harm.
//!
//! `rounds` decides what is tried next; this file sends it.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http_body_util::{BodyExt as _, Limited};
use hyper::{Request, Response, body::Incoming, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

use super::{
    address::NodeAddress,
    body::Sent,
    bundle::Bundles,
    call::{Answer, Call},
    cluster::ClusterOf,
    contacts::Contacts,
    counters::Counters,
    dump::Everything,
    error::ClientError,
    kv::KeyValues,
    options::ClientOptions,
    rounds::{Failure, Rounds},
    session::Session,
    tokens::Tokens,
    topics::Topics,
    trust,
};

/// The most bytes of an answer that is taken whole: a value, or a page of a list, which ends after 8 MiB and one entity.
const MAX_ANSWER_BYTES: usize = 32 * 1_024 * 1_024;
/// How long a connection that nobody uses is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// A client of a cluster. Clones share its connections and its session.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: legacy::Client<HttpsConnector<HttpConnector>, Sent>,
    options: ClientOptions,
    /// The node that answered last.
    preferred: AtomicUsize,
    session: Session,
}

impl Client {
    pub(super) fn new(options: ClientOptions) -> Result<Self, ClientError> {
        if options.nodes.is_empty() {
            return Err(ClientError::NoNode);
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(options.connect_timeout));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let encrypted = options.nodes.iter().any(NodeAddress::is_encrypted);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trust::tls(options.authorities.as_deref(), encrypted)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self(Arc::new(Inner {
            http,
            options,
            preferred: AtomicUsize::new(0),
            session: Session::default(),
        })))
    }

    /// The same nodes and connections, in a session of its own that starts where `token` ends.
    #[must_use]
    pub fn new_session(&self, token: Option<&str>) -> Self {
        Self(Arc::new(Inner {
            http: self.0.http.clone(),
            options: self.0.options.clone(),
            preferred: AtomicUsize::new(self.0.preferred.load(Ordering::Relaxed)),
            session: Session::starting_with(token),
        }))
    }

    /// The token of the session, to go on with it elsewhere; `None` before the first write.
    #[must_use]
    pub fn token(&self) -> Option<String> {
        self.0.session.token()
    }

    /// The session has seen what `token` names too.
    pub(super) fn go_on_from(&self, token: &str) {
        if self.0.options.session {
            self.0.session.join(token);
        }
    }

    /// The nodes, in the order in which they were given.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeAddress> {
        self.0.options.nodes.iter()
    }

    /// A client of each node alone, in a session of its own.
    pub fn each_node(&self) -> Result<Vec<Self>, ClientError> {
        let nodes = self.0.options.nodes.iter();
        nodes
            .map(|node| {
                let mut options = self.0.options.clone();
                options.nodes = vec![node.clone()];
                Self::new(options)
            })
            .collect()
    }

    /// The address book.
    #[must_use]
    pub fn contacts(&self) -> Contacts<'_> {
        Contacts::of(self)
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> Counters<'_> {
        Counters::of(self)
    }

    /// The key-values.
    #[must_use]
    pub fn kv(&self) -> KeyValues<'_> {
        KeyValues::of(self)
    }

    /// The topics, and what changes.
    #[must_use]
    pub fn topics(&self) -> Topics<'_> {
        Topics::of(self)
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> ClusterOf<'_> {
        ClusterOf::of(self)
    }

    /// The access tokens.
    #[must_use]
    pub fn tokens(&self) -> Tokens<'_> {
        Tokens::of(self)
    }

    /// Files for nodes that share no network.
    #[must_use]
    pub fn bundles(&self) -> Bundles<'_> {
        Bundles::of(self)
    }

    /// Everything that the cluster shows, as JSON values.
    #[must_use]
    pub const fn everything(&self) -> Everything<'_> {
        Everything::of(self)
    }

    /// Whether a node answers; yields which.
    pub async fn ping(&self) -> Result<String, ClientError> {
        Ok(self.send(Call::get("/ping")).await?.node)
    }

    /// The answer of success to `call`, from whichever node gives one.
    pub(super) async fn send(&self, call: Call) -> Result<Answer, ClientError> {
        let limit = call.timeout.unwrap_or(self.0.options.answer_timeout);
        let mut rounds = self.rounds(&call);
        while let Some(node) = rounds.next().await {
            let answering = async {
                let response = self.open(node, &call).await?;
                self.whole(node, response).await
            };
            let answer = timeout(limit, answering)
                .await
                .unwrap_or_else(|_| Err(Failure::late(limit)));
            match answer {
                Ok(answer) => {
                    self.0.preferred.store(rounds.node(), Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(Failure::Refused(problem)) if rounds.deleted_before(&problem) => {
                    return Ok(Answer::of_deletion(node));
                }
                Err(failure) => rounds.failed(failure)?,
            }
        }
        Err(rounds.given_up())
    }

    /// As [`Self::send`], but yields an answer of success as soon as it begins, and its node. How long it goes on is
    /// not bounded.
    pub(super) async fn stream(
        &self,
        call: &Call,
    ) -> Result<(String, Response<Incoming>), ClientError> {
        let limit = call.timeout.unwrap_or(self.0.options.answer_timeout);
        let mut rounds = self.rounds(call);
        while let Some(node) = rounds.next().await {
            let beginning = async {
                let response = self.open(node, call).await?;
                if response.status().is_success() {
                    return Ok(response);
                }
                Err(match self.whole(node, response).await {
                    Ok(_) => Failure::Unanswered("it changed its mind".to_owned()),
                    Err(failure) => failure,
                })
            };
            let begun = timeout(limit, beginning)
                .await
                .unwrap_or_else(|_| Err(Failure::late(limit)));
            match begun {
                Ok(response) => {
                    self.0.preferred.store(rounds.node(), Ordering::Relaxed);
                    return Ok((node.to_string(), response));
                }
                Err(failure) => rounds.failed(failure)?,
            }
        }
        Err(rounds.given_up())
    }

    /// Writes an answer of any length into `target`; says after every piece how many bytes there are.
    pub(super) async fn download(
        &self,
        call: &Call,
        target: &mut (impl AsyncWrite + Unpin + Send),
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), ClientError> {
        let unwritten = |source| ClientError::Target { source };
        let (node, response) = self.stream(call).await?;
        let mut body = response.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ClientError::Unanswered {
                node: node.clone(),
                why: innermost(&error),
                write: false,
            })?;
            if let Ok(data) = frame.into_data() {
                target.write_all(&data).await.map_err(unwritten)?;
                bytes += data.len() as u64;
                progress(bytes);
            }
        }
        target.flush().await.map_err(unwritten)
    }

    fn rounds<'a>(&'a self, call: &'a Call) -> Rounds<'a> {
        let first = self.0.preferred.load(Ordering::Relaxed);
        Rounds::new(&self.0.options, call, first)
    }

    /// Sends a request to one node, and yields the head of its answer.
    async fn open(&self, node: &NodeAddress, call: &Call) -> Result<Response<Incoming>, Failure> {
        let body = call.payload.open().await?;
        let mut request = Request::new(body);
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = node.uri(&call.path)?;
        *request.headers_mut() = call.headers.clone();
        if self.0.options.session {
            self.0.session.put(request.headers_mut());
        }
        if let Some(authorization) = &self.0.options.authorization {
            let headers = request.headers_mut();
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        let token = Session::sent(request.headers()).cloned();
        let response = self.0.http.request(request).await.map_err(|error| {
            let why = innermost(&error);
            if error.is_connect() {
                Failure::Unreached(why)
            } else {
                Failure::Unanswered(why)
            }
        })?;
        if self.0.options.session {
            self.0.session.take(token.as_ref(), response.headers());
        }
        Ok(response)
    }

    /// The rest of an answer.
    async fn whole(
        &self,
        node: &NodeAddress,
        response: Response<Incoming>,
    ) -> Result<Answer, Failure> {
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| Failure::Unanswered(innermost(&*error)))?;
        let answer = Answer {
            node: node.to_string(),
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
        };
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(Failure::Refused(Box::new(answer.problem())))
        }
    }
}

/// What lies at the bottom of an error: those above it only say that there is one.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
