//! Photos as cards have them, and as they are set: of several one is shown, and none is lost unseen.

use grapevine_crdt::{Dot, ReplicaId, Seq, Timestamp};

use super::*;
use crate::model::{
    CardFile, Contact, ContactDraft, Settlement, Source, absorb,
    contact_conflict::{conflicts, settle},
    contact_edit::put,
    contact_history::ContactVersion,
    export_card, vcard_edit,
};

const ID: &str = "ada";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\nand then some";

fn stamp(replica: u8, seq: u64) -> WriteStamp<'static> {
    WriteStamp {
        dot: Dot::new(ReplicaId::from_bytes([replica; 16]), Seq::new(seq)),
        time: Timestamp::from_unix_ms(1_000 + seq),
        collected: None,
        region: None,
    }
}

fn merge(entity: &mut Entity, cells: Vec<FieldCell>) {
    for cell in cells {
        entity.merge_cell(cell);
    }
}

fn merged(entity: &Entity, other: &Entity) -> Entity {
    let mut entity = entity.clone();
    entity.merge(other.clone());
    entity
}

fn ada() -> Entity {
    let mut entity = Entity::default();
    let draft = ContactDraft::from_json(Some(ID), &json!({"name": "Ada"})).expect("a contact");
    let cells = put(&entity, &draft, stamp(1, 1)).0;
    merge(&mut entity, cells);
    entity
}

fn set_on(entity: &mut Entity, media_type: &str, bytes: &[u8], stamp: WriteStamp<'_>) {
    let photo = NewPhoto::new(media_type, bytes).expect("a photo");
    let cells = set(entity, &photo, stamp).expect("it fits");
    merge(entity, cells);
}

fn card(lines: &str) -> String {
    format!("BEGIN:VCARD\nVERSION:3.0\nFN:Ada\nX-GRAPEVINE-ID:{ID}\n{lines}\nEND:VCARD\n")
}

fn import_on(entity: &mut Entity, text: &str, stamp: WriteStamp<'_>) {
    let file = CardFile::read(text.as_bytes(), None, 1).expect("a card");
    let card = file.cards[0].as_ref().expect("it can be taken");
    assert_eq!(card.rejected, []);
    let source = Source::default().and(card);
    let cells = vcard_edit::import(entity, card, source, stamp).expect("it fits");
    merge(entity, cells.0);
}

fn with_card(lines: &str) -> Entity {
    let mut entity = Entity::default();
    import_on(&mut entity, &card(lines), stamp(1, 1));
    entity
}

fn shown_photo(entity: &Entity) -> Value {
    let contact = Contact::read(ID, entity).expect("it is visible");
    serde_json::to_value(contact.photo).expect("a photo is JSON")
}

fn bytes_of(entity: &Entity) -> Option<(String, Vec<u8>)> {
    match content(entity)? {
        PhotoContent::Held { media_type, bytes } => Some((media_type, bytes)),
        PhotoContent::Elsewhere(_) | PhotoContent::Unreadable(_) => None,
    }
}

fn read(version: &str, line: &str) -> (Value, Option<PhotoContent>) {
    let kept = KeptProperty {
        order: 3,
        property: PROPERTY.to_owned(),
        version: version.to_owned(),
        line: line.to_owned(),
        field: None,
    };
    let mut entity = ada();
    let (name, bytes) = kept.encode(0);
    let at = stamp(1, 2);
    let cells = LwwMap::new(&entity).set(&name, &bytes, at.dot, at.time);
    merge(&mut entity, cells);
    (shown_photo(&entity), content(&entity))
}

