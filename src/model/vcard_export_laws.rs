//! What is exported and imported anew is the same contact.

use std::{fs, path::Path};

use grapevine_crdt::{Dot, Entity, ReplicaId, Seq, Timestamp};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::{
    Card, CardFile, CardVersion, Contact, ContactDraft, Source, WriteStamp, contact_edit,
    export_card, vcard_edit,
};

const VERSIONS: [CardVersion; 2] = [CardVersion::V3, CardVersion::V4];

fn stamp() -> WriteStamp<'static> {
    WriteStamp {
        dot: Dot::new(ReplicaId::from_bytes([1; 16]), Seq::new(1)),
        time: Timestamp::from_unix_ms(1),
        collected: None,
        region: None,
    }
}

fn imported(card: &Card) -> Entity {
    let source = Source::default().and(card);
    let mut entity = Entity::default();
    let (cells, _) = vcard_edit::import(&entity, card, source, stamp()).expect("it fits");
    for cell in cells {
        entity.merge_cell(cell);
    }
    entity
}

fn cards(bytes: &[u8]) -> Vec<Card> {
    let file = CardFile::read(bytes, None, 100).expect("cards");
    file.cards.into_iter().filter_map(Result::ok).collect()
}

fn shown(id: &str, entity: &Entity) -> Value {
    serde_json::to_value(Contact::read(id, entity).expect("it is visible")).expect("JSON")
}

fn lines(text: &str) -> Vec<String> {
    let unfolded = text.replace("\r\n ", "");
    let mut lines: Vec<String> = unfolded.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Exports, imports into nothing, and looks for what is not the same.
fn check(id: &str, entity: &Entity) {
    let before = shown(id, entity);
    for version in VERSIONS {
        let text = export_card(id, entity, version).expect("it is visible");
        assert!(text.split("\r\n").all(|line| line.len() <= 75), "{text}");
        let cards = cards(text.as_bytes());
        assert_eq!(cards.len(), 1, "{text}");
        assert_eq!(cards[0].rejected, [], "{text}");
        assert_eq!(cards[0].id, id, "{text}");
        let there = imported(&cards[0]);
        let mut after = shown(id, &there);
        // A line may say in another version what only a field says then, and the other way round.
        after["vcard"] = before["vcard"].clone();
        for time in ["created_at", "updated_at"] {
            after[time] = before[time].clone();
        }
        assert_eq!(after, before, "{text}");
        // From then on it stays as it is written.
        let again = export_card(id, &there, version).expect("it is visible");
        let there = imported(&self::cards(again.as_bytes())[0]);
        let third = export_card(id, &there, version).expect("it is visible");
        assert_eq!(lines(&third), lines(&again));
    }
}

fn real_cards() -> Vec<(String, Card)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/vcards");
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("the test data is there") {
        let path = entry.expect("the directory can be read").path();
        if path.extension().is_some_and(|extension| extension == "vcf") {
            let bytes = fs::read(&path).expect("the file can be read");
            found.extend(cards(&bytes).into_iter().map(|card| {
                let version = card.kept.first().map(|kept| kept.version.clone());
                (version.unwrap_or_default(), card)
            }));
        }
    }
    found
}

#[test]
fn a_real_card_loses_a_property_on_the_way() {
    for (_, card) in real_cards() {
        check(&card.id, &imported(&card));
    }
}

#[test]
fn a_kept_line_of_a_real_card_is_changed_though_its_version_is_kept() {
    for (from, card) in real_cards() {
        let entity = imported(&card);
        for version in VERSIONS {
            let text = export_card(&card.id, &entity, version).expect("it is visible");
            let written = lines(&text);
            let back = cards(text.as_bytes()).remove(0);
            // Every property is still there by its name.
            for kept in &card.kept {
                let start = kept.property.clone();
                let named = |line: &String| {
                    let end = line.find([':', ';']).unwrap_or(line.len());
                    let name = line[..end].rsplit('.').next().unwrap_or_default();
                    name.eq_ignore_ascii_case(&start)
                };
                let count = |lines: &[String]| lines.iter().filter(|line| named(line)).count();
                let had = card.kept.iter().filter(|it| it.property == start).count();
                assert!(count(&written) >= had, "{start} in {text}");
                if from == version.name() && !kept.line.contains("QUOTED-PRINTABLE") {
                    let same = |other: &&super::KeptProperty| other.line == kept.line;
                    assert!(back.kept.iter().any(|other| same(&other)), "{}", kept.line);
                }
            }
        }
    }
}

