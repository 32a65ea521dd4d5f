//! A removal must hide what its writer held and nothing else: an edit that it had not seen brings the whole
//! entity back, and says so.

use grapevine_crdt::{CausalContext, Dot, Entity, FieldCell, FieldKey, LwwMap, Timestamp};
use proptest::prelude::*;

use crate::{
    cases,
    world::{CONTACTS, COUNTER, ENTITIES, World, contact_steps, dot},
};

proptest! {
    #![proptest_config(cases(192))]

    /// At every moment, on every replica.
    #[test]
    fn a_removal_covers_only_what_its_writer_had_had(steps in contact_steps()) {
        World::run(&steps, |world, replica| {
            for entity in CONTACTS {
                let removed = world.removed(replica, entity);
                let state = &replica.entities[entity];
                for (key, cell) in state.cells() {
                    let is_content = !matches!(
                        key,
                        FieldKey::Removal(_)
                            | FieldKey::IncrementsBaseline(_)
                            | FieldKey::DecrementsBaseline(_)
                            | FieldKey::Clearing(_)
                    );
                    let covered = is_content && state.removed().covers(cell.dot);
                    assert!(!covered || removed.contains(&cell.dot), "{key:?} {cell:?}");
                }
            }
        });
    }

    #[test]
    fn an_edit_that_outlives_all_removals_shows_it_and_says_when_unaware(steps in contact_steps()) {
        let mut world = World::run(&steps, |_, _| ());
        world.settle();
        for replica in &world.replicas {
            for entity in CONTACTS {
                let visible = world.visible(replica, entity);
                let state = &replica.entities[entity];
                prop_assert_eq!(state.is_visible(), visible);
                prop_assert_eq!(state.is_revived(), world.revived(replica, entity));
            }
        }
    }

    /// A later removal replaces the earlier one of its replica, and must say all that it said.
    #[test]
    fn what_was_removed_stays_removed(steps in contact_steps()) {
        let mut removed = vec![CausalContext::default(); ENTITIES];
        let mut world = World::run(&steps, |_, replica| {
            for (entity, removed) in replica.entities.iter().zip(&mut removed) {
                removed.merge(&entity.removed());
            }
        });
        world.settle();
        for (entity, removed) in world.replicas[0].entities.iter().zip(removed) {
            prop_assert_eq!(entity.removed(), removed);
        }
    }

    #[test]
    fn whoever_removes_what_it_sees_sees_it_no_more(steps in contact_steps()) {
        let world = World::run(&steps, |_, _| ());
        for entity in world.replicas.iter().flat_map(|replica| &replica.entities[..=COUNTER]) {
            let mut entity = entity.clone();
            take(&mut entity, |map| map.remove(dot(255, 1_000)));
            prop_assert!(!entity.is_visible());
            prop_assert!(!entity.is_revived());
        }
    }
}

