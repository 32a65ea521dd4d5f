//! A field whose cells merge differently on two replicas never agrees again.

use grapevine_crdt::{
    CausalContext, Cell, Dot, Field, FieldKey, MergeRule, Rank, RequestKey, Value,
};
use proptest::prelude::*;

use crate::{
    cases,
    world::{CONTACTS, COUNTER, ENTITIES, REGISTER, World, dot, steps},
};

/// The cells of the most written field of a history that merges by `rule`, as they were written.
fn history(rule: MergeRule) -> impl Strategy<Value = Vec<Cell>> {
    (steps(), 0..ENTITIES).prop_map(move |(steps, entity)| {
        let entity = match rule {
            MergeRule::Latest => REGISTER,
            MergeRule::LatestWithMemory => entity % CONTACTS.len(),
            MergeRule::SingleWriterSlot | MergeRule::Maximum => COUNTER,
        };
        let world = World::run(&steps, |_, _| ());
        let mut cells = std::collections::BTreeMap::<FieldKey, Vec<Cell>>::new();
        for write in world.writes.values().filter(|write| write.entity == entity) {
            for cell in write.cells.iter().filter(|cell| cell.field.rule() == rule) {
                let field = cells.entry(cell.field.clone()).or_default();
                field.push(cell.cell.clone());
            }
        }
        cells.into_values().max_by_key(Vec::len).unwrap_or_default()
    })
}

/// Cells of which only the greatest can stay, their ranks and dots in any relation.
fn any_cells() -> impl Strategy<Value = Vec<Cell>> {
    let dots = prop::collection::btree_set((0..3_u8, 1..5_u64), 0..8);
    (dots, any::<u64>()).prop_map(|(dots, salt)| {
        let cell = |(id, seq): (u8, u64)| Cell {
            rank: Rank::new((salt >> (seq * 3 + u64::from(id))) % 3),
            dot: dot(id, seq),
            seen: CausalContext::default(),
            value: Value::Counted,
        };
        dots.into_iter().map(cell).collect()
    })
}

/// The field that holds `cells` merged one after the other.
fn merged<'a>(rule: MergeRule, cells: impl IntoIterator<Item = &'a Cell>) -> Option<Field> {
    let mut field: Option<Field> = None;
    for cell in cells {
        match &mut field {
            Some(field) => {
                let before = field.clone();
                let changed = field.merge(rule, cell.clone());
                assert_eq!(changed, *field != before, "it must say whether it changed");
            }
            None => field = Some(Field::new(cell.clone())),
        }
    }
    field
}

/// Any order, repetition and grouping of `cells` makes the same field.
fn agree(rule: MergeRule, cells: &[Cell], shuffle: &[(usize, usize)]) -> Result<(), TestCaseError> {
    let expected = merged(rule, cells);
    let mut order: Vec<&Cell> = cells.iter().collect();
    order.extend(cells);
    for (one, other) in shuffle {
        let len = order.len().max(1);
        if !order.is_empty() {
            order.swap(one % len, other % len);
        }
    }
    prop_assert_eq!(&merged(rule, order.iter().copied()), &expected);
    prop_assert_eq!(&merged(rule, cells.iter().rev()), &expected);
    // Groups merge on their own first, then with each other.
    let groups = order
        .chunks(3)
        .filter_map(|group| merged(rule, group.iter().copied()));
    let groups: Vec<Cell> = groups
        .flat_map(|field| field.cells().cloned().collect::<Vec<_>>())
        .collect();
    prop_assert_eq!(&merged(rule, &groups), &expected);
    Ok(())
}