#[test]
fn a_photo_that_some_program_writes_is_not_read() {
    let png = BASE64_STANDARD.encode(PNG);
    let bare = png.trim_end_matches('=').to_owned();
    for (version, line, media_type) in [
        ("2.1", format!("PHOTO;PNG;BASE64:{png}"), "image/png"),
        (
            "2.1",
            format!("PHOTO;ENCODING=BASE64;JPEG:{png}"),
            "image/jpeg",
        ),
        (
            "3.0",
            format!("PHOTO;ENCODING=b;TYPE=GIF:{png}"),
            "image/gif",
        ),
        (
            "3.0",
            format!("PHOTO;ENCODING=b;TYPE=pref,image/webp:{png}"),
            "image/webp",
        ),
        (
            "3.0",
            format!("PHOTO;ENCODING=b;MEDIATYPE=\"image/avif\":{png}"),
            "image/avif",
        ),
        // Nobody says the type.
        ("3.0", format!("PHOTO;ENCODING=b:{png}"), "image/png"),
        ("3.0", format!("PHOTO:{png}"), "image/png"),
        ("3.0", format!("PHOTO;ENCODING=b:{bare}"), "image/png"),
        (
            "3.0",
            format!("item1.PHOTO;ENCODING=b:{} {}", &png[..8], &png[8..]),
            "image/png",
        ),
        (
            "4.0",
            format!("PHOTO:data:image/jpeg;base64,{png}"),
            "image/jpeg",
        ),
        (
            "4.0",
            format!("PHOTO;PREF=1:DATA:Image/SVG+xml;charset=utf-8;base64,{png}"),
            "image/svg+xml",
        ),
        (
            "3.0",
            format!("PHOTO;VALUE=uri:data:image/gif\\;base64\\,{png}"),
            "image/gif",
        ),
        (
            "4.0",
            format!("PHOTO;MEDIATYPE=image/avif:data:;base64,{png}"),
            "image/avif",
        ),
        // No other type than that of an image is believed.
        (
            "4.0",
            format!("PHOTO:data:text/html;base64,{png}"),
            "image/png",
        ),
    ] {
        let (shown, held) = read(version, &line);
        let wanted =
            json!({"media_type": media_type, "bytes": PNG.len(), "href": "/v1/contacts/ada/photo"});
        assert_eq!(shown, wanted, "{line}");
        let wanted = PhotoContent::Held {
            media_type: media_type.to_owned(),
            bytes: PNG.to_vec(),
        };
        assert_eq!(held, Some(wanted), "{line}");
    }
    let html = BASE64_STANDARD.encode("<script>alert(1)</script>");
    let (shown, _) = read("4.0", &format!("PHOTO:data:text/html;base64,{html}"));
    assert_eq!(shown["media_type"], "application/octet-stream");
}

#[test]
fn a_photo_on_the_web_is_told_by_where_it_is() {
    for (version, line) in [
        ("2.1", "PHOTO;VALUE=URL:https://a.example/a.png"),
        (
            "2.1",
            "PHOTO;VALUE=URL;ENCODING=QUOTED-PRINTABLE:https=3A//a.example/a.png",
        ),
        ("3.0", "PHOTO;VALUE=uri:https://a.example/a.png"),
        ("4.0", "PHOTO:https://a.example/a.png"),
    ] {
        let uri = "https://a.example/a.png".to_owned();
        let (shown, held) = read(version, line);
        assert_eq!(shown, json!({"uri": uri}), "{line}");
        assert_eq!(held, Some(PhotoContent::Elsewhere(uri)), "{line}");
    }
}

#[test]
fn a_photo_that_cannot_be_read_is_not_there_without_a_word() {
    for (line, why) in [
        ("PHOTO;ENCODING=b;TYPE=PNG:AAAA*", "base64"),
        ("PHOTO;ENCODING=b;TYPE=PNG:AAAAA", "base64"),
        ("PHOTO;ENCODING=b;TYPE=PNG:AA=A", "base64"),
        ("PHOTO;ENCODING=b;TYPE=PNG:=", "base64"),
        ("PHOTO;ENCODING=b;TYPE=PNG:", "empty"),
        ("PHOTO:data:image/png;base64,", "empty"),
        ("PHOTO:data:image/png,abc", "not base64"),
        ("PHOTO:data:image/png", "comma"),
        ("PHOTO;VALUE=uri:javascript:alert(1)", "scheme"),
        ("PHOTO;VALUE=uri:file:///etc/passwd", "scheme"),
        ("PHOTO:mine", "scheme"),
        ("PHOTO:https://a.example/\\n", "control"),
        (
            &format!("PHOTO:https://a.example/{}", "a".repeat(2_048)),
            "too long",
        ),
        ("PHOTO:\u{e9}\u{e9}\u{e9}", "scheme"),
    ] {
        let (shown, held) = read("4.0", line);
        let problem = shown["problem"].as_str().unwrap_or_default().to_owned();
        assert!(problem.contains(why), "{line}: {shown}");
        assert_eq!(held, Some(PhotoContent::Unreadable(problem)), "{line}");
    }
}

#[test]
fn of_several_the_first_that_can_be_read_is_shown_and_one_that_was_set_before_all() {
    let mut entity = with_card(
        "PHOTO;ENCODING=b:broken*\nPHOTO;ENCODING=b;TYPE=GIF:AAAA\nPHOTO:https://a.example/",
    );
    assert_eq!(shown_photo(&entity)["media_type"], "image/gif");
    let mut other = entity.clone();
    set_on(&mut other, "image/png", PNG, stamp(2, 1));
    assert_eq!(photos(&other).collect::<Vec<_>>(), [PHOTO]);
    // A card that comes meanwhile brings one of its own, which is exported too.
    let text = card("NOTE:new\nPHOTO;ENCODING=b;TYPE=JPEG:BBBB");
    import_on(&mut entity, &text, stamp(1, 2));
    let both = merged(&entity, &other);
    assert_eq!(both, merged(&other, &entity));
    assert_eq!(shown_photo(&both)["media_type"], "image/png");
    assert_eq!(photos(&both).count(), 2);
    let text = export_card(ID, &both, CardVersion::V3).expect("it is visible");
    let mut back = Entity::default();
    import_on(&mut back, &text, stamp(3, 1));
    assert_eq!(shown_photo(&back), shown_photo(&both));
}

