//! The keys that a running node uses now.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Fingerprint, SecretKeys, Secrets};

/// The keys of a node as everything that runs reads them: none if it has no secret, else one or two, the one to send
/// with first. Cheap to clone; all clones change together.
#[derive(Clone, Debug)]
pub struct Keyring(watch::Receiver<Arc<[SecretKeys]>>);

/// Changes the keys of a [`Keyring`].
#[derive(Debug)]
pub struct KeyringWriter {
    cluster: String,
    keys: watch::Sender<Arc<[SecretKeys]>>,
}

impl Keyring {
    /// The keys of `secrets` for `cluster`, and what changes them.
    #[must_use]
    pub fn new(secrets: &Secrets, cluster: &str) -> (Self, KeyringWriter) {
        let (sender, receiver) = watch::channel(secrets.keys(cluster).into());
        let writer = KeyringWriter {
            cluster: cluster.to_owned(),
            keys: sender,
        };
        (Self(receiver), writer)
    }

    /// No keys, for good.
    #[must_use]
    pub fn open() -> Self {
        Self::new(&Secrets::default(), "").0
    }

    /// The keys now.
    #[must_use]
    pub fn keys(&self) -> Arc<[SecretKeys]> {
        Arc::clone(&self.0.borrow())
    }

    /// The keys, if they changed since this clone was asked the last time.
    pub fn changed(&mut self) -> Option<Arc<[SecretKeys]>> {
        match self.0.has_changed() {
            Ok(true) => Some(Arc::clone(&self.0.borrow_and_update())),
            Ok(false) | Err(_) => None,
        }
    }

    /// Whether what was sealed with this secret, or with none, is still taken.
    #[must_use]
    pub fn accepts(&self, secret: Option<Fingerprint>) -> bool {
        let keys = self.0.borrow();
        match secret {
            Some(secret) => keys.iter().any(|keys| keys.fingerprint == secret),
            None => keys.is_empty(),
        }
    }
}

impl KeyringWriter {
    /// Uses the keys of these secrets from now on.
    pub fn replace(&self, secrets: &Secrets) {
        self.keys.send_replace(secrets.keys(&self.cluster).into());
    }
}
