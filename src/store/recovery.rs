//! Opening: the two files, whether they belong together, and everything that the journal holds and
//! `data.redb` does not, taken in again.
//!
//! A start after a clean close, after a crash and after an error of the storage are the same thing here.

use std::{fs, path::PathBuf, sync::Arc};

use redb::{Database, DatabaseError};
use uuid::Uuid;

use super::{
    Snapshot, State, StoreError, StoreOptions, Workspace,
    alarm::Alarm,
    data::{Data, Mark},
    disk::{Disk, sync_directory},
    journal::Journal,
    overlay::Generation,
    publication::Held,
};

pub(super) const JOURNAL: &str = "journal.redb";
pub(super) const DATA: &str = "data.redb";

/// The names of the files of a store, the journal last: without it nothing opens.
pub const STORE_FILES: [&str; 2] = [DATA, JOURNAL];

/// The journal is only appended to and trimmed; this much of the cache is enough for it.
const MAX_JOURNAL_CACHE_BYTES: usize = 32 * 1024 * 1024;

/// A start compacts `data.redb`, if it is asked to, when more than this share of it is free.
const COMPACT_ABOVE_FREE_PERCENT: u64 = 50;

/// How the files of one store are opened, again and again.
pub(super) struct Opener {
    pub(super) options: StoreOptions,
    pub(super) disk: Box<dyn Disk>,
    pub(super) alarm: Arc<Alarm>,
}

/// Both files, open and known to belong together.
pub(super) struct Files {
    pub(super) journal: Journal,
    pub(super) data: Data,
}

/// What is held, read back.
pub(super) struct Recovered {
    pub(super) held: Held,
    /// The state of `data.redb` alone.
    pub(super) base: State,
}

impl Opener {
    /// Opens both files, or makes them. The journal comes first: its lock decides between two processes.
    pub(super) fn open(&self) -> Result<Files, StoreError> {
        let directory = &self.options.directory;
        fs::create_dir_all(directory).map_err(|source| self.directory_error(source))?;
        let is_there = |name| {
            directory
                .join(name)
                .try_exists()
                .map_err(|source| self.directory_error(source))
        };
        let (journal_is_there, data_is_there) = (is_there(JOURNAL)?, is_there(DATA)?);
        if data_is_there && !journal_is_there {
            return Err(StoreError::FileMissing {
                missing: JOURNAL,
                present: DATA,
            });
        }
        let journal = self.open_journal()?;
        if !data_is_there && !journal.is_empty()? {
            return Err(StoreError::FileMissing {
                missing: DATA,
                present: JOURNAL,
            });
        }
        let store_id = journal.store_id()?;
        let data = self.open_data(store_id)?;
        sync_directory(directory).map_err(|source| self.directory_error(source))?;
        check_same_store(&journal, &data)?;
        Ok(Files { journal, data })
    }

    /// Opens both files, neither of which is made.
    pub(super) fn open_existing(&self) -> Result<Files, StoreError> {
        let directory = &self.options.directory;
        let is_there = |name| {
            let there = directory.join(name).try_exists();
            there.map_err(|source| self.directory_error(source))
        };
        for (name, other) in [(JOURNAL, DATA), (DATA, JOURNAL)] {
            if is_there(name)? {
                continue;
            }
            return Err(if is_there(other)? {
                StoreError::FileMissing {
                    missing: name,
                    present: other,
                }
            } else {
                self.directory_error(std::io::ErrorKind::NotFound.into())
            });
        }
        self.open()
    }

    /// Opens `journal.redb` again, and `data.redb` unless `data` is still good.
    /// On error `data` comes back, for reads to go on.
    pub(super) fn reopen(&self, data: Option<Data>) -> Result<Files, (StoreError, Option<Data>)> {
        let Some(data) = data else {
            let opened = self.open().and_then(|files| {
                files.data.settle()?;
                Ok(files)
            });
            return opened.map_err(|error| (error, None));
        };
        let journal = self.open_journal().and_then(|journal| {
            check_same_store(&journal, &data)?;
            Ok(journal)
        });
        match journal {
            Ok(journal) => Ok(Files { journal, data }),
            Err(error) => Err((error, Some(data))),
        }
    }

    /// Opens `data.redb` alone, for reads to go on.
    pub(super) fn open_for_reads(&self, store_id: Uuid) -> Result<Data, StoreError> {
        let data = self.open_data(Uuid::nil())?;
        let found = data.store_id()?;
        if found != store_id {
            return Err(StoreError::ForeignFile {
                journal: store_id,
                data: found,
            });
        }
        Ok(data)
    }

