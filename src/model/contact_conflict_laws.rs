//! The laws of conflicts: nothing unseen is lost silently, every node lists the same, settling and trimming settle
//! everywhere.

use std::collections::BTreeSet;

use grapevine_crdt::{
    CausalContext, Cell, Dot, Entity, FieldCell, FieldKey, Rank, ReplicaId, Seq, Timestamp, Value,
};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value as Json, json};

use super::{
    Conflict, Contact, ContactDraft, MAX_CONFLICT_AGE_MS, MAX_CONFLICTS_PER_FIELD, Settlement,
    WriteStamp,
    contact::is_bookkeeping,
    contact_conflict::{conflicts, settle},
    contact_edit, trim,
};

const ID: &str = "ada";
const REPLICAS: usize = 3;

fn stamp(replica: u8, seq: u64) -> WriteStamp<'static> {
    WriteStamp {
        dot: Dot::new(ReplicaId::from_bytes([replica; 16]), Seq::new(seq)),
        time: Timestamp::from_unix_ms(1_000 + seq),
        collected: None,
        region: None,
    }
}

fn merge(entity: &mut Entity, cells: &[FieldCell]) {
    for cell in cells {
        cell.check().expect("it is honest");
        entity.merge_cell(cell.clone());
    }
}

fn merged(entity: &Entity, other: &Entity) -> Entity {
    let mut entity = entity.clone();
    entity.merge(other.clone());
    entity
}

fn put(entity: &mut Entity, json: &Json, stamp: WriteStamp) -> Vec<FieldCell> {
    let draft = ContactDraft::from_json(Some(ID), json).expect("it is within the bounds");
    let (cells, _) = contact_edit::put(entity, &draft, stamp);
    merge(entity, &cells);
    cells
}

fn settled(
    entity: &Entity,
    id: &str,
    settlement: Settlement,
    stamp: WriteStamp,
) -> Option<Vec<FieldCell>> {
    settle(entity, id, settlement, stamp.dot, stamp.time)
}

fn count(entity: &Entity) -> usize {
    Contact::read(ID, entity).map_or(0, |contact| contact.conflicts)
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize, Json),
    Delete(usize),
    Meet(usize, usize),
    Settle(usize, prop::sample::Index, bool),
    Trim(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let text = || prop::sample::select(vec![None, Some("a"), Some("b"), Some("c")]);
    let contact =
        (text(), text(), text(), any::<bool>()).prop_map(|(note, title, number, group)| {
            let phones = number.map(|number| json!([{"id": "home", "number": number}]));
            let groups = if group { json!(["crew"]) } else { json!([]) };
            json!({"name": "Ada", "note": note, "title": title, "phones": phones, "groups": groups})
        });
    let who = 0..REPLICAS;
    prop_oneof![
        6 => (who.clone(), contact).prop_map(|(who, contact)| Step::Put(who, contact)),
        1 => who.clone().prop_map(Step::Delete),
        2 => (who.clone(), who.clone()).prop_map(|(from, to)| Step::Meet(from, to)),
        1 => (who.clone(), any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(who, which, choose)| Step::Settle(who, which, choose)),
        1 => who.prop_map(Step::Trim),
    ]
}

/// What each replica holds after `steps`, and every write, in the order in which they were made.
fn run(steps: Vec<Step>) -> ([Entity; REPLICAS], Vec<Vec<FieldCell>>) {
    let mut entities: [Entity; REPLICAS] = Default::default();
    let mut writes = Vec::new();
    for (seq, step) in (1..).zip(steps) {
        let (who, cells) = match step {
            Step::Meet(from, to) => {
                entities[to] = merged(&entities[to], &entities[from]);
                continue;
            }
            Step::Put(who, contact) => {
                let draft = ContactDraft::from_json(Some(ID), &contact).expect("it is valid");
                (
                    who,
                    contact_edit::put(&entities[who], &draft, written(who, seq)).0,
                )
            }
            Step::Delete(who) => (
                who,
                contact_edit::delete(&entities[who], written(who, seq).dot),
            ),
            Step::Settle(who, which, choose) => {
                let found = conflicts(&entities[who]);
                if found.is_empty() {
                    continue;
                }
                let settlement = if choose {
                    Settlement::Choose
                } else {
                    Settlement::Dismiss
                };
                let id = &which.get(&found).id;
                let cells = settled(&entities[who], id, settlement, written(who, seq));
                (who, cells.expect("it is there"))
            }
            Step::Trim(who) => {
                let far = Timestamp::from_unix_ms(2 * MAX_CONFLICT_AGE_MS);
                (who, trim(&entities[who], written(who, seq).dot, far))
            }
        };
        merge(&mut entities[who], &cells);
        writes.push(cells);
    }
    (entities, writes)
}

