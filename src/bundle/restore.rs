//! Making a data directory from a backup.
//!
//! What comes out is a new store: it has an id of its own, and its first write begins a life of its own, so nothing that it
//! ever writes can bear the name of another write (invariant 2), whatever the node of the backup did afterwards. It holds
//! what that node held, vectors and floors with it: so it lacks of its cluster what was written since, and pulls that, and
//! where its cluster has meanwhile collected what it does not cover, it takes part anew (invariant 9), as every member does
//! that was away. Nobody waits for its reports before it has entered the roster (invariant 8). The id is new and not that of
//! the backup, for the node of the backup may live, or come back: two stores of one id would strike each other's lives off
//! the roster as over.
//!
//! Invariants: the file is read to its end and checked before anything is made; the files get their names only when all of
//! it is durable, and one of them alone does not open.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::runtime::Handle;

use super::{BundleError, BundleHeader, Imported, Importer, verify_backup};
use crate::{
    clock::WallClock,
    store::{STORE_FILES, Store, StoreError, StoreOptions},
};

/// Where the store is made before it gets its place.
const PARTIAL: &str = "restore.partial";
/// What a file system puts into its root by itself.
const NOT_OURS: &str = "lost+found";

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Whose backup it is.
    pub header: BundleHeader,
    /// What it has.
    pub contents: Imported,
}

/// Why nothing was restored. What had been made is removed again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The file cannot be used.
    #[error("{0}")]
    Bundle(#[from] BundleError),
    /// Something is in the directory.
    #[error("{} is not empty; a backup is restored into a directory that is", .0.display())]
    NotEmpty(PathBuf),
    /// The directory cannot be made or written.
    #[error("{} cannot be written: {source}", directory.display())]
    Directory {
        /// Which.
        directory: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The store cannot be made.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// Makes a store in `directory`, which is empty or not there, from the backup `file`. Blocks, on a thread of a runtime that
/// may.
pub fn restore(
    file: &Path,
    directory: &Path,
    clock: Arc<dyn WallClock>,
) -> Result<Restored, RestoreError> {
    let open = || {
        File::open(file)
            .map(BufReader::new)
            .map_err(BundleError::Io)
    };
    let (header, contents) = verify_backup(open()?)?;
    let failed = |source| RestoreError::Directory {
        directory: directory.to_owned(),
        source,
    };
    let made = prepare(directory)?;
    let partial = directory.join(PARTIAL);
    let restored = fill(&partial, open()?, &header, clock)
        .and_then(|()| put_in_place(&partial, directory).map_err(failed));
    match restored {
        Ok(()) => Ok(Restored { header, contents }),
        Err(error) => {
            let _left_behind = fs::remove_dir_all(&partial);
            if made {
                let _left_behind = fs::remove_dir(directory);
            }
            Err(error)
        }
    }
}

/// Sees to it that the directory is there and empty; says whether it was made. What a restore left that was cut short is
/// removed.
fn prepare(directory: &Path) -> Result<bool, RestoreError> {
    let failed = |source| RestoreError::Directory {
        directory: directory.to_owned(),
        source,
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(directory).map_err(failed)?;
            return Ok(true);
        }
        Err(error) => return Err(failed(error)),
    };
    let mut torn = false;
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        torn |= name == PARTIAL;
        if name != PARTIAL && name != NOT_OURS {
            return Err(RestoreError::NotEmpty(directory.to_owned()));
        }
    }
    if torn {
        fs::remove_dir_all(directory.join(PARTIAL)).map_err(failed)?;
    }
    Ok(false)
}

/// Makes the store.
fn fill(
    partial: &Path,
    input: BufReader<File>,
    header: &BundleHeader,
    clock: Arc<dyn WallClock>,
) -> Result<(), RestoreError> {
    let now_unix_ms = clock.unix_ms();
    let store = Store::open(StoreOptions::new(partial), clock)?;
    let importer = Importer {
        store: store.clone(),
        cluster: header.cluster.clone(),
        now_unix_ms,
        // The store is new, and takes everything in.
        expelled: |_| Ok(BTreeSet::new()),
    };
    let taken_in = importer.import(input);
    Handle::current().block_on(store.close());
    taken_in?;
    Ok(())
}

