//! What may happen: writes, pushes, the pages of pulls, reports, collection; and what must always hold.

use std::collections::BTreeSet;

use stateright::{Model, Property};

use crate::state::{Cell, Dot, ENTITIES, FIELDS, Kind, Node, Pull, REPLICAS, Vector};

/// The rules of the protocol; each can be broken to see that it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A pull claims its vector only with its last page.
    ClaimWhenComplete,
    /// A pass whose pages show different contents is not claimed.
    ClaimCleanPassesOnly,
    /// Nothing is collected before our own vector includes every report in full.
    CollectWhenReportsAreIncluded,
    /// Nothing is collected that some replica's report lacks.
    CollectWhenAllReport,
    /// The removal of a value that is held, in an entity that came back, stays.
    KeepRemovalsOfWhatIsHeld,
    /// Who makes content where everything was collected says so.
    ClearWhenMadeAgain,
}

/// Three replicas of one partition.
#[derive(Clone, Debug)]
pub(crate) struct Protocol {
    /// The rule that nobody keeps.
    pub(crate) broken: Option<Rule>,
    /// What has happened before anything may happen: it keeps the search short.
    pub(crate) prelude: Vec<Action>,
    /// How many writes there are beside those that everybody holds at the start.
    pub(crate) writes: usize,
    /// How many entities are written to.
    pub(crate) entities: u8,
    /// How many of the replicas collect; 0 for none.
    pub(crate) collectors: usize,
    /// Whether there is nothing but edits.
    pub(crate) edits_only: bool,
    /// How finely pulls are cut.
    pub(crate) pulls: Pulls,
}

/// How finely pulls are cut: the finer, the more interleavings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pulls {
    /// The whole delta is read and taken in at once.
    Whole,
    /// Page by page: anything may happen between the arrival of one page and the next.
    Paged,
    /// Anything may happen between the reading of a page and its arrival too.
    Slow,
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) nodes: [Node; REPLICAS],
    /// Every write as it was made: any of them may still arrive anywhere, once, again, or never.
    pub(crate) writes: Vec<Vec<Cell>>,
    /// Whether something was collected.
    pub(crate) collected: bool,
}

/// What may happen next. Nodes are named by their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A node sets a field of a visible entity.
    Edit(usize, u8, u8),
    /// A node deletes a field of a visible entity.
    Delete(usize, u8, u8),
    /// A node removes a visible entity.
    Remove(usize, u8),
    /// A node makes an entity that is not visible, whether or not it was there before.
    Put(usize, u8),
    /// A write arrives at a node.
    Push(usize, usize),
    /// A node begins to pull from another.
    Pull(usize, usize),
    /// The server of a node's pull reads the next page.
    Read(usize),
    /// That page arrives.
    Arrive(usize),
    /// A node hears the vector of another.
    Report(usize, usize),
    /// A node collects what it may.
    Collect(usize),
}

impl World {
    fn write(&mut self, node: usize, entity: u8, make: impl Fn(&Node, &mut Vec<(Kind, Vector)>)) {
        let writer = &mut self.nodes[node];
        let dot = Dot {
            replica: node,
            seq: writer.vector.0[node] + 1,
        };
        let mut parts = Vec::new();
        make(writer, &mut parts);
        let rank = writer.clock + 1;
        let cells: Vec<Cell> = parts
            .into_iter()
            .map(|(kind, context)| Cell {
                entity,
                kind,
                rank,
                dot,
                context,
            })
            .collect();
        writer.merge(&cells);
        writer.vector.insert(dot);
        self.writes.push(cells);
    }

    fn put(&mut self, node: usize, entity: u8, clears: bool) {
        self.write(node, entity, |writer, made| {
            made.push((Kind::Value(0), writer.seen(entity, 0)));
            for field in 1..FIELDS {
                let seen = writer.seen(entity, field);
                if seen != Vector::default() {
                    made.push((Kind::Tombstone(field), seen));
                }
            }
            if clears && writer.of(entity).next().is_none() && writer.floor != Vector::default() {
                made.push((Kind::Clearing, writer.floor));
            }
        });
    }

    fn push(&mut self, node: usize, push: usize) {
        let cells = self.writes[push].clone();
        let dot = cells[0].dot;
        let target = &mut self.nodes[node];
        target.merge(&cells);
        target.vector.insert(dot);
    }

