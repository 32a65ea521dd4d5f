//! A simulated node: the real engine and the real kernel, a writer with group commit, and a disk that keeps
//! only what was synced.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
};

use grapevine::{
    model::{
        Claim, CommitRecord, EntityId, Fate, Issue, Op, Outcome, PartitionId, PartitionState,
        PartitionSummary, Rejoin, Root,
    },
    store::{Changes, ClockWatch, Group, MemoryRows, State, StoreError, Table, Workspace, indexed},
    sync::engine::{Engine, Expelling, Ticket, View},
};
use grapevine_crdt::{Dot, ReplicaId, Timestamp, VersionVector};
use uuid::Uuid;

use crate::{
    client::{Change, Made},
    fault::Fault,
    history::is_local,
    outsider::{Bringing, Brought},
    roster::entry_id,
    seen::Seen,
};

/// After how many groups the journal is folded into a checkpoint.
const GROUPS_PER_CHECKPOINT: usize = 16;

/// What waits for the writer.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    Write(EntityId, Change),
    Bring(Box<Bringing>),
    Apply(Ticket, Op, Timestamp),
    Collect(PartitionId, VersionVector),
    /// A step of a bundle.
    Import(Op, Timestamp),
}

/// What somebody is to hear once a group is durable.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Written(EntityId, Dot),
    Brought(usize, Uuid, Fate),
    Applied(Ticket, Outcome),
    /// The kernel refused it.
    Refused(Ticket),
    Collected(PartitionId),
    /// A step of a bundle is taken in.
    Imported,
}

/// A group on its way to the disk.
#[derive(Debug)]
pub(crate) struct Staged {
    /// Tells it from every other.
    pub(crate) serial: u64,
    pub(crate) group: Group,
    pub(crate) changes: Changes,
    pub(crate) answers: Vec<Answer>,
    /// The local edits in it.
    pub(crate) edits: Vec<Made>,
}

/// What survives a crash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    rows: MemoryRows,
    state: State,
    journal: Vec<Group>,
    number: u64,
}

impl Disk {
    pub(crate) fn append(&mut self, group: Group) {
        self.number = group.number;
        self.journal.push(group);
    }

    /// What the journal adds up to.
    pub(crate) fn replay(&self) -> (MemoryRows, State) {
        let mut workspace = Workspace::new(&self.rows, self.state.clone());
        for group in &self.journal {
            let group = group.clone();
            workspace.replay(group).expect("rows in memory can be read");
        }
        let (_, changes) = workspace.finish(0);
        let mut rows = self.rows.clone();
        rows.apply(changes.rows);
        (rows, changes.state)
    }

    fn checkpoint_when_long(&mut self) {
        if self.journal.len() >= GROUPS_PER_CHECKPOINT {
            (self.rows, self.state) = self.replay();
            self.journal.clear();
        }
    }
}

/// A machine that runs, as a hypervisor keeps it: memory, disk and clocks.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) disk: Disk,
    pub(crate) life: ReplicaId,
    pub(crate) clock: ClockWatch,
    pub(crate) monotonic_ms: u64,
    /// When the snapshot was made.
    pub(crate) taken_ms: u64,
    /// Which store it is.
    pub(crate) store: u32,
    /// How far its wall clock was off.
    pub(crate) skew_ms: i64,
}

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is so or not, whatever the others are"
)]
pub(crate) struct Node {
    pub(crate) life: ReplicaId,
    /// Which store it is, through all its lives. Copies of a directory share it.
    pub(crate) store: u32,
    /// How often it was started.
    pub(crate) run: u64,
    pub(crate) up: bool,
    pub(crate) engine: Engine,
    pub(crate) rows: MemoryRows,
    pub(crate) state: State,
    pub(crate) disk: Disk,
    /// A snapshot of its machine.
    pub(crate) machine: Option<Machine>,
    /// An old copy of the disk and the life it belongs to.
    pub(crate) copy: Option<(Disk, ReplicaId)>,
    pub(crate) jobs: VecDeque<Job>,
    pub(crate) staged: Option<Staged>,
    /// The edits from outside that the group under way has decided.
    pub(crate) brought: Vec<Brought>,
    /// How often its disk was read.
    pub(crate) opened: u64,
    /// How many groups were staged.
    pub(crate) serial: u64,
    /// Watches the time of day against the monotonic clock.
    pub(crate) clock: ClockWatch,
    /// How far its monotonic clock is behind the world's: for as long as it was put back.
    pub(crate) behind_ms: u64,
    /// How far its wall clock is off.
    pub(crate) skew_ms: i64,
    /// The peers it believes to be up, with their numbers.
    pub(crate) sees: BTreeMap<ReplicaId, usize>,
    /// Whether it goes on as it was at an earlier moment, under the life of that moment.
    pub(crate) rolled_back: bool,
    /// What its rejoin was to say, if a fault made something else of it.
    pub(crate) rejoin: Option<Rejoin>,
    /// Whether it came back from an older copy of its disk.
    pub(crate) restored: bool,
    /// The stores that expelled it, once its engine says that it has taken part anew.
    pub(crate) returned: BTreeSet<Expelling>,
    /// Whether it was told to begin a new life.
    pub(crate) gives_up_life: bool,
}