fn shuffle() -> impl Strategy<Value = Vec<(usize, usize)>> {
    prop::collection::vec((0..256_usize, 0..256_usize), 0..64)
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn latest_agrees_in_any_order(cells in history(MergeRule::Latest), shuffle in shuffle()) {
        agree(MergeRule::Latest, &cells, &shuffle)?;
    }

    #[test]
    fn latest_with_memory_agrees_in_any_order(
        cells in history(MergeRule::LatestWithMemory), shuffle in shuffle(),
    ) {
        agree(MergeRule::LatestWithMemory, &cells, &shuffle)?;
    }

    #[test]
    fn a_single_writer_slot_agrees_in_any_order(
        cells in history(MergeRule::SingleWriterSlot), shuffle in shuffle(),
    ) {
        agree(MergeRule::SingleWriterSlot, &cells, &shuffle)?;
    }

    #[test]
    fn a_maximum_agrees_in_any_order(cells in history(MergeRule::Maximum), shuffle in shuffle()) {
        agree(MergeRule::Maximum, &cells, &shuffle)?;
    }

    #[test]
    fn equal_ranks_are_settled_by_the_dot(cells in any_cells(), shuffle in shuffle()) {
        for rule in [
            MergeRule::Latest,
            MergeRule::SingleWriterSlot,
            MergeRule::Maximum,
            MergeRule::LatestWithMemory,
        ] {
            agree(rule, &cells, &shuffle)?;
        }
        let greatest = cells.iter().map(|cell| (cell.rank, cell.dot)).max();
        let shown = merged(MergeRule::Latest, &cells);
        let shown = shown.as_ref().map(Field::shown);
        prop_assert_eq!(shown.map(|cell| (cell.rank, cell.dot)), greatest);
    }

    /// The cells that stay are those that no other has seen, the shown one and the conflicts in falling
    /// order.
    #[test]
    fn memory_keeps_exactly_what_nobody_saw(cells in history(MergeRule::LatestWithMemory)) {
        let seen = |dot: Dot| cells.iter().any(|cell| cell.seen.covers(dot));
        let mut expected: Vec<&Cell> = cells.iter().filter(|cell| !seen(cell.dot)).collect();
        expected.sort_by_key(|cell| core::cmp::Reverse((cell.rank, cell.dot)));
        let field = merged(MergeRule::LatestWithMemory, &cells);
        let kept: Vec<&Cell> = field.iter().flat_map(Field::cells).collect();
        prop_assert_eq!(kept, expected);
        if let Some(field) = &field {
            prop_assert!(field.cells().skip(1).eq(field.conflicts()));
        }
    }
}

#[test]
fn the_key_decides_the_rule_and_the_writer() {
    let replica = dot(7, 1).replica;
    let keys = [
        (
            FieldKey::Register("a".into()),
            MergeRule::Latest,
            true,
            None,
        ),
        (
            FieldKey::Attribute("a".into()),
            MergeRule::LatestWithMemory,
            true,
            None,
        ),
        (
            FieldKey::Removal(replica),
            MergeRule::SingleWriterSlot,
            false,
            Some(replica),
        ),
        (
            FieldKey::Increments(replica),
            MergeRule::SingleWriterSlot,
            false,
            Some(replica),
        ),
        (
            FieldKey::Decrements(replica),
            MergeRule::SingleWriterSlot,
            false,
            Some(replica),
        ),
        (
            FieldKey::IncrementsBaseline(replica),
            MergeRule::Maximum,
            false,
            None,
        ),
        (
            FieldKey::DecrementsBaseline(replica),
            MergeRule::Maximum,
            false,
            None,
        ),
        (
            FieldKey::Clearing(replica),
            MergeRule::SingleWriterSlot,
            false,
            Some(replica),
        ),
    ];
    let request = RequestKey::from_bytes([7; 16]);
    let of_any_writer = [
        FieldKey::KeyedIncrements(request),
        FieldKey::KeyedDecrements(request),
        FieldKey::Tally("kiosk".into()),
        FieldKey::KeyedIncrementsBaseline(request),
        FieldKey::KeyedDecrementsBaseline(request),
        FieldKey::TallyBaseline("kiosk".into()),
    ];
    let of_any_writer = of_any_writer.map(|key| (key, MergeRule::Maximum, false, None));
    for (key, rule, is_timed, writer) in keys.into_iter().chain(of_any_writer) {
        assert_eq!(key.rule(), rule, "{key:?}");
        assert_eq!(key.is_timed(), is_timed, "{key:?}");
        assert_eq!(key.only_writer(), writer, "{key:?}");
    }
}
