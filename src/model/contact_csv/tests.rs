//! Files as programs write them, and as nobody should.

use std::io::BufReader;

use grapevine_crdt::{Dot, Entity, ReplicaId, Seq, Timestamp};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::*;
use crate::model::ElementKind as Kind;
use crate::model::{
    Card, Contact, ContactDraft, RejectedCard, Source, WriteStamp, contact_edit, vcard_edit,
};

fn wrong(text: &str) -> String {
    let found = check_csv(text.as_bytes()).expect("memory can be read");
    found.expect_err("it is no CSV").to_string()
}

fn read(text: &str, map: &str) -> Result<Vec<Result<Card, RejectedCard>>, InvalidCsv> {
    let shape = check_csv(text.as_bytes()).expect("memory can be read")?;
    let map = ColumnMap::read(map).expect("a map");
    let bytes = BufReader::with_capacity(7, text.as_bytes());
    let mut reader = RowReader::new(RowReader::decoded(bytes, None), shape, &map)?;
    let mut rows = Vec::new();
    while let Some(row) = reader.next().expect("memory can be read") {
        rows.push(row);
    }
    Ok(rows)
}

fn one(text: &str) -> Card {
    let mut rows = read(text, "").expect("it is CSV");
    assert_eq!(rows.len(), 1);
    rows.remove(0).expect("it can be taken")
}

fn stamp() -> WriteStamp<'static> {
    WriteStamp {
        dot: Dot::new(ReplicaId::from_bytes([1; 16]), Seq::new(1)),
        time: Timestamp::from_unix_ms(1),
        collected: None,
        region: None,
    }
}

#[test]
fn a_misplaced_quote_is_found_where_it_is() {
    assert_eq!(
        wrong("Name,Notes\nAda,\"a\nb\nEve,c\n"),
        "line 2, column 5: the quote that opens here is never closed"
    );
    assert!(wrong("Name\n\"Ada\" L\n").starts_with("line 2, column 5: "));
    assert!(wrong("Name\nAd\u{e9}\"x\n").starts_with("line 2, column 4: "));
    assert!(wrong("").contains("empty"));
    let long = format!("Name\nAda\n{}", "x".repeat(MAX_CSV_ROW_BYTES + 1));
    assert!(wrong(&long).starts_with("line 3, column 1: "));
    check_csv(&b"Name\n\"a \"\"b\"\", c\"\n"[..])
        .expect("memory can be read")
        .expect("it is CSV");
}

#[test]
fn rows_of_another_width_and_of_nobody_are_told_by_their_lines() {
    let rows = read("Name,Phone\nAda\n,\nEve,\n\"a\nb\",1\nx,1,2\n", "").expect("it is CSV");
    let problems: Vec<Option<&str>> = rows
        .iter()
        .map(|row| row.as_ref().err().map(|row| row.problem.as_str()))
        .collect();
    assert_eq!(
        problems[0],
        Some("line 2 has 1 columns, and the header has 2")
    );
    assert!(
        problems[1]
            .expect("a problem")
            .starts_with("line 3 names nobody")
    );
    assert_eq!(problems[2], None);
    assert_eq!(
        problems[4],
        Some("line 7 has 3 columns, and the header has 2")
    );
    let nobody = read("Notes,Birthday\na,\n", "").expect_err("nobody is named");
    assert!(
        nobody.to_string().contains("no column of the header"),
        "{nobody}"
    );
    let bad = b"Name\n\xff\n";
    let shape = check_csv(&bad[..]).expect("memory").expect("it is CSV");
    let decoded = RowReader::decoded(&bad[..], None);
    let mut reader = RowReader::new(decoded, shape, &ColumnMap::default()).expect("a header");
    let row = reader.next().expect("memory").expect("a row");
    assert!(
        row.expect_err("not UTF-8")
            .problem
            .starts_with("line 2, column 1 (Name)")
    );
}

