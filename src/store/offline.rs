//! What is done to a closed store: checking it, making its files small, mending its clock.
//!
//! The files are locked as by a node, so a node that runs keeps these out, and they keep a node out.

use std::{path::Path, sync::Arc};

use grapevine_crdt::{HybridClock, Rank, ReplicaId, Timestamp};
use uuid::Uuid;

use super::{
    Finding, Rows, Snapshot, State, StoreError, StoreOptions, Table, Workspace,
    alarm::Alarm,
    check_partition, check_search,
    data::{Data, Mark},
    disk::FileSystem,
    journal::JournalRow,
    layout,
    overlay::Generation,
    recovery::{Files, Opener, Recovered},
};
use crate::model::{Claim, Floor, Issue, Op, PartitionId, Rejoin};

/// How large both files are, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Before.
    pub before: u64,
    /// After.
    pub after: u64,
}

/// What a mended store was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// How many entities were written anew.
    pub entities: u64,
    /// The clock's high-water mark before.
    pub clock_before: Timestamp,
    /// The clock's high-water mark after.
    pub clock_after: Timestamp,
}

fn open(directory: &Path) -> Result<(Opener, Files), StoreError> {
    let (queue, _) = tokio::sync::mpsc::channel(1);
    let opener = Opener {
        options: StoreOptions {
            cache_bytes: 64 * 1024 * 1024,
            ..StoreOptions::new(directory)
        },
        disk: Box::new(FileSystem),
        alarm: Arc::new(Alarm::new(queue.downgrade())),
    };
    let files = opener.open_existing()?;
    Ok((opener, files))
}

fn view(data: &Data, state: State, mark: Mark) -> Result<Snapshot, StoreError> {
    Ok(Snapshot {
        group: mark.number,
        active: Arc::default(),
        frozen: None,
        data: data.view()?,
        state,
    })
}

/// Checks a closed store and changes nothing of what it holds: every row of `data.redb` against every other and
/// against vectors, digests and counts, and the chain of the journal. Calls `find` for each thing that is wrong and
/// `progress` with the partition that comes next. Yields how many entities it read.
pub fn verify(
    directory: &Path,
    find: &mut dyn FnMut(Finding),
    progress: &mut dyn FnMut(PartitionId),
) -> Result<u64, StoreError> {
    let (_, Files { journal, data }) = open(directory)?;
    let (mark, state) = data.load()?;
    let mut whole = |what: String| {
        find(Finding {
            partition: None,
            what,
        });
    };
    let chain = journal.replay(mark.number, mark.chain, |_, _| Ok(()));
    if let Err(error) = chain {
        whole(format!("the journal is not sound: {error}"));
    }
    let snapshot = view(&data, state, mark)?;
    let mut entities = 0;
    for partition in PartitionId::all() {
        progress(partition);
        entities += check_partition(&snapshot, snapshot.state(), partition, find)?;
    }
    // An index of another version is made anew by the next start.
    if data.has_current_search()? {
        check_search(&snapshot, find)?;
    }
    Ok(entities)
}

/// Makes both files of a closed store as small as they can be.
pub fn compact(directory: &Path) -> Result<Compacted, StoreError> {
    let size = || -> Result<u64, StoreError> {
        let mut bytes = 0;
        for name in ["journal.redb", "data.redb"] {
            let file = std::fs::metadata(directory.join(name));
            let file = file.map_err(|source| StoreError::Directory {
                directory: directory.to_owned(),
                source,
            })?;
            bytes += file.len();
        }
        Ok(bytes)
    };
    let (_, mut files) = open(directory)?;
    let before = size()?;
    files.data.compact()?;
    files.journal.compact()?;
    drop(files);
    Ok(Compacted {
        before,
        after: size()?,
    })
}

/// Gives every edit of a closed store whose time is before `earliest` or after `latest` a new name and a time
/// from `now_unix_ms` on, and puts the clock back to the latest time that is sane. Edits keep their order.
///
/// What other nodes hold of these edits it cannot mend: such come back with their old times.
pub fn mend_clock(
    directory: &Path,
    earliest: Timestamp,
    latest: Timestamp,
    now_unix_ms: u64,
) -> Result<Mended, StoreError> {
    let (opener, mut files) = open(directory)?;
    let Recovered { held, base } = opener.recover(&files)?;
    let recovered = held.snapshot();
    let mut mark = held.mark();
    let mut state = recovered.state().clone();
    // Everything goes to `data.redb` first: what is replayed later would raise the clock again.
    files.data.apply(&recovered.active, &base, &state, &mark)?;
    drop((recovered, held));
    let mut mended = Mended {
        clock_before: state.clock(),
        ..Mended::default()
    };
    let sane = latest_within(&files.data, &state, mark, (earliest, latest))?;
    let before = state.clone();
    state.put_clock_back(sane);
    let replica = ReplicaId::from_bytes(*Uuid::now_v7().as_bytes());
    let mut last = before;
    for partition in PartitionId::all() {
        let snapshot = view(&files.data, State::default(), mark)?;
        let mut workspace = Workspace::new(&snapshot, state.clone());
        let mut clock = HybridClock::resume(state.clock());
        let time = clock.tick(now_unix_ms).map_err(|_| StoreError::Exhausted)?;
        let issue = Issue {
            replica,
            time,
            outside: Some((earliest, latest)),
        };
        let op = Op {
            partition,
            entities: Vec::new(),
            claim: Claim::Rejoin(Box::new(Rejoin::alone(issue))),
        };
        workspace.apply(op, Timestamp::ZERO)?;
        if workspace.is_empty() {
            continue;
        }
        let number = mark.number + 1;
        let (group, changes) = workspace.finish(number);
        let row = JournalRow::new(&group, mark.chain)?;
        files.journal.append(number, &row, mark.number)?;
        mark = Mark {
            number,
            chain: row.chain(),
            clock: group.clock,
        };
        state = changes.state;
        mended.entities += changes
            .rows
            .iter()
            .filter(|((table, _), _)| *table == Table::Entities)
            .count() as u64;
        let rows: Arc<Generation> = Arc::default();
        rows.put(changes.rows, number);
        drop(snapshot);
        files.data.apply(&rows, &last, &state, &mark)?;
        last = state.clone();
    }
    mark.clock = state.clock();
    files
        .data
        .apply(&Generation::default(), &last, &state, &mark)?;
    mended.clock_after = state.clock();
    Ok(mended)
}

/// The latest time of an edit, or of a floor, that is within the bounds.
fn latest_within(
    data: &Data,
    state: &State,
    mark: Mark,
    (earliest, latest): (Timestamp, Timestamp),
) -> Result<Timestamp, StoreError> {
    let snapshot = view(data, State::default(), mark)?;
    let mut sane = Timestamp::ZERO;
    let mut see = |rank: Rank| {
        let time = rank.time();
        if time >= earliest && time <= latest {
            sane = sane.max(time);
        }
    };
    for (_, partition) in state.partitions() {
        let Floor { rank, .. } = &*partition.floor;
        see(*rank);
    }
    snapshot.scan(Table::Entities, &[], false, &[], &mut |_, row| {
        if let Ok(stored) = layout::decode_entity(row) {
            let timed = stored.entity.cells().filter(|(field, _)| field.is_timed());
            timed.for_each(|(_, cell)| see(cell.rank));
        }
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(sane)
}
