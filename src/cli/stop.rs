//! The wish of the user that the process ends: Ctrl-C, or SIGTERM from a supervisor.

use std::{future::Future, io};

/// The signals that ask for an end. They are caught from the moment this exists.
#[derive(Debug)]
pub(super) struct Stop {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    /// Begins to catch the signals.
    #[cfg(unix)]
    pub(super) fn catch() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Begins to catch the signals.
    #[cfg(not(unix))]
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits until the user asks for the end.
    pub(super) async fn requested(&mut self) -> io::Result<()> {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => Ok(()),
            _ = self.interrupt.recv() => Ok(()),
        }
        #[cfg(not(unix))]
        tokio::signal::ctrl_c().await
    }

    /// Runs `closing` to its end, unless the user asks a second time.
    pub(super) async fn close(mut self, closing: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::select! {
            () = closing => Ok(()),
            asked = self.requested() => {
                asked?;
                anyhow::bail!(
                    "asked a second time to stop, so it did before everything was closed; nothing acknowledged is lost"
                )
            }
        }
    }
}
