//! What is derived from a secret: a key for each use, each for one cluster.
//!
//! The derivation is BLAKE3's (`derive_key` of its specification, section 2.3, a KDF as HKDF is): the context names the
//! use, the key material is the secret (32 bytes) and the name of the cluster behind it. The secret has one length, so
//! no two pairs make the same material.

use core::fmt;

use zeroize::Zeroizing;

use super::{Fingerprint, Secret};

const GOSSIP_CONTEXT: &str = "grapevine 2026 gossip datagrams v1";
const PEER_CONTEXT: &str = "grapevine 2026 peer connections v1";

/// A key of 32 bytes. Shows itself to nobody.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; 32]>);

/// The keys of one secret for one cluster.
#[derive(Clone, Debug)]
pub struct SecretKeys {
    /// What the secret may be called.
    pub fingerprint: Fingerprint,
    /// Seals datagrams of gossip.
    pub gossip: Key,
    /// The pre-shared key of connections between peers.
    pub peer: Key,
}

impl Key {
    /// Its bytes, for the cipher alone.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl SecretKeys {
    pub(super) fn derive(secret: &Secret, cluster: &str) -> Self {
        Self {
            fingerprint: secret.fingerprint(),
            gossip: key(GOSSIP_CONTEXT, secret, cluster),
            peer: key(PEER_CONTEXT, secret, cluster),
        }
    }
}

fn key(context: &str, secret: &Secret, cluster: &str) -> Key {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(secret.bytes());
    hasher.update(cluster.as_bytes());
    Key(Zeroizing::new(*hasher.finalize().as_bytes()))
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        let hex = bytes.iter().map(|byte| format!("{byte:02x}"));
        hex.collect::<Vec<_>>().concat()
    }

    /// Nodes of two versions must derive the same, or an upgrade would part the cluster. Computed with Python's `blake3`.
    #[test]
    fn a_new_version_derives_other_keys() {
        let secret = Secret::from_bytes([7; 32]);
        let keys = SecretKeys::derive(&secret, "grapevine");
        assert_eq!(
            hex(keys.gossip.bytes()),
            "676cbeb049076eedd162648a286f670c95dd06e79c4ec40ff18163884df9a7b8"
        );
        assert_eq!(
            hex(keys.peer.bytes()),
            "c4012bf15ae0a7d0e2af1cf19639e485647ec9bae47bba997cec4d898f444e9e"
        );
    }

    #[test]
    fn two_uses_or_two_clusters_share_a_key() {
        let keys = |secret: u8, cluster: &str| {
            let keys = SecretKeys::derive(&Secret::from_bytes([secret; 32]), cluster);
            [*keys.gossip.bytes(), *keys.peer.bytes()]
        };
        let all = [keys(1, "a"), keys(1, "b"), keys(2, "a")].concat();
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }
}
