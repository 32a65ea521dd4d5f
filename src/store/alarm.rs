//! The alarm that whoever sees the storage fail raises, and that the writer answers by opening the files
//! again.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::WeakSender;

use super::writer::Job;

/// Raised at an error of the storage.
#[derive(Debug)]
pub(super) struct Alarm {
    raised: AtomicBool,
    queue: WeakSender<Job>,
}

impl Alarm {
    pub(super) const fn new(queue: WeakSender<Job>) -> Self {
        Self {
            raised: AtomicBool::new(false),
            queue,
        }
    }

    /// Rouses the writer, if it is not roused yet.
    pub(super) fn raise(&self) {
        if !self.raised.swap(true, Ordering::AcqRel)
            && let Some(queue) = self.queue.upgrade()
        {
            // A queue without room holds steps, which rouse the writer as well.
            let _full = queue.try_send(Job::Wake);
        }
    }

    pub(super) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    pub(super) fn lower(&self) {
        self.raised.store(false, Ordering::Release);
    }
}
