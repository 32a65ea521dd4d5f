//! The addresses of seeds that are named and not numbered, resolved again and again.
//!
//! chitchat would resolve them before it starts, and a slow name server would keep the node from starting.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tokio::{net::lookup_host, sync::watch, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long after an answer a name is asked for again.
const RESOLVE_PERIOD: Duration = Duration::from_secs(10);

/// How long after a failure a name is asked for again.
const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// The most addresses of one name.
const MAX_ADDRESSES: usize = 64;

type Resolved = BTreeMap<String, BTreeSet<SocketAddr>>;

/// The names and what they resolved to last.
#[derive(Clone, Debug)]
pub(super) struct Seeds {
    resolved: watch::Receiver<Resolved>,
}

impl Seeds {
    /// Begins to resolve `names` (`host:port`), one task a name, until `stopping`.
    pub(super) fn resolve(
        names: Vec<String>,
        stopping: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Self {
        let (sender, resolved) = watch::channel(Resolved::new());
        let sender = Arc::new(sender);
        for name in names {
            let (sender, stopping) = (Arc::clone(&sender), stopping.clone());
            tasks.spawn(async move {
                stopping
                    .run_until_cancelled(keep_resolving(name, &sender))
                    .await;
            });
        }
        Self { resolved }
    }

    /// Every address that some name resolved to last.
    pub(super) fn addresses(&self) -> BTreeSet<SocketAddr> {
        self.resolved.borrow().values().flatten().copied().collect()
    }
}

async fn keep_resolving(name: String, resolved: &watch::Sender<Resolved>) {
    let mut failed = false;
    loop {
        match lookup_host(name.as_str()).await {
            Ok(addresses) => {
                let addresses: BTreeSet<_> = addresses.take(MAX_ADDRESSES).collect();
                tracing::debug!(seed = name, ?addresses, "a seed is resolved");
                resolved.send_modify(|resolved| {
                    resolved.insert(name.clone(), addresses);
                });
                failed = false;
                sleep(RESOLVE_PERIOD).await;
            }
            Err(error) => {
                // What it resolved to before still stands: a name server that is away moves nobody.
                if !failed {
                    tracing::warn!(seed = name, %error, "a seed cannot be resolved yet");
                }
                failed = true;
                sleep(RETRY_PERIOD).await;
            }
        }
    }
}
