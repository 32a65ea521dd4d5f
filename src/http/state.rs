//! What every handler is given.

use std::{sync::Arc, time::Duration};

use crate::{cluster::ClusterView, config::NodeConfig, store::Store};

/// The bounds that are settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// The most bytes of a request body.
    pub max_body_bytes: usize,
    /// How long a request may take before it is answered with a problem.
    pub request_timeout: Duration,
}

impl From<&NodeConfig> for HttpLimits {
    fn from(config: &NodeConfig) -> Self {
        Self {
            max_body_bytes: config.max_body_bytes,
            request_timeout: Duration::from_millis(config.request_timeout_ms),
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
}
