//! When what is deleted may go, and who is in the way.

use std::collections::BTreeSet;

use super::*;

fn roster(members: &[ReplicaId]) -> Event {
    Event::Roster {
        members: Arc::new(members.iter().copied().collect::<BTreeSet<_>>()),
        expelled: Arc::default(),
        read: VersionVector::default(),
        alone: false,
    }
}

impl Bench {
    /// Time for a round; what is collected in it.
    fn round(&mut self) -> Vec<Command> {
        self.now_ms += EngineConfig::default().collect_period_ms;
        let mut commands = self.step(Event::Tick);
        commands.retain(|command| matches!(command, Command::Collect { .. }));
        commands
    }

    fn tells(&mut self, peer: ReplicaId, entries: &[(ReplicaId, u64)]) {
        self.tells_roster(peer, &[]);
        self.hear(peer, not_fresh(pull(0, entries, entries, None)));
    }

    fn tells_roster(&mut self, peer: ReplicaId, entries: &[(ReplicaId, u64)]) {
        let mut told = not_fresh(pull(0, entries, entries, None));
        if let Message::Pull { partition, .. } = &mut told {
            *partition = PartitionId::of_roster();
        }
        self.hear(peer, told);
    }

    fn blocked(&self) -> Vec<(ReplicaId, Blocked)> {
        let status = self.engine.collection(&self.held, self.now());
        let by = status.blocked_by.iter();
        by.map(|by| (by.replica, by.why)).collect()
    }
}

fn collect(entries: &[(ReplicaId, u64)]) -> Vec<Command> {
    vec![Command::Collect {
        partition: partition(),
        stable: vector(entries),
    }]
}

/// A node that holds five writes of its own, some of them removals, and has met both others.
fn met() -> Bench {
    let mut bench = Bench::with_peers(&[ANN, BOB]);
    bench.step(roster(&[US, ANN, BOB]));
    let root = bench.held.0.root();
    bench.hear(ANN, Message::InStep { root });
    bench.hold(&[(US, 5)]);
    bench.collect(&[]);
    bench
}

#[test]
fn nothing_goes_before_every_member_has_told_what_it_holds() {
    let mut bench = met();
    bench.tells(ANN, &[(US, 5)]);
    assert_eq!(bench.round(), []);
    assert_eq!(bench.blocked(), [(BOB, Blocked::Silent)]);
    bench.tells(BOB, &[(US, 3)]);
    assert_eq!(bench.round(), collect(&[(US, 3)]));
    assert_eq!(bench.step(Event::Collected(partition(), true)), []);
    assert_eq!(bench.blocked(), []);
}

#[test]
fn a_member_that_is_down_keeps_its_word_and_one_that_comes_back_gives_it_anew() {
    let mut bench = met();
    bench.tells(ANN, &[(US, 5)]);
    bench.tells(BOB, &[(US, 4)]);
    bench.step(Event::PeerDown(BOB));
    assert_eq!(bench.round(), collect(&[(US, 4)]));
    bench.step(Event::Collected(partition(), true));
    bench.step(Event::PeerUp(info(BOB)));
    bench.hold(&[(US, 6)]);
    bench.tells(ANN, &[(US, 6)]);
    assert_eq!(bench.round(), []);
    assert_eq!(bench.blocked(), [(BOB, Blocked::Silent)]);
}

#[test]
fn a_member_that_holds_what_we_lack_is_in_the_way_although_all_have_the_removal() {
    let mut bench = met();
    bench.tells(ANN, &[(US, 5), (BOB, 1)]);
    bench.tells(BOB, &[(US, 5)]);
    assert_eq!(bench.round(), []);
    assert_eq!(bench.blocked(), [(ANN, Blocked::Ahead)]);
    bench.hold(&[(BOB, 1)]);
    bench.step(Event::PeerDown(ANN));
    assert_eq!(bench.round(), collect(&[(US, 5)]));
}

#[test]
fn a_member_with_cells_that_it_does_not_cover_is_in_the_way() {
    let mut bench = met();
    let mut open = not_fresh(pull(0, &[(US, 5)], &[], None));
    if let Message::Pull { unclaimed, .. } = &mut open {
        *unclaimed = true;
    }
    bench.tells_roster(ANN, &[]);
    bench.hear(ANN, open);
    bench.tells(BOB, &[(US, 5)]);
    assert_eq!(bench.round(), []);
    assert_eq!(bench.blocked(), [(ANN, Blocked::Open)]);
}