#[test]
fn the_columns_of_google_are_known() {
    let card = one(
        "First Name,Middle Name,Last Name,Labels,E-mail 1 - Label,E-mail 1 - Value,Phone 1 - Label,Phone 1 - Value,\
         Address 1 - Formatted,Address 1 - Street,Organization Name,Birthday,Website 1 - Type,Website 1 - Value\n\
         Ada,,Lovelace,* myContacts ::: Friends,* Home,ada@example.org,Mobile,1 ::: 2,\"St James's\nLondon\",x,Engines,1815-12-10,Blog,https://a.example/\n",
    );
    assert_eq!(card.draft.name, "Ada Lovelace");
    let parts = card.draft.name_parts.as_ref().expect("parts of the name");
    assert_eq!(parts.family.as_deref(), Some("Lovelace"));
    assert_eq!(parts.given.as_deref(), Some("Ada"));
    assert_eq!(parts.additional, None);
    let groups: Vec<&String> = card.draft.groups.iter().collect();
    assert_eq!(groups, ["Friends", "myContacts"]);
    assert_eq!(card.draft.emails[0].label.as_deref(), Some("Home"));
    let numbers: Vec<&str> = card
        .draft
        .phones
        .iter()
        .map(|it| it.content.as_str())
        .collect();
    assert_eq!(numbers, ["1", "2"]);
    let url = &card.draft.urls[0];
    assert_eq!(
        (url.label.as_deref(), url.content.as_str()),
        (Some("Blog"), "https://a.example/")
    );
    assert_eq!(card.draft.address, None, "its parts say it better");
    let shown = Kind::Address.shown(None, &card.draft.addresses[0].content);
    assert_eq!(
        (&shown["street"], &shown["locality"]),
        (&json!("x"), &Value::Null)
    );
    assert_eq!(card.draft.birthday.as_deref(), Some("1815-12-10"));
    assert_eq!(card.rejected, []);
}

#[test]
fn the_columns_of_outlook_are_known_and_what_cannot_be_taken_is_told() {
    let card = one(
        "Title;First Name;Last Name;Suffix;Company;Job Title;Business Street;Business City;Home City;Business Phone;\
         Home Fax;E-mail Address;Birthday;Categories;Anniversary;Web Page\n\
         Mr.;Michael;Angstadt;Jr.;TheCompany;Manager;222 Broadway;New York;Albany;(111) 555-1111;2;m@example.org;\
         3/10/1922;Friends;0/0/00;http://m.example\n",
    );
    assert_eq!(card.draft.name, "Mr. Michael Angstadt Jr.");
    let parts = card.draft.name_parts.as_ref().expect("parts of the name");
    assert_eq!(parts.prefix.as_deref(), Some("Mr."));
    assert_eq!(parts.suffix.as_deref(), Some("Jr."));
    assert_eq!(card.draft.title.as_deref(), Some("Manager"));
    let addresses = card.draft.addresses.iter();
    let addresses =
        addresses.map(|it| Value::Object(Kind::Address.shown(it.label.as_deref(), &it.content)));
    let addresses: Vec<Value> = addresses.collect();
    assert_eq!(
        (
            &addresses[0]["label"],
            &addresses[0]["street"],
            &addresses[0]["locality"]
        ),
        (&json!("work"), &json!("222 Broadway"), &json!("New York"))
    );
    assert_eq!(
        (&addresses[1]["label"], &addresses[1]["locality"]),
        (&json!("home"), &json!("Albany"))
    );
    assert_eq!(card.draft.phones[0].label.as_deref(), Some("work"));
    assert_eq!(card.draft.phones[1].label.as_deref(), Some("home fax"));
    assert_eq!(card.draft.urls[0].content, "http://m.example");
    let told: Vec<&str> = card
        .rejected
        .iter()
        .map(|it| it.property.as_str())
        .collect();
    assert_eq!(told, ["Birthday"]);
}