fn written(who: usize, seq: u64) -> WriteStamp<'static> {
    stamp(u8::try_from(who).expect("there are few") + 1, seq)
}

proptest! {
    #[test]
    fn every_node_lists_the_same_in_the_same_order_whatever_way_the_cells_came(
        steps in vec(step(), 1..40),
        order in any::<prop::sample::Index>(),
    ) {
        let (entities, writes) = run(steps);
        let forth = entities.iter().fold(Entity::default(), |all, entity| merged(&all, entity));
        let back = entities.iter().rev().fold(Entity::default(), |all, entity| merged(&all, entity));
        let mut turned = writes.clone();
        if !turned.is_empty() {
            let place = order.index(turned.len());
            turned.rotate_left(place);
            turned.reverse();
        }
        let mut pushed = Entity::default();
        for write in &turned {
            merge(&mut pushed, write);
            merge(&mut pushed, write);
        }
        let listed = conflicts(&forth);
        prop_assert_eq!(&conflicts(&back), &listed);
        prop_assert_eq!(&conflicts(&pushed), &listed);
        prop_assert_eq!(count(&forth), listed.len());
        prop_assert!(listed.is_sorted_by(|one, next| one.place < next.place));
        let ids: BTreeSet<&str> = listed.iter().map(|conflict| conflict.id.as_str()).collect();
        prop_assert_eq!(ids.len(), listed.len());
    }

    /// Told from the writes alone, without any memory of fields.
    #[test]
    fn whatever_was_set_and_nobody_saw_is_shown_or_listed(steps in vec(step(), 1..40)) {
        let (entities, writes) = run(steps);
        let all = entities.iter().fold(Entity::default(), |all, entity| merged(&all, entity));
        let cells: Vec<&FieldCell> = writes.iter().flatten().collect();
        let listed = conflicts(&all);
        for cell in &cells {
            let Some(name) = cell.field.attribute().filter(|name| !is_bookkeeping(name)) else {
                continue;
            };
            let seen = cells.iter().any(|other| {
                other.field == cell.field && other.cell.seen.covers(cell.cell.dot)
            });
            let shown = all.field(&cell.field).expect("it was written").shown();
            let same = shown.value == cell.cell.value;
            let deleted = cell.cell.value == Value::Tombstone;
            if seen || same || deleted || !all.is_visible() {
                continue;
            }
            let value_is_listed = listed.iter().any(|conflict| {
                conflict.lost.replica == cell.cell.dot.replica
                    && conflict.lost.at == cell.cell.rank.time()
                    && name.starts_with(&conflict.field)
            });
            // A phone at another place in the list reads the same.
            prop_assert!(value_is_listed || name.starts_with("phones/"), "{cell:?}");
        }
    }

    #[test]
    fn a_choice_is_shown_and_settles_the_field_on_every_node(
        steps in vec(step(), 1..40), which in any::<prop::sample::Index>(),
    ) {
        let (entities, _) = run(steps);
        let all = entities.iter().fold(Entity::default(), |all, entity| merged(&all, entity));
        let listed = conflicts(&all);
        prop_assume!(!listed.is_empty());
        let chosen: &Conflict = which.get(&listed);
        for (settlement, wanted) in [
            (Settlement::Choose, &chosen.lost.value),
            (Settlement::Dismiss, &chosen.shown.value),
        ] {
            let cells = settled(&all, &chosen.id, settlement, stamp(9, 1_000)).expect("it is there");
            for node in [&all, &entities[0], &entities[1], &entities[2]] {
                let mut node = node.clone();
                merge(&mut node, &cells);
                node.merge(all.clone());
                let left = conflicts(&node);
                let same_field = |other: &&Conflict| {
                    other.field == chosen.field && other.element == chosen.element
                };
                prop_assert_eq!(left.iter().find(same_field), None);
                let others = |list: &[Conflict]| -> Vec<String> {
                    let others = list.iter().filter(|other| !same_field(other));
                    others.map(|other| other.id.clone()).collect()
                };
                prop_assert_eq!(others(&left), others(&listed));
                let cell = cells[0].field.clone();
                let shown = node.field(&cell).expect("it was written").shown();
                prop_assert_eq!(shown.value == Value::Tombstone, wanted.is_null());
                prop_assert_eq!(shown.dot, stamp(9, 1_000).dot);
                prop_assert_eq!(settled(&node, &chosen.id, settlement, stamp(9, 1_001)), None);
            }
        }
    }
}

