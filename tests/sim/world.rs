//! The world: nodes, what is going to happen to them, and what was seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use grapevine::{
    model::{CellName, Claim, Collection, EntityId, Floor, Op, Rejoin},
    store::{compare_listing, read_delta, read_entities, read_listing, read_state},
    sync::{
        Message,
        engine::{Command, Comparison, Engine, EngineConfig, Event, Now, PullRequest, Request},
    },
};
use grapevine_crdt::{CausalContext, ReplicaId};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

use crate::{
    client,
    courier::Bundle,
    fault::Fault,
    held::Held,
    history::History,
    invariants::{Invariant, Observed},
    network::{Network, Packet},
    node::{Answer, Job, Node, Published},
    outsider::Outsider,
    roster::store_id,
    settings::Settings,
};

/// The time of day at which every run begins.
const EPOCH_UNIX_MS: u64 = 1_700_000_000_000;
const TICK_PERIOD_MS: u64 = 100;

/// Something that is going to happen.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Tick(usize),
    Client,
    Outsider(usize),
    /// A node's group with this serial reaches the disk, if it was not given up.
    Synced(usize, u64),
    /// Steps that needed no sync are answered.
    Answered(usize, u64, Vec<Answer>),
    Arrives(Packet),
    /// A node reads the page that a peer asked for.
    Serves(usize, ReplicaId, ReplicaId, Request),
    /// A node compares a peer's listing with what it holds.
    Compares(usize, u64, Comparison),
    Roster(usize),
    Expel(usize),
    /// A bundle is brought to a node.
    Imports(usize, Arc<Bundle>),
    Dial,
    Nemesis,
    Restart(usize),
    Join,
    Gossip,
}

pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) fault: Option<Fault>,
    pub(crate) rng: Xoshiro256PlusPlus,
    pub(crate) now_ms: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) owners: BTreeMap<ReplicaId, usize>,
    pub(crate) outsiders: Vec<Outsider>,
    pub(crate) network: Network,
    pub(crate) history: History,
    /// Whether some node lost a part of its past, or two clusters collected that never met: until all is healed, a member
    /// may have collected what another still holds when such a node meets it, and repair has to follow. Having been
    /// expelled is no excuse.
    pub(crate) disturbed: bool,
    /// Whether clients write and things break.
    pub(crate) turmoil: bool,
    pub(crate) checked: Vec<Invariant>,
    pub(crate) violations: Vec<(Invariant, String)>,
    /// What engines complained of. Among honest nodes, nothing.
    pub(crate) complaints: Vec<String>,
    happenings: BTreeMap<(u64, u64), Happening>,
    serial: u64,
    /// How often repair was due.
    pub(crate) repairs: u64,
    /// How many groups were shown.
    pub(crate) commits: u64,
    /// How many bundles were taken in.
    pub(crate) imports: u64,
    trace: bool,
    /// The entity whose story is told.
    pub(crate) watched: Option<EntityId>,
    /// What was last told of each node's roster.
    pub(crate) told: BTreeMap<usize, String>,
}

