//! Offline clients whose edits come twice, or late: schedules that random runs found.

use std::sync::Arc;

use grapevine::{
    model::{Collection, EntityId, OfflineEdit},
    store::read_entity,
};
use grapevine_crdt::{Entity, VersionVector};
use serde_json::{Value, json};

use crate::{
    client::Change,
    directed::{neighbours, world},
    node::Job,
    outsider::Bringing,
    world::World,
};

impl World {
    /// Brings an edit of `id` in at a node, made when its clock shows `at_ms` by a client that had seen `seen`.
    fn bring_in(
        &mut self,
        number: usize,
        id: &EntityId,
        edit: &Value,
        (seen, at_ms): (&VersionVector, u64),
    ) {
        let mut json = edit.clone();
        if json.get("id").is_none() {
            json["id"] = "7d1c2f8e-5b1a-4c59-8a55-0d4e6a3f2b10".into();
        }
        json["at"] = at_ms.into();
        json["collection"] = id.collection().name().into();
        json["key"] = id.key().into();
        let edit = OfflineEdit::from_json(&json).expect("it is a good edit");
        let wanted = edit.made_at(0, self.wall_ms(number));
        let bringing = Bringing {
            client: 0,
            edit: Arc::new(edit),
            count: None,
            seen: seen.clone(),
            wanted,
        };
        let job = Job::Bring(Box::new(bringing));
        self.nodes[number].jobs.push_back(job);
        self.kick(number);
        self.sync(number);
    }

    fn held(&self, number: usize, id: &EntityId) -> Entity {
        let held = read_entity(&self.nodes[number].rows, id).expect("rows can be read");
        held.unwrap_or_default()
    }

    fn vector(&self, number: usize, id: &EntityId) -> VersionVector {
        self.nodes[number]
            .state
            .partition(id.partition())
            .vector
            .clone()
    }
}

#[test]
fn an_edit_brought_again_through_a_faster_clock_wins_over_what_replaced_it() {
    let mut world = world(2, None);
    let id = neighbours(Collection::Kv, 1).remove(0);
    let put = json!({ "op": "put", "text": "offline" });
    world.now_ms += 60_000;
    let at_ms = world.true_ms() - 1_000;
    let nothing = VersionVector::default();
    world.bring_in(0, &id, &put, (&nothing, at_ms));
    world.write_durably(0, &id, Change::Put(7));
    world.converge();
    // The second node takes the edit for one that was made later.
    world.bring_in(1, &id, &put, (&nothing, at_ms + 30_000));
    world.converge();
    assert!(world.all_show(&id, &[("value", 7)]));
}

#[test]
fn an_edit_that_brings_a_contact_back_shows_more_where_it_was_not_collected() {
    let mut world = world(2, None);
    world.gather();
    let id = neighbours(Collection::Contacts, 1).remove(0);
    world.write_durably(0, &id, Change::Set("name", 1));
    world.write_durably(0, &id, Change::Set("note", 2));
    world.agree();
    let seen = world.vector(0, &id);
    world.write_durably(0, &id, Change::Remove);
    world.agree();
    // Node 0 collects what is removed; node 1 holds it still, and its client has not heard of the removal.
    world.collect_at(0);
    assert!(world.held(0, &id).is_empty() && !world.held(1, &id).is_empty());
    let at_ms = world.true_ms();
    let patch = json!({ "op": "patch", "patch": { "note": "back" } });
    world.bring_in(1, &id, &patch, (&seen, at_ms));
    world.converge();
    let shown = |number: usize| {
        let entity = world.held(number, &id);
        entity
            .digested()
            .map(|(key, cell)| (key.clone(), cell.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(0), shown(1));
    assert_eq!(shown(0).len(), 2, "the name comes back with the note");
}

#[test]
fn a_deletion_that_brings_a_contact_back_writes_one_field_twice() {
    let mut world = world(2, None);
    world.gather();
    let id = neighbours(Collection::Contacts, 1).remove(0);
    for (name, value) in [("name", 1), ("note", 2), ("title", 3)] {
        world.write_durably(0, &id, Change::Set(name, value));
    }
    let (seen, at_ms) = (world.vector(0, &id), world.true_ms());
    // That a field was deleted is noted in one more.
    let patch = json!({ "op": "patch", "patch": { "note": null } });
    world.bring_in(0, &id, &patch, (&seen, at_ms));
    world.write_durably(0, &id, Change::Remove);
    let mut patch = json!({ "op": "patch", "patch": { "title": null } });
    patch["id"] = "7d1c2f8e-5b1a-4c59-8a55-0d4e6a3f2b11".into();
    world.bring_in(0, &id, &patch, (&seen, at_ms));
    world.converge();
    assert!(
        world.held(0, &id).is_visible(),
        "the remover had not seen it"
    );
    assert_eq!(world.held(0, &id), world.held(1, &id));
}

/// An edit whose answer was lost comes again where a clearing has taken its trace away, and nothing was collected.
#[test]
fn an_edit_that_was_deleted_comes_back_behind_a_clearing() {
    let mut world = world(2, None);
    world.gather();
    let id = neighbours(Collection::Contacts, 1).remove(0);
    let nothing = VersionVector::default();
    let at_ms = world.true_ms();
    world.write_durably(0, &id, Change::Set("name", 1));
    let patch = json!({ "op": "patch", "patch": { "note": "once" } });
    world.bring_in(0, &id, &patch, (&nothing, at_ms));
    world.agree();
    world.write_durably(1, &id, Change::Remove);
    world.agree();
    // Node 1 collects and makes the contact anew.
    world.collect_at(1);
    world.write_durably(1, &id, Change::Set("name", 2));
    world.agree();
    assert!(!world.has_floor(0, id.partition()), "it has not collected");
    world.bring_in(0, &id, &patch, (&nothing, at_ms));
    world.converge();
    assert!(world.all_show(&id, &[("name", 2)]), "the note is back");
}
