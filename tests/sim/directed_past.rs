//! Directed schedules of stores that are older than what their node has told: old copies, copies of others, machines
//! put back to a snapshot.

use grapevine::model::{Collection, EntityId};

use crate::{
    client::Change,
    directed::{neighbours, world},
    fault::Fault,
    invariants::Invariant,
    world::World,
};

#[test]
fn a_restored_backup_loses_counts_twice_or_brings_back_what_was_deleted() {
    let mut world = world(3, None);
    world.gather();
    let counter = neighbours(Collection::Counters, 1).remove(0);
    let contact = neighbours(Collection::Contacts, 1).remove(0);
    world.write_durably(2, &counter, Change::Increment(3));
    world.write_durably(2, &contact, Change::Set("name", 1));
    world.agree();
    let copy = world.nodes[2].disk.clone();
    world.nodes[2].copy = Some((copy, world.nodes[2].life));
    world.write_durably(2, &counter, Change::Increment(4));
    world.write_durably(0, &contact, Change::Remove);
    for number in 0..3 {
        world.collect_at(number);
        assert!(!world.holds(number, &contact), "it is collected");
    }
    let life = world.nodes[2].life;
    world.restore(2);
    world.settle();
    assert_ne!(world.nodes[2].life, life);
    world.disconnect(0, life);
    world.disconnect(1, life);
    assert_eq!(world.value(2, &counter), 3);
    assert_eq!(world.shows(2, &contact).len(), 1, "it is what it was");
    // Before it has heard of what it did.
    world.write_durably(2, &counter, Change::Increment(8));
    world.reunite();
    world.read_rosters();
    world.converge();
    for number in 0..3 {
        assert_eq!(world.value(number, &counter), 15);
    }
    assert!(world.all_show(&contact, &[]));
}

#[test]
fn of_two_nodes_on_copies_of_one_directory_one_counts_over_the_other() {
    let mut world = world(3, None);
    world.gather();
    let counter = neighbours(Collection::Counters, 1).remove(0);
    for (number, by) in [(0, 1), (1, 2), (2, 4)] {
        world.write_durably(number, &counter, Change::Increment(by));
    }
    world.agree();
    world.clone_directory(0, 1);
    let life = world.nodes[1].life;
    world.settle();
    assert_ne!(world.nodes[1].life, world.nodes[0].life);
    world.disconnect(0, life);
    world.disconnect(2, life);
    // Both write, alone first.
    world.cut_off(&[1]);
    for (number, by) in [(0, 8), (1, 16), (0, 32), (1, 64)] {
        world.write_durably(number, &counter, Change::Increment(by));
    }
    world.reunite();
    for _ in 0..3 {
        world.read_rosters();
        world.agree();
    }
    world.write_durably(1, &counter, Change::Increment(128));
    world.converge();
    for number in 0..3 {
        assert_eq!(world.value(number, &counter), 255);
        let members = world.members(number);
        for node in &world.nodes {
            let is_there = members.iter().any(|(life, _)| *life == node.life);
            assert!(is_there, "both stay members");
        }
    }
}

#[test]
fn a_machine_put_back_to_a_snapshot_counts_over_what_it_counted() {
    let mut world = world(3, None);
    world.gather();
    let counter = neighbours(Collection::Counters, 1).remove(0);
    world.write_durably(2, &counter, Change::Increment(3));
    world.agree();
    let snapshot = world.snapshot(2);
    world.write_durably(2, &counter, Change::Increment(4));
    world.agree();
    let life = world.nodes[2].life;
    world.roll_back(2, snapshot);
    assert_eq!((world.value(2, &counter), world.nodes[2].life), (3, life));
    world.reunite();
    assert_ne!(world.nodes[2].life, life, "somebody else lives the old one");
    world.write_durably(2, &counter, Change::Increment(8));
    world.read_rosters();
    world.converge();
    for number in 0..3 {
        assert_eq!(world.value(number, &counter), 15);
    }
}

/// Node 2 counted and wrote after the snapshot, is put back to it a minute later, and writes before it hears of anybody.
fn writes_at_once(fault: Option<Fault>) -> (World, [EntityId; 3]) {
    let mut world = world(3, fault);
    world.gather();
    let counter = neighbours(Collection::Counters, 1).remove(0);
    let mut contacts = neighbours(Collection::Contacts, 2);
    let (before, after) = (contacts.remove(0), contacts.remove(0));
    world.write_durably(2, &counter, Change::Increment(3));
    world.agree();
    let snapshot = world.snapshot(2);
    world.write_durably(2, &counter, Change::Increment(4));
    world.write_durably(2, &before, Change::Set("name", 1));
    world.agree();
    world.now_ms += 60_000;
    world.roll_back(2, snapshot);
    world.write_durably(2, &counter, Change::Increment(8));
    world.write_durably(2, &after, Change::Set("name", 2));
    (world, [counter, before, after])
}

#[test]
fn a_machine_put_back_to_a_snapshot_gives_names_twice_before_it_hears_of_anybody() {
    let (mut world, [counter, before, after]) = writes_at_once(None);
    world.reunite();
    world.read_rosters();
    world.converge();
    for number in 0..3 {
        assert_eq!(world.value(number, &counter), 15);
    }
    assert!(world.all_show(&before, &[("name", 1)]));
    assert!(world.all_show(&after, &[("name", 2)]));
    assert_eq!(world.repairs, 0, "no repair was needed");
}

#[test]
fn without_a_new_life_after_a_leap_names_are_given_twice() {
    let (world, _) = writes_at_once(Some(Fault::IgnoresLeaps));
    let life = world.nodes[2].life;
    let twice = world
        .violations
        .iter()
        .any(|(of, _)| *of == Invariant::Dots);
    assert!(twice, "no name of {life} was given twice");
}