/// A contact of which `edits` nodes edited the note, none having seen another.
fn torn(edits: u8) -> Entity {
    let mut base = Entity::default();
    put(&mut base, &json!({"name": "Ada"}), stamp(200, 1));
    let mut all = base.clone();
    for replica in 1..=edits {
        let mut here = base.clone();
        let note = format!("note {replica}");
        put(
            &mut here,
            &json!({"name": "Ada", "note": note}),
            stamp(replica, u64::from(replica)),
        );
        all.merge(here);
    }
    all
}

const NOW: Timestamp = Timestamp::from_unix_ms(10_000);

#[test]
fn two_nodes_that_trim_at_once_come_to_rest_and_keep_the_latest() {
    let whole = torn(40);
    assert_eq!(count(&whole), 39);
    let shown = Contact::read(ID, &whole).expect("it is visible");
    let trims = [201, 202].map(|replica| trim(&whole, stamp(replica, 9).dot, NOW));
    let mut nodes = [whole.clone(), whole.clone()];
    for (node, cells) in nodes.iter_mut().zip(&trims) {
        merge(node, cells);
        assert_eq!(count(node), MAX_CONFLICTS_PER_FIELD);
        assert_eq!(trim(node, stamp(201, 10).dot, NOW), []);
    }
    let [one, other] = nodes;
    let (forth, back) = (merged(&one, &other), merged(&other, &one));
    assert_eq!(forth, back);
    assert_eq!(
        conflicts(&forth),
        conflicts(&whole)[..MAX_CONFLICTS_PER_FIELD]
    );
    assert_eq!(trim(&forth, stamp(201, 11).dot, NOW), []);
    let after = Contact::read(ID, &forth).expect("it is visible");
    assert_eq!(after.note, shown.note);
    assert_eq!(after.updated_at, shown.updated_at, "nobody edited it");
    // What was trimmed does not come back with a node that still holds it.
    assert_eq!(merged(&forth, &whole), forth);
    // The next edit takes the markers along.
    let mut edited = forth;
    put(
        &mut edited,
        &json!({"name": "Ada", "note": "settled"}),
        stamp(203, 99),
    );
    assert_eq!(count(&edited), 0);
    let note = FieldKey::Attribute("note".to_owned());
    assert_eq!(
        edited.field(&note).expect("it was written").cells().count(),
        1
    );
}

#[test]
fn conflicts_beyond_their_age_are_trimmed_and_younger_ones_stay() {
    let whole = torn(4);
    let at = |note: u64| Timestamp::from_unix_ms(1_000 + note + MAX_CONFLICT_AGE_MS);
    assert_eq!(trim(&whole, stamp(201, 1).dot, at(1)), []);
    let mut node = whole.clone();
    let cells = trim(&whole, stamp(201, 1).dot, at(3));
    merge(&mut node, &cells);
    let kept: Vec<Json> = conflicts(&node)
        .into_iter()
        .map(|conflict| conflict.lost.value)
        .collect();
    assert_eq!(kept, [json!("note 3")]);
}

#[test]
fn trimming_brings_no_deleted_contact_back_and_beats_no_unseen_edit() {
    let whole = torn(40);
    let trimming = trim(&whole, stamp(201, 1).dot, NOW);
    let mut deleted = whole.clone();
    let cells = contact_edit::delete(&deleted, stamp(202, 1).dot);
    merge(&mut deleted, &cells);
    merge(&mut deleted, &trimming);
    assert!(!deleted.is_visible());
    let mut edited = whole;
    put(
        &mut edited,
        &json!({"name": "Ada", "note": "later"}),
        stamp(202, 41),
    );
    merge(&mut edited, &trimming);
    let contact = Contact::read(ID, &edited).expect("it is visible");
    assert_eq!(contact.note.as_deref(), Some("later"));
    assert_eq!(contact.conflicts, 0);
}