/// The latest published state, as the engine sees it.
pub(crate) struct Published<'a>(pub(crate) &'a State, pub(crate) ReplicaId);

impl View for Published<'_> {
    fn root(&self) -> Root {
        self.0.root()
    }

    fn summary(&self, partition: PartitionId) -> PartitionSummary {
        self.0.partition(partition).summary()
    }

    fn partition(&self, partition: PartitionId) -> std::sync::Arc<PartitionState> {
        self.0.partition(partition).clone()
    }

    fn replica(&self) -> Option<ReplicaId> {
        Some(self.1)
    }
}

impl Node {
    pub(crate) fn new(life: ReplicaId, store: u32, engine: Engine) -> Self {
        Self {
            life,
            store,
            run: 0,
            up: true,
            engine,
            rows: MemoryRows::default(),
            state: State::default(),
            disk: Disk::default(),
            machine: None,
            copy: None,
            jobs: VecDeque::new(),
            staged: None,
            brought: Vec::new(),
            opened: 0,
            serial: 0,
            clock: ClockWatch::default(),
            behind_ms: 0,
            skew_ms: 0,
            sees: BTreeMap::new(),
            rolled_back: false,
            rejoin: None,
            restored: false,
            returned: BTreeSet::new(),
            gives_up_life: false,
        }
    }

    /// Decides the next group over what is published. Says whether there is something to sync; answers that
    /// need no sync come back at once.
    pub(crate) fn stage(&mut self, size: usize, wall_ms: u64, fault: Option<Fault>) -> Vec<Answer> {
        let mut workspace = Workspace::new(&self.rows, self.state.clone());
        let mut answers = Vec::new();
        let mut edits = Vec::new();
        let size = size.min(self.jobs.len());
        let jobs: Vec<Job> = self.jobs.drain(..size).collect();
        for job in jobs {
            match job {
                Job::Write(id, change) => {
                    let vector = workspace.state().partition(id.partition()).vector.clone();
                    let mut seen = Seen::default();
                    let written = workspace
                        .write(&id, self.life, wall_ms, |edit| {
                            seen = Seen::of(vector, edit.entity);
                            change.decide(&edit, fault)
                        })
                        .expect("rows in memory can be read");
                    if let Ok(Some(dot)) = written {
                        answers.push(Answer::Written(id.clone(), dot));
                        edits.push(Made {
                            id,
                            count: change.count(),
                            outside: None,
                            dot,
                            seen,
                        });
                    }
                }
                Job::Bring(bringing) => {
                    let id = bringing.edit.target.clone();
                    let vector = workspace.state().partition(id.partition()).vector.clone();
                    let seen = Seen::told(bringing.seen.clone());
                    let mut brought = None;
                    let written = workspace
                        .write(&id, self.life, wall_ms, |edit| {
                            let met = bringing.bring(&edit, vector, fault);
                            let cells = met.cells.clone();
                            brought = Some(met);
                            Ok::<_, Infallible>(cells)
                        })
                        .expect("rows in memory can be read");
                    let brought = brought.expect("it was decided");
                    let edit = brought.bringing.edit.id;
                    let count = brought.bringing.count.clone();
                    let (client, fate) = (brought.bringing.client, brought.fate.clone());
                    answers.push(Answer::Brought(client, edit, fate));
                    self.brought.push(brought);
                    if let Ok(Some(dot)) = written {
                        answers.push(Answer::Written(id.clone(), dot));
                        edits.push(Made {
                            id,
                            count,
                            outside: Some(edit),
                            dot,
                            seen,
                        });
                    }
                }
                Job::Apply(ticket, op, announced) => {
                    let outcome = if fault == Some(Fault::IssuesWithoutFreshTimes) {
                        workspace.apply(issued_long_ago(op, self.life), announced)
                    } else {
                        workspace.apply_as(op, announced, || self.life)
                    };
                    answers.push(match outcome {
                        Err(StoreError::BelowFloor { .. }) => Answer::Refused(ticket),
                        outcome => {
                            let outcome = outcome.expect("rows in memory can be read");
                            Answer::Applied(ticket, outcome)
                        }
                    });
                }
                Job::Import(op, announced) => {
                    import(&mut workspace, op, announced);
                    answers.push(Answer::Imported);
                }
                Job::Collect(partition, stable) => {
                    collect(&mut workspace, &self.rows, partition, stable);
                    answers.push(Answer::Collected(partition));
                }
            }
        }
        if workspace.is_empty() {
            return answers;
        }
        let (group, changes) = workspace.finish(self.disk.number + 1);
        self.serial += 1;
        self.staged = Some(Staged {
            serial: self.serial,
            group,
            changes,
            answers,
            edits,
        });
        Vec::new()
    }

