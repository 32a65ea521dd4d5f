//! An edit that no later writer saw must never go silently: it is shown or it is a conflict.

use std::collections::BTreeSet;

use grapevine_crdt::{Dot, Entity, Field, FieldCell, FieldKey, LwwMap, Timestamp};
use proptest::prelude::*;

use crate::{
    cases,
    world::{CONTACTS, NAMES, REGISTER, World, contact_steps, dot, steps},
};

fn attribute(name: &str) -> FieldKey {
    FieldKey::Attribute(name.to_owned())
}

proptest! {
    #![proptest_config(cases(192))]

    /// At every moment, on every replica: what survives are the writes known here that no other write known
    /// here had truly seen. It also proves that the highest `seq` per replica is context enough.
    #[test]
    fn the_survivors_are_the_writes_that_nobody_saw(steps in contact_steps()) {
        World::run(&steps, |world, replica| {
            let fields = CONTACTS.into_iter().flat_map(|entity| NAMES.map(|name| (entity, name)));
            for (entity, name) in fields {
                let key = attribute(name);
                let field = replica.entities[entity].field(&key);
                let held: BTreeSet<Dot> =
                    field.iter().flat_map(|field| field.cells()).map(|cell| cell.dot).collect();
                assert_eq!(held, world.surviving(replica, entity, &key));
                let greatest = held.iter().max_by_key(|dot| (world.rank(**dot, &key), **dot));
                assert_eq!(field.map(|field| &field.shown().dot), greatest);
            }
        });
    }

    #[test]
    fn the_register_shows_the_greatest_rank_of_all_writes_here(steps in steps()) {
        World::run(&steps, |world, replica| {
            let field = replica.entities[REGISTER].field(&FieldKey::Register(String::new()));
            assert_eq!(field.map(|field| field.shown().dot), world.latest(replica));
        });
    }

    #[test]
    fn the_view_shows_what_the_fields_show(steps in contact_steps()) {
        World::run(&steps, |_, replica| {
            for entity in CONTACTS.map(|entity| &replica.entities[entity]) {
                let map = LwwMap::new(entity);
                let shown = NAMES.iter().filter_map(|name| Some((*name, map.get(name)?)));
                assert!(map.iter().eq(shown));
                assert!(entity.is_visible() || map.iter().next().is_none());
                for name in NAMES {
                    let conflicts = entity.field(&attribute(name)).map(Field::conflicts);
                    assert_eq!(map.conflicts(name), conflicts.unwrap_or_default());
                }
            }
        });
    }
}

fn take(entity: &mut Entity, cells: Vec<FieldCell>) {
    for cell in cells {
        entity.merge_cell(cell);
    }
}

#[test]
fn an_edit_that_saw_both_sides_settles_the_conflict() {
    let at = Timestamp::from_unix_ms;
    let (mut here, mut there) = (Entity::default(), Entity::default());
    let cells = LwwMap::new(&here).set("name", b"Ada", dot(1, 1), at(1));
    take(&mut here, cells);
    let cells = LwwMap::new(&there).set("name", b"Eva", dot(2, 1), at(2));
    take(&mut there, cells);
    here.merge(there.clone());
    let cells = LwwMap::new(&here).set("name", b"Ada Eva", dot(1, 2), at(3));
    take(&mut here, cells);
    there.merge(here.clone());
    assert_eq!(LwwMap::new(&there).get("name"), Some(&b"Ada Eva"[..]));
    assert!(LwwMap::new(&there).conflicts("name").is_empty());
}

/// A clock that was behind when it wrote must not lose to what it had seen.
#[test]
fn what_saw_another_write_replaces_it_even_with_a_lower_rank() {
    let at = Timestamp::from_unix_ms;
    let mut entity = Entity::default();
    let cells = LwwMap::new(&entity).set("name", b"fast clock", dot(1, 1), at(9));
    take(&mut entity, cells);
    let cells = LwwMap::new(&entity).set("name", b"slow clock", dot(2, 1), at(1));
    take(&mut entity, cells);
    assert_eq!(LwwMap::new(&entity).get("name"), Some(&b"slow clock"[..]));
    assert!(LwwMap::new(&entity).conflicts("name").is_empty());
}

#[test]
fn an_unseen_edit_is_shown_once_the_greater_one_is_settled_below_it() {
    let at = Timestamp::from_unix_ms;
    let (mut here, mut there) = (Entity::default(), Entity::default());
    let cells = LwwMap::new(&here).set("name", b"greatest", dot(1, 1), at(9));
    take(&mut here, cells);
    let cells = LwwMap::new(&there).set("name", b"unseen", dot(2, 1), at(5));
    take(&mut there, cells);
    let settled = LwwMap::new(&here).set("name", b"slow clock", dot(3, 1), at(1));
    here.merge(there);
    take(&mut here, settled);
    let map = LwwMap::new(&here);
    assert_eq!(map.get("name"), Some(&b"unseen"[..]));
    assert_eq!(map.conflicts("name").len(), 1);
    assert_eq!(map.conflicts("name")[0].bytes(), Some(&b"slow clock"[..]));
}

#[test]
fn an_edit_unseen_by_a_deletion_of_its_field_is_kept_as_a_conflict() {
    let at = Timestamp::from_unix_ms;
    let mut here = Entity::default();
    let cells = LwwMap::new(&here).set("note", b"old", dot(1, 1), at(1));
    take(&mut here, cells);
    let mut there = here.clone();
    let cells = LwwMap::new(&here).set("note", b"new", dot(1, 2), at(2));
    take(&mut here, cells);
    let cells = LwwMap::new(&there).unset("note", dot(2, 1), at(3));
    take(&mut there, cells);
    here.merge(there);
    let map = LwwMap::new(&here);
    assert_eq!(map.get("note"), None);
    assert_eq!(map.conflicts("note")[0].bytes(), Some(&b"new"[..]));
}
