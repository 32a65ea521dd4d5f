//! Which closed partitions differ from a peer's although both took in the same writes, and when to repair them.
//!
//! That never happens among nodes and disks without fault, but for the short while in which a member that was
//! put back to an earlier state, or came back after it was expelled, meets one that has not collected yet what
//! others have.

use std::collections::BTreeMap;

use grapevine_crdt::ReplicaId;

use super::{Command, Divergence, Now, core::Step};
use crate::model::PartitionId;

/// How long the first retry of a repair waits, in milliseconds; each next twice as long.
pub const MIN_REPAIR_RETRY_MS: u64 = 1_000;

/// How long a retry of a repair waits at most, in milliseconds.
pub const MAX_REPAIR_RETRY_MS: u64 = 600_000;

#[derive(Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "units stand last, and all of these are times"
)]
struct Alarm {
    since_ms: u64,
    /// When it is repaired next.
    due_ms: u64,
    delay_ms: u64,
}

/// The alarms; at most one for each partition of each peer that is up.
#[derive(Debug, Default)]
pub(super) struct Divergences(BTreeMap<(ReplicaId, PartitionId), Alarm>);

impl Divergences {
    /// They differ. Raises the alarm if it is new.
    pub(super) fn differ(&mut self, step: &mut Step<'_>, peer: ReplicaId, partition: PartitionId) {
        let now_ms = step.now.monotonic_ms;
        self.0.entry((peer, partition)).or_insert_with(|| {
            step.commands.push(Command::Diverged(peer, partition));
            Alarm {
                since_ms: now_ms,
                due_ms: now_ms,
                delay_ms: MIN_REPAIR_RETRY_MS,
            }
        });
    }

    /// The partition whose repair from `peer` has been due for longest, if any is. It is due again later. The alarm
    /// is raised again if it was tried before.
    pub(super) fn due(&mut self, step: &mut Step<'_>, peer: ReplicaId) -> Option<PartitionId> {
        let now_ms = step.now.monotonic_ms;
        let of_peer = self.0.iter_mut().filter(|((held, _), _)| *held == peer);
        let (at, alarm) = of_peer.min_by_key(|(_, alarm)| alarm.due_ms)?;
        if now_ms < alarm.due_ms {
            return None;
        }
        if alarm.delay_ms > MIN_REPAIR_RETRY_MS {
            step.commands.push(Command::Diverged(peer, at.1));
        }
        alarm.due_ms = now_ms.saturating_add(alarm.delay_ms);
        alarm.delay_ms = alarm.delay_ms.saturating_mul(2).min(MAX_REPAIR_RETRY_MS);
        Some(at.1)
    }

    /// They do not differ any more.
    pub(super) fn agree(&mut self, peer: ReplicaId, partition: PartitionId) {
        self.0.remove(&(peer, partition));
    }

    pub(super) fn forget_peer(&mut self, peer: ReplicaId) {
        self.0.retain(|(held, _), _| *held != peer);
    }

    pub(super) fn list(&self, now: Now) -> Vec<Divergence> {
        let told = |((peer, partition), alarm): (&(ReplicaId, PartitionId), &Alarm)| Divergence {
            peer: *peer,
            partition: *partition,
            lasted_ms: now.monotonic_ms.saturating_sub(alarm.since_ms),
        };
        self.0.iter().map(told).collect()
    }
}
