//! A few replicas of one partition that write against their own state and exchange what they hold.
//!
//! Writes, pushes of single commits, pulls of exact deltas, pulls of one entity that claim nothing, and
//! restarts come in any order. Beside the state under test every replica keeps explicit sets of the dots it
//! has had, from which `truth` tells what it must show.

use std::collections::{BTreeMap, BTreeSet};

use grapevine_crdt::{
    CausalContext, Cell, Dot, Entity, FieldCell, FieldKey, HybridClock, LwwMap, PnCounter, Rank,
    ReplicaId, RequestKey, Seq, Value, VersionVector,
};
use proptest::prelude::*;

pub(crate) const REPLICAS: usize = 4;
pub(crate) const CONTACTS: [usize; 2] = [0, 1];
pub(crate) const COUNTER: usize = 2;
pub(crate) const REGISTER: usize = 3;
pub(crate) const ENTITIES: usize = 4;
pub(crate) const WRITERS: [&str; 2] = ["kiosk", "phone"];
pub(crate) const NAMES: [&str; 3] = ["name", "note", "title"];

/// What a user does.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// Set or unset fields of a contact, in one write.
    Edit(usize, BTreeMap<usize, Option<u8>>),
    /// Sets the first field of a contact and unsets whatever else is held of it.
    Replace(usize, u8),
    Remove(usize),
    Add(u64),
    Take(u64),
    /// Add once for a request.
    AddOnce(u8, u64),
    /// Take once for a request.
    TakeOnce(u8, u64),
    /// Tell the count of an outside writer.
    Tell(usize, u64),
    Reset,
    /// A reset that also hides.
    Discard,
    Put(Option<u8>),
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A replica does something at a wall clock of its own, which may jump back.
    Write(usize, Deed, u64),
    /// The next commit that the second has not had of the first's present life, cells as written.
    Push(usize, usize),
    /// The exact delta of the whole partition from the first to the second, and its vector.
    Pull(usize, usize),
    /// The exact delta of one entity from the first to the second, which claims nothing.
    Peek(usize, usize, usize),
    /// A new life.
    Restart(usize),
    /// Everybody pulls from everybody.
    Gather,
    /// A replica that has all that everybody has collects what it may of one entity.
    Collect(usize, usize),
}

/// One write, with what its writer truly knew.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) dot: Dot,
    pub(crate) entity: usize,
    pub(crate) deed: Deed,
    pub(crate) cells: Vec<FieldCell>,
    /// The writes to the entity whose cells, or what replaced them, the writer had received.
    pub(crate) had: BTreeSet<Dot>,
    /// For each attribute that it touches, the writes to it that the writer had seen.
    pub(crate) saw: BTreeMap<FieldKey, BTreeSet<Dot>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub(crate) id: ReplicaId,
    pub(crate) vector: VersionVector,
    pub(crate) entities: [Entity; ENTITIES],
    pub(crate) had: [BTreeSet<Dot>; ENTITIES],
    pub(crate) seen: BTreeMap<(usize, FieldKey), BTreeSet<Dot>>,
    clock: HybridClock,
    /// What was collected here, and by those whose vector was taken in.
    pub(crate) floor: VersionVector,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) replicas: Vec<Replica>,
    pub(crate) writes: BTreeMap<Dot, Write>,
    lives: u8,
    /// Whether anybody collects: then, as in the node, what is not shown is
    /// not removed, and written to only by replacing it.
    collects: bool,
}

impl World {
    /// Runs `steps`; `check` sees every replica right after it changed.
    pub(crate) fn run(steps: &[Step], mut check: impl FnMut(&Self, &Replica)) -> Self {
        let mut world = Self::new();
        world.collects = steps.iter().any(|step| matches!(step, Step::Collect(..)));
        for step in steps {
            let changed = world.step(step);
            check(&world, &world.replicas[changed]);
        }
        world
    }

    fn new() -> Self {
        let mut world = Self {
            replicas: Vec::new(),
            writes: BTreeMap::new(),
            lives: 0,
            collects: false,
        };
        for _ in 0..REPLICAS {
            let replica = Replica {
                id: world.mint(),
                vector: VersionVector::default(),
                entities: Default::default(),
                had: Default::default(),
                seen: BTreeMap::new(),
                clock: HybridClock::default(),
                floor: VersionVector::default(),
            };
            world.replicas.push(replica);
        }
        world
    }

