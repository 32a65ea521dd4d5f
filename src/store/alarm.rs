//! The alarm that whoever sees the storage fail raises, and that the writer answers by opening the files
//! again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

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

    /// Raises it after `delay`, so that a storage that failed is tried again though nobody uses it.
    pub(super) fn raise_after(self: &Arc<Self>, delay: Duration) {
        let alarm = self.clone();
        let timer = thread::Builder::new().name("store-retry".to_owned());
        let started = timer.spawn(move || {
            thread::sleep(delay);
            alarm.raise();
        });
        if let Err(error) = started {
            // The next write tries as well.
            tracing::debug!(%error, "no thread to try the storage again");
        }
    }

    pub(super) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    pub(super) fn lower(&self) {
        self.raised.store(false, Ordering::Release);
    }
}