#[test]
fn what_was_edited_since_is_exported_and_not_what_the_card_said() {
    let text = "BEGIN:VCARD\nVERSION:3.0\nUID:u\nFN;X-A=1:Ada\nTEL;X-A=1;TYPE=home:1\nTEL;X-A=2:2\nORG:A;B\nEND:VCARD";
    let card = cards(text.as_bytes()).remove(0);
    let mut entity = imported(&card);
    let contact = Contact::read(&card.id, &entity).expect("it is visible");
    let patch = json!({"name": "Ada L.", "phones": [{"id": contact.phones[1].id, "number": "2"}, {"number": "3"}]});
    let draft = ContactDraft::patched(&contact, &patch).expect("a patch");
    let stamp = WriteStamp {
        dot: Dot::new(ReplicaId::from_bytes([1; 16]), Seq::new(2)),
        time: Timestamp::from_unix_ms(2),
        collected: None,
        region: None,
    };
    for cell in contact_edit::put(&entity, &draft, stamp).0 {
        entity.merge_cell(cell);
    }
    check(&card.id, &entity);
    let text = export_card(&card.id, &entity, CardVersion::V4).expect("it is visible");
    let expected = [
        "BEGIN:VCARD",
        "END:VCARD",
        "FN:Ada L.",
        "ORG:A;B",
        "TEL:3",
        "TEL;X-A=2:2",
        "UID:u",
        "VERSION:4.0",
    ];
    assert_eq!(lines(&text), expected);
}

#[test]
fn the_parts_of_a_name_are_those_that_were_edited_and_not_those_of_the_card() {
    let text = "BEGIN:VCARD\nVERSION:3.0\nUID:u\nFN:Ada\nN;SORT-AS=L:Lovelace;Ada;;;\nEND:VCARD";
    let card = cards(text.as_bytes()).remove(0);
    let entity = imported(&card);
    check(&card.id, &entity);
    let current = Contact::read(&card.id, &entity).expect("it is visible");
    for (patch, line) in [
        (
            json!({"name_parts": {"given": "Augusta"}}),
            "N:Lovelace;Augusta;;;",
        ),
        (json!({"name_parts": null}), "N:;;;;"),
        (json!({"note": "x"}), "N;SORT-AS=L:Lovelace;Ada;;;"),
    ] {
        let draft = ContactDraft::patched(&current, &patch).expect("a patch");
        let stamp = WriteStamp {
            dot: Dot::new(ReplicaId::from_bytes([1; 16]), Seq::new(2)),
            time: Timestamp::from_unix_ms(2),
            collected: None,
            region: None,
        };
        let mut edited = entity.clone();
        for cell in contact_edit::put(&entity, &draft, stamp).0 {
            edited.merge_cell(cell);
        }
        check(&card.id, &edited);
        let text = export_card(&card.id, &edited, CardVersion::V3).expect("it is visible");
        let names = lines(&text)
            .into_iter()
            .filter(|line| line.starts_with('N') && !line.starts_with("NOTE"));
        assert_eq!(names.collect::<Vec<_>>(), [line]);
    }
}

/// Of an address one text was taken once, and the line kept.
#[test]
fn an_address_that_was_imported_long_ago_is_exported_in_parts_while_it_says_the_same() {
    let mut entity = made(&json!({"name": "Ada", "address": "12 Square, London"}));
    let kept = super::KeptProperty {
        order: 1,
        property: "ADR".to_owned(),
        version: "3.0".to_owned(),
        line: "ADR;TYPE=home:;;12 Square;London;;;".to_owned(),
        field: Some("address".to_owned()),
    };
    let (name, bytes) = kept.encode(0);
    let dot = Dot::new(ReplicaId::from_bytes([1; 16]), Seq::new(2));
    let map = grapevine_crdt::LwwMap::new(&entity);
    for cell in map.set(&name, &bytes, dot, Timestamp::from_unix_ms(2)) {
        entity.merge_cell(cell);
    }
    let addresses = |entity: &Entity| {
        let text = export_card("ada", entity, CardVersion::V3).expect("it is visible");
        let lines = lines(&text).into_iter();
        lines.filter(|it| it.starts_with("ADR")).collect::<Vec<_>>()
    };
    assert_eq!(addresses(&entity), [kept.line]);
    let current = Contact::read("ada", &entity).expect("it is visible");
    let draft = ContactDraft::patched(&current, &json!({"address": "13 Square"})).expect("a patch");
    let stamp = WriteStamp {
        dot: Dot::new(ReplicaId::from_bytes([1; 16]), Seq::new(3)),
        time: Timestamp::from_unix_ms(3),
        collected: None,
        region: None,
    };
    for cell in contact_edit::put(&entity, &draft, stamp).0 {
        entity.merge_cell(cell);
    }
    assert_eq!(
        addresses(&entity),
        ["ADR;X-GRAPEVINE-FIELD=address:;;13 Square;;;;"]
    );
}

