//! The writer of each node: takes jobs in groups, syncs them, shows them, and tells who is to hear of them.

use std::{collections::BTreeMap, sync::Arc};

use grapevine::{
    model::{Claim, EntityId, Op, Outcome, PartitionId},
    store::{Changes, Group, MemoryRows, State, Table, Workspace, read_entity},
    sync::engine::Event,
};
use grapevine_crdt::{Entity, FieldCell, Timestamp};
use rand::RngExt;

use crate::{
    client::{Change, Made},
    fault::Fault,
    held::Held,
    history::is_local,
    invariants::Observed,
    node::{Answer, Job, Staged},
    world::{Happening, World},
};

const MAX_GROUP: usize = 8;

/// What a node held of what a group touches, before it.
pub(crate) struct Before {
    pub(crate) state: State,
    pub(crate) entities: BTreeMap<EntityId, Entity>,
}

impl World {
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
        if self.leaps(number) {
            self.new_life(number);
            return;
        }
        let wall_ms = self.wall_ms(number);
        let size = self.rng.random_range(1..=MAX_GROUP);
        let node = &mut self.nodes[number];
        if !node.up || node.staged.is_some() || node.jobs.is_empty() {
            return;
        }
        let answers = node.stage(size, wall_ms, self.fault);
        for brought in std::mem::take(&mut self.nodes[number].brought) {
            let partition = brought.bringing.edit.target.partition();
            self.history.outside.insert((partition, brought.dot));
            self.check(&Observed::Brought {
                node: number,
                brought: &brought,
            });
        }
        let node = &self.nodes[number];
        if let Some(staged) = &node.staged {
            let serial = staged.serial;
            let told: Vec<Answer> = match self.fault {
                Some(Fault::AcksEarly) => staged.answers.clone(),
                _ => Vec::new(),
            };
            for answer in told {
                self.acknowledge(number, &answer);
            }
            let delay = self.rng.random_range(1..=self.settings.max_sync_ms);
            self.after(delay, Happening::Synced(number, serial));
        } else {
            let run = self.nodes[number].run;
            self.after(0, Happening::Answered(number, run, answers));
        }
    }

    /// Whether a node that is about to write finds that the time of day leapt. In a machine that was never put back a
    /// new life would be harmless, and is left out.
    fn leaps(&mut self, number: usize) -> bool {
        let wall_ms = self.wall_ms(number);
        let node = &mut self.nodes[number];
        if !node.up || node.staged.is_some() || node.jobs.is_empty() {
            return false;
        }
        node.clock.look(wall_ms, self.now_ms - node.behind_ms);
        node.clock.take_leap() && node.rolled_back && self.fault != Some(Fault::IgnoresLeaps)
    }

    pub(crate) fn synced(&mut self, number: usize, serial: u64) {
        let node = &mut self.nodes[number];
        let Some(staged) = node.staged.take_if(|staged| staged.serial == serial) else {
            return;
        };
        // Not in a past played by hand: what breaks there is chosen.
        let by_chance = self.turmoil && self.settings.turmoil_ms > 0;
        if by_chance && self.rng.random_ratio(1, 200) {
            self.reopen(number, staged);
        } else {
            self.publish(number, staged);
            self.kick(number);
        }
    }

    /// The disk fails in the middle of a commit: nobody hears of it, the store is opened again, and a new life
    /// begins. What was to be written may be there or not.
    fn reopen(&mut self, number: usize, staged: Staged) {
        if self.rng.random_bool(0.5) {
            self.durable(number, &staged.group, &staged.edits);
            self.nodes[number].disk.append(staged.group);
        }
        self.nodes[number].read_disk(self.fault);
        self.fail(number, &staged.answers);
        self.new_life(number);
    }

    /// A node goes on under a fresh replica id; its connections were made by the old one.
    pub(crate) fn new_life(&mut self, number: usize) {
        let old = self.nodes[number].life;
        let life = self.mint(number);
        let node = &mut self.nodes[number];
        node.life = life;
        node.gives_up_life = false;
        node.rolled_back = false;
        let seen: Vec<_> = node.sees.keys().copied().collect();
        for peer in seen {
            self.disconnect(number, peer);
        }
        for other in 0..self.nodes.len() {
            self.disconnect(other, old);
        }
        if let Some(staged) = self.nodes[number].staged.take() {
            self.fail(number, &staged.answers);
        }
        self.kick(number);
    }

    /// The disk refuses a group.
    fn fail(&mut self, number: usize, answers: &[Answer]) {
        if answers
            .iter()
            .any(|answer| matches!(answer, Answer::Imported))
        {
            // What was not taken in must not be claimed.
            let jobs = &mut self.nodes[number].jobs;
            jobs.retain(|job| !matches!(job, Job::Import(..)));
        }
        for answer in answers {
            match answer {
                Answer::Written(..) | Answer::Brought(..) | Answer::Imported => {}
                Answer::Applied(ticket, _) | Answer::Refused(ticket) => {
                    self.feed(number, Event::ApplyFailed(*ticket));
                }
                Answer::Collected(partition) => {
                    self.feed(number, Event::Collected(*partition, false));
                }
            }
        }
    }

    fn publish(&mut self, number: usize, staged: Staged) {
        let Staged {
            group,
            mut changes,
            answers,
            edits,
            ..
        } = staged;
        let collects = |op: &Op| matches!(op.claim, Claim::Collect { .. });
        if group.ops.iter().any(collects) && !self.knows_all(number) {
            // Two clusters that never met are about to meet; each has collected without the other.
            self.disturbed = true;
        }
        let before = self.before(number, &group);
        self.damage(number, &group, &mut changes);
        self.durable(number, &group, &edits);
        let watched = self.watched_at(number);
        self.nodes[number].publish(group.clone(), changes);
        self.tell_watched(number, &watched, &group);
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
    pub(crate) fn durable(&mut self, number: usize, group: &Group, edits: &[Made]) {
        self.check(&Observed::Durable {
            node: number,
            group,
        });
        let life = self.nodes[number].life;
        let before = self.nodes[number].state.clone();
        self.history.remember(life, &group.ops, &before);
        self.remember_issued(number, group);
        self.history.remember_made(edits);
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

    /// What rejoins of a group wrote anew: the steps do not tell, so they are taken once more.
    fn remember_issued(&mut self, number: usize, group: &Group) {
        let rejoins = group.ops.iter().filter_map(|op| match &op.claim {
            Claim::Rejoin(rejoin) => Some((op.partition, rejoin.issue?.replica)),
            Claim::Nothing
            | Claim::Advance { .. }
            | Claim::Absorb { .. }
            | Claim::Repair
            | Claim::Recount
            | Claim::Collect { .. } => None,
        });
        let rejoins: Vec<_> = rejoins.collect();
        if rejoins.is_empty() {
            return;
        }
        let node = &self.nodes[number];
        let mut workspace = Workspace::new(&node.rows, node.state.clone());
        let replayed = workspace.replay(group.clone());
        replayed.expect("rows in memory can be read");
        let (_, changes) = workspace.finish(0);
        let mut rows = node.rows.clone();
        rows.apply(changes.rows);
        let mut greatest = self.history.times.get(&number).copied();
        for (partition, replica) in rejoins {
            let before = self.nodes[number]
                .state
                .partition(partition)
                .vector
                .get(replica);
            let context = changes.state.partition(partition).vector.clone();
            for (id, entity) in &Held::of(&rows, partition).entities {
                let issued = entity
                    .cells()
                    .filter(|(_, cell)| cell.dot.replica == replica && cell.dot.seq > before);
                for (field, cell) in issued {
                    let cell = FieldCell {
                        field: field.clone(),
                        cell: cell.clone(),
                    };
                    if cell.field.is_timed() {
                        greatest = greatest.max(Some(cell.cell.rank.time()));
                    }
                    self.history.remember_issued(partition, id, &cell, &context);
                }
            }
        }
        if let Some(greatest) = greatest {
            self.history.times.insert(number, greatest);
        }
    }

    fn before(&self, number: usize, group: &Group) -> Before {
        let node = &self.nodes[number];
        let ids = group.ops.iter().flat_map(|op| {
            let collected: &[EntityId] = match &op.claim {
                Claim::Collect { ids, .. } => ids,
                Claim::Nothing
                | Claim::Advance { .. }
                | Claim::Absorb { .. }
                | Claim::Repair
                | Claim::Recount
                | Claim::Rejoin(_) => &[],
            };
            op.entities.iter().map(|entity| &entity.id).chain(collected)
        });
        let entities = ids.map(|id| {
            let held = read_entity(&node.rows, id).expect("rows in memory can be read");
            (id.clone(), held.unwrap_or_default())
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

    pub(crate) fn answer(&mut self, number: usize, answers: Vec<Answer>) {
        for answer in answers {
            self.acknowledge(number, &answer);
            match answer {
                Answer::Written(..) | Answer::Imported => {}
                Answer::Brought(client, edit, fate) => self.tell(client, edit, &fate),
                Answer::Applied(ticket, outcome) => {
                    self.feed(number, Event::Applied(ticket, outcome));
                }
                Answer::Refused(ticket) => self.feed(number, Event::ApplyFailed(ticket)),
                Answer::Collected(partition) => {
                    self.feed(number, Event::Collected(partition, true));
                }
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
}
