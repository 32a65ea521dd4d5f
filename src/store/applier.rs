//! The applier: a thread that writes the overlay to `data.redb`, one frozen generation at a time.
//!
//! It owns `data.redb` and hands it back when it ends. It never waits for the writer.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Instant,
};

use super::{
    State, StoreError,
    alarm::Alarm,
    data::Data,
    error::Fault,
    publication::{Publication, Work},
};

/// The running thread. Dropped, it applies what there is and ends by itself.
#[derive(Debug)]
pub(super) struct Applier {
    publication: Arc<Publication>,
    thread: Option<JoinHandle<Ended>>,
}

/// What the applier leaves behind.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) data: Data,
    /// Whether the file failed and must be opened again.
    pub(super) failed: bool,
}

impl Applier {
    /// Starts it over `data`, of which `state` is the state. `alarm` rouses the writer if the file fails.
    pub(super) fn start(
        publication: Arc<Publication>,
        data: Data,
        state: State,
        alarm: Arc<Alarm>,
    ) -> Result<Self, StoreError> {
        let shared = publication.clone();
        let thread = thread::Builder::new()
            .name("store-applier".to_owned())
            .spawn(move || {
                let _bystander = PanicWatch {
                    publication: &shared,
                    alarm: &alarm,
                };
                run(&shared, data, state, &alarm)
            })
            .map_err(StoreError::Thread)?;
        Ok(Self {
            publication,
            thread: Some(thread),
        })
    }

    /// Ends it, with everything applied or at once; `None` if it has panicked.
    pub(super) fn end(mut self, drain: bool) -> Option<Ended> {
        self.publication.end_applier(drain);
        self.thread.take()?.join().ok()
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.publication.end_applier(true);
        }
    }
}

/// Tells the writer if the applier panics, so that it does not wait for space for ever.
struct PanicWatch<'a> {
    publication: &'a Publication,
    alarm: &'a Alarm,
}

impl Drop for PanicWatch<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.publication
                .applier_failed(Fault::new("the thread that writes batches panicked"));
            self.alarm.raise();
        }
    }
}

fn run(publication: &Publication, data: Data, mut state: State, alarm: &Alarm) -> Ended {
    while let Work::Apply(frozen) = publication.next_work() {
        let started = Instant::now();
        let view = data
            .apply(&frozen.rows, &state, &frozen.state, &frozen.mark)
            .and_then(|()| data.view());
        match view {
            Ok(view) => {
                let histograms = &publication.counters.histograms;
                histograms
                    .batch_seconds
                    .observe(started.elapsed().as_secs_f64());
                state = frozen.state.clone();
                publication.applied(view);
                tracing::debug!(
                    rows = frozen.rows.len(),
                    group = frozen.mark.number,
                    elapsed_ms = started.elapsed().as_millis(),
                    "applied a batch"
                );
            }
            Err(error) => {
                tracing::error!(%error, "a batch could not be written to data.redb");
                publication.applier_failed(Fault::from(&error));
                alarm.raise();
                return Ended { data, failed: true };
            }
        }
    }
    Ended {
        data,
        failed: false,
    }
}