#[test]
fn a_changed_card_leaves_the_old_parts_of_the_name_or_takes_an_address_away() {
    let card = |name: &str, street: &str| {
        let text = format!(
            "BEGIN:VCARD\nVERSION:3.0\nUID:u\nFN:x\nN:{name}\nADR:;;{street};;;;\nEND:VCARD"
        );
        cards(text.as_bytes()).remove(0)
    };
    let mut entity = imported(&card("Byron;Ada", "1"));
    let changed = card("Lovelace;Ada", "2");
    let stamp = WriteStamp {
        dot: Dot::new(ReplicaId::from_bytes([1; 16]), Seq::new(2)),
        time: Timestamp::from_unix_ms(2),
        collected: None,
        region: None,
    };
    let source = Source::default().and(&changed);
    let (cells, _) = vcard_edit::import(&entity, &changed, source, stamp).expect("it fits");
    for cell in cells {
        entity.merge_cell(cell);
    }
    let contact = shown(&changed.id, &entity);
    assert_eq!(contact["name_parts"]["family"], "Lovelace");
    assert_eq!(contact["addresses"][0]["street"], "1");
    assert_eq!(contact["addresses"][1]["street"], "2");
    check(&changed.id, &entity);
}

#[test]
fn quoted_printable_of_a_name_reads_as_the_text_that_it_is_exported_as() {
    for value in ["=C3=91;a\\", "\\", "a\\;b=3Bc;\\\\4-\\", "x;  y=2C  z,w;;"] {
        let text = format!(
            "BEGIN:VCARD\nVERSION:2.1\nFN:x\nN;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:{value}\nEND:VCARD"
        );
        let card = cards(text.as_bytes()).remove(0);
        assert!(card.draft.name_parts.is_some());
        check(&card.id, &imported(&card));
    }
}

#[test]
fn a_contact_of_a_name_of_its_own_finds_itself_again() {
    let entity = made(&json!({"name": "Ada"}));
    check("ada", &entity);
    let text = export_card("ada", &entity, CardVersion::V3).expect("it is visible");
    assert!(text.contains("X-GRAPEVINE-ID:ada\r\n"), "{text}");
}

fn made(json: &Value) -> Entity {
    let draft = ContactDraft::from_json(None, json).expect("a contact");
    let mut entity = Entity::default();
    for cell in contact_edit::put(&entity, &draft, stamp()).0 {
        entity.merge_cell(cell);
    }
    entity
}

/// A text that is not trimmed and not empty, as people write them and as nobody should.
fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9é,;:\\\\\"=+ .-]{1,40}".prop_filter_map("blank", |text| {
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    })
}

fn label() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        Just(None),
        prop::sample::select(vec![
            "home",
            "work fax",
            "cell",
            "Summer house",
            "pref",
            "x-a"
        ])
        .prop_map(|label| Some(label.to_owned())),
        text().prop_map(Some),
    ]
}

fn number() -> impl Strategy<Value = String> {
    text().prop_filter("a scheme is no part of it", |text| {
        let lower = text.to_lowercase();
        !lower.starts_with("tel:") && !lower.starts_with("mailto:")
    })
}

/// All parts, as they are shown, or none.
fn name_parts() -> impl Strategy<Value = Option<Value>> {
    let parts = vec(prop::option::of(text()), 5);
    prop::option::of(parts.prop_filter_map("no part", |parts| {
        let json = json!({
            "family": parts[0], "given": parts[1], "additional": parts[2], "prefix": parts[3], "suffix": parts[4],
        });
        parts.iter().any(Option::is_some).then_some(json)
    }))
}

fn postal_address() -> impl Strategy<Value = Value> {
    let lines = || vec(text(), 1..3).prop_map(|lines| lines.join("\n"));
    let parts = vec(prop::option::of(lines()), 7);
    (label(), parts).prop_filter_map("no part", |(label, parts)| {
        let json = json!({
            "label": label, "street": parts[0], "locality": parts[1], "region": parts[2], "postal_code": parts[3],
            "country": parts[4], "po_box": parts[5], "extended": parts[6],
        });
        parts.iter().any(Option::is_some).then_some(json)
    })
}

