//! The network: who reaches whom, what is under way, and the handshakes.

use std::collections::BTreeMap;

use grapevine::sync::{
    Message, PROTOCOL_VERSION, PeerInfo,
    engine::{Event, check_hello},
};
use grapevine_crdt::ReplicaId;
use rand::RngExt;

use crate::{
    roster::store_id,
    world::{Happening, World},
};

const DIAL_PERIOD_MS: u64 = 100;
const GOSSIP_PERIOD_MS: u64 = 60;
const MAX_CLOCK_SKEW_MS: u64 = 60_000;

/// A message under way between two lives.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) from: usize,
    pub(crate) from_life: ReplicaId,
    pub(crate) to: usize,
    pub(crate) to_life: ReplicaId,
    pub(crate) message: Message,
}

#[derive(Debug)]
pub(crate) struct Network {
    /// Nodes on different sides do not reach each other.
    sides: Vec<u8>,
    /// When the last message of a link arrives.
    last_ms: BTreeMap<(usize, usize), u64>,
}

impl Network {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            sides: vec![0; nodes],
            last_ms: BTreeMap::new(),
        }
    }

    pub(crate) fn split(&mut self, sides: Vec<u8>) {
        self.sides = sides;
    }

    pub(crate) fn join(&mut self) {
        self.sides.fill(0);
    }

    pub(crate) fn reach(&self, one: usize, other: usize) -> bool {
        self.sides[one] == self.sides[other]
    }
}

impl World {
    pub(crate) fn send(&mut self, from: usize, to_life: ReplicaId, message: Message) {
        let Some(&to) = self.owners.get(&to_life) else {
            return;
        };
        let packet = Packet {
            from,
            from_life: self.nodes[from].life,
            to,
            to_life,
            message,
        };
        if self.turmoil && self.rng.random_range(0..100) < self.settings.loss {
            return;
        }
        if self.turmoil && self.rng.random_range(0..100) < self.settings.duplication {
            let at_ms = self.arrival_ms(from, to);
            self.at(at_ms, Happening::Arrives(packet.clone()));
        }
        let at_ms = self.arrival_ms(from, to);
        self.at(at_ms, Happening::Arrives(packet));
    }

    fn arrival_ms(&mut self, from: usize, to: usize) -> u64 {
        let delay_ms = self.rng.random_range(1..=self.settings.max_delay_ms);
        let mut at_ms = self.now_ms + delay_ms;
        if !self.settings.reorders {
            let last_ms = self.network.last_ms.entry((from, to)).or_default();
            at_ms = at_ms.max(*last_ms);
            *last_ms = at_ms;
        }
        at_ms
    }

    pub(crate) fn arrives(&mut self, packet: Packet) {
        let Packet {
            from,
            from_life,
            to,
            to_life,
            message,
        } = packet;
        let node = &self.nodes[to];
        let connected = node.up && node.life == to_life && node.sees.contains_key(&from_life);
        if connected && self.network.reach(from, to) {
            self.feed(to, Event::Received(from_life, message));
        }
    }

    /// Connects whom the handshake lets through, and notices who is gone.
    pub(crate) fn dial(&mut self) {
        for number in 0..self.nodes.len() {
            let gone: Vec<ReplicaId> = self.nodes[number]
                .sees
                .iter()
                .filter(|(life, peer)| {
                    let there = &self.nodes[**peer];
                    !there.up || there.life != **life || !self.network.reach(number, **peer)
                })
                .map(|(life, _)| *life)
                .collect();
            for life in gone {
                if self.rng.random_bool(0.5) {
                    self.disconnect(number, life);
                }
            }
        }
        for one in 0..self.nodes.len() {
            for other in 0..one {
                self.connect(one, other);
            }
        }
        self.after(DIAL_PERIOD_MS, Happening::Dial);
    }

    pub(crate) fn disconnect(&mut self, number: usize, life: ReplicaId) {
        if self.nodes[number].sees.remove(&life).is_some() {
            self.feed(number, Event::PeerDown(life));
        }
    }

    /// Connects two nodes unless they are connected, do not reach each other or refuse each other.
    pub(crate) fn connect(&mut self, one: usize, other: usize) {
        let (here, there) = (&self.nodes[one], &self.nodes[other]);
        let connected = here.sees.contains_key(&there.life) && there.sees.contains_key(&here.life);
        if connected || !here.up || !there.up || !self.network.reach(one, other) {
            return;
        }
        let (ours, theirs) = (self.hello(one), self.hello(other));
        let taken = check_hello(&ours, &theirs, MAX_CLOCK_SKEW_MS)
            .and_then(|()| check_hello(&theirs, &ours, MAX_CLOCK_SKEW_MS));
        if taken.is_ok() {
            self.nodes[one].sees.insert(theirs.replica, other);
            self.nodes[other].sees.insert(ours.replica, one);
            self.feed(one, Event::PeerUp(theirs));
            self.feed(other, Event::PeerUp(ours));
        }
    }

    fn hello(&self, number: usize) -> PeerInfo {
        let node = &self.nodes[number];
        PeerInfo {
            version: PROTOCOL_VERSION,
            cluster: "simulated".to_owned(),
            name: format!("node-{number}"),
            replica: node.life,
            store: store_id(node.store),
            http: String::new(),
            peer: String::new(),
            unix_ms: self.wall_ms(number),
            clock: node.state.clock(),
        }
    }

    /// Somebody hears somebody's root.
    pub(crate) fn gossip(&mut self) {
        let hearer = self.rng.random_range(0..self.nodes.len());
        let teller = self.rng.random_range(0..self.nodes.len());
        if self.settings.gossips && hearer != teller {
            let node = &self.nodes[teller];
            let event = Event::Gossiped(node.life, node.state.root());
            self.feed(hearer, event);
        }
        self.after(GOSSIP_PERIOD_MS, Happening::Gossip);
    }
}