    fn read(&mut self, node: usize) {
        let Some(mut pull) = self.nodes[node].pull.take() else {
            return;
        };
        let server = &self.nodes[pull.from];
        let wanted = |cell: &&Cell| !pull.base.covers(cell.dot);
        let ahead = |dot: Dot| pull.cursor.is_none_or(|cursor| dot > cursor);
        let next = server
            .cells
            .iter()
            .filter(wanted)
            .filter(|cell| ahead(cell.dot))
            .min_by_key(|cell| cell.dot);
        let (cells, last) = match next {
            None => (Vec::new(), true),
            Some(next) => {
                let of_it = server.of(next.entity).filter(wanted).copied().collect();
                let more = server
                    .cells
                    .iter()
                    .filter(wanted)
                    .any(|cell| cell.dot > next.dot && cell.entity != next.entity);
                (of_it, !more)
            }
        };
        let content = (server.vector, server.cells.clone());
        let first = pull.first.get_or_insert_with(|| content.clone());
        pull.clean &= *first == content;
        pull.cursor = next.map(|cell| cell.dot);
        pull.page = Some((cells, last));
        self.nodes[node].pull = Some(pull);
    }

    fn arrive(&mut self, node: usize, broken: Option<Rule>) {
        let puller = &mut self.nodes[node];
        let Some(mut pull) = puller.pull.take() else {
            return;
        };
        let Some((cells, last)) = pull.page.take() else {
            return;
        };
        puller.merge(&cells);
        let claimed = pull.first.as_ref().map_or(pull.base, |(vector, _)| *vector);
        if broken == Some(Rule::ClaimWhenComplete) {
            puller.vector.join(&claimed);
        }
        if !last {
            puller.pull = Some(pull);
        } else if pull.clean || broken == Some(Rule::ClaimCleanPassesOnly) {
            puller.vector.join(&claimed);
        } else {
            let mut base = pull.base;
            base.join(&claimed);
            puller.pull = Some(begin(pull.from, base));
        }
    }

    fn collect(&mut self, node: usize, broken: Option<Rule>) -> bool {
        let collector = &mut self.nodes[node];
        let mut stable = collector.vector;
        for (replica, report) in collector.reports.iter().enumerate() {
            if replica == node {
                continue;
            }
            if broken != Some(Rule::CollectWhenReportsAreIncluded)
                && !collector.vector.includes(report)
            {
                return false;
            }
            if broken != Some(Rule::CollectWhenAllReport) {
                stable.meet(report);
            }
        }
        let mut gone = Vec::new();
        for entity in 0..ENTITIES {
            let held: Vec<Cell> = collector.of(entity).copied().collect();
            gone.extend(collectable(&held, collector, entity, &stable, broken));
        }
        for cell in &gone {
            collector.cells.remove(cell);
            collector.floor.insert(cell.dot);
            collector.floor.join(&cell.context);
        }
        self.collected |= !gone.is_empty();
        !gone.is_empty()
    }
}

fn collectable(
    held: &[Cell],
    node: &Node,
    entity: u8,
    stable: &Vector,
    broken: Option<Rule>,
) -> Vec<Cell> {
    let is_stable = |cell: &Cell| stable.covers(cell.dot) && stable.includes(&cell.context);
    if held.iter().any(|cell| !node.vector.covers(cell.dot)) {
        return Vec::new();
    }
    if !node.is_visible(entity) {
        let whole = held.iter().all(is_stable);
        return if whole { held.to_vec() } else { Vec::new() };
    }
    let covers_a_value = |removal: &Cell| {
        let mut values = held
            .iter()
            .filter(|cell| matches!(cell.kind, Kind::Value(_)));
        values.any(|cell| removal.context.covers(cell.dot))
    };
    let may_go = |cell: &&Cell| match cell.kind {
        Kind::Removal => broken == Some(Rule::KeepRemovalsOfWhatIsHeld) || !covers_a_value(cell),
        Kind::Clearing => true,
        Kind::Value(_) | Kind::Tombstone(_) => false,
    };
    let mut gone: Vec<Cell> = held
        .iter()
        .filter(may_go)
        .filter(|cell| is_stable(cell))
        .copied()
        .collect();
    for cell in held
        .iter()
        .filter(|cell| matches!(cell.kind, Kind::Tombstone(_)) && is_stable(cell))
    {
        let others = held
            .iter()
            .filter(|other| other.field() == cell.field() && other.dot != cell.dot);
        let (mut alone, mut beaten) = (true, false);
        for other in others {
            alone = false;
            beaten |= (other.rank, other.dot) > (cell.rank, cell.dot);
        }
        if alone || beaten {
            gone.push(*cell);
        }
    }
    gone
}

