//! Directed schedules of collection: something else happens to what is collected, or while it is.

use grapevine::model::{Collection, EntityId};

use crate::{
    client::Change,
    directed::{neighbours, world},
    fault::Fault,
    world::World,
};

/// A contact was removed everywhere; node 0 has collected it, and node 1 has not. Then it is put anew at node 0.
pub(crate) fn put_after_collection_on_one_side(fault: Option<Fault>) -> (World, EntityId) {
    let mut world = world(2, fault);
    world.gather();
    let id = neighbours(Collection::Contacts, 1).remove(0);
    for name in ["name", "note"] {
        world.write_durably(0, &id, Change::Set(name, 1));
    }
    world.agree();
    world.write_durably(1, &id, Change::Remove);
    world.collect_at(0);
    assert_eq!((world.holds(0, &id), world.holds(1, &id)), (false, true));
    world.write_durably(0, &id, Change::Rewrite(9));
    world.agree();
    (world, id)
}

#[test]
fn a_put_after_collection_on_one_side_shows_old_fields_on_the_other() {
    let (mut world, id) = put_after_collection_on_one_side(None);
    assert!(world.all_show(&id, &[("name", 9)]));
    for number in [1, 0] {
        world.collect_at(number);
    }
    world.converge();
    assert!(world.all_show(&id, &[("name", 9)]));
    assert_eq!(world.repairs, 0);
}

#[test]
fn what_is_collected_during_a_pull_is_missed_or_comes_back() {
    let mut world = world(2, None);
    world.gather();
    let ids = neighbours(Collection::Kv, 5);
    let (gone, new) = ids.split_at(2);
    let partition = gone[0].partition();
    for id in gone {
        world.write_durably(0, id, Change::Put(1));
        world.write_durably(0, id, Change::Delete);
    }
    world.agree();
    world.disconnect_both(0, 1);
    for id in new {
        world.write_durably(0, id, Change::Put(2));
    }
    let before = world.covered(1, partition, 0);
    world.begin_pull(0, 1);
    world.collect_now(0);
    assert!(world.has_floor(0, partition), "it collects while it serves");
    assert!(gone.iter().all(|id| !world.holds(0, id)));
    assert!(world.serve(0), "the second page is read after that");
    world.deliver(0, 1);
    world.sync(1);
    assert_eq!(world.covered(1, partition, 0), before, "nothing is claimed");
    world.converge();
    for id in new {
        assert!(world.all_show(id, &[("value", 2)]));
    }
    world.collect_at(1);
    assert!(gone.iter().all(|id| !world.holds(1, id)));
    world.converge();
}
