//! The world: nodes, what is going to happen to them, and what was seen.

use std::{collections::BTreeMap, sync::Arc};

use grapevine::{
    model::{Claim, EntityId, Op, Outcome, PartitionId},
    store::{Changes, Group, MemoryRows, State, Table, Workspace, read_delta, read_entity},
    sync::{
        Message,
        engine::{Command, Engine, Event, Now, PullRequest},
    },
};
use grapevine_crdt::{Entity, ReplicaId, Timestamp};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

use crate::{
    client::{self, Change},
    fault::Fault,
    history::{History, is_local},
    invariants::{Invariant, Observed},
    network::{Network, Packet},
    node::{Answer, Job, Node, Published, Staged},
    settings::Settings,
};

/// The time of day at which every run begins.
const EPOCH_UNIX_MS: u64 = 1_700_000_000_000;
const TICK_PERIOD_MS: u64 = 100;
const MAX_GROUP: usize = 8;

/// Something that is going to happen.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Tick(usize),
    Client,
    /// A node's group reaches the disk, if it still lives that life.
    Synced(usize, ReplicaId),
    /// Steps that needed no sync are answered.
    Answered(usize, ReplicaId, Vec<Answer>),
    Arrives(Packet),
    /// A node reads the page that a peer asked for.
    Serves(usize, ReplicaId, ReplicaId, PullRequest),
    Dial,
    Nemesis,
    Restart(usize),
    Join,
    Gossip,
}

/// What a node held of what a group touches, before it.
pub(crate) struct Before {
    pub(crate) state: State,
    pub(crate) entities: BTreeMap<EntityId, Entity>,
}

pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) fault: Option<Fault>,
    pub(crate) rng: Xoshiro256PlusPlus,
    pub(crate) now_ms: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) owners: BTreeMap<ReplicaId, usize>,
    pub(crate) network: Network,
    pub(crate) history: History,
    /// Whether clients write and things break.
    pub(crate) turmoil: bool,
    pub(crate) checked: Vec<Invariant>,
    pub(crate) violations: Vec<(Invariant, String)>,
    /// What engines complained of. Among honest nodes, nothing.
    pub(crate) complaints: Vec<String>,
    happenings: BTreeMap<(u64, u64), Happening>,
    serial: u64,
    commits: u64,
    trace: bool,
}

