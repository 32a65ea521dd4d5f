//! What directed schedules of members, absence and collection are staged with. Nobody collects, reads the roster or
//! connects unless a schedule says so.

use grapevine::{
    model::{EntityId, PartitionId},
    store::read_entity,
    sync::engine::Event,
};
use grapevine_crdt::FieldKey;

use crate::{
    invariants::Observed,
    node::Machine,
    world::{Happening, World},
};

/// Longer than a pull may stall, and than a round of collection rests.
const LONG_MS: u64 = 11_000;

/// How many rounds of questions are enough for everybody to agree.
const ROUNDS: usize = 8;

impl World {
    /// All are connected, members, and know each other.
    pub(crate) fn gather(&mut self) {
        self.connect_all();
        for _ in 0..2 {
            self.read_rosters();
            self.agree();
        }
    }

    pub(crate) fn connect_all(&mut self) {
        for one in 0..self.nodes.len() {
            for other in 0..one {
                self.connect(one, other);
            }
        }
    }

    pub(crate) fn read_rosters(&mut self) {
        for number in 0..self.nodes.len() {
            if self.nodes[number].up {
                self.keep_roster(number);
            }
        }
        self.settle();
    }

    /// Whoever is connected agrees, and knows what the others hold.
    pub(crate) fn agree(&mut self) {
        self.settle();
        for _ in 0..ROUNDS {
            for number in 0..self.nodes.len() {
                self.feed(number, Event::ProbeAll);
            }
            self.settle();
        }
    }

    /// Everybody asks everybody; whatever follows happens, but what is chosen.
    pub(crate) fn agree_but(&mut self, keeps: impl Fn(&Happening) -> bool) {
        for number in 0..self.nodes.len() {
            self.feed(number, Event::ProbeAll);
        }
        self.settle_but(keeps);
    }

    /// These reach each other alone from now on, and so do the others.
    pub(crate) fn cut_off(&mut self, away: &[usize]) {
        let sides = (0..self.nodes.len()).map(|number| u8::from(away.contains(&number)));
        self.network.split(sides.collect());
        for one in 0..self.nodes.len() {
            for other in 0..one {
                if !self.network.reach(one, other) {
                    self.disconnect_both(one, other);
                }
            }
        }
    }

    /// A node strikes others from its roster.
    pub(crate) fn expel_for_long(&mut self, by: usize, away: &[usize]) {
        for victim in away {
            self.strike(by, *victim);
            self.sync(by);
        }
    }

    /// A node collects what it may.
    pub(crate) fn collect_at(&mut self, number: usize) {
        self.read_rosters();
        self.agree();
        // What was told before everybody knew who was expelled does not count.
        self.read_rosters();
        self.now_ms += LONG_MS;
        self.agree();
        self.keep_roster(number);
        self.collect_now(number);
        self.settle();
    }

    /// As [`Self::collect_at`], with what it knows, before anything else happens.
    pub(crate) fn collect_now(&mut self, number: usize) {
        self.now_ms += LONG_MS;
        self.feed(number, Event::Tick);
        self.sync(number);
    }

    /// A node with all that its machine holds.
    pub(crate) fn snapshot(&self, number: usize) -> Machine {
        let node = &self.nodes[number];
        Machine {
            disk: node.disk.clone(),
            life: node.life,
            clock: node.clock.clone(),
            monotonic_ms: self.now_ms - node.behind_ms,
            taken_ms: self.now_ms,
            store: node.store,
            skew_ms: node.skew_ms,
        }
    }

    /// A node goes on as it was when this snapshot was made, under the life of that moment. Its time of day is right.
    pub(crate) fn roll_back(&mut self, number: usize, machine: Machine) {
        self.disturbed = true;
        let Machine {
            disk,
            life: then,
            clock,
            monotonic_ms,
            taken_ms: _,
            store,
            skew_ms,
        } = machine;
        let (_, had) = self.nodes[number].disk.replay();
        let (_, has) = disk.replay();
        self.history.lose(&had, &has);
        self.history.times.remove(&number);
        let life = self.nodes[number].life;
        for other in 0..self.nodes.len() {
            let peer = self.nodes[other].life;
            self.disconnect(other, life);
            self.disconnect(number, peer);
        }
        let (now_ms, engine) = (self.now_ms, self.engine(store));
        let node = &mut self.nodes[number];
        node.staged = None;
        node.jobs.clear();
        node.disk = disk;
        node.read_disk(None);
        node.run += 1;
        node.life = then;
        node.store = store;
        node.skew_ms = skew_ms;
        node.clock = clock;
        node.behind_ms = now_ms - monotonic_ms;
        node.engine = engine;
        node.returned.clear();
        node.rolled_back = true;
    }

    /// Everybody meets everybody; nothing is asserted.
    pub(crate) fn reunite(&mut self) {
        self.network.join();
        for _ in 0..8 {
            self.connect_all();
            self.agree();
            self.read_rosters();
            self.tick(2_000);
        }
        self.settle();
        self.check(&Observed::Everything);
    }

    /// What users see of an entity on a node: names and values.
    pub(crate) fn shows(&self, number: usize, id: &EntityId) -> Vec<(String, u32)> {
        let entity = read_entity(&self.nodes[number].rows, id).expect("rows can be read");
        let entity = entity.filter(grapevine_crdt::Entity::is_visible);
        let fields = entity.iter().flat_map(grapevine_crdt::Entity::fields);
        fields
            .filter_map(|(key, field)| {
                let (FieldKey::Attribute(name) | FieldKey::Register(name)) = key else {
                    return None;
                };
                let bytes = field.shown().bytes()?;
                let value = bytes.try_into().map(u32::from_be_bytes);
                Some((name.clone(), value.expect("four bytes")))
            })
            .collect()
    }

    /// Whether all nodes show exactly this of an entity.
    pub(crate) fn all_show(&self, id: &EntityId, expected: &[(&str, u32)]) -> bool {
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect();
        (0..self.nodes.len()).all(|number| self.shows(number, id) == expected)
    }

    /// Whether a node holds anything of an entity, shown or not.
    pub(crate) fn holds(&self, number: usize, id: &EntityId) -> bool {
        let entity = read_entity(&self.nodes[number].rows, id).expect("rows can be read");
        entity.is_some_and(|entity| !entity.is_empty())
    }

    pub(crate) fn has_floor(&self, number: usize, partition: PartitionId) -> bool {
        !self.nodes[number]
            .state
            .partition(partition)
            .floor
            .is_empty()
    }
}
