//! What can go wrong below the store's interface.

use std::{io::ErrorKind, path::PathBuf};

use crate::codec::CodecError;

/// Why the store could not do what it was asked. Unless a variant says otherwise, no state changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A row cannot be read: the file is damaged or of another version.
    #[error("a row of table {table} cannot be read: {source}")]
    Row {
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        source: CodecError,
    },
    /// A value cannot be encoded.
    #[error("{0}")]
    Codec(#[from] CodecError),
    /// A row's key has not the shape its table promises.
    #[error("a key of table {0} has not the shape of that table")]
    Key(&'static str),
    /// The store is closing or has failed; whether a write that was under way is stored is unknown.
    #[error("the store is closed")]
    Closed,
    /// The writer's queue had no room for too long. The write did not happen.
    #[error("more writes wait than the storage can take at the moment")]
    Overloaded,
    /// The write would make its entity larger than a frame between peers may be.
    #[error("the entity would have {bytes} bytes, at most {limit} are kept")]
    EntityTooLarge {
        /// How many bytes its row would have.
        bytes: usize,
        /// The most that are kept.
        limit: usize,
    },
    /// The replica has written 2^64 - 1 times to one partition, or the clock is exhausted.
    #[error("this life of the node can make no more writes")]
    Exhausted,
    /// Another process, or another store of this one, has the directory open.
    #[error("{} is in use by another process", directory.display())]
    InUse {
        /// The data directory.
        directory: PathBuf,
    },
    /// The data directory cannot be made or read.
    #[error("the data directory {} cannot be used: {source}", directory.display())]
    Directory {
        /// The data directory.
        directory: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// One of the two files is gone, and the other is not new.
    #[error("{missing} is missing, but {present} holds data: both belong to one store")]
    FileMissing {
        /// The file that is not there.
        missing: &'static str,
        /// The file that is there.
        present: &'static str,
    },
    /// The two files are of two stores.
    #[error("journal.redb is of store {journal}, but data.redb is of store {data}")]
    ForeignFile {
        /// The store id in `journal.redb`.
        journal: uuid::Uuid,
        /// The store id in `data.redb`.
        data: uuid::Uuid,
    },
    /// Groups between what `data.redb` holds and what the journal still has are missing.
    #[error(
        "the journal goes on at group {found} where group {expected} should be: groups are missing"
    )]
    JournalGap {
        /// The group that follows what is held.
        expected: u64,
        /// The group that the journal has in its place.
        found: u64,
    },
    /// The journal's groups were not written on top of what `data.redb` holds: the files are copies of two
    /// moments, between which the store went two ways.
    #[error(
        "group {group} of the journal does not follow from what data.redb holds: copies of two moments"
    )]
    Diverged {
        /// The first group that does not follow.
        group: u64,
    },
    /// A file has a table that this version does not know.
    #[error("{file} has the table {table}, which this version does not know")]
    UnknownTable {
        /// The file.
        file: &'static str,
        /// The table.
        table: String,
    },
    /// The storage answered with an error. The store reopens its files by itself.
    #[error("the storage failed: {0}")]
    Storage(Box<redb::Error>),
    /// A group commit failed; whether its writes are stored is unknown.
    #[error("the commit failed: {0}")]
    Commit(String),
    /// The storage has no room: the disk or a quota is full, or a file may not grow. Whether a write that was
    /// under way is stored is unknown. Writes are taken again by themselves once there is room.
    #[error("the storage has no room for more: {0}")]
    NoSpace(String),
    /// The storage failed and could not be reopened yet; reads go on where that is possible.
    #[error("the storage has failed and could not be reopened: {0}")]
    Failed(String),
    /// A peer claims writes of this life that it did not make, again and again.
    #[error("a peer claims writes of this node that it did not make")]
    Overclaim,
    /// A write that names one entity was said to name another too: no honest replica makes such.
    #[error("the write {dot:?} cannot be of both {} and {}", entities[0], entities[1])]
    TwoEntities {
        /// The write.
        dot: grapevine_crdt::Dot,
        /// The entity that it names here, and the one that it was said to name.
        entities: Box<[crate::model::EntityId; 2]>,
    },
    /// A rejoin whose writer gave no names for what is written anew.
    #[error("a rejoin without names for what is written anew")]
    NotIssued,
    /// A delta whose sender has collected what was never taken in here. No state changed.
    #[error(
        "what was collected by the sender of a delta of partition {partition} was never taken in here"
    )]
    BelowFloor {
        /// The partition.
        partition: u8,
    },
    /// The edit panicked.
    #[error("the edit panicked")]
    Panicked,
    /// A thread of the store cannot be started.
    #[error("a thread of the store cannot be started: {0}")]
    Thread(std::io::Error),
}

impl StoreError {
    /// The error of any call of redb.
    pub(super) fn storage(error: impl Into<redb::Error>) -> Self {
        match error.into() {
            redb::Error::DatabaseClosed => Self::Closed,
            redb::Error::Io(error) if is_no_space(&error) => Self::NoSpace(error.to_string()),
            error => Self::Storage(Box::new(error)),
        }
    }
}

/// Whether the operating system says that there is no room.
#[must_use]
pub fn is_no_space(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}

/// Why the storage failed, to be told to more than one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    no_space: bool,
    reason: String,
}

impl Fault {
    /// A failure of another kind than an error of the storage.
    pub(super) fn new(reason: &str) -> Self {
        Self {
            no_space: false,
            reason: reason.to_owned(),
        }
    }

    /// Whether it is over as soon as there is room.
    pub(super) const fn is_no_space(&self) -> bool {
        self.no_space
    }

    /// What is told to those whose commit it spoilt.
    pub(super) fn of_commit(&self) -> StoreError {
        self.told(StoreError::Commit)
    }

    /// What is told to those who come while it lasts.
    pub(super) fn lasting(&self) -> StoreError {
        self.told(StoreError::Failed)
    }

    fn told(&self, other: impl FnOnce(String) -> StoreError) -> StoreError {
        let reason = self.reason.clone();
        if self.no_space {
            StoreError::NoSpace(reason)
        } else {
            other(reason)
        }
    }
}

impl From<&StoreError> for Fault {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::NoSpace(reason) => Self {
                no_space: true,
                reason: reason.clone(),
            },
            StoreError::Directory { source, .. } => Self {
                no_space: is_no_space(source),
                reason: error.to_string(),
            },
            other => Self::new(&other.to_string()),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.lasting().fmt(f)
    }
}
