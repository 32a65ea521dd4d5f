//! Replicas that took in the same writes must hold the same entity, whatever way the writes came.

use grapevine_crdt::{Entity, FieldCell, FieldKey, Value, VersionVector};
use proptest::prelude::*;

use crate::{
    cases,
    world::{ENTITIES, World, steps, three_states},
};

fn merged(first: &Entity, second: &Entity) -> Entity {
    let mut merged = first.clone();
    let changed = merged.merge(second.clone());
    assert_eq!(changed, merged != *first, "it must say whether it changed");
    merged
}

fn with_cells<'a>(entity: &Entity, cells: impl IntoIterator<Item = &'a FieldCell>) -> Entity {
    let mut entity = entity.clone();
    for cell in cells {
        entity.merge_cell(cell.clone());
    }
    entity
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn merging_is_commutative_associative_and_idempotent([a, b, c] in three_states()) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(&merged(&a, &a), &a);
        prop_assert_eq!(merged(&merged(&a, &b), &b), merged(&a, &b));
        prop_assert_eq!(&merged(&a, &Entity::default()), &a);
    }

    #[test]
    fn the_delta_brings_what_the_whole_state_brings(steps in steps()) {
        let world = World::run(&steps, |_, _| ());
        for from in &world.replicas {
            for (to, entity) in world.replicas.iter().flat_map(|to| (0..ENTITIES).map(move |e| (to, e))) {
                let (theirs, ours) = (&from.entities[entity], &to.entities[entity]);
                let delta = theirs.delta(&to.vector);
                prop_assert_eq!(with_cells(ours, &delta), merged(ours, theirs));
                prop_assert!(delta.iter().all(|cell| !to.vector.covers(cell.cell.dot)));
                let rest = theirs.cells().filter(|(_, cell)| to.vector.covers(cell.dot)).count();
                prop_assert_eq!(rest + delta.len(), theirs.cells().count());
            }
        }
    }

    #[test]
    fn the_delta_for_nothing_is_everything([entity, _, _] in three_states()) {
        let delta = entity.delta(&VersionVector::default());
        prop_assert_eq!(delta.len(), entity.cells().count());
        prop_assert_eq!(with_cells(&Entity::default(), &delta), entity);
    }

    #[test]
    fn any_order_repetition_and_grouping_of_the_writes_converges(
        steps in steps(),
        keys in prop::collection::vec(any::<u32>(), 512),
        group in 1..8_usize,
    ) {
        let mut world = World::run(&steps, |_, _| ());
        world.settle();
        for entity in 0..ENTITIES {
            let writes = world.writes.values().filter(|write| write.entity == entity);
            let cells: Vec<&FieldCell> = writes.flat_map(|write| &write.cells).collect();
            let mut order: Vec<(u32, &FieldCell)> =
                keys.iter().copied().zip(cells.iter().chain(&cells).copied()).collect();
            order.sort_by_key(|(key, _)| *key);
            let order: Vec<&FieldCell> = order.into_iter().map(|(_, cell)| cell).collect();
            let one_by_one = with_cells(&Entity::default(), order.iter().copied());
            let mut grouped = Entity::default();
            for group in order.chunks(group) {
                let group = with_cells(&Entity::default(), group.iter().copied());
                grouped = merged(&group, &grouped);
            }
            prop_assert_eq!(&one_by_one, &grouped);
            for replica in &world.replicas {
                prop_assert_eq!(&replica.entities[entity], &one_by_one);
            }
        }
    }

    #[test]
    fn replicas_that_exchange_end_equal_in_state_vector_conflicts_and_digest(steps in steps()) {
        let mut world = World::run(&steps, |_, _| ());
        world.settle();
        let first = &world.replicas[0];
        for replica in &world.replicas {
            prop_assert_eq!(&replica.vector, &first.vector);
            for entity in 0..ENTITIES {
                let (theirs, ours) = (&replica.entities[entity], &first.entities[entity]);
                prop_assert_eq!(theirs, ours);
                prop_assert!(theirs.digested().eq(ours.digested()));
                prop_assert_eq!(theirs.dots(), ours.dots());
            }
        }
    }

    /// Each replica collects tombstones and removals in its own time; the digest must not tell.
    #[test]
    fn the_digest_counts_nothing_that_is_collected(steps in steps()) {
        let world = World::run(&steps, |_, _| ());
        for entity in world.replicas.iter().flat_map(|replica| &replica.entities) {
            let digested: Vec<_> = entity.digested().collect();
            let lasting = |value: &Value| !matches!(value, Value::Tombstone | Value::Dots(_));
            let hides = |key: &FieldKey| {
                let field = entity.field(key).expect("it has a cell");
                field.conflicts().iter().any(|lost| lost.value != Value::Tombstone)
            };
            let shown = |key: &FieldKey| entity.field(key).expect("it has a cell").shown().dot;
            let kept = entity.cells().filter(|(key, cell)| {
                lasting(&cell.value)
                    || (cell.value == Value::Tombstone && cell.dot == shown(key) && hides(key))
            });
            let kept = kept.filter(|_| entity.is_visible());
            prop_assert_eq!(digested, kept.collect::<Vec<_>>());
        }
    }

    /// What honest replicas write passes the check that peers' cells must pass.
    #[test]
    fn an_honest_cell_is_never_refused(steps in steps()) {
        let world = World::run(&steps, |_, _| ());
        for cell in world.writes.values().flat_map(|write| &write.cells) {
            prop_assert_eq!(cell.check(), Ok(()));
        }
    }
}