fn contact() -> impl Strategy<Value = Value> {
    let elements = || vec((label(), number()), 0..4);
    let optional = || prop::option::of(text());
    let note = prop::option::of(vec(text(), 1..4).prop_map(|lines| lines.join("\n")));
    let days = vec!["1815-12-10", "--02-29"];
    let birthday = prop::option::of(prop::sample::select(days));
    let address = prop::option::of(vec(text(), 1..3).prop_map(|lines| lines.join("\n")));
    (
        (text(), optional(), optional(), address, note, birthday),
        name_parts(),
        elements(),
        elements(),
        elements(),
        vec(postal_address(), 0..4),
        vec(text().prop_map(|text| single_spaces(&text)), 0..3),
    )
        .prop_map(|(scalars, parts, phones, emails, urls, addresses, groups)| {
            let (name, organization, title, address, note, birthday) = scalars;
            let phones: Vec<Value> = phones
                .iter()
                .map(|(label, number)| json!({"label": label, "number": number}))
                .collect();
            let emails: Vec<Value> = emails
                .iter()
                .map(|(label, address)| json!({"label": label, "address": address}))
                .collect();
            let urls: Vec<Value> = urls
                .iter()
                .map(|(label, url)| json!({"label": label, "url": url}))
                .collect();
            json!({
                "name": name, "name_parts": parts, "organization": organization, "title": title, "address": address, "note": note,
                "birthday": birthday, "phones": phones, "emails": emails, "urls": urls, "addresses": addresses,
                "groups": groups,
            })
        })
}

/// Of spaces in a row within a list, calcard 0.3 reads one, if something before them is escaped.
fn single_spaces(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// A line of a card, of whatever version.
fn line() -> impl Strategy<Value = String> {
    let heads = vec![
        "FN",
        "FN;LANGUAGE=en",
        "N",
        "N;SORT-AS=\"a,b\"",
        "N;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8",
        "N;CHARSET=UTF-8",
        "TEL",
        "TEL;TYPE=home,pref",
        "TEL;PREF=1;TYPE=\"voice,work\"",
        "TEL;HOME;FAX",
        "item1.EMAIL",
        "item1.X-ABLabel",
        "EMAIL;TYPE=INTERNET",
        "NOTE",
        "NOTE;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8",
        "TITLE;QUOTED-PRINTABLE",
        "BDAY",
        "ADR",
        "ADR;TYPE=home",
        "ADR;TYPE=work,postal,parcel",
        "item1.ADR",
        "ADR;LABEL=\"a;b\"",
        "ADR;X-GRAPEVINE-FIELD=address",
        "ADR;TYPE=work,pref",
        "ADR;HOME;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE",
        "URL",
        "URL;TYPE=home",
        "item1.URL",
        "URL;VALUE=uri;PREF=1",
        "PHOTO;ENCODING=b;TYPE=PNG",
        "PHOTO;JPEG;BASE64",
        "CATEGORIES",
        "CATEGORIES;X-A=1",
        "ORG",
        "ORG;X-A=1",
        "UID",
        "X-ANYTHING;X-B=\"a;b:c\"",
        "KIND",
        "GENDER",
        "REV",
        "LANG",
    ];
    let value = prop_oneof![
        "[a-z=;,\\\\\"é 0-9+-]{0,24}",
        Just("1815-12-10".to_owned()),
        Just("=C3=91=3B=0D=0Aa=5C".to_owned()),
        Just("https://a.example/?b=1,2;c".to_owned()),
        Just("iVBORw0KGgo=".to_owned()),
        Just("data:image/png;base64,iVBORw0KGgo=".to_owned()),
        Just("a;b;c;d;e".to_owned()),
        Just("a\\,  b;c,d;;\\n;e\\\\;f".to_owned()),
        Just("Doe;John;Richter\\, James;Mr.;Sr.".to_owned()),
        Just(";;Street 1;Town;;1234;Land".to_owned()),
        Just(";a\\nb\\, c;Street 1,2nd floor;Town;;1234;".to_owned()),
        Just(";;12\\;  Square;;;;".to_owned()),
    ];
    (prop::sample::select(heads), value).prop_map(|(head, value)| {
        let is_list = head.starts_with("CATEGORIES");
        let value = if is_list {
            single_spaces(&value)
        } else {
            value
        };
        format!("{head}:{value}\r\n")
    })
}

proptest! {
    #[test]
    fn a_contact_changes_on_its_way_through_a_card(contact in contact()) {
        check("0199a5c1-1111-7111-8111-111111111111", &made(&contact));
    }

    #[test]
    fn a_card_changes_on_its_way_through_a_node(
        version in prop::sample::select(vec!["2.1", "3.0", "4.0"]),
        lines in vec(line(), 0..12),
    ) {
        let text = format!("BEGIN:VCARD\r\nVERSION:{version}\r\nFN:x\r\n{}END:VCARD\r\n", lines.concat());
        for card in cards(text.as_bytes()) {
            check(&card.id, &imported(&card));
        }
    }
}