#[test]
fn a_map_says_what_columns_mean() {
    let rows = read(
        "Nom,Tel,Notes\nAda,1,x\n",
        "Nom=name;Tel=phone:home;Notes=-",
    )
    .expect("CSV");
    let card = rows[0].as_ref().expect("it can be taken");
    assert_eq!((card.draft.name.as_str(), &card.draft.note), ("Ada", &None));
    assert_eq!(card.draft.phones[0].label.as_deref(), Some("home"));
    let missing = read("Name\nAda\n", "Nom=name").expect_err("there is no such column");
    assert!(missing.to_string().contains("\"nom\""), "{missing}");
    for bad in ["Nom", "Nom=nom", "Nom=name:x"] {
        assert!(ColumnMap::read(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_same_row_has_one_id_and_a_row_with_an_id_has_that() {
    let id = |text: &str| one(text).id;
    assert_eq!(
        id("Name,Notes\nAda,x\n"),
        id("Name,Other,Notes\n\"Ada\",,x\n")
    );
    assert_ne!(id("Name,Notes\nAda,x\n"), id("Name,Notes\nAda,y\n"));
    assert_eq!(id("Id,Name\nada,Ada\n"), "ada");
    assert_eq!(id("Id,Name\na b,Ada\n"), id("Id,Name\na b,Eve\n"));
}

fn text() -> impl Strategy<Value = String> {
    "[a-zé,;\"\n+=0-9 ]{1,20}".prop_filter_map("blank", |text| {
        let text = text.trim().replace('\n', " ");
        (!text.is_empty()).then_some(text)
    })
}

proptest! {
    #[test]
    fn a_contact_is_another_after_a_way_through_csv(
        name in text(),
        scalars in vec(prop::option::of(text()), 4),
        parts in vec(prop::option::of(text()), 5),
        phones in vec((prop::option::of(text()), text()), 0..8),
        emails in vec((prop::option::of(text()), text()), 0..3),
        urls in vec((prop::option::of(text()), text()), 0..7),
        addresses in vec((prop::option::of(text()), vec(prop::option::of(text()), 6), text()), 0..6),
        groups in vec(text(), 0..3),
    ) {
        let elements = |list: &[(Option<String>, String)], content: &str| -> Vec<Value> {
            list.iter().map(|(label, text)| json!({"label": label, content: text})).collect()
        };
        let addresses = addresses.iter().map(|(label, parts, street)| json!({
            "label": label, "street": street, "locality": parts[0], "region": parts[1], "postal_code": parts[2],
            "country": parts[3], "po_box": parts[4], "extended": parts[5],
        }));
        let addresses: Vec<Value> = addresses.collect();
        let contact = json!({
            "name": name, "name_parts": {"family": parts[0], "given": parts[1], "additional": parts[2], "prefix": parts[3],
            "suffix": parts[4]}, "organization": scalars[0], "title": scalars[1], "address": scalars[2], "note": scalars[3],
            "phones": elements(&phones, "number"), "emails": elements(&emails, "address"),
            "urls": elements(&urls, "url"), "addresses": addresses, "groups": groups,
        });
        let draft = ContactDraft::from_json(None, &contact).expect("a contact");
        let mut entity = Entity::default();
        for cell in contact_edit::put(&entity, &draft, stamp()).0 {
            entity.merge_cell(cell);
        }
        let file = [csv_header(), export_row("ada", &entity).expect("it is visible")].concat();
        let card = one(core::str::from_utf8(&file).expect("UTF-8"));
        let source = Source::default().and(&card);
        let mut there = Entity::default();
        for cell in vcard_edit::import(&there, &card, source, stamp()).expect("it fits").0 {
            there.merge_cell(cell);
        }
        assert_eq!(Contact::read("ada", &there), Contact::read("ada", &entity));
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(Ok(shape)) = check_csv(&bytes[..]) {
            let file = [b"Name,Phone\n", &bytes[..]].concat();
            let decoded = RowReader::decoded(&file[..], None);
            let mut reader = RowReader::new(decoded, shape, &ColumnMap::default());
            while let Ok(Ok(Some(_))) = reader.as_mut().map(RowReader::next) {}
        }
    }
}
