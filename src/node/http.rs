//! Where HTTP is plugged in.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::WallClock,
    cluster::ClusterView,
    config::NodeConfig,
    http::{HttpLimits, HttpState},
    store::Store,
};

/// Everything that HTTP needs.
pub(super) struct Parts {
    pub(super) listener: TcpListener,
    pub(super) store: Store,
    pub(super) cluster: Arc<dyn ClusterView>,
    pub(super) config: NodeConfig,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) stopping: CancellationToken,
}

/// Serves until `stopping`, then answers what was accepted.
pub(super) async fn serve(parts: Parts) {
    let Parts {
        listener,
        store,
        cluster,
        config,
        clock,
        stopping,
    } = parts;
    let state = HttpState::new(store, cluster, HttpLimits::from(&config))
        .with_clock(clock)
        .allowing(config.cors_origins)
        .spooling_in(config.data);
    crate::http::serve(listener, state, stopping.cancelled_owned()).await;
}
