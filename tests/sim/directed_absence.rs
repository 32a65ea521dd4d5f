//! Directed schedules of members that were away for longer than deletions are remembered.

use grapevine::{
    model::{Collection, EntityId},
    sync::Message,
};

use crate::{
    client::Change,
    directed::{neighbours, world},
    world::{Happening, World},
};

/// What the nodes of [`away_for_long`] wrote about.
struct Written {
    /// Deleted while node 2 was away, and edited by it.
    edited: EntityId,
    /// Deleted while it was away.
    deleted: Vec<EntityId>,
    /// Left alone.
    left: EntityId,
}

/// Node 2 was away and edited something; nodes 0 and 1 took it off the roster, deleted and collected.
fn away_for_long() -> (World, Written) {
    let mut world = world(3, None);
    world.gather();
    let mut contacts = neighbours(Collection::Contacts, 4);
    let mut all = contacts.clone();
    all.extend(neighbours(Collection::Kv, 1));
    for id in &all {
        let change = if id.collection() == Collection::Kv {
            Change::Put(1)
        } else {
            Change::Set("name", 1)
        };
        world.write_durably(0, id, change);
    }
    world.agree();
    world.cut_off(&[2]);
    world.write_durably(2, &all[0], Change::Set("note", 7));
    let left = contacts.remove(3);
    all.retain(|id| *id != left);
    for id in &all {
        let change = if id.collection() == Collection::Kv {
            Change::Delete
        } else {
            Change::Remove
        };
        world.write_durably(1, id, change);
    }
    world.expel_for_long(0, &[2]);
    for number in [0, 1] {
        world.collect_at(number);
        for id in &all {
            assert!(!world.holds(number, id), "{id} is collected");
        }
    }
    let written = Written {
        edited: all.remove(0),
        deleted: all,
        left,
    };
    (world, written)
}

fn assert_kept_and_not_back(world: &World, written: &Written) {
    assert!(world.all_show(&written.edited, &[("note", 7)]));
    assert!(world.all_show(&written.left, &[("name", 1)]));
    for id in &written.deleted {
        assert!(world.all_show(id, &[]), "{id} came back");
    }
    assert_eq!(world.repairs, 0, "no repair was needed");
}

#[test]
fn who_was_away_for_long_brings_back_what_was_deleted_or_loses_its_edit() {
    let (mut world, written) = away_for_long();
    world.reunite();
    world.read_rosters();
    world.converge();
    assert_kept_and_not_back(&world, &written);
}

#[test]
fn a_rejoin_cut_in_the_middle_claims_what_it_has_not_seen() {
    let (mut world, written) = away_for_long();
    let partition = written.edited.partition();
    world.network.join();
    world.write_durably(0, &written.left, Change::Set("note", 2));
    world.connect(0, 2);
    let is_second = |what: &Happening| {
        matches!(what, Happening::Arrives(packet)
            if matches!(&packet.message, Message::State { page: 1.., partition: of, .. } if *of == partition))
    };
    // Something that only the state tells, and more than a page of it.
    let mut new = neighbours(Collection::Contacts, 6);
    for id in new.drain(4..) {
        world.write_durably(1, &id, Change::Set("name", 3));
    }
    world.settle_but(
        |what| matches!(what, Happening::Arrives(packet) if packet.to == 2 || packet.from == 2),
    );
    world.settle_but(is_second);
    let under_way = world.take_packets(|packet| {
        matches!(&packet.message, Message::State { page: 1.., partition: of, .. } if *of == partition)
    });
    assert_eq!(under_way.len(), 1, "the rejoin is between two pages");
    world.crash(2);
    world.restart(2);
    assert!(!world.has_floor(2, partition), "nothing is claimed");
    assert_eq!(
        world.shows(2, &written.deleted[0]),
        [("name".to_owned(), 1)]
    );
    world.reunite();
    world.read_rosters();
    world.converge();
    assert!(world.all_show(&written.edited, &[("note", 7)]));
    assert!(world.all_show(&written.left, &[("name", 1), ("note", 2)]));
    for id in &written.deleted {
        assert!(world.all_show(id, &[]), "{id} came back");
    }
}

#[test]
fn two_halves_that_expelled_each_other_lose_edits_or_bring_back_what_was_deleted() {
    let mut world = world(4, None);
    world.gather();
    let ids = neighbours(Collection::Contacts, 5);
    for id in &ids {
        world.write_durably(0, id, Change::Set("name", 1));
    }
    world.agree();
    world.cut_off(&[2, 3]);
    // Each half deletes one that the other edits, and one that the other leaves alone.
    for (here, there, [by_us, ours, _]) in [(0, [2, 3], [0, 1, 2]), (2, [0, 1], [2, 3, 0])] {
        world.write_durably(here, &ids[by_us], Change::Remove);
        world.write_durably(here, &ids[ours], Change::Remove);
        world.expel_for_long(here, &there);
    }
    world.write_durably(1, &ids[2], Change::Set("note", 5));
    world.write_durably(3, &ids[0], Change::Set("note", 6));
    for number in 0..4 {
        world.collect_at(number);
    }
    for (number, gone) in [(0, [0, 1]), (1, [0, 1]), (2, [2, 3]), (3, [2, 3])] {
        for id in gone {
            assert!(!world.holds(number, &ids[id]), "{id} is collected");
        }
    }
    world.reunite();
    world.read_rosters();
    world.converge();
    assert!(world.all_show(&ids[0], &[("note", 6)]));
    assert!(world.all_show(&ids[1], &[]));
    assert!(world.all_show(&ids[2], &[("note", 5)]));
    assert!(world.all_show(&ids[3], &[]));
    assert!(world.all_show(&ids[4], &[("name", 1)]));
    assert_eq!(world.repairs, 0, "no repair was needed");
}
