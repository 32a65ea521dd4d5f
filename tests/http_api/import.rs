//! Importing the address books of real programs.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::support::{TestServer, expect, expect_problem, send};

const FILES: [(&str, usize); 8] = [
    ("John_Doe_ANDROID.vcf", 6),
    ("John_Doe_EVOLUTION.vcf", 1),
    ("John_Doe_GMAIL.vcf", 1),
    ("John_Doe_IPHONE.vcf", 1),
    ("gmail-list.vcf", 3),
    ("outlook-2007.vcf", 1),
    ("rfc2426-example.vcf", 2),
    ("rfc6350-example.vcf", 1),
];

fn file(name: &str) -> Vec<u8> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/vcards");
    fs::read(directory.join(name)).expect("the test data is there")
}

pub(crate) async fn import(server: &TestServer, bytes: impl Into<Vec<u8>>) -> Value {
    let request = server
        .request("POST", "/v1/contacts/import")
        .header("content-type", "text/vcard");
    expect(send(request.body(bytes.into())).await, 200).await
}

/// The contacts that a file makes.
async fn contacts(name: &str) -> Vec<Value> {
    let server = TestServer::start().await;
    let report = import(&server, file(name)).await;
    let mut contacts = Vec::new();
    for card in report["cards"].as_array().expect("cards") {
        let id = card["id"].as_str().unwrap_or_else(|| panic!("{card}"));
        let contact = expect(server.get(&format!("/v1/contacts/{id}")).await, 200).await;
        assert_eq!(contact["name"], card["name"]);
        assert_eq!(contact["vcard"], card["kept"]);
        contacts.push(contact);
    }
    contacts
}

fn numbers(contact: &Value) -> Vec<(&str, &str)> {
    let phones = contact["phones"].as_array().expect("phones").iter();
    phones
        .map(|phone| {
            let label = phone["label"].as_str().unwrap_or_default();
            (label, phone["number"].as_str().expect("a number"))
        })
        .collect()
}

/// The parts of an address that are there.
fn address(contact: &Value, place: usize) -> Value {
    let mut address = contact["addresses"][place].clone();
    let parts = address.as_object_mut().expect("an address");
    parts.retain(|name, part| name != "id" && !part.is_null());
    address
}

fn kept(contact: &Value) -> Vec<&str> {
    let names = contact["vcard"].as_array().expect("names").iter();
    names.map(|name| name.as_str().expect("a name")).collect()
}

#[tokio::test]
async fn every_real_file_goes_in_and_once_more_changes_nothing() {
    let server = TestServer::start().await;
    let other = TestServer::start().await;
    for (name, cards) in FILES {
        let first = import(&server, file(name)).await;
        assert_eq!(first["created"], cards, "{name}: {first}");
        assert_eq!(first["rejected"], 0, "{name}");
        let root = server.store.snapshot().state().root();
        let second = import(&server, file(name)).await;
        assert_eq!(second["unchanged"], cards, "{name}: {second}");
        assert_eq!(server.store.snapshot().state().root(), root, "{name}");
        let there = import(&other, file(name)).await;
        for (card, like) in first["cards"]
            .as_array()
            .expect("cards")
            .iter()
            .zip(there["cards"].as_array().expect("cards"))
        {
            assert_eq!(card["id"], like["id"], "{name}");
            assert!(card.get("rejected").is_none(), "{name}: {card}");
        }
    }
}

