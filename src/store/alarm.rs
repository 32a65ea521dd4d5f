//! The alarm that whoever sees the storage fail raises, and that the writer answers by opening the files
//! again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::mpsc::WeakSender;

use super::writer::Job;

/// What was open has failed.
const FAILED: u8 = 1;
/// What is closed may be tried again.
const RETRY: u8 = 2;

/// Raised at an error of the storage.
#[derive(Debug)]
pub(super) struct Alarm {
    raised: AtomicU8,
    /// How many files readers were given so far.
    files: AtomicU64,
    queue: WeakSender<Job>,
}

/// Which of the files that were opened one after the other a reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileNumber(u64);

impl Alarm {
    pub(super) const fn new(queue: WeakSender<Job>) -> Self {
        Self {
            raised: AtomicU8::new(0),
            files: AtomicU64::new(0),
            queue,
        }
    }

    /// A number for a file that readers read from now on.
    pub(super) fn next_file(&self) -> FileNumber {
        FileNumber(self.files.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// Rouses the writer: what is open has failed.
    pub(super) fn raise(&self) {
        self.rouse(FAILED | RETRY);
    }

    /// Rouses the writer because `file` cannot be read. One that another has taken the place of says nothing of that.
    pub(super) fn raise_of(&self, file: FileNumber) {
        if file.0 == self.files.load(Ordering::Acquire) {
            self.raise();
        } else {
            self.rouse(RETRY);
        }
    }

    /// Rouses the writer after `delay`, so that a storage that failed is tried again though nobody uses it.
    pub(super) fn retry_after(self: &Arc<Self>, delay: Duration) {
        let alarm = self.clone();
        let timer = thread::Builder::new().name("store-retry".to_owned());
        let started = timer.spawn(move || {
            thread::sleep(delay);
            alarm.rouse(RETRY);
        });
        if let Err(error) = started {
            // The next write tries as well.
            tracing::debug!(%error, "no thread to try the storage again");
        }
    }

    fn rouse(&self, why: u8) {
        if self.raised.fetch_or(why, Ordering::AcqRel) == 0
            && let Some(queue) = self.queue.upgrade()
        {
            // A queue without room holds steps, which rouse the writer as well.
            let _full = queue.try_send(Job::Wake);
        }
    }

    pub(super) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire) != 0
    }

    /// Lowers it, and says whether what is open has failed.
    pub(super) fn lower(&self) -> bool {
        self.raised.swap(0, Ordering::AcqRel) & FAILED != 0
    }
}
