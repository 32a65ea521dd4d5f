//! Directed schedules of members that were away for longer than deletions are remembered.

use grapevine::{
    model::{Collection, EntityId},
    sync::Message,
};

use crate::{
    client::Change,
    directed::{neighbours, world},
    fault::Fault,
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

/// What the nodes of [`away_from_one`] wrote about.
struct Apart {
    /// Removed while node 2 was away, and edited by it.
    contact: EntityId,
    /// Deleted while node 2 was away, and put by it before that.
    key: EntityId,
    /// Of one field a node deleted the value while node 2 wrote another before that.
    field: EntityId,
    /// Removed, and left alone by node 2.
    gone: EntityId,
}

/// Node 2 was away; of the others node 0 has collected what was deleted, and node 1 has not. Node 2 then meets `first`
/// alone, and everybody after that.
fn away_from_one(fault: Option<Fault>, first: usize, restarts: bool) -> (World, Apart) {
    let mut world = world(3, fault);
    world.gather();
    let mut contacts = neighbours(Collection::Contacts, 3);
    let key = neighbours(Collection::Kv, 1).remove(0);
    for id in &contacts {
        world.write_durably(0, id, Change::Set("name", 1));
    }
    world.write_durably(0, &contacts[1], Change::Set("note", 1));
    world.write_durably(0, &key, Change::Put(1));
    world.agree();
    world.cut_off(&[2]);
    world.write_durably(2, &contacts[0], Change::Set("note", 7));
    world.write_durably(2, &contacts[1], Change::Set("note", 7));
    world.write_durably(2, &key, Change::Put(7));
    world.now_ms += 1_000;
    world.write_durably(1, &contacts[0], Change::Remove);
    world.write_durably(1, &contacts[1], Change::Unset("note"));
    world.write_durably(1, &contacts[2], Change::Remove);
    world.write_durably(1, &key, Change::Delete);
    world.expel_for_long(0, &[2]);
    world.collect_at(0);
    let apart = Apart {
        gone: contacts.remove(2),
        field: contacts.remove(1),
        contact: contacts.remove(0),
        key,
    };
    for id in [&apart.contact, &apart.key, &apart.gone] {
        assert_eq!((world.holds(0, id), world.holds(1, id)), (false, true));
    }
    if restarts {
        let life = world.nodes[2].life;
        world.crash(2);
        for other in 0..2 {
            world.disconnect(other, life);
        }
        world.restart(2);
    }
    world.disconnect_both(0, 1);
    world.network.join();
    for _ in 0..4 {
        world.connect(first, 2);
        world.agree();
        world.read_rosters();
        world.tick(2_000);
    }
    world.reunite();
    (world, apart)
}

fn assert_alone_and_not_back(world: &mut World, apart: &Apart) {
    let repairs = world.repairs;
    world.converge();
    assert_eq!((repairs, world.repairs), (0, 0), "no repair was needed");
    assert!(world.all_show(&apart.contact, &[("note", 7)]));
    assert!(world.all_show(&apart.key, &[("value", 7)]));
    assert!(world.all_show(&apart.field, &[("name", 1), ("note", 7)]));
    assert!(world.all_show(&apart.gone, &[]));
    for number in 0..3 {
        assert!(
            world.nodes[number].returned.is_empty(),
            "it is a member again"
        );
        assert!(!world.is_expelled(number, world.nodes[2].life));
    }
}

#[test]
fn who_was_expelled_meets_one_that_has_not_collected_and_brings_back_what_was_deleted() {
    for restarts in [false, true] {
        let (mut world, apart) = away_from_one(None, 1, restarts);
        assert_alone_and_not_back(&mut world, &apart);
    }
}

#[test]
fn who_was_expelled_ends_otherwise_if_it_meets_one_that_has_collected() {
    for restarts in [false, true] {
        let (mut world, apart) = away_from_one(None, 0, restarts);
        assert_alone_and_not_back(&mut world, &apart);
    }
}

#[test]
fn without_rejoining_whoever_was_expelled_nodes_differ_under_equal_vectors() {
    let (world, _) = away_from_one(Some(Fault::ReturnsAsAnybody), 1, false);
    assert!(world.repairs > 0, "no harm");
}

#[test]
fn who_crashes_on_its_way_back_forgets_that_it_was_expelled() {
    let (mut world, written) = away_for_long();
    world.network.join();
    world.disconnect_both(0, 1);
    world.connect(1, 2);
    world.agree();
    let page = |what: &Happening| matches!(what, Happening::Arrives(packet) if matches!(packet.message, Message::State { .. }));
    for _ in 0..4 {
        world.keep_roster(2);
        world.sync(2);
        world.agree_but(page);
    }
    let under_way = world.take_packets(|packet| matches!(packet.message, Message::State { .. }));
    assert!(!under_way.is_empty(), "it is on its way back");
    let life = world.nodes[2].life;
    world.crash(2);
    for other in 0..2 {
        world.disconnect(other, life);
    }
    world.restart(2);
    world.reunite();
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

/// Node 2 was expelled by node 1 and takes a contact in from node 0, with an edit of its own. Before it has taken part anew
/// in all, node 0, which lacks that edit, removes the contact, and node 1 hears of it. Node 1 then goes on without both.
#[test]
fn who_collects_without_one_that_is_on_its_way_back_ends_otherwise_than_that() {
    for fellow in [0, 2] {
        let mut world = world(3, None);
        world.gather();
        let id = neighbours(Collection::Contacts, 1).remove(0);
        world.write_durably(0, &id, Change::Set("name", 1));
        world.agree();
        world.cut_off(&[2]);
        world.write_durably(2, &id, Change::Set("note", 7));
        world.expel_for_long(1, &[2]);
        world.agree();
        world.network.join();
        world.connect(0, 2);
        for _ in 0..3 {
            for number in 0..3 {
                if number != 2 || world.nodes[2].returned.is_empty() {
                    world.keep_roster(number);
                }
            }
            world.agree();
            world.tick(2_000);
        }
        assert!(!world.nodes[2].returned.is_empty(), "all is taken in");
        world.disconnect_both(0, 2);
        world.write_durably(0, &id, Change::Remove);
        world.agree();
        assert!(world.shows(1, &id).is_empty() && world.holds(1, &id));
        assert_eq!(world.shows(2, &id).len(), 2, "it has not heard of that");
        world.expel_for_long(1, &[0, 2]);
        world.cut_off(&[1]);
        world.collect_at(1);
        assert!(!world.holds(1, &id), "it is collected");
        world.connect(0, 2);
        world.strike(fellow, 1);
        world.sync(fellow);
        for _ in 0..3 {
            world.agree();
            world.read_rosters();
        }
        world.reunite();
        world.converge();
        assert!(world.all_show(&id, &[("note", 7)]));
        assert_eq!(world.repairs, 0, "no repair was needed");
    }
}

/// Each of a half was struck by another of the other half, and one of each half has collected what the other half edits.
#[test]
fn halves_that_struck_each_other_one_by_one_differ_once_they_are_back() {
    let mut world = world(4, None);
    world.gather();
    let ids = neighbours(Collection::Contacts, 2);
    for id in &ids {
        world.write_durably(0, id, Change::Set("name", 1));
    }
    world.agree();
    world.cut_off(&[2, 3]);
    for (by, struck) in [(0, 2), (1, 3), (2, 0), (3, 1)] {
        world.expel_for_long(by, &[struck]);
    }
    world.write_durably(0, &ids[0], Change::Remove);
    world.write_durably(1, &ids[1], Change::Set("note", 5));
    world.write_durably(2, &ids[1], Change::Remove);
    world.write_durably(3, &ids[0], Change::Set("note", 6));
    for (number, id) in [(0, &ids[0]), (2, &ids[1])] {
        world.collect_at(number);
        assert!(!world.holds(number, id) && world.holds(number + 1, id));
    }
    world.reunite();
    world.converge();
    assert!(world.all_show(&ids[0], &[("note", 6)]));
    assert!(world.all_show(&ids[1], &[("note", 5)]));
    assert_eq!(world.repairs, 0, "no repair was needed");
}