#[tokio::test]
async fn android_vcard_21_with_quoted_printable_and_charsets() {
    let cards = contacts("John_Doe_ANDROID.vcf").await;
    assert_eq!(
        cards[0]["name"], "john.doe@company.com",
        "a card without a name is named by its e-mail"
    );
    assert_eq!(cards[0]["groups"], json!(["My Contacts"]));
    assert_eq!(cards[2]["name"], "Ñ Ñ Ñ Ñ Ñ");
    assert_eq!(numbers(&cards[2]), [("cell", "123456789")]);
    assert_eq!(
        cards[3]["name"], "Ñ Ñ Ñ Ñ Ñ Ñ Ñ Ñ Ñ Ñ Ñ",
        "a soft break within a name"
    );
    assert_eq!(
        numbers(&cards[3]),
        [
            ("cell", "123456"),
            ("home", "234567"),
            ("cell", "3456789"),
            ("home", "45678901")
        ]
    );
    let note = cards[3]["note"].as_str().expect("a note");
    assert!(note.starts_with("Ñ Ñ Ñ") && !note.contains('='), "{note}");
    assert_eq!(
        kept(&cards[3])
            .iter()
            .filter(|name| **name == "NOTE")
            .count(),
        2
    );
    assert_eq!(
        numbers(&cards[4]),
        [
            ("cell", "123456"),
            ("work", "123456"),
            ("work fax", "123456")
        ]
    );
    assert_eq!(cards[4]["emails"][0]["address"], "bob@company.com");
    assert_eq!(cards[4]["emails"][1]["address"], "Ñ".repeat(14));
    assert_eq!(cards[4]["organization"], "Ñ".repeat(12));
    assert!(kept(&cards[4]).contains(&"PHOTO"));
    let urls: Vec<&Value> = (0..2)
        .map(|place| &cards[4]["urls"][place]["url"])
        .collect();
    assert_eq!(urls, ["www.company.com", "http://www.company.com"]);
    assert!(!kept(&cards[4]).contains(&"URL"), "a field says all of it");
    assert_eq!(cards[5]["organization"], "Ñ".repeat(44));
    assert_eq!(
        kept(&cards[5])
            .iter()
            .filter(|name| **name == "ORG")
            .count(),
        3
    );
}

#[tokio::test]
async fn evolution_vcard_30_with_folding_and_a_uuid() {
    let card = &contacts("John_Doe_EVOLUTION.vcf").await[0];
    assert_eq!(card["id"], "477343c8-e6bf-375a-9bac-1f96a5000837");
    assert_eq!(card["name"], "Mr. John Richter, James Doe Sr.");
    assert_eq!(card["organization"], "IBM");
    assert_eq!(card["title"], "Money Counter");
    assert_eq!(card["birthday"], "1980-03-22");
    assert_eq!(
        numbers(card),
        [("cell", "905-666-1234"), ("work", "905-555-1234")]
    );
    assert_eq!(card["emails"][0]["address"], "john.doe@ibm.com");
    assert_eq!(card["emails"][0]["label"], "work");
    assert_eq!(card["urls"][0]["url"], "http://www.ibm.com");
    assert_eq!(
        address(card, 0),
        json!({"label": "home", "po_box": "ASB-123", "street": "15 Crescent moon drive", "locality": "Albaney",
            "region": "New York", "postal_code": "12345", "country": "United States of America"})
    );
    assert_eq!(card["address"], Value::Null);
    assert!(!kept(card).contains(&"ADR"), "a field says all of it");
    assert_eq!(card["groups"], json!(["VIP"]));
    let note = card["note"].as_str().expect("a note");
    assert!(note.starts_with(
        "THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS \"AS IS\" AND ANY"
    ));
    assert!(note.ends_with("THE POSSIBILITY OF SUCH DAMAGE."));
    assert_eq!(
        card["name_parts"],
        json!({"family": "Doe", "given": "John", "additional": "Richter, James", "prefix": "Mr.", "suffix": "Sr."})
    );
    for name in [
        "ORG",
        "UID",
        "X-AIM",
        "URL",
        "X-EVOLUTION-SPOUSE",
        "REV",
        "NICKNAME",
        "X-COUCHDB-APPLICATION-ANNOTATIONS",
    ] {
        assert!(kept(card).contains(&name), "{name}");
    }
    assert!(
        !kept(card).contains(&"TITLE"),
        "a field says all that TITLE said"
    );
}

