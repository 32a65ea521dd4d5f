//! The laws of edits of contacts, as properties.

use grapevine_crdt::{Dot, Entity, FieldCell, FieldKey, ReplicaId, Seq, Timestamp, VersionVector};
use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};

use super::{Change, Contact, ContactDraft, Region, WriteStamp, contact_edit};

const ID: &str = "ada";

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
        entity.merge_cell(cell.clone());
    }
}

fn draft(json: &Value) -> ContactDraft {
    ContactDraft::from_json(Some(ID), json).expect("the strategies stay within the bounds")
}

fn put(entity: &mut Entity, json: &Value, stamp: WriteStamp<'_>) -> Change {
    let (cells, change) = contact_edit::put(entity, &draft(json), stamp);
    assert!(cells.iter().all(|cell| cell.cell.dot == stamp.dot));
    merge(entity, &cells);
    change
}

fn read(entity: &Entity) -> Value {
    let contact = Contact::read(ID, entity).expect("it is visible");
    serde_json::to_value(contact).expect("a contact is JSON")
}

/// What was asked for, as it is shown: without the ids that are the server's.
fn shown(contact: &Value) -> Value {
    let mut shown = json!({});
    for field in [
        "name",
        "name_parts",
        "organization",
        "title",
        "note",
        "groups",
    ] {
        shown[field] = contact[field].clone();
    }
    for (list, content) in [("phones", "number"), ("emails", "address"), ("urls", "url")] {
        let items = contact[list].as_array().cloned().unwrap_or_default();
        let bare = |item: Value| json!({"label": item["label"], "content": item[content]});
        shown[list] = items.into_iter().map(bare).collect();
    }
    let addresses = contact["addresses"].as_array().cloned().unwrap_or_default();
    let bare = |item: Value| json!([item["label"], item["street"], item["country"]]);
    shown["addresses"] = addresses.into_iter().map(bare).collect();
    shown
}

/// Few texts, so that the same come again and elements are matched.
fn text() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "é", "Nguyễn", "x\"y"]).prop_map(str::to_owned)
}

fn items(content: &'static str) -> impl Strategy<Value = Value> {
    let item = (option::of(text()), text())
        .prop_map(move |(label, text)| json!({"label": label, content: text}));
    vec(item, 0..6).prop_map(Value::Array)
}

fn contact() -> impl Strategy<Value = Value> {
    let parts = option::of((text(), option::of(text())).prop_map(|(family, given)| {
        json!({"family": family, "given": given, "additional": null, "prefix": null, "suffix": null})
    }));
    let scalars = (
        text(),
        parts,
        option::of(text()),
        option::of(text()),
        option::of(text()),
    );
    let groups = prop::collection::btree_set(text(), 0..4);
    let addresses = (option::of(text()), text(), option::of(text())).prop_map(
        |(label, street, country)| json!({"label": label, "street": street, "country": country}),
    );
    let addresses = vec(addresses, 0..4);
    (
        scalars,
        items("number"),
        items("address"),
        items("url"),
        addresses,
        groups,
    )
        .prop_map(
            |((name, parts, organization, title, note), phones, emails, urls, addresses, groups)| {
                json!({
                    "name": name, "name_parts": parts, "organization": organization, "title": title, "note": note,
                    "phones": phones, "emails": emails, "urls": urls,
                    "addresses": addresses, "groups": groups,
                })
            },
        )
}

