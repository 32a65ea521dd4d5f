//! The disk of a store whose machine may lose its power at any moment: it keeps what each moment would leave.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Error,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, mpsc::SyncSender},
};

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use redb::{Database, DatabaseError, StorageBackend};

use super::medium::Medium;
use crate::store::disk::Disk;

/// Of so many writes one is a moment at which the power is lost, besides every sync.
const WRITES_A_CRASH: u32 = 24;

/// What the clients know of one key: the last number acknowledged, and the last tried.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    pub(super) acknowledged: u64,
    pub(super) tried: u64,
}

pub(super) type Ledger = BTreeMap<String, Known>;

/// What one moment leaves, and what was acknowledged before it.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) ledger: Ledger,
}

/// Where images go.
#[derive(Debug)]
pub(super) enum Sink {
    Nowhere,
    /// To who checks them; the store waits for it.
    Checker(SyncSender<Image>),
    /// At most so many are kept, each taken with a probability of a quarter.
    Keep(Vec<Image>, usize),
}

struct Inner {
    rng: Xoshiro256PlusPlus,
    files: BTreeMap<String, Medium>,
    ledger: Arc<Mutex<Ledger>>,
    sink: Sink,
    /// Of so many syncs one fails; 0: none does.
    failing_syncs: u32,
}

/// Both files of a store.
#[derive(Clone)]
pub(super) struct CrashDisk(Arc<Mutex<Inner>>);

impl CrashDisk {
    pub(super) fn new(
        seed: u64,
        files: BTreeMap<String, Vec<u8>>,
        ledger: Arc<Mutex<Ledger>>,
        sink: Sink,
    ) -> Self {
        let files = files.into_iter();
        Self(Arc::new(Mutex::new(Inner {
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            files: files
                .map(|(name, bytes)| (name, Medium::new(bytes)))
                .collect(),
            ledger,
            sink,
            failing_syncs: 0,
        })))
    }

    /// From now on of so many syncs one fails.
    pub(super) fn fail_syncs(&self, failing_syncs: u32) {
        self.inner().failing_syncs = failing_syncs;
    }

    /// The images kept, and no more from now on.
    pub(super) fn kept(&self) -> Vec<Image> {
        match std::mem::replace(&mut self.inner().sink, Sink::Nowhere) {
            Sink::Keep(images, _) => images,
            Sink::Nowhere | Sink::Checker(_) => Vec::new(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no holder panics")
    }
}

impl Inner {
    fn file(&mut self, name: &str) -> &mut Medium {
        self.files.entry(name.to_owned()).or_default()
    }

    /// What is left if the power is lost now.
    fn lose_power(&mut self) {
        match &self.sink {
            Sink::Nowhere => return,
            Sink::Checker(_) => {}
            Sink::Keep(images, most) => {
                if images.len() >= *most || self.rng.random_range(0..4) > 0 {
                    return;
                }
            }
        }
        let rng = &mut self.rng;
        let image = Image {
            files: self
                .files
                .iter()
                .map(|(name, file)| (name.clone(), file.after_crash(rng)))
                .collect(),
            ledger: self.ledger.lock().expect("no holder panics").clone(),
        };
        match &mut self.sink {
            Sink::Nowhere => {}
            Sink::Checker(checker) => {
                let _enough = checker.send(image);
            }
            Sink::Keep(images, _) => images.push(image),
        }
    }
}

impl Disk for CrashDisk {
    fn open(&self, path: &Path, cache_bytes: usize) -> Result<Database, DatabaseError> {
        // The store looks into the directory whether its files are there.
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let name = name_of(path);
        let mut inner = self.inner();
        let file = inner.file(&name);
        let mut magic = [0; 9];
        if file.len() > 0 && (file.read(0, &mut magic).is_err() || magic == [0; 9]) {
            // As the store does with a file whose making a crash cut short.
            *file = Medium::default();
        }
        drop(inner);
        Database::builder()
            .set_cache_size(cache_bytes)
            .create_with_backend(Backend {
                name,
                disk: self.clone(),
            })
    }

    fn renew(&self, path: &Path) -> Result<(), Error> {
        let mut inner = self.inner();
        inner.lose_power();
        inner.file(&name_of(path)).renew();
        inner.lose_power();
        Ok(())
    }

    fn check_space(&self, _directory: &Path, _longest: u64) -> Result<(), Error> {
        Ok(())
    }
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().expect("files have names");
    name.to_string_lossy().into_owned()
}

#[derive(Clone)]
struct Backend {
    name: String,
    disk: CrashDisk,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").finish_non_exhaustive()
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.disk.inner().file(&self.name).len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.disk.inner().file(&self.name).read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        self.disk.inner().file(&self.name).set_len(len)
    }

    fn sync_data(&self) -> Result<(), Error> {
        let mut inner = self.disk.inner();
        inner.lose_power();
        if inner.failing_syncs > 0 {
            let failing_syncs = inner.failing_syncs;
            if inner.rng.random_range(0..failing_syncs) == 0 {
                let inner = &mut *inner;
                let file = inner.files.entry(self.name.clone()).or_default();
                file.fail_to_sync(&mut inner.rng);
                return Err(Error::other("the sync failed"));
            }
        }
        inner.file(&self.name).sync();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let mut inner = self.disk.inner();
        if inner.rng.random_range(0..WRITES_A_CRASH) == 0 {
            inner.lose_power();
        }
        inner.file(&self.name).write(offset, data)
    }
}