    /// Lets everybody pull from everybody until all have everything.
    pub(crate) fn settle(&mut self) {
        for _ in 0..2 {
            for from in 0..REPLICAS {
                for to in 0..REPLICAS {
                    self.pull(from, to);
                }
            }
        }
    }

    fn mint(&mut self) -> ReplicaId {
        self.lives += 1;
        // Later lives must not always win ties, so the ids do not rise.
        ReplicaId::from_bytes([self.lives.wrapping_mul(37); 16])
    }

    fn step(&mut self, step: &Step) -> usize {
        match step {
            Step::Write(who, deed, now_ms) => {
                self.write(*who, deed, *now_ms);
                *who
            }
            Step::Push(from, to) => {
                self.push(*from, *to);
                *to
            }
            Step::Pull(from, to) => {
                self.pull(*from, *to);
                *to
            }
            Step::Peek(from, to, entity) => {
                self.peek(*from, *to, *entity);
                *to
            }
            Step::Gather => {
                self.settle();
                0
            }
            Step::Collect(who, entity) => {
                self.collect(*who, *entity);
                *who
            }
            Step::Restart(who) => {
                self.replicas[*who].id = self.mint();
                *who
            }
        }
    }

    fn write(&mut self, who: usize, deed: &Deed, now_ms: u64) {
        let replica = &mut self.replicas[who];
        let entity = deed.entity();
        let seq = replica.vector.get(replica.id).next().expect("few writes");
        let dot = Dot::new(replica.id, seq);
        let held = &replica.entities[entity];
        let unseen = self.collects && !held.is_visible();
        if unseen && matches!(deed, Deed::Remove(_)) {
            return;
        }
        let deed = &match deed {
            Deed::Edit(..) if unseen => Deed::Replace(entity, 0),
            _ => deed.clone(),
        };
        let cells = replica.cells(deed, dot, now_ms);
        if cells.is_empty() {
            return;
        }
        let saw = cells
            .iter()
            .map(|cell| (cell.field.clone(), replica.seen(entity, &cell.field)))
            .collect();
        let had = replica.had[entity].clone();
        let write = Write {
            dot,
            entity,
            deed: deed.clone(),
            cells,
            had,
            saw,
        };
        replica.take(&write);
        self.writes.insert(dot, write);
    }

    fn push(&mut self, from: usize, to: usize) {
        let id = self.replicas[from].id;
        let next = self.replicas[to].vector.get(id).next().expect("few writes");
        if let Some(write) = self.writes.get(&Dot::new(id, next)) {
            self.replicas[to].take(write);
        }
    }

    fn pull(&mut self, from: usize, to: usize) {
        for entity in 0..ENTITIES {
            self.peek(from, to, entity);
        }
        let vector = self.replicas[from].vector.clone();
        self.replicas[to].vector.join(&vector);
        let floor = self.replicas[from].floor.clone();
        self.replicas[to].floor.join(&floor);
    }

    /// Collects if `who` has taken in all that anybody has; the vectors of all are the reports. Says what went.
    pub(crate) fn collect(&mut self, who: usize, entity: usize) -> Vec<FieldCell> {
        let reports: Vec<VersionVector> = self
            .replicas
            .iter()
            .map(|replica| replica.vector.clone())
            .collect();
        let replica = &mut self.replicas[who];
        let held = &mut replica.entities[entity];
        let all_covered = held.dots().iter().all(|dot| replica.vector.covers(*dot));
        let in_full = reports.iter().all(|report| replica.vector.includes(report));
        if entity == COUNTER || !all_covered || !in_full {
            return Vec::new();
        }
        let stable = reports
            .iter()
            .fold(replica.vector.clone(), |stable, report| stable.meet(report));
        let gone = held.collect(&stable);
        for cell in &gone {
            let named = match &cell.cell.value {
                Value::Dots(dots) => dots.clone(),
                Value::Bytes(_) | Value::Tombstone | Value::Counted => CausalContext::default(),
            };
            let dots = cell.cell.seen.iter().chain(named.iter());
            for dot in dots.chain([cell.cell.dot]) {
                replica.floor.advance(dot.replica, dot.seq);
            }
        }
        gone
    }