proptest! {
    #[test]
    fn what_is_put_is_what_is_read(puts in vec((contact(), any::<bool>()), 1..6)) {
        let mut entity = Entity::default();
        let mut seq = 0;
        for (wanted, remove_first) in puts {
            seq += 1;
            if remove_first {
                let cells = contact_edit::delete(&entity, stamp(1, seq).dot);
                merge(&mut entity, &cells);
                prop_assert!(Contact::read(ID, &entity).is_none());
                seq += 1;
            }
            let visible = entity.is_visible();
            let before = visible.then(|| read(&entity));
            let change = put(&mut entity, &wanted, stamp(1, seq));
            let after = read(&entity);
            prop_assert_eq!(shown(&after), shown(&wanted));
            prop_assert_eq!(&after["revived"], &json!(false));
            prop_assert_eq!(change == Change::Created, !visible);
            prop_assert_eq!(change == Change::Unchanged, before.as_ref() == Some(&after));
            prop_assert_eq!(put(&mut entity, &after, stamp(1, seq + 1)), Change::Unchanged);
        }
    }

    #[test]
    fn edits_of_different_fields_made_apart_both_survive(
        base in contact(), title in text(), number in text(),
    ) {
        let mut here = Entity::default();
        put(&mut here, &base, stamp(1, 1));
        let mut there = here.clone();
        let patch = |entity: &Entity, patch: &Value| {
            let current = Contact::read(ID, entity).expect("it is visible");
            ContactDraft::patched(&current, patch).expect("the patch is within the bounds")
        };
        let retitled = patch(&here, &json!({"title": format!("new {title}")}));
        let (cells, _) = contact_edit::put(&here, &retitled, stamp(2, 1));
        merge(&mut here, &cells);
        let mut phones = read(&there)["phones"].as_array().expect("phones").clone();
        phones.push(json!({"number": format!("new {number}")}));
        let dialled = patch(&there, &json!({"phones": phones}));
        let (cells, _) = contact_edit::put(&there, &dialled, stamp(3, 1));
        merge(&mut there, &cells);
        let mut merged = here.clone();
        merged.merge(there.clone());
        there.merge(here);
        prop_assert_eq!(&merged, &there);
        let contact = read(&merged);
        prop_assert_eq!(&contact["title"], &json!(format!("new {title}")));
        let numbers = contact["phones"].as_array().expect("phones");
        let last = numbers.last().expect("a phone was added");
        prop_assert_eq!(&last["number"], &json!(format!("new {number}")));
        prop_assert_eq!(&contact["conflicts"], &json!(0));
    }

    #[test]
    fn the_same_contact_made_twice_apart_is_one_without_conflicts(wanted in contact()) {
        let (mut here, mut there) = (Entity::default(), Entity::default());
        put(&mut here, &wanted, stamp(1, 1));
        put(&mut there, &wanted, stamp(2, 1));
        here.merge(there);
        let contact = read(&here);
        prop_assert_eq!(shown(&contact), shown(&wanted));
        prop_assert_eq!(&contact["conflicts"], &json!(0));
    }
}

#[test]
fn an_edit_that_the_remover_had_not_seen_brings_the_contact_back_and_says_so() {
    let mut here = Entity::default();
    put(&mut here, &json!({"name": "Ada", "note": "n"}), stamp(1, 1));
    let mut there = here.clone();
    let cells = contact_edit::delete(&here, stamp(1, 2).dot);
    merge(&mut here, &cells);
    put(
        &mut there,
        &json!({"name": "Ada", "note": "m"}),
        stamp(2, 1),
    );
    here.merge(there);
    let contact = read(&here);
    assert_eq!(contact["note"], "m");
    assert_eq!(contact["name"], "Ada");
    assert_eq!(contact["revived"], true);
    put(&mut here, &json!({"name": "Ada", "note": "m"}), stamp(1, 3));
    assert_eq!(
        read(&here)["revived"],
        false,
        "what was put is there for good"
    );
}

#[test]
fn two_values_for_one_field_are_a_conflict_that_every_node_shows() {
    let mut here = Entity::default();
    put(&mut here, &json!({"name": "Ada"}), stamp(1, 1));
    let mut there = here.clone();
    put(&mut here, &json!({"name": "Ada L."}), stamp(2, 5));
    put(&mut there, &json!({"name": "Augusta"}), stamp(3, 9));
    let ours = here.clone();
    here.merge(there.clone());
    there.merge(ours);
    assert_eq!(read(&here), read(&there));
    assert_eq!(read(&here)["name"], "Augusta");
    assert_eq!(read(&here)["conflicts"], 1);
}

#[test]
fn deleting_a_field_is_an_edit_whose_time_outlives_its_tombstone() {
    let mut entity = Entity::default();
    put(
        &mut entity,
        &json!({"name": "Ada", "note": "n"}),
        stamp(1, 1),
    );
    let before = read(&entity);
    put(&mut entity, &json!({"name": "Ada"}), stamp(1, 50));
    let after = read(&entity);
    assert_ne!(before["updated_at"], after["updated_at"]);
    assert_eq!(before["created_at"], after["created_at"]);
}

