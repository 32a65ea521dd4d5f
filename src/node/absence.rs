//! How long members have been silent, by the time that this node itself has been running.
//!
//! The wall clock is never asked: a cluster that was switched off for two months has been silent for no time at
//! all when it starts, and a clock that jumps expels nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use grapevine_crdt::ReplicaId;

/// When each member was heard of last; who was never heard of, at the start of this node or when it was first
/// seen in the roster.
#[derive(Debug, Default)]
pub(super) struct Absence {
    heard: BTreeMap<ReplicaId, Duration>,
}

impl Absence {
    /// Notes who is alive at `uptime`; forgets who left the roster.
    pub(super) fn note<'a>(
        &mut self,
        roster: impl Iterator<Item = &'a ReplicaId>,
        alive: &BTreeSet<ReplicaId>,
        uptime: Duration,
    ) {
        let heard = std::mem::take(&mut self.heard);
        for member in roster {
            let before = heard.get(member).copied().unwrap_or(uptime);
            let at = if alive.contains(member) {
                uptime
            } else {
                before
            };
            self.heard.insert(*member, at);
        }
    }

    /// Who has been silent for `limit` or longer.
    pub(super) fn longer_than(&self, limit: Duration, uptime: Duration) -> Vec<ReplicaId> {
        let silent = self
            .heard
            .iter()
            .filter(|(_, heard)| uptime.saturating_sub(**heard) >= limit);
        silent.map(|(member, _)| *member).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: ReplicaId = ReplicaId::from_bytes([1; 16]);
    const BOB: ReplicaId = ReplicaId::from_bytes([2; 16]);
    const LIMIT: Duration = Duration::from_secs(30 * 24 * 3_600);
    const DAY: Duration = Duration::from_secs(24 * 3_600);

    #[test]
    fn a_cluster_that_was_switched_off_expels_nobody_at_its_start() {
        let mut absence = Absence::default();
        absence.note([ANN, BOB].iter(), &BTreeSet::new(), Duration::ZERO);
        assert_eq!(absence.longer_than(LIMIT, Duration::ZERO), []);
        assert_eq!(absence.longer_than(LIMIT, DAY * 29), []);
    }

    #[test]
    fn who_is_silent_for_too_long_while_this_node_runs_is_expelled() {
        let mut absence = Absence::default();
        let alive = BTreeSet::from([BOB]);
        for days in 0..30 {
            assert_eq!(absence.longer_than(LIMIT, DAY * days), []);
            absence.note([ANN, BOB].iter(), &alive, DAY * days);
        }
        assert_eq!(absence.longer_than(LIMIT, DAY * 30), [ANN]);
    }

    #[test]
    fn a_member_that_comes_late_is_silent_from_then_on() {
        let mut absence = Absence::default();
        absence.note([ANN].iter(), &BTreeSet::new(), Duration::ZERO);
        absence.note([ANN, BOB].iter(), &BTreeSet::new(), DAY * 20);
        assert_eq!(absence.longer_than(LIMIT, DAY * 30), [ANN]);
        absence.note([BOB].iter(), &BTreeSet::new(), DAY * 31);
        assert_eq!(absence.longer_than(LIMIT, DAY * 50), [BOB]);
    }
}