    fn peek(&mut self, from: usize, to: usize, entity: usize) {
        let from = self.replicas[from].clone();
        let to = &mut self.replicas[to];
        to.clock.observe(from.clock.high_water());
        for cell in from.entities[entity].delta(&to.vector) {
            to.entities[entity].merge_cell(cell);
        }
        to.had[entity].extend(&from.had[entity]);
        for ((of, key), dots) in from.seen {
            if of == entity {
                to.seen.entry((of, key)).or_default().extend(dots);
            }
        }
    }
}

impl Replica {
    fn seen(&self, entity: usize, key: &FieldKey) -> BTreeSet<Dot> {
        self.seen
            .get(&(entity, key.clone()))
            .cloned()
            .unwrap_or_default()
    }

    /// Takes in one write as it was written.
    fn take(&mut self, write: &Write) {
        self.vector.advance(write.dot.replica, write.dot.seq);
        self.had[write.entity].insert(write.dot);
        for cell in &write.cells {
            if cell.field.is_timed() {
                self.clock.observe(cell.cell.rank.time());
            }
            let seen = self.seen.entry((write.entity, cell.field.clone()));
            let seen = seen.or_default();
            seen.insert(write.dot);
            seen.extend(&write.saw[&cell.field]);
            self.entities[write.entity].merge_cell(cell.clone());
        }
    }

    fn cells(&mut self, deed: &Deed, dot: Dot, now_ms: u64) -> Vec<FieldCell> {
        let time = self.clock.tick(now_ms).expect("far from the end of time");
        let entity = &self.entities[deed.entity()];
        let (map, counter) = (LwwMap::new(entity), PnCounter::new(entity));
        match deed {
            Deed::Edit(_, values) => {
                let edit = |(name, value): (&usize, &Option<u8>)| match value {
                    Some(value) => map.set(NAMES[*name], &[*value], dot, time),
                    None => map.unset(NAMES[*name], dot, time),
                };
                let edited = values.iter().flat_map(edit);
                edited.chain(map.clear(&self.floor, dot)).collect()
            }
            Deed::Replace(_, value) => {
                let set = map.set(NAMES[0], &[*value], dot, time);
                let others = NAMES[1..].iter().flat_map(|name| {
                    let key = FieldKey::Attribute((*name).to_owned());
                    let held = entity.field(&key).is_some();
                    if held {
                        map.unset(name, dot, time)
                    } else {
                        Vec::new()
                    }
                });
                let clearing = map.clear(&self.floor, dot);
                set.into_iter().chain(others).chain(clearing).collect()
            }
            Deed::Remove(_) => map.remove(dot),
            Deed::Add(by) => vec![counter.increment(*by, dot).expect("small counts")],
            Deed::Take(by) => vec![counter.decrement(*by, dot).expect("small counts")],
            // A request under a key that was used for another is refused, and nothing is written.
            Deed::AddOnce(key, by) => {
                let cell = counter.increment_once(request(*key), *by, dot);
                cell.ok().flatten().into_iter().collect()
            }
            Deed::TakeOnce(key, by) => {
                let cell = counter.decrement_once(request(*key), *by, dot);
                cell.ok().flatten().into_iter().collect()
            }
            Deed::Tell(writer, count) => {
                let cell = counter.raise_tally(WRITERS[*writer], *count, dot);
                cell.expect("few writers").into_iter().collect()
            }
            Deed::Reset => counter.reset(dot),
            Deed::Discard => [counter.reset(dot), map.remove(dot)].concat(),
            Deed::Put(value) => vec![FieldCell {
                field: FieldKey::Register(String::new()),
                cell: Cell {
                    rank: Rank::at(time),
                    dot,
                    seen: CausalContext::default(),
                    value: value.map_or(Value::Tombstone, |value| Value::Bytes(vec![value])),
                },
            }],
        }
    }
}

impl Deed {
    fn entity(&self) -> usize {
        match self {
            Self::Edit(entity, _) | Self::Replace(entity, _) | Self::Remove(entity) => *entity,
            Self::Add(_)
            | Self::Take(_)
            | Self::AddOnce(..)
            | Self::TakeOnce(..)
            | Self::Tell(..)
            | Self::Reset
            | Self::Discard => COUNTER,
            Self::Put(_) => REGISTER,
        }
    }
}