impl World {
    pub(crate) fn new(seed: u64, settings: Option<Settings>, fault: Option<Fault>) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut settings = settings.unwrap_or_else(|| Settings::draw(&mut rng));
        settings.engine.rules = Fault::rules(fault);
        let mut world = Self {
            network: Network::new(settings.nodes),
            settings,
            fault,
            rng,
            now_ms: 0,
            nodes: Vec::new(),
            outsiders: Vec::new(),
            owners: BTreeMap::new(),
            history: History::default(),
            disturbed: false,
            turmoil: true,
            checked: Invariant::ALL.to_vec(),
            violations: Vec::new(),
            complaints: Vec::new(),
            happenings: BTreeMap::new(),
            serial: 0,
            repairs: 0,
            commits: 0,
            imports: 0,
            trace: std::env::var_os("TRACE").is_some(),
            watched: watched(),
            told: BTreeMap::new(),
        };
        for number in 0..world.settings.nodes {
            let life = world.mint(number);
            let store = u32::try_from(number).expect("few nodes");
            let engine = world.engine(store);
            world.nodes.push(Node::new(life, store, engine));
        }
        world
    }

    /// The engine of a node with this store.
    pub(crate) fn engine(&self, store: u32) -> Engine {
        Engine::new(EngineConfig {
            store: store_id(store),
            ..self.settings.engine.clone()
        })
    }

    /// A fresh replica id for a node.
    pub(crate) fn mint(&mut self, number: usize) -> ReplicaId {
        let life = ReplicaId::from_bytes(self.rng.random());
        self.owners.insert(life, number);
        life
    }

    /// Sets everything going that goes by itself.
    pub(crate) fn start(&mut self) {
        for number in 0..self.nodes.len() {
            let after = self.rng.random_range(0..TICK_PERIOD_MS);
            self.after(after, Happening::Tick(number));
            let skew = self.rng.random_range(-25_000..=25_000);
            self.nodes[number].skew_ms = skew;
            if self.settings.collects {
                self.roster(number);
            }
        }
        self.after(0, Happening::Dial);
        self.after(1, Happening::Client);
        self.start_outsiders();
        let nemesis = self.rng.random_range(0..=self.settings.nemesis_period_ms);
        self.after(nemesis, Happening::Nemesis);
        self.after(10, Happening::Gossip);
    }

    pub(crate) fn after(&mut self, delay_ms: u64, happening: Happening) {
        self.at(self.now_ms + delay_ms, happening);
    }

    pub(crate) fn at(&mut self, at_ms: u64, happening: Happening) {
        self.serial += 1;
        self.happenings.insert((at_ms, self.serial), happening);
    }

    /// Lets the next thing happen, unless it is later than `until_ms` or something went wrong.
    pub(crate) fn step(&mut self, until_ms: u64) -> bool {
        let due = self
            .happenings
            .first_key_value()
            .is_some_and(|((at_ms, _), _)| *at_ms <= until_ms);
        if !due || self.is_broken() {
            return false;
        }
        if let Some(((at_ms, _), happening)) = self.happenings.pop_first() {
            self.now_ms = self.now_ms.max(at_ms);
            self.happen(happening);
        }
        true
    }

    /// Whether something went wrong.
    pub(crate) fn is_broken(&self) -> bool {
        !self.violations.is_empty() || !self.complaints.is_empty()
    }

    /// Lets the first thing happen that `choose` accepts, whenever it was due. For directed schedules.
    pub(crate) fn pick(&mut self, choose: impl Fn(&Happening) -> bool) -> bool {
        let key = self.happenings.iter().find(|(_, what)| choose(what));
        let Some(key) = key.map(|(key, _)| *key) else {
            return false;
        };
        if let Some(happening) = self.happenings.remove(&key) {
            self.happen(happening);
        }
        true
    }

    /// Takes messages that are under way off the network.
    pub(crate) fn take_packets(&mut self, choose: impl Fn(&Packet) -> bool) -> Vec<Packet> {
        let mut taken = Vec::new();
        self.happenings.retain(|_, what| match what {
            Happening::Arrives(packet) if choose(packet) => {
                taken.push(packet.clone());
                false
            }
            Happening::Arrives(_)
            | Happening::Tick(_)
            | Happening::Client
            | Happening::Outsider(_)
            | Happening::Synced(..)
            | Happening::Answered(..)
            | Happening::Serves(..)
            | Happening::Compares(..)
            | Happening::Roster(_)
            | Happening::Expel(_)
            | Happening::Imports(..)
            | Happening::Dial
            | Happening::Nemesis
            | Happening::Restart(_)
            | Happening::Join
            | Happening::Gossip => true,
        });
        taken
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick(number) => {
                self.feed(number, Event::Tick);
                let jitter = self.rng.random_range(0..TICK_PERIOD_MS / 2);
                self.after(TICK_PERIOD_MS - jitter, Happening::Tick(number));
            }
            Happening::Client => self.client(),
            Happening::Outsider(client) => self.outsider(client),
            Happening::Synced(number, serial) => self.synced(number, serial),
            Happening::Answered(number, run, answers) => {
                if self.nodes[number].up && self.nodes[number].run == run {
                    self.answer(number, answers);
                    self.kick(number);
                }
            }
            Happening::Arrives(packet) => self.arrives(packet),
            Happening::Serves(number, life, peer, request) => {
                if self.lives(number, life) {
                    self.serves(number, peer, request);
                }
            }
            Happening::Compares(number, run, comparison) => {
                if self.nodes[number].up && self.nodes[number].run == run {
                    self.compares(number, &comparison);
                }
            }
            Happening::Roster(number) => self.roster(number),
            Happening::Expel(victim) => self.expel(victim),
            Happening::Imports(number, bundle) => {
                let taken = self.import(number, &bundle);
                self.narrate(|| format!("a bundle comes to node {number}: {taken}"));
            }
            Happening::Dial => self.dial(),
            Happening::Nemesis => self.nemesis(),
            Happening::Restart(number) => self.restart(number),
            Happening::Join => {
                self.narrate(|| "the network is whole".to_owned());
                self.network.join();
            }
            Happening::Gossip => self.gossip(),
        }
    }

    pub(crate) fn lives(&self, number: usize, life: ReplicaId) -> bool {
        self.nodes[number].up && self.nodes[number].life == life
    }

    pub(crate) fn wall_ms(&self, number: usize) -> u64 {
        self.true_ms()
            .saturating_add_signed(self.nodes[number].skew_ms)
    }

    pub(crate) fn true_ms(&self) -> u64 {
        EPOCH_UNIX_MS + self.now_ms
    }

    pub(crate) fn now(&self, number: usize) -> Now {
        Now {
            monotonic_ms: self.now_ms,
            unix_ms: self.wall_ms(number),
        }
    }

    /// Gives an event to a node's engine and does what it commands.
    pub(crate) fn feed(&mut self, number: usize, event: Event) {
        let now = self.now(number);
        let node = &mut self.nodes[number];
        if !node.up {
            return;
        }
        if self.trace && !matches!(event, Event::Tick) {
            eprintln!("{:>6} node {number} <- {event:?}", self.now_ms);
        }
        let mut commands = Vec::new();
        let view = Published(&node.state, node.life);
        node.engine
            .step(now, event, &view, &mut self.rng, &mut commands);
        for command in commands {
            if self.trace {
                eprintln!("{:>6} node {number} -> {command:?}", self.now_ms);
            }
            self.carry_out(number, command);
        }
    }

    fn carry_out(&mut self, number: usize, command: Command) {
        match command {
            Command::Send(peer, message) => self.send(number, peer, message),
            Command::Push(peers, records) => {
                self.check(&Observed::Pushed { records: &records });
                let clock = self.nodes[number].state.clock();
                for peer in peers {
                    let records = records.to_vec();
                    self.send(number, peer, Message::Push { clock, records });
                }
            }
            Command::Serve(peer, request) => {
                let delay = self.rng.random_range(0..=self.settings.max_delay_ms / 4);
                let life = self.nodes[number].life;
                self.after(delay, Happening::Serves(number, life, peer, request));
            }
            Command::Apply {
                ticket,
                op,
                announced,
            } => {
                let op = self.spoil(number, op);
                let job = Job::Apply(ticket, op, announced);
                self.nodes[number].jobs.push_back(job);
                self.kick(number);
            }
            Command::NewLife => {
                if !self.nodes[number].rolled_back {
                    self.complaints
                        .push(format!("node {number} is told of writes it never made"));
                }
                self.nodes[number].gives_up_life = true;
            }
            Command::Returned(by) => {
                self.narrate(|| format!("node {number} has returned to {by:?}"));
                self.nodes[number].returned = by;
            }
            Command::Disconnect(peer, reason) => {
                let node = &mut self.nodes[number];
                node.sees.remove(&peer);
                let life = node.life;
                if node.gives_up_life && node.rolled_back {
                    self.new_life(number);
                } else if let Some(other) = self.rolled_back(peer) {
                    // It holds less than it held when it was asked.
                    self.disconnect(other, life);
                } else {
                    self.complaints
                        .push(format!("node {number} disconnects {peer}: {reason}"));
                }
            }
            Command::Diverged(peer, partition) => {
                self.repairs += 1;
                if !self.disturbed {
                    self.complaints
                        .push(format!("node {number} and {peer} diverged in {partition}"));
                }
            }
            Command::Collect { partition, stable } => {
                let job = Job::Collect(partition, stable);
                self.nodes[number].jobs.push_back(job);
                self.kick(number);
            }
            Command::Compare(comparison) => {
                let run = self.nodes[number].run;
                self.after(1, Happening::Compares(number, run, comparison));
            }
            Command::Warn(warning) => self.complaints.push(warning),
        }
    }

    /// The node that writes under this life, if its machine was put back to a snapshot.
    fn rolled_back(&self, life: ReplicaId) -> Option<usize> {
        let owner = self.owners.get(&life).copied();
        owner.filter(|owner| self.nodes[*owner].rolled_back && self.nodes[*owner].life == life)
    }

    /// What a fault makes of a step on its way to the writer.
    fn spoil(&mut self, number: usize, mut op: Op) -> Op {
        self.spoil_rejoin(number, &mut op);
        if self.fault == Some(Fault::LosesEntities) && self.rng.random_bool(0.1) {
            op.entities.pop();
        }
        if let (Some(Fault::TakesWithoutTheRest), Claim::Advance { needs, .. }) =
            (self.fault, &mut op.claim)
        {
            *needs = CausalContext::default();
        }
        if self.fault == Some(Fault::ClaimsEarly) && op.claim == Claim::Nothing {
            // As if the page that was just taken were the last: all that some node holds is claimed.
            let writes = self.history.partitions.get(&op.partition);
            op.claim = Claim::Absorb {
                vector: writes
                    .map(|writes| writes.vector.clone())
                    .unwrap_or_default(),
                floor: Floor::default(),
            };
        }
        op
    }

    /// What the peer is said to hold of what we hold neither goes nor is written anew.
    fn spoil_rejoin(&mut self, number: usize, op: &mut Op) {
        let keeps = self.fault == Some(Fault::RejoinsWithoutDropping);
        let reuses = self.fault == Some(Fault::RejoinsWithoutIssuing);
        let Claim::Rejoin(rejoin) = &mut op.claim else {
            return;
        };
        if !keeps && !reuses {
            return;
        }
        self.nodes[number].rejoin = Some(Rejoin::clone(rejoin));
        let ours = Held::of(&self.nodes[number].rows, op.partition);
        let mut held: BTreeMap<EntityId, BTreeSet<CellName>> = rejoin
            .held
            .iter()
            .map(|(id, dots)| (id.clone(), dots.iter().copied().collect()))
            .collect();
        for (id, entity) in &ours.entities {
            for name in CellName::all(entity) {
                if rejoin.vector.covers(name.dot) == keeps {
                    held.entry(id.clone()).or_default().insert(name);
                }
            }
        }
        rejoin.held = held
            .into_iter()
            .map(|(id, dots)| (id, dots.into_iter().collect()))
            .collect();
    }

    fn serves(&mut self, number: usize, peer: ReplicaId, request: Request) {
        let node = &self.nodes[number];
        let (rows, clock) = (&node.rows, node.state.clock());
        let budget = self.settings.budget;
        let readable = "rows in memory can be read";
        let message = match request {
            Request::Page(request) => self.page(number, &request),
            Request::State(asked) => {
                let state = node.state.partition(asked.partition);
                let (vector, cursor) = (asked.vector(), asked.cursor.as_ref());
                let page = read_state(rows, asked.partition, state, vector, cursor, budget);
                asked.answer(clock, state, page.expect(readable))
            }
            Request::List(asked) => {
                let cursor = asked.cursor.as_ref();
                let listing = read_listing(rows, asked.partition, cursor, budget);
                Message::Listing {
                    pull: asked.pull,
                    page: asked.page,
                    partition: asked.partition,
                    listing: listing.expect(readable),
                }
            }
            Request::Cells(asked) => {
                let cells = read_entities(rows, asked.partition, &asked.ids, budget);
                let (answered, entities) = cells.expect(readable);
                Message::Cells {
                    pull: asked.pull,
                    page: asked.page,
                    partition: asked.partition,
                    clock,
                    answered: u32::try_from(answered).expect("few entities"),
                    entities,
                }
            }
        };
        self.send(number, peer, message);
    }

    fn page(&mut self, number: usize, request: &PullRequest) -> Message {
        let node = &self.nodes[number];
        let state = node.state.partition(request.partition);
        let clock = node.state.clock();
        let mut page = read_delta(
            &node.rows,
            request.partition,
            state,
            &request.base,
            request.cursor,
            self.settings.budget,
        )
        .expect("rows in memory can be read");
        if self.fault == Some(Fault::OmitsUnclaimed) {
            for entity in &mut page.entities {
                entity
                    .cells
                    .retain(|cell| state.vector.covers(cell.cell.dot));
            }
        }
        self.check(&Observed::Served {
            node: number,
            request,
            page: &page,
        });
        if self.fault == Some(Fault::HidesStamps) {
            page.stamp = 0;
        }
        let state = self.nodes[number].state.partition(request.partition);
        request.answer(clock, state, page)
    }

    fn compares(&mut self, number: usize, comparison: &Comparison) {
        let (after, upto) = (comparison.after.as_ref(), comparison.upto.as_ref());
        let rows = &self.nodes[number].rows;
        let ids = compare_listing(rows, comparison.partition, after, upto, &comparison.theirs);
        let ids = ids.expect("rows in memory can be read");
        self.feed(number, Event::Compared(comparison.repair, ids));
    }

    fn client(&mut self) {
        if !self.turmoil {
            return;
        }
        let number = self.rng.random_range(0..self.nodes.len());
        let (id, change) = client::draw(&mut self.rng);
        self.write(number, id, change);
        let next = self.rng.random_range(1..=self.settings.write_period_ms);
        self.after(next, Happening::Client);
    }

    pub(crate) fn check(&mut self, observed: &Observed<'_>) {
        for invariant in self.checked.clone() {
            if let Err(what) = invariant.check(self, observed) {
                self.violations.push((invariant, what));
            }
        }
    }

    /// Whether every node holds the same and has nothing left to do.
    pub(crate) fn converged(&self) -> bool {
        let root = self.nodes[0].state.root();
        self.outsiders_are_done()
            && self.nodes.iter().all(|node| {
                let idle = node.jobs.is_empty() && node.staged.is_none();
                node.up && idle && node.state.root() == root
            })
    }

    /// Whether every node knows that every other holds what it holds.
    pub(crate) fn knows_it(&self) -> bool {
        self.nodes.iter().enumerate().all(|(number, node)| {
            let view = Published(&node.state, node.life);
            let peers = node.engine.peers(&view, self.now(number));
            let up: Vec<_> = peers.iter().filter(|peer| peer.up).collect();
            up.len() + 1 == self.nodes.len()
                && up.iter().all(|peer| peer.agrees && peer.lag == Some(0))
        })
    }
}

/// What `WATCH=collection/key` names.
fn watched() -> Option<EntityId> {
    let text = std::env::var("WATCH").ok()?;
    let (collection, key) = text.split_once('/').expect("WATCH is collection/key");
    let all = [
        Collection::Contacts,
        Collection::Counters,
        Collection::Kv,
        Collection::Roster,
    ];
    let collection = all.into_iter().find(|of| of.to_string() == collection);
    let collection = collection.expect("WATCH names a collection");
    Some(EntityId::new(collection, key).expect("WATCH names a key"))
}
