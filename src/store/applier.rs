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
    publication::{Publication, Work},
};

/// The running thread.
#[derive(Debug)]
pub(super) struct Applier {
    thread: JoinHandle<Ended>,
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
        let thread = thread::Builder::new()
            .name("store-applier".to_owned())
            .spawn(move || run(&publication, data, state, &alarm))
            .map_err(StoreError::Thread)?;
        Ok(Self { thread })
    }

    /// Waits until it has ended; `None` if it panicked. It must have been told to end.
    pub(super) fn join(self) -> Option<Ended> {
        self.thread.join().ok()
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
                publication.applier_failed();
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
