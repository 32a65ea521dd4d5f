//! Where HTTP is plugged in.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::WallClock,
    cluster::ClusterView,
    config::NodeConfig,
    http::{HttpLimits, HttpState, Tls, TlsError},
    store::Store,
};

/// Everything that HTTP needs.
pub(super) struct Parts {
    pub(super) listener: TcpListener,
    pub(super) store: Store,
    pub(super) cluster: Arc<dyn ClusterView>,
    pub(super) config: NodeConfig,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) stopping: CancellationToken,
}

/// How HTTP is carried over TLS, if the settings say so.
pub(super) fn tls(config: &NodeConfig) -> Result<Option<Arc<Tls>>, TlsError> {
    let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else {
        return Ok(None);
    };
    Tls::open(cert, key).map(|tls| Some(Arc::new(tls)))
}

/// Serves until `stopping`, then answers what was accepted.
pub(super) async fn serve(parts: Parts) {
    let Parts {
        listener,
        store,
        cluster,
        config,
        clock,
        tls,
        stopping,
    } = parts;
    let mut state = HttpState::new(store, cluster, HttpLimits::from(&config))
        .with_clock(clock)
        .auditing(config.audit_log)
        .allowing(config.cors_origins)
        .trusting(config.trusted_proxies)
        .spooling_in(config.data);
    if !config.http.ip().is_loopback() && !config.insecure {
        state = state.closed();
    }
    if let Some(tls) = tls {
        state = state.with_tls(tls);
    }
    crate::http::serve(listener, state, stopping.cancelled_owned()).await;
}
