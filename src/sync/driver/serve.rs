//! Reading pages for peers, on threads that may block, a few at a time.

use std::sync::Arc;

use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
};
use tokio_util::task::TaskTracker;

use super::{scrub, shared::Shared};
use crate::{
    model::{EntityId, PartitionId},
    store::{DeltaBudget, Snapshot, read_entities, read_listing, read_state},
    sync::{
        Message,
        engine::{MAX_ENTRIES_LISTED, Request},
        transport::{Frame, LinkSender},
    },
};

/// The bounds of one page.
const PAGE_BUDGET: DeltaBudget = DeltaBudget {
    entities: 1_000,
    bytes: 256 * 1024,
};

/// The bounds of one page of dots or of hashes, which take less room than cells.
const LIST_BUDGET: DeltaBudget = DeltaBudget {
    entities: MAX_ENTRIES_LISTED,
    bytes: 256 * 1024,
};

/// The most requests that wait; more are dropped, and asked again when the pull is given up.
const MAX_REQUESTS_WAITING: usize = 4_096;

/// The most pages being read.
const MAX_READERS: usize = 2;

/// A page to read, and where to send it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) sender: LinkSender,
}

/// Starts the task that has pages read.
pub(super) fn start(shared: &Arc<Shared>, tasks: &TaskTracker) -> mpsc::Sender<Asked> {
    let (requests, waiting) = mpsc::channel(MAX_REQUESTS_WAITING);
    tasks.spawn(serve(Arc::clone(shared), waiting, tasks.clone()));
    requests
}

async fn serve(shared: Arc<Shared>, mut waiting: mpsc::Receiver<Asked>, tasks: TaskTracker) {
    let readers = Arc::new(Semaphore::new(MAX_READERS));
    while let Some(request) = waiting.recv().await {
        let Ok(reader) = Arc::clone(&readers).acquire_owned().await else {
            return;
        };
        let shared = Arc::clone(&shared);
        tasks.spawn_blocking(move || {
            let damaged = answer(&shared, request);
            drop(reader);
            if let Some((partition, damaged)) = damaged {
                let recounted = scrub::recount(&shared, partition, damaged);
                if let Err(error) = Handle::current().block_on(recounted) {
                    warn(
                        &shared,
                        &format!("what is damaged was not recounted: {error}"),
                    );
                }
            }
        });
    }
}

/// Yields what was found to be damaged on the way.
fn answer(shared: &Shared, asked: Asked) -> Option<(PartitionId, Vec<EntityId>)> {
    let Asked { request, sender } = asked;
    let mut damaged = Vec::new();
    match read_page(shared, request, &mut damaged) {
        Ok(frame) => {
            shared.counters.pages_served.increment();
            sender.reply(frame);
        }
        Err(error) => {
            shared.counters.pages_dropped.increment();
            warn(
                shared,
                &format!("a page for a peer could not be made: {error}"),
            );
        }
    }
    let partition = damaged.first()?.partition();
    Some((partition, damaged))
}

fn warn(shared: &Shared, warning: &str) {
    if shared.warnings.is_due(warning) {
        tracing::warn!("{warning}");
    }
}

fn read_page(
    shared: &Shared,
    request: Request,
    damaged: &mut Vec<EntityId>,
) -> anyhow::Result<Frame> {
    let snapshot = shared.store.snapshot();
    let message = read(&snapshot, request, damaged)?;
    Ok(Frame::encode(&message)?)
}

fn read(
    snapshot: &Snapshot,
    request: Request,
    damaged: &mut Vec<EntityId>,
) -> anyhow::Result<Message> {
    let clock = snapshot.state().clock();
    Ok(match request {
        Request::Page(asked) => {
            let state = snapshot.state().partition(asked.partition);
            let (partition, cursor) = (asked.partition, asked.cursor);
            let page =
                snapshot.sound_delta(partition, &asked.base, cursor, PAGE_BUDGET, damaged)?;
            asked.answer(clock, state, page)
        }
        Request::State(asked) => {
            let state = snapshot.state().partition(asked.partition);
            let cursor = asked.cursor.as_ref();
            let (partition, vector) = (asked.partition, asked.vector());
            let page = read_state(snapshot, partition, state, vector, cursor, LIST_BUDGET)?;
            asked.answer(clock, state, page)
        }
        Request::List(asked) => {
            let cursor = asked.cursor.as_ref();
            Message::Listing {
                pull: asked.pull,
                page: asked.page,
                partition: asked.partition,
                listing: read_listing(snapshot, asked.partition, cursor, LIST_BUDGET)?,
            }
        }
        Request::Cells(asked) => {
            let (answered, entities) =
                read_entities(snapshot, asked.partition, &asked.ids, PAGE_BUDGET)?;
            Message::Cells {
                pull: asked.pull,
                page: asked.page,
                partition: asked.partition,
                clock,
                answered: u32::try_from(answered)?,
                entities,
            }
        }
    })
}