#[tokio::test]
async fn gmail_vcard_30_with_groups_and_lines_within_an_address() {
    let card = &contacts("John_Doe_GMAIL.vcf").await[0];
    assert_eq!(card["name"], "Mr. John Richter, James Doe Sr.");
    assert_eq!(
        address(card, 0),
        json!({"label": "home", "extended": "Crescent moon drive\n555-asd\nNice Area, Albaney, New York 12345\nUnited \
            States of America"})
    );
    assert_eq!(card["emails"][0]["label"], "home");
    assert_eq!(
        numbers(card),
        [("cell", "905-555-1234"), ("home", "905-666-1234")]
    );
    let note = card["note"].as_str().expect("a note");
    assert!(
        note.contains("\"AS IS\"") && note.ends_with("DAMAGE.\nFavotire Color: Blue"),
        "{note}"
    );
    assert_eq!(
        kept(card)
            .iter()
            .filter(|name| **name == "X-ABLABEL")
            .count(),
        2
    );
    assert!(kept(card).contains(&"X-PHONETIC-FIRST-NAME"));
}

#[tokio::test]
async fn iphone_vcard_30_with_labels_of_its_own_and_a_photo() {
    let card = &contacts("John_Doe_IPHONE.vcf").await[0];
    assert_eq!(card["name"], "Mr. John Richter James Doe Sr.");
    assert_eq!(card["birthday"], "2012-06-06");
    assert_eq!(
        numbers(card),
        [
            ("cell", "905-555-1234"),
            ("home", "905-666-1234"),
            ("work", "905-777-1234"),
            ("home fax", "905-888-1234"),
            ("work fax", "905-999-1234"),
            ("pager", "905-111-1234"),
            ("AssistantPhone", "905-222-1234"),
        ]
    );
    assert_eq!(
        [
            &card["addresses"][0]["street"],
            &card["addresses"][1]["street"]
        ],
        ["Silicon Alley 5,", "Street4\nBuilding 6\nFloor 8"]
    );
    assert_eq!(card["addresses"][1]["label"], "work");
    for name in ["PHOTO", "PRODID", "X-ABADR", "ADR", "URL"] {
        assert!(kept(card).contains(&name), "{name}");
    }
}

#[tokio::test]
async fn outlook_vcard_21_with_bare_types() {
    let card = &contacts("outlook-2007.vcf").await[0];
    assert_eq!(card["name"], "Mr. Michael Angstadt Jr.");
    assert_eq!(card["organization"], "TheCompany");
    assert_eq!(card["birthday"], "1922-03-10");
    assert_eq!(
        numbers(card),
        [
            ("work", "(111) 555-1111"),
            ("home", "(111) 555-2222"),
            ("cell", "(111) 555-4444"),
            ("work fax", "(111) 555-3333"),
        ]
    );
    assert_eq!(card["emails"][0]["address"], "mike.angstadt@gmail.com");
    assert_eq!(
        card["note"],
        "This is the NOTE field\t\nI assume it encodes this text inside a NOTE vCard type.\nBut I'm not sure \
         because there's text formatting going on here.\nIt does not preserve the formatting"
    );
    assert_eq!(
        address(card, 0),
        json!({"label": "work", "extended": "TheOffice", "street": "222 Broadway", "locality": "New York",
            "region": "NY", "postal_code": "99999", "country": "USA"})
    );
    for name in [
        "KEY",
        "PHOTO",
        "LABEL",
        "X-MS-TEL",
        "X-MS-OL-DESIGN",
        "FBURL",
        "ROLE",
    ] {
        assert!(kept(card).contains(&name), "{name}");
    }
}

