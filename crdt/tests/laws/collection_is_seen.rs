//! Replicas collect in their own time; nobody must be able to tell who has and who has not yet.

use grapevine_crdt::{Entity, FieldCell, FieldKey};
use proptest::prelude::*;

use crate::{
    cases,
    world::{ENTITIES, REPLICAS, World, collecting_steps},
};

fn with_cells<'a>(cells: impl IntoIterator<Item = &'a FieldCell>) -> Entity {
    let mut entity = Entity::default();
    for cell in cells {
        entity.merge_cell(cell.clone());
    }
    entity
}

fn shown(entity: &Entity) -> Vec<(&FieldKey, Option<&[u8]>)> {
    let visible = entity.is_visible();
    let fields = entity.fields().filter(|_| visible);
    let shown = fields.map(|(key, field)| (key, field.shown().bytes()));
    shown.filter(|(_, bytes)| bytes.is_some()).collect()
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn what_was_collected_here_and_not_there_shows_after_a_later_write(
        steps in collecting_steps(),
        last in 0..REPLICAS,
    ) {
        let mut world = World::run(&steps, |_, _| ());
        world.settle();
        for entity in 0..ENTITIES {
            let first = &world.replicas[0].entities[entity];
            for replica in &world.replicas {
                let other = &replica.entities[entity];
                prop_assert!(other.digested().eq(first.digested()), "{:?} {:?}", other, first);
                prop_assert_eq!(shown(other), shown(first));
            }
        }
        // So it stays once everybody collects.
        for who in (0..REPLICAS).chain([last]) {
            for entity in 0..ENTITIES {
                world.collect(who, entity);
            }
        }
        for replica in &world.replicas {
            for (other, first) in replica.entities.iter().zip(&world.replicas[0].entities) {
                prop_assert!(other.digested().eq(first.digested()));
                prop_assert_eq!(shown(other), shown(first));
                prop_assert_eq!(other.has_conflicts(), first.has_conflicts());
            }
        }
    }

    #[test]
    fn collection_changes_what_is_shown(steps in collecting_steps()) {
        let mut world = World::run(&steps, |_, _| ());
        world.settle();
        for entity in 0..ENTITIES {
            let before = world.replicas[1].entities[entity].clone();
            let gone = world.collect(1, entity);
            let after = &world.replicas[1].entities[entity];
            prop_assert!(after.digested().eq(before.digested()));
            prop_assert_eq!(shown(after), shown(&before));
            prop_assert_eq!(gone.len() + after.cells().count(), before.cells().count());
            prop_assert!(before.is_garbage() || gone.is_empty());
            prop_assert!(world.collect(1, entity).is_empty(), "the second time nothing goes");
        }
    }

    /// The writes of a history in which some were made over what was collected, in any order.
    #[test]
    fn writes_over_what_was_collected_merge_differently_in_another_order(
        steps in collecting_steps(),
        keys in prop::collection::vec(any::<u32>(), 512),
    ) {
        let mut world = World::run(&steps, |_, _| ());
        world.settle();
        for entity in 0..ENTITIES {
            let writes = world.writes.values().filter(|write| write.entity == entity);
            let cells: Vec<&FieldCell> = writes.flat_map(|write| &write.cells).collect();
            let mut order: Vec<_> = keys.iter().zip(cells.iter().chain(&cells).copied()).collect();
            order.sort_by_key(|(key, _)| **key);
            let mixed = with_cells(order.into_iter().map(|(_, cell)| cell));
            let in_turn = with_cells(cells);
            prop_assert_eq!(&mixed, &in_turn);
            for replica in &world.replicas {
                prop_assert!(replica.entities[entity].digested().eq(in_turn.digested()), "{:?} {:?}", replica.entities[entity], in_turn);
            }
        }
    }
}