impl World {
    pub(crate) fn new(seed: u64, settings: Option<Settings>, fault: Option<Fault>) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let settings = settings.unwrap_or_else(|| Settings::draw(&mut rng));
        let mut world = Self {
            network: Network::new(settings.nodes),
            settings,
            fault,
            rng,
            now_ms: 0,
            nodes: Vec::new(),
            owners: BTreeMap::new(),
            history: History::default(),
            turmoil: true,
            checked: Invariant::ALL.to_vec(),
            violations: Vec::new(),
            complaints: Vec::new(),
            happenings: BTreeMap::new(),
            serial: 0,
            commits: 0,
            trace: std::env::var_os("TRACE").is_some(),
        };
        for number in 0..world.settings.nodes {
            let life = world.mint(number);
            let engine = Engine::new(world.settings.engine.clone());
            world.nodes.push(Node::new(life, engine));
        }
        world
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
        }
        self.after(0, Happening::Dial);
        self.after(1, Happening::Client);
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
        if !due || !self.violations.is_empty() || !self.complaints.is_empty() {
            return false;
        }
        if let Some(((at_ms, _), happening)) = self.happenings.pop_first() {
            self.now_ms = self.now_ms.max(at_ms);
            self.happen(happening);
        }
        true
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
            | Happening::Synced(..)
            | Happening::Answered(..)
            | Happening::Serves(..)
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
            Happening::Synced(number, life) => self.synced(number, life),
            Happening::Answered(number, life, answers) => {
                if self.lives(number, life) {
                    self.answer(number, answers);
                    self.kick(number);
                }
            }
            Happening::Arrives(packet) => self.arrives(packet),
            Happening::Serves(number, life, peer, request) => {
                if self.lives(number, life) {
                    self.serves(number, peer, &request);
                }
            }
            Happening::Dial => self.dial(),
            Happening::Nemesis => self.nemesis(),
            Happening::Restart(number) => self.restart(number),
            Happening::Join => self.network.join(),
            Happening::Gossip => self.gossip(),
        }
    }

    fn lives(&self, number: usize, life: ReplicaId) -> bool {
        self.nodes[number].up && self.nodes[number].life == life
    }

    pub(crate) fn wall_ms(&self, number: usize) -> u64 {
        (EPOCH_UNIX_MS + self.now_ms).saturating_add_signed(self.nodes[number].skew_ms)
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
                let op = self.spoil(op);
                let job = Job::Apply(ticket, op, announced);
                self.nodes[number].jobs.push_back(job);
                self.kick(number);
            }
            Command::Disconnect(peer, reason) => {
                let node = &mut self.nodes[number];
                node.sees.remove(&peer);
                self.complaints
                    .push(format!("node {number} disconnects {peer}: {reason}"));
            }
            Command::Diverged(peer, partition) => {
                self.complaints
                    .push(format!("node {number} and {peer} diverged in {partition}"));
            }
        }
    }

    /// What a fault makes of a step on its way to the writer.
    fn spoil(&mut self, mut op: Op) -> Op {
        if self.fault == Some(Fault::LosesEntities) && self.rng.random_bool(0.1) {
            op.entities.pop();
        }
        if self.fault == Some(Fault::ClaimsEarly) && op.claim == Claim::Nothing {
            // As if the page that was just taken were the last: all that some node holds is claimed.
            let writes = self.history.partitions.get(&op.partition);
            op.claim = Claim::Absorb(
                writes
                    .map(|writes| writes.vector.clone())
                    .unwrap_or_default(),
            );
        }
        op
    }

    fn serves(&mut self, number: usize, peer: ReplicaId, request: &PullRequest) {
        let node = &self.nodes[number];
        let state = node.state.partition(request.partition);
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
        let message = Message::Delta {
            pull: request.pull,
            page: request.page,
            partition: request.partition,
            clock: self.nodes[number].state.clock(),
            delta: page,
        };
        self.send(number, peer, message);
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

    /// Hands a client's edit to a node's writer.
    pub(crate) fn write(&mut self, number: usize, id: EntityId, change: Change) {
        if self.nodes[number].up {
            self.nodes[number].jobs.push_back(Job::Write(id, change));
            self.kick(number);
        }
    }

    /// Makes a client's edit on a node and syncs it, for directed schedules.
    pub(crate) fn write_durably(&mut self, number: usize, id: &EntityId, change: Change) {
        self.write(number, id.clone(), change);
        self.sync(number);
    }

    /// Lets a node's writer finish everything that waits for it.
    pub(crate) fn sync(&mut self, number: usize) {
        while self.pick(|what| {
            matches!(what, Happening::Synced(node, _) | Happening::Answered(node, _, _)
                if *node == number)
        }) {}
    }

    /// Lets the writer go on if it waits for nothing.
    pub(crate) fn kick(&mut self, number: usize) {
        let wall_ms = self.wall_ms(number);
        let size = self.rng.random_range(1..=MAX_GROUP);
        let node = &mut self.nodes[number];
        if !node.up || node.staged.is_some() || node.jobs.is_empty() {
            return;
        }
        let life = node.life;
        let answers = node.stage(size, wall_ms);
        if let Some(staged) = &node.staged {
            let told: Vec<Answer> = match self.fault {
                Some(Fault::AcksEarly) => staged.answers.clone(),
                _ => Vec::new(),
            };
            for answer in told {
                self.acknowledge(number, &answer);
            }
            let delay = self.rng.random_range(1..=self.settings.max_sync_ms);
            self.after(delay, Happening::Synced(number, life));
        } else {
            self.after(0, Happening::Answered(number, life, answers));
        }
    }

    fn synced(&mut self, number: usize, life: ReplicaId) {
        if !self.lives(number, life) {
            return;
        }
        let Some(staged) = self.nodes[number].staged.take() else {
            return;
        };
        let only_peers = staged.edits.is_empty();
        if self.turmoil && only_peers && self.rng.random_ratio(1, 200) {
            self.fail(number, &staged.answers);
        } else {
            self.publish(number, staged);
        }
        self.kick(number);
    }

    /// The disk refuses a group.
    fn fail(&mut self, number: usize, answers: &[Answer]) {
        for answer in answers {
            if let Answer::Applied(ticket, _) = answer {
                self.feed(number, Event::ApplyFailed(*ticket));
            }
        }
    }

    fn publish(&mut self, number: usize, staged: Staged) {
        let Staged {
            group,
            mut changes,
            answers,
            edits,
        } = staged;
        let before = self.before(number, &group);
        self.damage(number, &group, &mut changes);
        self.durable(number, &group, &edits);
        self.nodes[number].publish(group.clone(), changes);
        self.check(&Observed::Published {
            node: number,
            before: &before,
            group: &group,
        });
        self.commits += 1;
        if self.commits.is_multiple_of(self.settings.full_check_period) {
            self.check(&Observed::Everything);
        }
        let records: Arc<[_]> = self.nodes[number].records(&group).into();
        self.answer(number, answers);
        if !records.is_empty() {
            self.feed(number, Event::Committed(records));
        }
    }

    /// A group is on the disk, whether anybody hears of it or not.
    pub(crate) fn durable(&mut self, number: usize, group: &Group, edits: &[(EntityId, Change)]) {
        self.check(&Observed::Durable {
            node: number,
            group,
        });
        let life = self.nodes[number].life;
        self.history.remember(life, &group.ops);
        self.history.count(edits);
        let times = group.ops.iter().filter(|op| is_local(op, life));
        let greatest = times
            .flat_map(|op| &op.entities)
            .flat_map(|entity| &entity.cells)
            .filter(|cell| cell.field.is_timed())
            .map(|cell| cell.cell.rank.time())
            .max();
        if let Some(greatest) = greatest {
            let time = self.history.times.entry(number).or_insert(Timestamp::ZERO);
            *time = (*time).max(greatest);
        }
    }

    fn before(&self, number: usize, group: &Group) -> Before {
        let node = &self.nodes[number];
        let ids = group.ops.iter().flat_map(|op| &op.entities);
        let entities = ids.map(|entity| {
            let held = read_entity(&node.rows, &entity.id).expect("rows in memory can be read");
            (entity.id.clone(), held.unwrap_or_default())
        });
        Before {
            state: node.state.clone(),
            entities: entities.collect(),
        }
    }

    /// What a fault makes of a commit.
    fn damage(&mut self, number: usize, group: &Group, changes: &mut Changes) {
        if self.fault == Some(Fault::TearsCommits) && self.rng.random_bool(0.1) {
            changes.rows.clear();
        }
        if self.fault == Some(Fault::Overwrites) {
            let life = self.nodes[number].life;
            for op in group.ops.iter().filter(|op| !is_local(op, life)) {
                let alone = MemoryRows::default();
                let mut workspace = Workspace::new(&alone, State::default());
                let op = Op {
                    claim: Claim::Nothing,
                    ..op.clone()
                };
                let outcome = workspace.apply(op, Timestamp::ZERO);
                assert!(matches!(outcome, Ok(Outcome::Applied | Outcome::Covered)));
                let (_, overwritten) = workspace.finish(0);
                let rows = overwritten.rows.into_iter();
                let rows = rows.filter(|((table, _), _)| *table == Table::Entities);
                changes.rows.extend(rows);
            }
        }
    }

    fn answer(&mut self, number: usize, answers: Vec<Answer>) {
        for answer in answers {
            self.acknowledge(number, &answer);
            if let Answer::Applied(ticket, outcome) = answer {
                self.feed(number, Event::Applied(ticket, outcome));
            }
        }
    }

    fn acknowledge(&mut self, number: usize, answer: &Answer) {
        if let Answer::Written(id, dot) = answer {
            let partition: PartitionId = id.partition();
            self.history.acknowledged.insert((partition, *dot));
            self.check(&Observed::Acknowledged {
                node: number,
                partition,
                dot: *dot,
            });
        }
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
        self.nodes.iter().all(|node| {
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
