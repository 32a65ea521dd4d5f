//! Reading pages for peers, on threads that may block, a few at a time.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use super::shared::Shared;
use crate::{
    store::DeltaBudget,
    sync::{
        Message,
        engine::PullRequest,
        transport::{Frame, LinkSender},
    },
};

/// The bounds of one page.
const PAGE_BUDGET: DeltaBudget = DeltaBudget {
    entities: 1_000,
    bytes: 256 * 1024,
};

/// The most requests that wait; more are dropped, and asked again when the pull is given up.
const MAX_REQUESTS_WAITING: usize = 4_096;

/// The most pages being read.
const MAX_READERS: usize = 2;

/// A page to read, and where to send it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) request: PullRequest,
    pub(super) sender: LinkSender,
}

/// Starts the task that has pages read.
pub(super) fn start(shared: &Arc<Shared>, tasks: &TaskTracker) -> mpsc::Sender<Request> {
    let (requests, waiting) = mpsc::channel(MAX_REQUESTS_WAITING);
    tasks.spawn(serve(Arc::clone(shared), waiting, tasks.clone()));
    requests
}

async fn serve(shared: Arc<Shared>, mut waiting: mpsc::Receiver<Request>, tasks: TaskTracker) {
    let readers = Arc::new(Semaphore::new(MAX_READERS));
    while let Some(request) = waiting.recv().await {
        let Ok(reader) = Arc::clone(&readers).acquire_owned().await else {
            return;
        };
        let shared = Arc::clone(&shared);
        tasks.spawn_blocking(move || {
            answer(&shared, request);
            drop(reader);
        });
    }
}

fn answer(shared: &Shared, request: Request) {
    let Request { request, sender } = request;
    match read_page(shared, request) {
        Ok(frame) => {
            shared.counters.pages_served.increment();
            sender.reply(frame);
        }
        Err(error) => {
            shared.counters.pages_dropped.increment();
            let warning = format!("a page for a peer could not be made: {error}");
            if shared.warnings.is_due(&warning) {
                tracing::warn!("{warning}");
            }
        }
    }
}

fn read_page(shared: &Shared, request: PullRequest) -> anyhow::Result<Frame> {
    let snapshot = shared.store.snapshot();
    let PullRequest {
        pull,
        page,
        partition,
        base,
        cursor,
    } = request;
    let delta = snapshot.delta(partition, &base, cursor, PAGE_BUDGET)?;
    Ok(Frame::encode(&Message::Delta {
        pull,
        page,
        partition,
        clock: snapshot.state().clock(),
        delta,
    })?)
}
