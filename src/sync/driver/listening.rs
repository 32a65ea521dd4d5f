//! Taking connections.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::sleep};
use tokio_util::task::TaskTracker;

use super::{session, shared::Shared, strangers::host};
use crate::sync::transport::{Listener, Role};

/// The most connections that were accepted and have not ended.
pub const MAX_LINKS: usize = 1_024;

/// How long nothing is accepted after accepting failed (the process has too many open files, say).
const PAUSED_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Accepts until the driver stops.
pub(super) async fn run(shared: Arc<Shared>, mut listener: impl Listener, tasks: TaskTracker) {
    let places = Arc::new(Semaphore::new(MAX_LINKS));
    loop {
        let accepted = tokio::select! {
            () = shared.stopping.cancelled() => return,
            accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            } => accepted,
        };
        match accepted {
            (Ok(place), Ok(connection)) => {
                let Some(waiting) = shared.doorstep.enter(host(&connection.remote)) else {
                    session::turn_away(
                        &shared,
                        host(&connection.remote),
                        "too many of its connections have not passed the handshake",
                    );
                    continue;
                };
                let shared = Arc::clone(&shared);
                tasks.spawn(async move {
                    session::run(&shared, connection, Role::Accepted, Some(waiting)).await;
                    drop(place);
                });
            }
            (_, Err(error)) => {
                tracing::debug!(%error, "a connection could not be accepted");
                sleep(PAUSED_AFTER_ERROR).await;
            }
            (Err(_closed), Ok(_)) => return,
        }
    }
}