fn take(entity: &mut Entity, deed: impl Fn(LwwMap<'_>) -> Vec<FieldCell>) {
    for cell in deed(LwwMap::new(entity)) {
        entity.merge_cell(cell);
    }
}

fn set(entity: &mut Entity, name: &str, dot: Dot, ms: u64) {
    take(entity, |map| {
        map.set(name, name.as_bytes(), dot, Timestamp::from_unix_ms(ms))
    });
}

/// A contact with two fields, removed by replica 2 at (2, 1).
fn removed() -> (Entity, Entity) {
    let mut before = Entity::default();
    set(&mut before, "name", dot(1, 1), 1);
    set(&mut before, "note", dot(1, 2), 2);
    let mut after = before.clone();
    take(&mut after, |map| map.remove(dot(2, 1)));
    (before, after)
}

#[test]
fn an_unseen_edit_of_one_field_brings_all_fields_back() {
    let (mut before, after) = removed();
    assert!(!after.is_visible());
    assert_eq!(LwwMap::new(&after).get("name"), None);
    set(&mut before, "note", dot(3, 1), 3);
    before.merge(after);
    assert!(before.is_visible());
    assert!(before.is_revived());
    assert_eq!(LwwMap::new(&before).get("name"), Some(&b"name"[..]));
}

#[test]
fn an_unseen_edit_of_every_field_is_still_called_a_revival() {
    let (mut before, after) = removed();
    set(&mut before, "name", dot(3, 1), 3);
    set(&mut before, "note", dot(3, 2), 4);
    before.merge(after);
    assert!(before.is_visible());
    assert!(before.is_revived());
}

/// What a PUT does on an id that was removed: it sets what it was given and tombstones the rest.
fn put(entity: &mut Entity, name: &str, rest: &[&str], dot: Dot, ms: u64) {
    let time = Timestamp::from_unix_ms(ms);
    take(entity, |map| {
        let mut cells = map.set(name, name.as_bytes(), dot, time);
        cells.extend(rest.iter().flat_map(|name| map.unset(name, dot, time)));
        cells
    });
}

#[test]
fn a_put_on_a_removed_id_brings_back_only_what_it_was_given() {
    let (_, mut after) = removed();
    put(&mut after, "name", &["note"], dot(2, 2), 3);
    assert!(after.is_visible());
    assert!(!after.is_revived(), "its writer knew of the removal");
    assert_eq!(LwwMap::new(&after).iter().count(), 1);
}

#[test]
fn an_unseen_edit_is_a_conflict_to_a_put_on_the_removed_id() {
    let (mut before, mut after) = removed();
    set(&mut before, "note", dot(3, 1), 2);
    put(&mut after, "name", &["note"], dot(2, 2), 3);
    after.merge(before);
    assert!(after.is_visible());
    assert!(!after.is_revived());
    let map = LwwMap::new(&after);
    assert_eq!(map.get("note"), None);
    assert_eq!(map.conflicts("note").len(), 1);
}

#[test]
fn deleting_every_field_leaves_nothing_to_show_and_brings_nothing_back() {
    let (mut before, after) = removed();
    let time = Timestamp::from_unix_ms(3);
    take(&mut before, |map| {
        let mut cells = map.unset("name", dot(3, 1), time);
        cells.extend(map.unset("note", dot(3, 1), time));
        cells
    });
    assert!(!before.is_visible());
    assert!(LwwMap::new(&before).iter().next().is_none());
    before.merge(after);
    assert!(!before.is_visible());
    assert!(before.digested().next().is_none());
}

#[test]
fn an_edit_after_a_revival_settles_it() {
    let (mut before, after) = removed();
    set(&mut before, "note", dot(3, 1), 3);
    before.merge(after);
    set(&mut before, "name", dot(3, 2), 4);
    assert!(
        !before.is_revived(),
        "all that is shown was written after, one part knowingly"
    );
}

/// The remover holds an edit whose writer had seen a write that never reached the remover. It may not
/// cover that write's replica up to there, for it lacks that replica's other fields.
#[test]
fn a_removal_does_not_cover_what_others_had_seen() {
    let mut far = Entity::default();
    set(&mut far, "title", dot(4, 1), 1);
    set(&mut far, "name", dot(4, 2), 2);
    let mut relay = far.clone();
    let time = Timestamp::from_unix_ms(3);
    let pushed = LwwMap::new(&relay).set("name", b"relay", dot(5, 1), time);
    take(&mut relay, |_| pushed.clone());
    // Only the relay's push reached the remover.
    let mut remover = Entity::default();
    take(&mut remover, |_| pushed.clone());
    take(&mut remover, |map| map.remove(dot(6, 1)));
    remover.merge(far);
    assert!(
        remover.is_visible(),
        "the title was never seen by the remover"
    );
    assert!(remover.is_revived());
}

/// The second remover received the first removal alone, by a push, and replaces nothing of what it says.
#[test]
fn a_removal_holds_what_the_removals_before_it_held() {
    let (mut late, after) = removed();
    let mut second = Entity::default();
    let key = FieldKey::Removal(dot(2, 1).replica);
    let removal = after.field(&key).expect("it was removed").shown().clone();
    take(&mut second, |_| {
        vec![FieldCell {
            field: key.clone(),
            cell: removal.clone(),
        }]
    });
    let alone = LwwMap::new(&second).remove(dot(7, 1));
    take(&mut late, |_| alone.clone());
    assert!(!late.is_visible());
    assert_eq!(late.removed(), after.removed());
}

#[test]
fn a_deleted_register_is_hidden_without_a_removal() {
    use grapevine_crdt::{CausalContext, Cell, Rank, Value};
    let register = |value, seq| FieldCell {
        field: FieldKey::Register("value".into()),
        cell: Cell {
            rank: Rank::new(seq),
            dot: dot(1, seq),
            seen: CausalContext::default(),
            value,
        },
    };
    let mut entity = Entity::default();
    assert!(entity.is_empty() && !entity.is_visible());
    entity.merge_cell(register(Value::Bytes(b"x".to_vec()), 1));
    assert!(entity.is_visible());
    entity.merge_cell(register(Value::Tombstone, 2));
    assert!(!entity.is_visible() && !entity.is_empty());
}