/// One node has collected the removed contact, another has not yet.
#[test]
fn a_contact_put_again_after_its_collection_shows_its_old_fields_elsewhere() {
    let mut here = Entity::default();
    put(
        &mut here,
        &json!({"name": "Ada", "note": "old"}),
        stamp(1, 1),
    );
    let removal = contact_edit::delete(&here, stamp(1, 2).dot);
    merge(&mut here, &removal);
    let mut there = here.clone();
    let collected = VersionVector::from_iter([(stamp(1, 2).dot.replica, Seq::new(2))]);
    assert!(!here.collect(&collected).is_empty());
    assert!(here.is_empty());
    let again = WriteStamp {
        collected: Some(&collected),
        ..stamp(1, 3)
    };
    let (cells, change) = contact_edit::put(&here, &draft(&json!({"name": "Bob"})), again);
    assert_eq!(change, Change::Created);
    merge(&mut here, &cells);
    merge(&mut there, &cells);
    assert_eq!(read(&there), read(&here));
    assert!(there.digested().eq(here.digested()));
    // What is held tells by itself what was seen.
    let again = WriteStamp {
        collected: Some(&collected),
        ..stamp(1, 4)
    };
    let (cells, _) = contact_edit::put(&here, &draft(&json!({"name": "Eva"})), again);
    assert!(
        cells
            .iter()
            .all(|cell| !matches!(cell.field, FieldKey::Clearing(_)))
    );
}

/// A contact that came back is edited in one field, while somebody has edited another one unseen.
#[test]
fn an_edit_of_one_field_after_a_revival_beats_a_later_edit_of_another() {
    let mut here = Entity::default();
    let old = json!({"name": "old", "note": "old", "title": "old"});
    put(&mut here, &old, stamp(1, 1));
    let (mut remover, mut elsewhere) = (here.clone(), here.clone());
    let noted = json!({"name": "old", "note": "seen", "title": "old"});
    put(&mut here, &noted, stamp(1, 2));
    let removal = contact_edit::delete(&remover, stamp(2, 3).dot);
    merge(&mut remover, &removal);
    let new = json!({"name": "new", "note": "old", "title": "old"});
    put(&mut elsewhere, &new, stamp(3, 4));
    here.merge(remover);
    assert_eq!(read(&here)["revived"], true);
    let titled = json!({"name": "old", "note": "seen", "title": "mine"});
    put(&mut here, &titled, stamp(1, 5));
    assert_eq!(read(&here)["revived"], false);
    here.merge(elsewhere);
    let contact = read(&here);
    assert_eq!(
        (&contact["name"], &contact["title"]),
        (&json!("new"), &json!("mine"))
    );
}

#[test]
fn nodes_of_two_regions_do_not_read_the_same_number_in_two_ways() {
    let region = |code: &str| Region::named(code);
    let french = WriteStamp {
        region: region("FR"),
        ..stamp(1, 1)
    };
    let mut here = Entity::default();
    let number = json!({"name": "Ada", "phones": [{"number": "01 23 45 67 89"}]});
    put(&mut here, &number, french);
    let mut there = here.clone();
    for (entity, code, replica) in [(&mut here, "FR", 1), (&mut there, "US", 2)] {
        let edited = WriteStamp {
            region: region(code),
            ..stamp(replica, 2)
        };
        let current = Contact::read(ID, entity).expect("it is visible");
        let patch = json!({ "note": code });
        let patched = ContactDraft::patched(&current, &patch).expect("a patch");
        let (cells, _) = contact_edit::put(entity, &patched, edited);
        assert_eq!(cells.len(), 1, "only the note is written on {code}");
        merge(entity, &cells);
    }
    let met = here.clone();
    here.merge(there.clone());
    there.merge(met);
    assert_eq!(read(&here), read(&there));
    assert_eq!(read(&here)["phones"][0]["e164"], "+33123456789");
    let same_time_there = WriteStamp {
        region: region("US"),
        ..stamp(2, 1)
    };
    let (mut apart, mut other) = (Entity::default(), Entity::default());
    put(&mut apart, &number, french);
    put(&mut other, &number, same_time_there);
    let held = apart.clone();
    apart.merge(other.clone());
    other.merge(held);
    assert_eq!(read(&apart), read(&other));
}