#[test]
fn what_was_set_is_exported_as_each_version_writes_it_and_what_came_as_it_came() {
    let png = BASE64_STANDARD.encode(PNG);
    let exported = |entity: &Entity, version| {
        let text = export_card(ID, entity, version).expect("it is visible");
        let text = text.replace("\r\n ", "");
        let photos = text.lines().filter(|line| line.contains("PHOTO"));
        photos.map(str::to_owned).collect::<Vec<_>>()
    };
    let came = "PHOTO;ENCODING=BASE64;X-MINE=1;TYPE=jpeg:/9j/AAAA";
    let mut entity = with_card(came);
    assert_eq!(exported(&entity, CardVersion::V3), [came]);
    set_on(&mut entity, "image/png", PNG, stamp(1, 2));
    let three = format!("PHOTO;ENCODING=b;TYPE=PNG:{png}");
    assert_eq!(exported(&entity, CardVersion::V3), [three]);
    let four = format!("PHOTO:data:image/png;base64,{png}");
    assert_eq!(exported(&entity, CardVersion::V4), [four]);
    // A type without a name in vCard 3.0 comes back too.
    set_on(&mut entity, "image/x.odd+one", PNG, stamp(1, 3));
    for version in [CardVersion::V3, CardVersion::V4] {
        let text = export_card(ID, &entity, version).expect("it is visible");
        let mut back = Entity::default();
        import_on(&mut back, &text, stamp(2, 1));
        assert_eq!(bytes_of(&back), bytes_of(&entity), "{text}");
    }
}

#[test]
fn two_who_set_a_photo_at_once_end_with_two_or_lose_one() {
    let (mut one, mut two) = (ada(), ada());
    set_on(&mut one, "image/png", b"one", stamp(2, 1));
    set_on(&mut two, "image/gif", b"two", stamp(3, 2));
    let both = merged(&one, &two);
    assert_eq!(both, merged(&two, &one));
    assert_eq!(photos(&both).count(), 1);
    assert_eq!(bytes_of(&both), bytes_of(&two));
    let found = conflicts(&both);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].field.as_str(), &found[0].element), (FIELD, &None));
    let value = |media_type: &str, bytes: &[u8]| {
        let data = BASE64_STANDARD.encode(bytes);
        let uri = format!("data:{media_type};base64,{data}");
        json!({"media_type": media_type, "bytes": bytes.len(), "uri": uri})
    };
    assert_eq!(found[0].lost.value, value("image/png", b"one"));
    assert_eq!(found[0].shown.value, value("image/gif", b"two"));
    let at = stamp(1, 9);
    let cells = settle(&both, &found[0].id, Settlement::Choose, at.dot, at.time);
    let mut chosen = both.clone();
    merge(&mut chosen, cells.expect("there is such a conflict"));
    assert_eq!(bytes_of(&chosen), bytes_of(&one));
    assert_eq!(conflicts(&chosen), []);
    // The same photo twice is no conflict.
    let mut same = ada();
    set_on(&mut same, "image/gif", b"two", stamp(4, 3));
    assert_eq!(conflicts(&merged(&same, &two)), []);
}

#[test]
fn a_removal_takes_an_unseen_photo_away_without_a_trace() {
    let mut one = ada();
    set_on(&mut one, "image/png", b"one", stamp(1, 2));
    let mut two = one.clone();
    set_on(&mut one, "image/png", b"new", stamp(2, 3));
    let cells = remove(&two, stamp(3, 4)).expect("it has one");
    merge(&mut two, cells);
    assert_eq!(
        (shown_photo(&two), remove(&two, stamp(3, 5))),
        (Value::Null, None)
    );
    let both = merged(&one, &two);
    assert_eq!(shown_photo(&both), Value::Null);
    let found = conflicts(&both);
    assert_eq!(found.len(), 1);
    assert!(found[0].shown.deleted);
    assert_eq!(found[0].lost.value["bytes"], 3);
}