fn contact_deed() -> impl Strategy<Value = Deed> {
    let contact = 0..CONTACTS.len();
    let values = prop::collection::btree_map(0..NAMES.len(), any::<Option<u8>>(), 1..=NAMES.len());
    prop_oneof![
        5 => (contact.clone(), values).prop_map(|(entity, values)| Deed::Edit(entity, values)),
        2 => contact.prop_map(Deed::Remove),
    ]
}

fn counter_deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        2 => (0..5_u64).prop_map(Deed::Add),
        2 => (0..5_u64).prop_map(Deed::Take),
        2 => (0..2_u8, 1..4_u64).prop_map(|(key, by)| Deed::AddOnce(key, by)),
        1 => (0..2_u8, 1..4_u64).prop_map(|(key, by)| Deed::TakeOnce(key, by)),
        2 => (0..WRITERS.len(), 0..9_u64).prop_map(|(writer, count)| Deed::Tell(writer, count)),
        1 => Just(Deed::Reset),
        1 => Just(Deed::Discard),
    ]
}

fn any_deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => contact_deed(),
        3 => counter_deed(),
        1 => any::<Option<u8>>().prop_map(Deed::Put),
    ]
}

/// Histories of up to 60 steps over all kinds of entities.
pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    steps_of(any_deed())
}

/// Histories of up to 60 steps over contacts.
pub(crate) fn contact_steps() -> impl Strategy<Value = Vec<Step>> {
    steps_of(contact_deed())
}

/// Histories of up to 60 steps over contacts and a register in which replicas collect.
pub(crate) fn collecting_steps() -> impl Strategy<Value = Vec<Step>> {
    let contact = 0..CONTACTS.len();
    let deed = prop_oneof![
        4 => contact_deed(),
        3 => (contact, any::<u8>()).prop_map(|(entity, value)| Deed::Replace(entity, value)),
        1 => any::<Option<u8>>().prop_map(Deed::Put),
    ];
    let collect = (0..REPLICAS, 0..ENTITIES).prop_map(|(who, entity)| Step::Collect(who, entity));
    let step = prop_oneof![3 => step_of(deed), 1 => collect, 2 => Just(Step::Gather)];
    prop::collection::vec(step, 1..60)
}

/// Histories of up to 60 steps over a counter.
pub(crate) fn counter_steps() -> impl Strategy<Value = Vec<Step>> {
    steps_of(counter_deed())
}

fn steps_of(deed: impl Strategy<Value = Deed>) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step_of(deed), 1..60)
}

fn step_of(deed: impl Strategy<Value = Deed>) -> impl Strategy<Value = Step> {
    let who = 0..REPLICAS;
    let pair = (who.clone(), who.clone());
    prop_oneof![
        6 => (who.clone(), deed, 0..20_u64).prop_map(|(who, deed, now)| Step::Write(who, deed, now)),
        3 => pair.clone().prop_map(|(from, to)| Step::Push(from, to)),
        2 => pair.clone().prop_map(|(from, to)| Step::Pull(from, to)),
        1 => (pair, 0..ENTITIES).prop_map(|((from, to), entity)| Step::Peek(from, to, entity)),
        1 => who.prop_map(Step::Restart),
    ]
}

/// Three states of one entity that replicas had at some moments of a history.
pub(crate) fn three_states() -> impl Strategy<Value = [Entity; 3]> {
    (steps(), 0..ENTITIES, any::<[prop::sample::Index; 3]>()).prop_map(|(steps, entity, picks)| {
        let mut states = vec![Entity::default()];
        World::run(&steps, |_, replica| {
            states.push(replica.entities[entity].clone());
        });
        picks.map(|pick| pick.get(&states).clone())
    })
}

/// The request of number `key`.
pub(crate) fn request(key: u8) -> RequestKey {
    RequestKey::from_bytes([key; 16])
}

/// The dot of the `seq`-th write of the replica of bytes `id`.
pub(crate) fn dot(id: u8, seq: u64) -> Dot {
    Dot::new(ReplicaId::from_bytes([id; 16]), Seq::new(seq))
}
