//! Where the two files come from: the file system, or in tests one that fails on demand.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    path::Path,
};

use redb::{Database, DatabaseError};

/// Opens the files of a store.
pub(super) trait Disk: Send + Sync + 'static {
    /// Opens the redb file at `path`, or makes it, with a cache of so many bytes.
    fn open(&self, path: &Path, cache_bytes: usize) -> Result<Database, DatabaseError>;

    /// Writes all that reads show of the file at `path` to the disk: after a failed sync kernels may show, and
    /// never write again, what the disk does not have. The file must be closed.
    fn renew(&self, path: &Path) -> Result<(), std::io::Error>;

    /// Whether the files in `directory`, of which `longest` is the longest, could grow again.
    fn check_space(&self, directory: &Path, longest: u64) -> Result<(), std::io::Error>;
}

/// So much must fit onto a disk that was full before it is written to again: with less, the next batch would
/// only fail again.
const ROOM_BYTES: usize = 4 * 1024 * 1024;

/// A file made and removed again to see whether there is room.
const PROBE: &str = "room.probe";

/// The file system.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileSystem;

impl Disk for FileSystem {
    fn open(&self, path: &Path, cache_bytes: usize) -> Result<Database, DatabaseError> {
        discard_unfinished(path)?;
        Database::builder().set_cache_size(cache_bytes).create(path)
    }

    fn renew(&self, path: &Path) -> Result<(), std::io::Error> {
        write_again(path)
    }

    fn check_space(&self, directory: &Path, longest: u64) -> Result<(), std::io::Error> {
        let path = directory.join(PROBE);
        let probed = probe(&path, longest);
        let removed = fs::remove_file(&path);
        probed.and(removed)
    }
}

/// Writes every block of a file over itself, with what is read there, and syncs it. That needs no room, which a
/// copy would: the disk may just have been full. Blocks of zeros are left alone: redb makes its files longer
/// than what it has written, and no page that counts is all zeros.
fn write_again(path: &Path) -> Result<(), std::io::Error> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut at = 0;
    loop {
        file.seek(SeekFrom::Start(at))?;
        let read = file.read(&mut block)?;
        if read == 0 {
            return file.sync_all();
        }
        if block[..read].iter().any(|byte| *byte != 0) {
            file.seek(SeekFrom::Start(at))?;
            file.write_all(&block[..read])?;
        }
        at += read as u64;
    }
}

/// How many bytes are written again at a time: no more than a page of redb's.
const BLOCK_BYTES: usize = 4 * 1024;

/// A limit of the length of files shows in making one longer, a full disk only in writing.
fn probe(path: &Path, longest: u64) -> Result<(), std::io::Error> {
    let mut file = File::create(path)?;
    file.write_all(&vec![0; ROOM_BYTES])?;
    file.sync_data()?;
    file.set_len(longest.saturating_add(ROOM_BYTES as u64))
}

/// Empties a file whose making a crash cut short: redb writes the magic number last, and does not open a
/// file without one, though nothing can be in it.
pub(super) fn discard_unfinished(path: &Path) -> Result<(), std::io::Error> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut head = [0; 16];
    if file.metadata()?.len() < head.len() as u64 {
        return Ok(());
    }
    file.read_exact(&mut head)?;
    if head[..MAGIC_BYTES] == [0; MAGIC_BYTES] && file.try_lock().is_ok() {
        file.set_len(0)?;
        file.unlock()?;
    }
    Ok(())
}

/// How many bytes redb's magic number has.
const MAGIC_BYTES: usize = 9;

/// Makes the entries of the directory durable, so that a new file is not lost with the power.
pub(super) fn sync_directory(path: &Path) -> Result<(), std::io::Error> {
    if cfg!(unix) {
        File::open(path)?.sync_all()?;
    }
    Ok(())
}