/// The journal last: without it `data.redb` does not open.
fn put_in_place(partial: &Path, directory: &Path) -> io::Result<()> {
    for name in STORE_FILES {
        fs::rename(partial.join(name), directory.join(name))?;
    }
    fs::remove_dir_all(partial)?;
    #[cfg(unix)]
    File::open(directory)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use grapevine_crdt::{LwwMap, Timestamp};
    use tokio::task::spawn_blocking;

    use super::*;
    use crate::{
        bundle::{back_up, export},
        clock::SystemClock,
        model::{ChangesToken, Claim, Collection, EntityId, Op, Outcome, PartitionId},
        store::Edit,
    };

    fn id(key: &str) -> EntityId {
        EntityId::new(Collection::Contacts, key).expect("a good key")
    }

    async fn write(store: &Store, key: &str) {
        let edit = |edit: Edit<'_>| {
            let cells = LwwMap::new(edit.entity).set("x", b"y", edit.dot, edit.time);
            Ok::<_, Infallible>((cells, ()))
        };
        store.write(id(key), edit).await.expect("it is durable");
    }

    async fn remove(store: &Store, key: &str) {
        let edit =
            |edit: Edit<'_>| Ok::<_, Infallible>((LwwMap::new(edit.entity).remove(edit.dot), ()));
        store.write(id(key), edit).await.expect("it is durable");
    }

    fn opened(directory: &Path) -> Store {
        let options = StoreOptions::new(directory);
        Store::open(options, Arc::new(SystemClock)).expect("it is free")
    }

    fn header() -> BundleHeader {
        BundleHeader {
            cluster: "fleet".to_owned(),
            node: "ann".to_owned(),
            store: uuid::Uuid::nil(),
            unix_ms: 1,
        }
    }

    async fn restored(file: &Path, directory: &Path) -> Result<Restored, RestoreError> {
        let (file, directory) = (file.to_owned(), directory.to_owned());
        let restore = move || restore(&file, &directory, Arc::new(SystemClock));
        spawn_blocking(restore).await.expect("it does not panic")
    }

    /// Forgets what is removed under `key`, as once everybody has heard of it.
    async fn collect(store: &Store, key: &str) {
        let partition = id(key).partition();
        let stable = store.snapshot().state().partition(partition).vector.clone();
        let op = Op {
            partition,
            entities: Vec::new(),
            claim: Claim::Collect {
                stable,
                ids: vec![id(key)],
            },
        };
        let outcome = store.enqueue(op, Timestamp::ZERO).await;
        let outcome = outcome.expect("it is taken").await.expect("it is answered");
        assert_eq!(outcome.expect("it is durable"), Outcome::Applied);
    }

    /// A store with a few contacts, one of them removed and one forgotten, and its backup in `file`.
    async fn backed_up(directory: &Path, file: &Path) -> Store {
        let store = opened(directory);
        for number in 0..300 {
            write(&store, &number.to_string()).await;
        }
        remove(&store, "7").await;
        write(&store, "forgotten").await;
        remove(&store, "forgotten").await;
        collect(&store, "forgotten").await;
        let out = File::create(file).expect("it can be written");
        back_up(&store.snapshot(), header(), out).expect("it is written");
        store
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_restored_is_another_store_with_the_same_state() {
        let at = tempfile::tempdir().expect("a temporary directory");
        let file = at.path().join("backup");
        let store = backed_up(&at.path().join("ann"), &file).await;
        let directory = at.path().join("deep/bob");
        let told = restored(&file, &directory).await.expect("it is whole");
        assert_eq!(told.header, header());
        assert_eq!(told.contents.entities, 300);
        let copy = opened(&directory);
        let (ours, theirs) = (store.snapshot(), copy.snapshot());
        let forgotten = theirs.state().partition(id("forgotten").partition());
        assert!(!forgotten.floor.is_empty(), "{forgotten:?}");
        assert_eq!(theirs.state().root(), ours.state().root());
        for partition in PartitionId::all() {
            let state = |of: &crate::store::Snapshot| {
                let state = of.state().partition(partition);
                (state.vector.clone(), state.floor.clone(), state.garbage)
            };
            assert_eq!(state(&theirs), state(&ours));
        }
        assert!(theirs.state().clock() >= ours.state().clock());
        assert_ne!(copy.identity().store_id, store.identity().store_id);
        write(&copy, "new").await;
        assert_ne!(copy.replica(), store.replica());
        copy.close().await;
        let names: Vec<_> = fs::read_dir(&directory)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_backup_is_of_one_moment_though_writes_go_on() {
        let at = tempfile::tempdir().expect("a temporary directory");
        let store = backed_up(&at.path().join("ann"), &at.path().join("first")).await;
        let snapshot = store.snapshot();
        let root = snapshot.state().root();
        for number in 0..300 {
            remove(&store, &number.to_string()).await;
        }
        let file = at.path().join("backup");
        let out = File::create(&file).expect("it can be written");
        back_up(&snapshot, header(), out).expect("it is written");
        let directory = at.path().join("bob");
        restored(&file, &directory).await.expect("it is whole");
        assert_eq!(opened(&directory).snapshot().state().root(), root);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_damaged_backup_or_a_full_directory_leaves_nothing_behind() {
        let at = tempfile::tempdir().expect("a temporary directory");
        let file = at.path().join("backup");
        let store = backed_up(&at.path().join("ann"), &file).await;
        let bytes = fs::read(&file).expect("a file");
        let (wrong, directory) = (at.path().join("wrong"), at.path().join("bob"));
        for place in [0, 8, bytes.len() / 2, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            for damaged in [&damaged[..], &bytes[..place]] {
                fs::write(&wrong, damaged).expect("it can be written");
                let refused = restored(&wrong, &directory).await;
                assert!(matches!(refused, Err(RestoreError::Bundle(_))));
                assert!(!directory.exists(), "byte {place}");
            }
        }
        // A bundle that builds upon what somebody else holds is no backup.
        let mut token = ChangesToken::default();
        for (partition, state) in store.snapshot().state().partitions() {
            token.fetch(partition, state.vector.clone());
        }
        write(&store, "1").await;
        let out = File::create(&wrong).expect("it can be written");
        export(&store, header(), &token, out).expect("it is written");
        let refused = restored(&wrong, &directory).await;
        assert!(matches!(
            refused,
            Err(RestoreError::Bundle(BundleError::Partial))
        ));
        // What is there stays there, but for the rest of a restore that was cut short.
        fs::create_dir_all(directory.join(PARTIAL)).expect("it can be made");
        fs::write(directory.join("precious"), b"x").expect("it can be written");
        let refused = restored(&file, &directory).await;
        assert!(matches!(refused, Err(RestoreError::NotEmpty(_))));
        assert!(directory.join("precious").exists());
        fs::remove_file(directory.join("precious")).expect("it is there");
        restored(&file, &directory).await.expect("it is whole");
    }
}