/// An edit posted for a client that had not seen the replica's earlier write: a context that covers the later
/// write covers the earlier one as well.
#[test]
fn what_could_only_be_trimmed_with_something_that_is_kept_is_kept() {
    let mut entity = Entity::default();
    put(&mut entity, &json!({"name": "Ada"}), stamp(200, 1));
    let note = |replica: u8, seq: u64, rank_ms: u64| FieldCell {
        field: FieldKey::Attribute("note".to_owned()),
        cell: Cell {
            rank: Rank::at(Timestamp::from_unix_ms(rank_ms)),
            dot: stamp(replica, seq).dot,
            seen: CausalContext::default(),
            value: Value::Bytes(format!("{replica}/{seq}").into_bytes()),
        },
    };
    let now = Timestamp::from_unix_ms(3 * MAX_CONFLICT_AGE_MS);
    let fresh = now.unix_ms() - 1;
    // Shown and kept; old, of the same replicas, before and after; old, of another.
    let cells = [
        note(1, 3, fresh),
        note(2, 3, fresh - 1),
        note(1, 2, 5),
        note(1, 7, 6),
        note(2, 9, 7),
        note(3, 1, 8),
    ];
    merge(&mut entity, &cells);
    let trimming = trim(&entity, stamp(2, 20).dot, now);
    merge(&mut entity, &trimming);
    let left: Vec<Json> = conflicts(&entity)
        .into_iter()
        .map(|conflict| conflict.lost.value)
        .collect();
    assert_eq!(left, [json!("2/3"), json!("2/9"), json!("1/7")]);
    assert_eq!(
        Contact::read(ID, &entity).expect("visible").note.as_deref(),
        Some("1/3")
    );
    assert_eq!(trim(&entity, stamp(2, 21).dot, now), []);
}

/// Its tombstone is collected, by each node in its own time.
#[test]
fn a_deletion_that_lost_is_listed_by_some_nodes_and_not_by_others() {
    let mut here = Entity::default();
    let with_phone = json!({"name": "Ada", "phones": [{"id": "home", "number": "1"}]});
    put(&mut here, &with_phone, stamp(1, 1));
    let mut there = here.clone();
    put(&mut there, &json!({"name": "Ada"}), stamp(2, 5));
    let changed = json!({"name": "Ada", "phones": [{"id": "home", "number": "2"}]});
    put(&mut here, &changed, stamp(3, 9));
    here.merge(there);
    assert_eq!((conflicts(&here), count(&here)), (Vec::new(), 0));
}

#[test]
fn the_same_value_written_twice_apart_is_no_conflict() {
    let mut base = Entity::default();
    put(&mut base, &json!({"name": "Ada"}), stamp(1, 1));
    let (mut here, mut there) = (base.clone(), base);
    put(&mut here, &json!({"name": "Ada", "note": "n"}), stamp(2, 2));
    put(
        &mut there,
        &json!({"name": "Ada", "note": "n"}),
        stamp(3, 3),
    );
    here.merge(there);
    assert_eq!(conflicts(&here), []);
    assert_eq!(count(&here), 0);
}

#[test]
fn the_parts_of_a_name_and_of_an_address_are_conflicts_in_the_shape_that_is_shown() {
    let mut here = Entity::default();
    let ada = |given: &str, street: &str| {
        json!({"name": "Ada", "name_parts": {"given": given, "family": "L"},
            "addresses": [{"id": "home", "street": street}]})
    };
    put(&mut here, &ada("Ada", "1"), stamp(1, 1));
    let mut there = here.clone();
    put(&mut here, &ada("Augusta", "2"), stamp(2, 5));
    put(&mut there, &ada("A.", "3"), stamp(3, 9));
    let found = conflicts(&merged(&here, &there));
    let lost: Vec<(&str, Option<&str>, &Json)> = found
        .iter()
        .map(|it| (it.field.as_str(), it.element.as_deref(), &it.lost.value))
        .collect();
    let address = json!({"label": null, "po_box": null, "extended": null, "street": "2", "locality": null,
        "region": null, "postal_code": null, "country": null});
    let name = json!({"family": "L", "given": "Augusta", "additional": null, "prefix": null, "suffix": null});
    assert_eq!(
        lost,
        [
            ("addresses", Some("home"), &address),
            ("name_parts", None, &name)
        ]
    );
}
