//! Which links are open, and to whom.

use std::{collections::BTreeMap, sync::Arc};

use grapevine_crdt::ReplicaId;

use super::shared::{LinkId, UpPeers};
use crate::{
    secret::{Fingerprint, Keyring},
    sync::{PeerInfo, transport::LinkSender},
};

/// The most links to one peer: both sides may have dialled at the same moment.
const MAX_LINKS_PER_PEER: usize = 2;

#[derive(Debug)]
struct OpenLink {
    peer: ReplicaId,
    ours: ReplicaId,
    base_ms: i64,
    sealed_with: Option<Fingerprint>,
    sender: LinkSender,
}

#[derive(Debug)]
struct Peer {
    info: PeerInfo,
    links: Vec<LinkId>,
}

/// The links that are open. A peer is up while it has one.
#[derive(Debug, Default)]
pub(super) struct Peers {
    links: BTreeMap<LinkId, OpenLink>,
    peers: BTreeMap<ReplicaId, Peer>,
}

impl Peers {
    /// Takes a link that passed the handshake; says whether it is the first to its peer. One too many is
    /// broken off.
    pub(super) fn open(
        &mut self,
        link: LinkId,
        ours: ReplicaId,
        base_ms: i64,
        sealed_with: Option<Fingerprint>,
        info: PeerInfo,
        sender: LinkSender,
    ) -> bool {
        let replica = info.replica;
        let peer = self.peers.entry(replica).or_insert_with(|| Peer {
            info,
            links: Vec::new(),
        });
        if peer.links.len() >= MAX_LINKS_PER_PEER {
            sender.break_off();
            return false;
        }
        peer.links.push(link);
        let first = peer.links.len() == 1;
        let open = OpenLink {
            peer: replica,
            ours,
            base_ms,
            sealed_with,
            sender,
        };
        self.links.insert(link, open);
        first
    }

    /// Forgets a link; says who is down now, if it was the last.
    pub(super) fn close(&mut self, link: LinkId) -> Option<ReplicaId> {
        let open = self.links.remove(&link)?;
        let peer = self.peers.get_mut(&open.peer)?;
        peer.links.retain(|held| *held != link);
        if !peer.links.is_empty() {
            return None;
        }
        self.peers.remove(&open.peer);
        Some(open.peer)
    }

    /// Breaks off every link to a peer.
    pub(super) fn disconnect(&mut self, replica: ReplicaId) {
        let peer = self.peers.remove(&replica);
        for link in peer.into_iter().flat_map(|peer| peer.links) {
            if let Some(open) = self.links.remove(&link) {
                open.sender.break_off();
            }
        }
    }

    /// Breaks off every link on which we introduced ourselves as another life than `ours`.
    pub(super) fn break_off_outdated(&self, ours: ReplicaId) {
        for open in self.links.values() {
            if open.ours != ours {
                open.sender.break_off();
            }
        }
    }

    /// Breaks off every link that is sealed with a secret which is no longer taken.
    pub(super) fn break_off_unaccepted(&self, keyring: &Keyring) {
        for open in self.links.values() {
            if !keyring.accepts(open.sealed_with) {
                open.sender.break_off();
            }
        }
    }

    /// Breaks off every link on which clocks were compared when ours was more than `tolerated_ms` from where it
    /// is; says whether there was one.
    pub(super) fn break_off_measured(&self, base_ms: i64, tolerated_ms: u64) -> bool {
        let mut moved = self
            .links
            .values()
            .filter(|open| open.base_ms.abs_diff(base_ms) > tolerated_ms)
            .peekable();
        let any = moved.peek().is_some();
        for open in moved {
            open.sender.break_off();
        }
        any
    }

    /// Lets every link send what waits, and no more.
    pub(super) fn finish(&self) {
        for open in self.links.values() {
            open.sender.finish();
        }
    }

    /// Whose link this is.
    pub(super) fn peer_of(&self, link: LinkId) -> Option<ReplicaId> {
        self.links.get(&link).map(|open| open.peer)
    }

    /// The way to a peer: its oldest link.
    pub(super) fn sender(&self, replica: ReplicaId) -> Option<&LinkSender> {
        let link = self.peers.get(&replica)?.links.first()?;
        self.links.get(link).map(|open| &open.sender)
    }

    /// The way to the peer that listens at `address`.
    pub(super) fn sender_at(&self, address: &str) -> Option<&LinkSender> {
        let mut peers = self.peers.iter();
        let (replica, _) = peers.find(|(_, peer)| peer.info.peer == address)?;
        self.sender(*replica)
    }

    /// How many bytes wait to be sent to a peer, on all its links.
    pub(super) fn waiting_bytes(&self, replica: ReplicaId) -> usize {
        let links = self.peers.get(&replica).map(|peer| &peer.links);
        let open = links.into_iter().flatten();
        open.filter_map(|link| self.links.get(link))
            .map(|open| open.sender.waiting_bytes())
            .sum()
    }

    /// How a peer introduced itself, while it is up.
    pub(super) fn info(&self, replica: ReplicaId) -> Option<&PeerInfo> {
        self.peers.get(&replica).map(|peer| &peer.info)
    }

    /// Who is up, and where it listens.
    pub(super) fn up(&self) -> Arc<UpPeers> {
        let up = self
            .peers
            .iter()
            .map(|(replica, peer)| (*replica, peer.info.peer.clone()));
        Arc::new(up.collect())
    }
}