    /// Writes the closed journal to the disk again, as reads show it. It may be that a commit of it failed, or its
    /// closing or opening, and what is built on that could be lost with it when the power is.
    pub(super) fn renew_journal(&self) -> Result<(), StoreError> {
        self.disk
            .renew(&self.options.directory.join(JOURNAL))
            .map_err(|error| StoreError::storage(redb::StorageError::Io(error)))
    }

    /// Whether files that could not grow can again.
    pub(super) fn check_space(&self) -> Result<(), StoreError> {
        let directory = &self.options.directory;
        let length = |name| fs::metadata(directory.join(name)).map_or(0, |file| file.len());
        let longest = length(JOURNAL).max(length(DATA));
        self.disk
            .check_space(directory, longest)
            .map_err(|error| StoreError::storage(redb::StorageError::Io(error)))
    }

    /// Reads back what is held. What is more than a batch is written to `data.redb` on the way.
    pub(super) fn recover(&self, files: &Files) -> Result<Recovered, StoreError> {
        let limits = self.options.batch();
        let Files { journal, data } = files;
        data.make_search()?;
        let (mut mark, mut base) = data.load()?;
        let mut applied = mark.number;
        let mut view = data.view()?;
        let mut state = base.clone();
        let mut active: Arc<Generation> = Arc::default();
        let mut replayed: u64 = 0;
        journal.replay(mark.number, mark.chain, |group, chain| {
            let number = group.number;
            let snapshot = Snapshot {
                group: number,
                active: active.clone(),
                frozen: None,
                data: view.clone(),
                state: State::default(),
            };
            let mut workspace = Workspace::new(&snapshot, core::mem::take(&mut state))
                .remembering(self.options.history);
            workspace.replay(group)?;
            let (_, changes) = workspace.finish(number);
            active.put(changes.rows, number);
            state = changes.state;
            mark = Mark {
                number,
                chain,
                clock: state.clock(),
            };
            replayed += 1;
            if active.is_full(&limits) {
                data.apply(&active, &base, &state, &mark)?;
                applied = number;
                view = data.view()?;
                base = state.clone();
                active = Arc::default();
            }
            Ok(())
        })?;
        tracing::debug!(
            group = mark.number,
            replayed,
            rows = active.len(),
            "opened the store"
        );
        Ok(Recovered {
            held: Held::new(active, view, state, mark, applied),
            base,
        })
    }

    /// Compacts `data.redb` if that is asked for and more than half of it is free.
    pub(super) fn compact_if_asked(&self, files: &mut Files) -> Result<(), StoreError> {
        if !self.options.compact_at_start {
            return Ok(());
        }
        let path = self.options.directory.join(DATA);
        let free_percent = files.data.free_percent(&path)?;
        if free_percent > COMPACT_ABOVE_FREE_PERCENT {
            tracing::info!(free_percent, "compacting data.redb");
            files.data.compact()?;
        }
        Ok(())
    }

    fn open_journal(&self) -> Result<Journal, StoreError> {
        let cache = (self.options.cache_bytes / 8).min(MAX_JOURNAL_CACHE_BYTES);
        Journal::new(self.open_file(JOURNAL, cache)?, Uuid::now_v7())
    }

    fn open_data(&self, new_store_id: Uuid) -> Result<Data, StoreError> {
        let journal_cache = (self.options.cache_bytes / 8).min(MAX_JOURNAL_CACHE_BYTES);
        let cache = self.options.cache_bytes - journal_cache;
        Data::new(
            self.open_file(DATA, cache)?,
            new_store_id,
            self.alarm.clone(),
        )
    }

    fn open_file(&self, name: &str, cache_bytes: usize) -> Result<Database, StoreError> {
        let path: PathBuf = self.options.directory.join(name);
        self.disk
            .open(&path, cache_bytes)
            .map_err(|error| match error {
                DatabaseError::DatabaseAlreadyOpen => StoreError::InUse {
                    directory: self.options.directory.clone(),
                },
                other => StoreError::storage(other),
            })
    }

    fn directory_error(&self, source: std::io::Error) -> StoreError {
        StoreError::Directory {
            directory: self.options.directory.clone(),
            source,
        }
    }
}

fn check_same_store(journal: &Journal, data: &Data) -> Result<(), StoreError> {
    let (journal, data) = (journal.store_id()?, data.store_id()?);
    if journal == data {
        Ok(())
    } else {
        Err(StoreError::ForeignFile { journal, data })
    }
}
