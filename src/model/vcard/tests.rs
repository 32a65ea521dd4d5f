//! Cards as programs write them, and as nobody should.

use std::{fs, path::Path};

use proptest::{collection::vec, prelude::*};

use super::*;

/// Every line of every card is told of exactly once: as taken, as kept without a field, or as rejected.
fn check_account(bytes: &[u8]) -> usize {
    let Ok(file) = CardFile::read(bytes, None, 100) else {
        return 0;
    };
    let mut raw = RawCards::new(bytes, None).expect("no charset is told");
    let mut lines = 0;
    for card in &file.cards {
        let raw = raw.next().expect("memory can be read").expect("a card");
        let Ok(card) = card else { continue };
        let is_version = |line: &&Line| {
            let property = Property::read(&line.text, "3.0");
            line.problem.is_none()
                && property.is_some_and(|it| *it.name() == VCardProperty::Version)
        };
        let versions = raw.lines.iter().filter(is_version).count();
        let only_kept = card.kept.iter().filter(|kept| kept.field.is_none());
        let told = card.taken_names.len() + only_kept.count() + card.rejected.len();
        assert_eq!(told, raw.lines.len() - versions, "{card:?}");
        lines += told;
    }
    lines
}

#[test]
fn no_line_of_a_real_card_is_dropped() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/vcards");
    let mut lines = 0;
    for entry in fs::read_dir(directory).expect("the test data is there") {
        let path = entry.expect("the directory can be read").path();
        if path.extension().is_some_and(|extension| extension == "vcf") {
            lines += check_account(&fs::read(path).expect("the file can be read"));
        }
    }
    assert_eq!(lines, REAL_LINES);
}

/// How many properties but VERSION the real cards have, counted without this code.
const REAL_LINES: usize = 167;

#[test]
fn what_a_field_says_whole_is_not_kept_and_what_it_does_not_is() {
    let text = "BEGIN:VCARD\nVERSION:3.0\nFN:Ada\nTEL;TYPE=HOME:1\nTEL;TYPE=home,pref:2\nORG:A;B\nEND:VCARD";
    let file = CardFile::read(text.as_bytes(), None, 1).expect("a card");
    let card = file.cards[0].as_ref().expect("it can be taken");
    assert_eq!(card.taken_names, ["FN", "TEL", "TEL", "ORG"]);
    let kept: Vec<_> = card
        .kept
        .iter()
        .map(|kept| (kept.line.as_str(), kept.field.as_deref()))
        .collect();
    assert_eq!(
        kept,
        [
            ("TEL;TYPE=home,pref:2", Some("phones")),
            ("ORG:A;B", Some("organization"))
        ]
    );
}

#[test]
fn what_exceeds_the_bounds_is_told_and_not_dropped() {
    let photo = "A".repeat(MAX_KEPT_PROPERTY_BYTES);
    let text = format!("BEGIN:VCARD\nFN:Ada\nPHOTO;ENCODING=b:{photo}\nEND:VCARD");
    let file = CardFile::read(text.as_bytes(), None, 1).expect("a card");
    let card = file.cards[0].as_ref().expect("it can be taken");
    assert_eq!(card.rejected.len(), 1);
    assert_eq!(card.rejected[0].property, "PHOTO");
    let numbers = (0..MAX_ELEMENTS + 5).fold(String::new(), |lines, number| {
        lines + &format!("TEL:{number}\n")
    });
    let text = format!("BEGIN:VCARD\nFN:Ada\n{numbers}END:VCARD");
    let file = CardFile::read(text.as_bytes(), None, 1).expect("a card");
    let card = file.cards[0].as_ref().expect("it can be taken");
    assert_eq!(
        (card.draft.phones.len(), card.kept.len()),
        (MAX_ELEMENTS, 5)
    );
}

/// Lines as they come from programs, and as they come from nowhere.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let head = prop::sample::select(vec![
        "FN",
        "N",
        "TEL;TYPE=\"x,home\"",
        "item1.EMAIL",
        "NOTE;ENCODING=QUOTED-PRINTABLE",
        "BDAY",
        "ADR;HOME",
        "PHOTO;BASE64",
        "AGENT",
        "BEGIN",
        "END",
        "VERSION",
        "CATEGORIES",
        "UID",
        "ORG;CHARSET=Shift_JIS",
        "x.X-ABLabel",
        "TEL;;=",
        "",
        ";",
        "GENDER",
        "TZ",
        "KIND;JSCOMPS=\"s,\\\"",
        "TEL;PREF=1,2",
    ]);
    let value = prop_oneof![
        vec(any::<u8>(), 0..24),
        "[a-z=;:,\\\\\"\u{e9} 0-9-]{0,24}".prop_map(String::into_bytes),
        Just(b"VCARD".to_vec()),
        Just(b"=C3=91=".to_vec()),
    ];
    (head, any::<bool>(), value).prop_map(|(head, colon, value)| {
        [
            head.as_bytes(),
            if colon { b":" } else { b"" },
            &value,
            b"\r\n",
        ]
        .concat()
    })
}

proptest! {
    #[test]
    fn no_file_panics_and_no_line_is_dropped(lines in vec(line(), 0..12)) {
        let file = [b"BEGIN:VCARD\r\nFN:x\r\n", &lines.concat()[..], b"\r\nEND:VCARD\r\n"].concat();
        check_account(&file);
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200)) {
        check_account(&bytes);
    }
}