const fn begin(from: usize, base: Vector) -> Pull {
    Pull {
        from,
        base,
        first: None,
        cursor: None,
        clean: true,
        page: None,
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    /// Everybody holds both fields of each entity, written by the first replica.
    fn init_states(&self) -> Vec<World> {
        let mut world = World {
            nodes: Default::default(),
            writes: Vec::new(),
            collected: false,
        };
        for entity in 0..self.entities {
            world.write(0, entity, |_, made| {
                made.extend((0..FIELDS).map(|field| (Kind::Value(field), Vector::default())));
            });
            for node in 1..REPLICAS {
                world.push(node, usize::from(entity));
            }
        }
        for action in &self.prelude {
            world = self
                .next_state(&world, action.clone())
                .expect("the prelude can happen");
        }
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (place, node) in world.nodes.iter().enumerate() {
            if world.writes.len() < usize::from(self.entities) + self.writes {
                for entity in 0..self.entities {
                    if node.is_visible(entity) {
                        actions.push(Action::Edit(place, entity, 1));
                    }
                    if self.edits_only {
                        continue;
                    }
                    if node.is_visible(entity) {
                        actions.push(Action::Remove(place, entity));
                        actions.push(Action::Delete(place, entity, 1));
                    } else {
                        actions.push(Action::Put(place, entity));
                    }
                }
            }
            for (push, cells) in world.writes.iter().enumerate() {
                let Dot { replica, seq } = cells[0].dot;
                if node.vector.0[replica] + 1 == seq {
                    actions.push(Action::Push(place, push));
                }
            }
            for (other, peer) in world
                .nodes
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != place)
            {
                if place < self.collectors && node.reports[other] != peer.vector {
                    actions.push(Action::Report(place, other));
                }
                if node.pull.is_none() && (!node.vector.includes(&peer.vector) || peer.is_open()) {
                    actions.push(Action::Pull(place, other));
                }
            }
            match &node.pull {
                Some(Pull { page: Some(_), .. }) => actions.push(Action::Arrive(place)),
                Some(_) => actions.push(Action::Read(place)),
                None => {}
            }
            if place < self.collectors {
                actions.push(Action::Collect(place));
            }
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Edit(node, entity, field) => world.write(node, entity, |writer, made| {
                made.push((Kind::Value(field), writer.seen(entity, field)));
            }),
            Action::Delete(node, entity, field) => world.write(node, entity, |writer, made| {
                made.push((Kind::Tombstone(field), writer.seen(entity, field)));
            }),
            Action::Remove(node, entity) => world.write(node, entity, |writer, made| {
                made.push((Kind::Removal, writer.removal(entity)));
            }),
            Action::Put(node, entity) => {
                world.put(node, entity, self.broken != Some(Rule::ClearWhenMadeAgain));
            }
            Action::Push(node, push) => world.push(node, push),
            Action::Pull(node, from) => {
                let base = world.nodes[node].vector;
                world.nodes[node].pull = Some(begin(from, base));
                if self.pulls != Pulls::Slow {
                    world.read(node);
                }
                while self.pulls == Pulls::Whole && world.nodes[node].pull.is_some() {
                    world.arrive(node, self.broken);
                    world.read(node);
                }
            }
            Action::Read(node) => world.read(node),
            Action::Arrive(node) => {
                world.arrive(node, self.broken);
                if self.pulls != Pulls::Slow && world.nodes[node].pull.is_some() {
                    world.read(node);
                }
            }
            Action::Report(node, other) => {
                world.nodes[node].reports[other] = world.nodes[other].vector;
            }
            Action::Collect(node) => {
                if !world.collect(node, self.broken) {
                    return None;
                }
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("equal vectors, equal digests", |_, world: &World| {
                let closed: Vec<&Node> =
                    world.nodes.iter().filter(|node| !node.is_open()).collect();
                closed.iter().all(|a| {
                    closed
                        .iter()
                        .all(|b| a.vector != b.vector || a.digested() == b.digested())
                })
            }),
            Property::always(
                "what is covered is held, replaced or collected",
                |_, world: &World| {
                    world.nodes.iter().all(|node| {
                        let mut writes = world.writes.iter().flatten();
                        writes.all(|cell| !node.vector.covers(cell.dot) || node.incorporates(cell))
                    })
                },
            ),
            Property::always("every replica covers every floor", |_, world: &World| {
                let floors: BTreeSet<Vector> = world.nodes.iter().map(|node| node.floor).collect();
                let covers = |node: &Node| floors.iter().all(|floor| node.vector.includes(floor));
                world.nodes.iter().all(covers)
            }),
            Property::sometimes("seen: something was collected", |_, world: &World| {
                world.collected
            }),
            Property::sometimes(
                "seen: an entity comes back where it was collected",
                |_, world: &World| {
                    world.collected
                        && world
                            .nodes
                            .iter()
                            .any(|node| node.cells.iter().any(|cell| cell.kind == Kind::Clearing))
                },
            ),
        ]
    }
}