    pub(crate) fn view(&self) -> Published<'_> {
        Published(&self.state, self.life)
    }

    /// Whether it is about to enter itself into the roster.
    pub(crate) fn entering(&self) -> bool {
        let id = entry_id(self.life);
        let waits = |job: &Job| matches!(job, Job::Write(written, _) if *written == id);
        let staged = self.staged.iter().flat_map(|staged| &staged.edits);
        self.jobs.iter().any(waits) || staged.clone().any(|made| made.id == id)
    }

    /// Makes a staged group visible; it is durable.
    pub(crate) fn publish(&mut self, group: Group, changes: Changes) {
        self.disk.append(group);
        self.disk.checkpoint_when_long();
        self.rows.apply(changes.rows);
        self.state = changes.state;
    }

    /// What the group wrote under this life, as pushes carry it.
    pub(crate) fn records(&self, group: &Group) -> Vec<CommitRecord> {
        let local = group.ops.iter().filter(|op| is_local(op, self.life));
        local
            .filter_map(|op| match &op.claim {
                Claim::Advance {
                    replica,
                    after,
                    upto,
                    needs,
                } => Some(CommitRecord {
                    partition: op.partition,
                    replica: *replica,
                    after: *after,
                    upto: *upto,
                    needs: needs.clone(),
                    entities: op.entities.clone(),
                }),
                Claim::Nothing
                | Claim::Absorb { .. }
                | Claim::Repair
                | Claim::Recount
                | Claim::Collect { .. }
                | Claim::Rejoin(_) => None,
            })
            .collect()
    }

    /// Everything that is not on the disk is gone.
    pub(crate) fn crash(&mut self) {
        self.up = false;
        self.staged = None;
        self.jobs.clear();
        self.sees.clear();
        self.returned.clear();
    }

    /// A new life on the old disk.
    pub(crate) fn restart(&mut self, life: ReplicaId, engine: Engine, fault: Option<Fault>) {
        self.up = true;
        self.run += 1;
        self.engine = engine;
        self.life = life;
        if fault == Some(Fault::ReusesLife)
            && let Some((disk, life)) = self.copy.take()
        {
            (self.disk, self.life) = (disk, life);
        }
        self.read_disk(fault);
    }

    /// Shows what is on the disk.
    pub(crate) fn read_disk(&mut self, fault: Option<Fault>) {
        self.opened += 1;
        let (rows, replayed) = self.disk.replay();
        self.rows = rows;
        let mut state = State::default();
        if fault != Some(Fault::ForgetsClock) {
            state.observe(replayed.clock());
        }
        for (partition, replayed) in replayed.partitions() {
            // The count of steps need not outlive a life.
            let restored = PartitionState {
                steps: 0,
                ..PartitionState::clone(replayed)
            };
            state.set(partition, restored);
        }
        self.state = state;
    }
}

/// Takes a step of a bundle in, unless something was collected since it was looked at.
fn import(workspace: &mut Workspace<'_, MemoryRows>, op: Op, announced: Timestamp) {
    match workspace.apply(op, announced) {
        Err(StoreError::BelowFloor { .. }) => {}
        outcome => {
            outcome.expect("rows in memory can be read");
        }
    }
}

/// Collects what is stable of a partition.
fn collect(
    workspace: &mut Workspace<'_, MemoryRows>,
    rows: &MemoryRows,
    partition: PartitionId,
    stable: VersionVector,
) {
    let ids = indexed(rows, Table::Garbage, partition, None, usize::MAX);
    let ids = ids.expect("rows in memory can be read");
    let op = Op {
        partition,
        entities: Vec::new(),
        claim: Claim::Collect { stable, ids },
    };
    let outcome = workspace.apply(op, Timestamp::ZERO);
    outcome.expect("rows in memory can be read");
}

/// What a rejoin would be that gives what it writes anew times from long ago.
fn issued_long_ago(mut op: Op, replica: ReplicaId) -> Op {
    if let Claim::Rejoin(rejoin) = &mut op.claim {
        let time = Timestamp::from_unix_ms(1);
        rejoin.issue = Some(Issue {
            replica,
            time,
            outside: None,
        });
    }
    op
}