#[test]
fn an_edit_of_other_fields_or_a_card_without_one_removes_the_photo() {
    let mut entity = ada();
    set_on(&mut entity, "image/png", PNG, stamp(1, 2));
    let photo = shown_photo(&entity);
    for json in [
        json!({"name": "Ada", "note": "new"}),
        json!({"name": "Ada", "photo": null}),
        json!({"name": "Ada", "photo": {"uri": "https://a.example/"}}),
    ] {
        let draft = ContactDraft::from_json(Some(ID), &json).expect("a contact");
        let cells = put(&entity, &draft, stamp(1, 3)).0;
        merge(&mut entity, cells);
        assert_eq!(shown_photo(&entity), photo);
    }
    import_on(&mut entity, &card("X-LIKES:figs"), stamp(1, 4));
    assert_eq!(shown_photo(&entity), photo);
    import_on(&mut entity, &card("X-LIKES:plums"), stamp(1, 5));
    let contact = Contact::read(ID, &entity).expect("it is visible");
    assert_eq!(contact.vcard, ["PHOTO", "X-LIKES"]);
    // A card that has one replaces it.
    let text = card("PHOTO:https://a.example/");
    import_on(&mut entity, &text, stamp(1, 6));
    assert_eq!(shown_photo(&entity), json!({"uri": "https://a.example/"}));
    assert_eq!(photos(&entity).count(), 1);
}

#[test]
fn a_patch_removes_the_photo_by_null_alone() {
    let mut entity = ada();
    set_on(&mut entity, "image/png", PNG, stamp(1, 2));
    for (seq, patch, is_there) in [
        (3, json!({"note": "n"}), true),
        (4, json!({"photo": {"uri": "https://a.example/"}}), true),
        (5, json!({"photo": null, "title": "t"}), false),
    ] {
        let current = Contact::read(ID, &entity).expect("it is visible");
        let draft = ContactDraft::patched(&current, &patch).expect("a patch");
        let cells = put(&entity, &draft, stamp(1, seq)).0;
        merge(&mut entity, cells);
        assert_eq!(has_photo(&entity), is_there, "{patch}");
    }
}

#[test]
fn two_contacts_that_become_one_have_two_photos() {
    let mut one = ada();
    let mut two = with_card("PHOTO:https://a.example/two");
    set_on(&mut two, "image/gif", b"two", stamp(1, 5));
    let mut bare = one.clone();
    let cells = absorb(&bare, "bob", &two, stamp(1, 9)).expect("they fit");
    merge(&mut bare, cells);
    assert_eq!(bytes_of(&bare), bytes_of(&two));
    set_on(&mut one, "image/png", b"one", stamp(1, 6));
    let before = bytes_of(&one);
    for other in [two, with_card("PHOTO:https://a.example/three")] {
        let cells = absorb(&one, "bob", &other, stamp(1, 9)).expect("they fit");
        let mut both = one.clone();
        merge(&mut both, cells);
        assert_eq!(bytes_of(&both), before);
        assert_eq!(photos(&both).count(), 1);
    }
}

#[test]
fn a_photo_that_was_replaced_cannot_be_had_back() {
    let before = with_card("PHOTO:https://a.example/a");
    let mut after = before.clone();
    set_on(&mut after, "image/png", PNG, stamp(1, 2));
    let id = crate::model::EntityId::new(crate::model::Collection::Contacts, ID).expect("a key");
    let version = ContactVersion::between(&id, &before, &after).expect("it changed");
    let cells = version.undo(&after, stamp(1, 3)).expect("it is the last");
    merge(&mut after, cells);
    assert_eq!(shown_photo(&after), shown_photo(&before));
    assert_eq!(photos(&after).count(), 1);
}

#[test]
fn a_photo_has_bounds() {
    assert_eq!(MAX_PHOTO_BYTES, 393_024);
    let largest = vec![7; MAX_PHOTO_BYTES + 1];
    let long = format!("image/{}", "x".repeat(127));
    let photo = NewPhoto::new(&long, &largest[1..]).expect("it fits");
    assert!(photo.0.line.len() <= MAX_KEPT_PROPERTY_BYTES);
    let refused = |media_type, bytes| NewPhoto::new(media_type, bytes).err();
    assert_eq!(refused("image/png", &largest), Some(InvalidPhoto::TooLarge));
    assert_eq!(refused("image/png", b""), Some(InvalidPhoto::Empty));
    assert_eq!(refused("text/html", PNG), Some(InvalidPhoto::MediaType));
    // In every version its line can be imported again.
    let mut entity = ada();
    let cells = set(&entity, &photo, stamp(1, 2)).expect("it fits");
    merge(&mut entity, cells);
    for version in [CardVersion::V3, CardVersion::V4] {
        let text = export_card(ID, &entity, version).expect("it is visible");
        import_on(&mut Entity::default(), &text, stamp(1, 1));
    }
    // What a card left counts too.
    let line = "A".repeat(MAX_KEPT_BYTES / 4 - 9);
    let lines = (0..4).fold(String::new(), |lines, n| {
        format!("{lines}X-BLOB-{n}:{line}\n")
    });
    let full = with_card(lines.trim_end());
    let error = set(&full, &photo, stamp(1, 2)).expect_err("it does not fit");
    assert_eq!(error.field, FIELD);
    assert!(
        error.detail.contains(&MAX_KEPT_BYTES.to_string()),
        "{error}"
    );
}