#[test]
fn a_newer_word_takes_the_place_of_the_older_and_does_not_join_it() {
    let mut bench = met();
    bench.tells(ANN, &[(US, 5)]);
    bench.tells(BOB, &[(US, 5)]);
    bench.tells(BOB, &[(US, 2)]);
    assert_eq!(bench.round(), collect(&[(US, 2)]));
}

#[test]
fn nothing_goes_before_this_node_has_met_anybody_unless_there_is_nobody() {
    let mut bench = Bench::new(EngineConfig::default());
    bench.hold(&[(US, 5)]);
    bench.collect(&[]);
    assert_eq!(bench.round(), [], "the roster is not known yet");
    bench.step(roster(&[US]));
    assert_eq!(bench.round(), []);
    bench.step(Event::Roster {
        members: Arc::new(BTreeSet::from([US])),
        expelled: Arc::default(),
        read: VersionVector::default(),
        alone: true,
    });
    assert_eq!(bench.round(), collect(&[(US, 5)]));
}

#[test]
fn what_did_not_change_is_not_looked_through_again() {
    let mut bench = met();
    bench.tells(ANN, &[(US, 5)]);
    bench.tells(BOB, &[(US, 5)]);
    assert_eq!(bench.round(), collect(&[(US, 5)]));
    assert_eq!(bench.round(), [], "one at a time");
    bench.step(Event::Collected(partition(), true));
    assert_eq!(bench.round(), []);
    let mut changed = PartitionState::clone(bench.held.0.partition(partition()));
    changed.steps += 1;
    bench.held.0.set(partition(), changed);
    assert_eq!(bench.round(), collect(&[(US, 5)]));
}

#[test]
fn nothing_goes_while_its_partition_is_being_pulled() {
    let mut bench = met();
    bench.tells(ANN, &[(US, 5)]);
    bench.tells(BOB, &[(US, 5)]);
    bench.tells(ANN, &[(US, 5), (ANN, 1)]);
    bench.hold(&[(ANN, 1)]);
    assert_eq!(bench.round(), []);
}

#[test]
fn a_member_that_knows_of_members_that_we_do_not_is_in_the_way() {
    let mut bench = met();
    bench.tells(ANN, &[(US, 5)]);
    bench.tells(BOB, &[(US, 5)]);
    bench.tells_roster(BOB, &[(BOB, 1)]);
    assert_eq!(bench.round(), []);
    assert_eq!(bench.blocked(), [(BOB, Blocked::Ahead)]);
}

#[test]
fn what_the_store_refused_is_tried_again() {
    let mut bench = met();
    bench.tells(ANN, &[(US, 5)]);
    bench.tells(BOB, &[(US, 5)]);
    assert_eq!(bench.round(), collect(&[(US, 5)]));
    bench.step(Event::Collected(partition(), false));
    assert_eq!(bench.round(), collect(&[(US, 5)]));
}

#[test]
fn a_collection_does_not_overtake_what_a_transfer_that_was_given_up_has_left_on_its_way() {
    let mut bench = met();
    bench.hear(ANN, summaries(&[(US, 5), (BOB, 1)]));
    let told = [(US, 5), (BOB, 1)];
    let page = delta(0, written(BOB, 1), &told, 5, Some(cursor(BOB, 1)));
    let commands = bench.hear(ANN, page);
    let ticket = commands.iter().find_map(|command| match command {
        Command::Apply { ticket, .. } => Some(*ticket),
        _ => None,
    });
    bench.step(Event::PeerDown(ANN));
    bench.step(Event::PeerUp(info(ANN)));
    bench.hold(&[(US, 5), (BOB, 1)]);
    bench.tells(ANN, &[(US, 5), (BOB, 1)]);
    bench.tells(BOB, &[(US, 5), (BOB, 1)]);
    assert_eq!(bench.round(), []);
    let ticket = ticket.expect("the page is on its way");
    bench.step(Event::Applied(ticket, Outcome::Covered));
    assert_eq!(bench.round(), collect(&[(US, 5), (BOB, 1)]));
}