#[tokio::test]
async fn the_examples_of_the_rfcs() {
    let cards = contacts("rfc2426-example.vcf").await;
    assert_eq!(cards[0]["name"], "Frank Dawson");
    assert_eq!(
        address(&cards[0], 0),
        json!({"label": "work", "street": "6544 Battleford Drive", "locality": "Raleigh", "region": "NC",
            "postal_code": "27613-3502", "country": "U.S.A."})
    );
    assert_eq!(cards[0]["emails"][1]["address"], "fdawson@earthlink.net");
    assert_eq!(cards[1]["organization"], "Netscape Communications Corp.");
    assert_eq!(cards[1]["addresses"][0]["locality"], "Mountain View");
    let card = &contacts("rfc6350-example.vcf").await[0];
    assert_eq!(card["name"], "Simon Perreault");
    assert_eq!(card["birthday"], "--02-03");
    assert_eq!(
        numbers(card),
        [
            ("work", "+1-418-656-9254;ext=102"),
            ("work cell video text", "+1-418-262-6501")
        ]
    );
    assert_eq!(card["organization"], "Viagenie");
    for name in [
        "N",
        "ANNIVERSARY",
        "GENDER",
        "LANG",
        "GEO",
        "KEY",
        "TZ",
        "TEL",
    ] {
        assert!(kept(card).contains(&name), "{name}");
    }
    assert_eq!(card["name_parts"]["suffix"], "ing. jr, M.Sc.");
    let url = &card["urls"][0];
    assert_eq!(
        (&url["label"], &url["url"]),
        (&json!("home"), &json!("http://nomis80.org"))
    );
    let plain = &contacts("gmail-list.vcf").await;
    assert_eq!(plain[2]["name"], "Doug White");
}

pub(crate) fn card(lines: &str) -> String {
    format!("BEGIN:VCARD\r\nVERSION:3.0\r\n{lines}\r\nEND:VCARD\r\n")
}

#[tokio::test]
async fn what_cannot_go_in_is_told_and_the_rest_goes_in() {
    let server = TestServer::start().await;
    let photo = format!("FN:Photo\r\nPHOTO;ENCODING=b:{}", "A".repeat(100));
    let file = [
        card("FN:Good\r\nnot a property"),
        card("X-NOTHING:1"),
        card(&photo),
        "BEGIN:VCARD\r\nFN:Torn\r\n".to_owned(),
    ]
    .concat();
    let report = import(&server, file).await;
    let cards = &report["cards"];
    assert_eq!(report["created"], 2, "{report}");
    assert_eq!(report["rejected"], 2, "{report}");
    assert_eq!(cards[0]["rejected"][0]["property"], "not a property");
    assert_eq!(cards[1]["status"], "rejected");
    assert!(
        cards[1]["problem"]
            .as_str()
            .expect("a problem")
            .contains("FN")
    );
    assert_eq!(cards[2]["kept"], json!(["PHOTO"]));
    assert!(
        cards[3]["problem"]
            .as_str()
            .expect("a problem")
            .contains("END:VCARD")
    );
}

#[tokio::test]
async fn files_that_are_no_vcards_are_refused() {
    let server = TestServer::start().await;
    let post = |body: Vec<u8>, content_type: &'static str| {
        let request = server
            .request("POST", "/v1/contacts/import")
            .header("content-type", content_type);
        send(request.body(body))
    };
    for garbage in [
        &b""[..],
        b"hello",
        b"\xff\xfe\xfd",
        b"\x00\x01",
        b"END:VCARD\r\nBEGIN:VCALENDAR",
    ] {
        expect_problem(
            post(garbage.to_vec(), "text/vcard").await,
            422,
            Some("body"),
        )
        .await;
    }
    for content_type in [
        "application/json",
        "multipart/form-data; boundary=x",
        "text/vcard; charset=klingon",
    ] {
        let response = post(card("FN:Ada").into_bytes(), content_type).await;
        expect_problem(response, 415, Some("Content-Type")).await;
    }
    let listed = expect(server.get("/v1/contacts").await, 200).await;
    assert_eq!(listed["items"], json!([]));
}

#[tokio::test]
async fn declared_charsets_are_read_and_undeclared_ones_are_told() {
    let server = TestServer::start().await;
    let latin = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Andr\xe9\r\nEND:VCARD\r\n".to_vec();
    let silent = import(&server, latin.clone()).await;
    assert_eq!(silent["rejected"], 1, "{silent}");
    let request = server
        .request("POST", "/v1/contacts/import")
        .header("content-type", "text/x-vcard; charset=\"ISO-8859-1\"");
    let report = expect(send(request.body(latin)).await, 200).await;
    assert_eq!(report["cards"][0]["name"], "André");
}

