//! Reads the file of cluster secrets again when it changes, so that secrets are changed without a restart.
//!
//! Invariants: what cannot be read or holds no secret changes nothing, and is told once; a node that has secrets never
//! comes to have none.

use std::{path::PathBuf, time::Duration};

use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::NodeConfig,
    secret::{KeyringWriter, Secrets},
};

/// How often the file is read: it has a few lines, and some file systems tell nobody of changes.
const READ_PERIOD: Duration = Duration::from_secs(1);

/// The file, and what it said last.
pub(super) struct SecretFile {
    path: PathBuf,
    secrets: Secrets,
    cluster: String,
    keys: KeyringWriter,
    /// What was wrong when it was read last.
    complaint: Option<String>,
}

impl SecretFile {
    /// Tells with which secrets the node begins, and keeps `keys` at what its file says until `stopping`.
    pub(super) fn watch(
        config: &NodeConfig,
        keys: KeyringWriter,
        stopping: &CancellationToken,
    ) -> JoinHandle<()> {
        let stopping = stopping.clone();
        tell(&config.cluster_secrets, &config.cluster);
        let Some(path) = config.cluster_secret_file.clone() else {
            return tokio::spawn(async move {
                stopping.cancelled().await;
                drop(keys);
            });
        };
        let file = Self {
            path,
            secrets: config.cluster_secrets.clone(),
            cluster: config.cluster.clone(),
            keys,
            complaint: None,
        };
        tokio::spawn(file.run(stopping))
    }

    async fn run(mut self, stopping: CancellationToken) {
        let mut ticks = interval(READ_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let path = self.path.clone();
            let Ok(read) = spawn_blocking(move || Secrets::read(&path)).await else {
                continue;
            };
            match read {
                Ok(secrets) => {
                    self.complaint = None;
                    if secrets != self.secrets {
                        self.keys.replace(&secrets);
                        tell(&secrets, &self.cluster);
                        self.secrets = secrets;
                    }
                }
                Err(error) => {
                    let complaint = Some(error.to_string());
                    if complaint != self.complaint {
                        tracing::error!("{error}; the secrets read before stay in use");
                        self.complaint = complaint;
                    }
                }
            }
        }
    }
}

/// Names the secrets by their fingerprints.
fn tell(secrets: &Secrets, cluster: &str) {
    let keys = secrets.keys(cluster);
    let Some((first, others)) = keys.split_first() else {
        return;
    };
    let also: Vec<String> = others
        .iter()
        .map(|keys| keys.fingerprint.to_string())
        .collect();
    tracing::info!(
        sends_with = %first.fingerprint,
        also_accepts = also.join(","),
        "peers must have a cluster secret"
    );
}
