//! `grapevine mend-clock`: a closed store that was written to under a wrong clock, with sane times.

use std::process::ExitCode;

use clap::Args;
use grapevine_crdt::Timestamp;

use super::closed::{ClosedStore, cannot_open};
use crate::{
    clock::{SystemClock, WallClock},
    store,
};

/// 2020-01-01T00:00:00Z.
const EARLIEST_UNIX_MS: u64 = 1_577_836_800_000;
/// How far a peer may be ahead of us: 10 minutes.
const LATEST_AHEAD_MS: u64 = 10 * 60 * 1_000;

/// Writes every edit anew whose time cannot be, and puts the clock back, so that peers take the node again.
///
/// For a node that was alone with a wrong clock: its edits get new names and times from now on, in the order they
/// were made. Make a copy of the directory first, and set the machine's clock right.
///
/// It cannot mend what other nodes have already taken in: from there such an edit comes back with its old time.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  grapevine mend-clock --data /var/lib/grapevine\n\nExit codes: 0 done, 1 it failed, 2 the store cannot be opened."
)]
pub(super) struct MendClock {
    #[command(flatten)]
    store: ClosedStore,
    /// The earliest time that can be (milliseconds since 1970-01-01T00:00:00Z).
    #[arg(long, value_name = "MS", default_value_t = EARLIEST_UNIX_MS)]
    earliest_unix_ms: u64,
    /// The latest time that can be (milliseconds since 1970-01-01T00:00:00Z); 10 minutes from now if not given.
    #[arg(long, value_name = "MS")]
    latest_unix_ms: Option<u64>,
}

impl MendClock {
    /// Mends it and says what was done.
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let now = SystemClock.unix_ms();
        let latest = self.latest_unix_ms.unwrap_or(now + LATEST_AHEAD_MS);
        let (earliest, latest) = (
            Timestamp::from_unix_ms(self.earliest_unix_ms),
            Timestamp::from_unix_ms(latest),
        );
        let now_is_sane = (earliest..=latest).contains(&Timestamp::from_unix_ms(now));
        anyhow::ensure!(
            now_is_sane,
            "the clock of this machine is outside the bounds: set it right first"
        );
        match store::mend_clock(&self.store.data, earliest, latest, now) {
            Ok(mended) => {
                println!(
                    "{} entities written anew; the clock stood at {} ms and stands at {} ms",
                    mended.entities,
                    mended.clock_before.unix_ms(),
                    mended.clock_after.unix_ms()
                );
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => cannot_open(error),
        }
    }
}