#[tokio::test]
async fn a_changed_card_updates_its_contact_and_an_edit_survives_the_same_card() {
    let server = TestServer::start().await;
    let uid = "UID:not-a-uuid\r\n";
    let first = card(&format!("{uid}FN:Ada\r\nTEL;TYPE=home:1\r\nREV:1"));
    let report = import(&server, first.clone()).await;
    let id = report["cards"][0]["id"].as_str().expect("an id").to_owned();
    assert!(
        report["cards"][0]["kept"]
            .as_array()
            .expect("names")
            .contains(&json!("UID"))
    );
    let at = format!("/v1/contacts/{id}");
    let patch = json!({"title": "Countess", "name": "Ada L."});
    expect(server.json("PATCH", &at, &patch).await, 200).await;
    assert_eq!(import(&server, first).await["unchanged"], 1);
    assert_eq!(expect(server.get(&at).await, 200).await["name"], "Ada L.");
    let second = card(&format!(
        "{uid}FN:Ada Lovelace\r\nTEL;TYPE=home:1\r\nTEL:2\r\nREV:2"
    ));
    let report = import(&server, second).await;
    assert_eq!(report["updated"], 1, "{report}");
    let contact = expect(server.get(&at).await, 200).await;
    assert_eq!(contact["name"], "Ada Lovelace");
    assert_eq!(contact["title"], "Countess");
    assert_eq!(numbers(&contact), [("home", "1"), ("", "2")]);
    assert_eq!(kept(&contact), ["UID", "REV"]);
}

#[tokio::test]
async fn two_cards_of_one_contact_in_one_file_go_in_one_after_another() {
    let server = TestServer::start().await;
    let file = card("UID:u\r\nFN:Ada\r\nTEL:1") + &card("UID:u\r\nFN:Ada Lovelace\r\nTEL:2");
    let report = import(&server, file.clone()).await;
    assert_eq!(report["cards"][0]["status"], "created");
    assert_eq!(report["cards"][1]["status"], "updated");
    let id = report["cards"][1]["id"].as_str().expect("an id").to_owned();
    let contact = expect(server.get(&format!("/v1/contacts/{id}")).await, 200).await;
    assert_eq!(numbers(&contact), [("", "1"), ("", "2")]);
    assert_eq!(import(&server, file).await["unchanged"], 2);
    let twice = import(&server, card("FN:Eve").repeat(3)).await;
    assert_eq!(
        (&twice["created"], &twice["unchanged"]),
        (&json!(1), &json!(2))
    );
}

#[tokio::test]
async fn a_put_keeps_what_a_card_left_to_be_exported() {
    let server = TestServer::start().await;
    let report = import(&server, card("UID:u\r\nFN:Ada\r\nX-SPOUSE:William")).await;
    let at = format!(
        "/v1/contacts/{}",
        report["cards"][0]["id"].as_str().expect("an id")
    );
    let put = expect(
        server.json("PUT", &at, &json!({"name": "Ada L."})).await,
        200,
    )
    .await;
    assert_eq!(kept(&put), ["UID", "X-SPOUSE"]);
    server.delete(&at).await;
    let put = expect(server.json("PUT", &at, &json!({"name": "Eve"})).await, 201).await;
    assert_eq!(kept(&put), [""; 0]);
}

#[tokio::test]
async fn several_cards_of_one_contact_change_it_each_time_they_come() {
    let server = TestServer::start().await;
    let first = card("UID:u\r\nFN:Ada\r\nREV:1");
    let file = [first.clone(), card("UID:u\r\nFN:Ada\r\nREV:2")].concat();
    import(&server, file.clone()).await;
    let root = server.store.snapshot().state().root();
    assert_eq!(import(&server, file.clone()).await["unchanged"], 2);
    // The first of them is known by itself too.
    assert_eq!(import(&server, first).await["unchanged"], 1);
    assert_eq!(import(&server, file).await["unchanged"], 2);
    assert_eq!(server.store.snapshot().state().root(), root);
}
