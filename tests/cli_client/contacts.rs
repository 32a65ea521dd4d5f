//! The dangers: what flags say of a contact is lost, an import hides what it did not take, or an export ends halfway and
//! looks whole.

use std::{fs, process::Stdio};

use serde_json::{Value, json};

use crate::{
    alone, answer, ask, asking, fed, said,
    support::{local::url, program::complaint},
    told,
};

#[tokio::test(flavor = "multi_thread")]
async fn names_and_addresses_are_kept_in_parts_by_flags() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = alone(directory.path()).await;
    let node = url(&node);
    let site = "https://harbour.example/?minh=1";
    let address = "home=1 Quay;Haiphong;;;Vietnam";
    let add = [
        "contacts",
        "add",
        "--given",
        "Minh",
        "--family",
        "Nguyễn",
        "--url",
        &format!("blog={site}"),
        "--postal-address",
        address,
    ];
    let id = said(&node, &add);
    let id = id.trim();
    let minh = &told(&node, &["contacts", "show", id])[0];
    assert_eq!(minh["name"], "Minh Nguyễn");
    assert_eq!(minh["name_parts"]["family"], "Nguyễn");
    assert_eq!(minh["urls"][0]["url"], site);
    assert_eq!(minh["addresses"][0]["label"], "home");
    assert_eq!(minh["addresses"][0]["country"], "Vietnam");
    let shown = said(&node, &["contacts", "show", id]);
    assert!(
        shown.contains("1 Quay, Haiphong, Vietnam (home)"),
        "{shown}"
    );

    let address = minh["addresses"][0]["id"].as_str().expect("an id");
    let edit = [
        "contacts",
        "edit",
        id,
        "--remove-url",
        site,
        "--remove-postal-address",
        address,
        "--given",
        "",
        "--suffix",
        "Jr.",
    ];
    let edited = &told(&node, &edit)[0];
    assert_eq!(edited["name"], "Minh Nguyễn");
    assert_eq!(
        (&edited["urls"], &edited["addresses"]),
        (&json!([]), &json!([]))
    );
    let parts = &edited["name_parts"];
    assert_eq!(
        (&parts["family"], &parts["given"], &parts["suffix"]),
        (&json!("Nguyễn"), &Value::Null, &json!("Jr."))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_are_kept_by_flags_and_by_json() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = alone(directory.path()).await;
    let node = url(&node);
    let id = said(
        &node,
        &[
            "contacts",
            "add",
            "Nguyễn Thị Minh",
            "--organization",
            "Harbour",
            "--phone",
            "work=+84 24 3825 0000",
            "--email",
            "minh@harbour.example",
            "--group",
            "friends",
        ],
    );
    let id = id.trim();
    let minh = &told(&node, &["contacts", "show", id])[0];
    assert_eq!(minh["name"], "Nguyễn Thị Minh");
    assert_eq!(minh["phones"][0]["label"], "work");
    assert_eq!(minh["emails"][0]["label"], Value::Null);
    assert!(said(&node, &["contacts", "show", id]).contains("+84 24 3825 0000 (work)"));

    let edit = [
        "contacts",
        "edit",
        id,
        "--organization",
        "",
        "--title",
        "Captain",
        "--phone",
        "home=+84 1",
        "--remove-phone",
        "+84 24 3825 0000",
        "--group",
        "crew",
        "--remove-group",
        "friends",
    ];
    let edited = &told(&node, &edit)[0];
    assert_eq!(edited["organization"], Value::Null);
    assert_eq!(edited["title"], "Captain");
    assert_eq!(edited["groups"], json!(["crew"]));
    assert_eq!(edited["phones"].as_array().map(Vec::len), Some(1));
    assert_eq!(edited["phones"][0]["number"], "+84 1");
    assert_eq!(edited["emails"], minh["emails"]);
    let wrong = ask(&node, &["contacts", "edit", id, "--remove-group", "foes"]);
    assert_eq!(wrong.status.code(), Some(1));

    let grace = br#"{"name": "Grace", "note": "one\ntwo"}"#;
    let add = ["contacts", "add", "--from", "-", "--id", "grace", "--json"];
    let made: Value = serde_json::from_str(&answer(&fed(&node, &add, grace))).expect("JSON");
    assert_eq!(made["id"], "grace");
    let shown = said(&node, &["contacts", "show", "grace"]);
    assert!(shown.contains("two"), "{shown:?}");
    assert_eq!(
        fed(&node, &add, grace).status.code(),
        Some(1),
        "it is there"
    );
    assert_eq!(told(&node, &["contacts", "list"]).len(), 2);
    assert!(said(&node, &["contacts", "list"]).contains("Nguyễn"));
    assert!(said(&node, &["contacts", "conflicts"]).is_empty());
    said(&node, &["contacts", "rm", "grace"]);
    assert_eq!(
        ask(&node, &["contacts", "rm", "grace"]).status.code(),
        Some(1)
    );
    let wrong = ask(
        &node,
        &["contacts", "add", "Bob", "--birthday", "yesterday"],
    );
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        complaint(&wrong).contains("birthday"),
        "{}",
        complaint(&wrong)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_says_what_became_of_every_card() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = alone(directory.path()).await;
    let node = url(&node);
    let file = directory.path().join("cards.vcf");
    let card = |name: &str| format!("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:{name}\r\nEND:VCARD\r\n");
    let cards: String = ["Ada", "Bob", "Cleo"].map(card).concat();
    fs::write(&file, &cards).expect("it can be written");
    let path = file.to_str().expect("a path in UTF-8");
    let first = &told(&node, &["contacts", "import", path])[0];
    assert_eq!(first["created"], 3);
    assert!(said(&node, &["contacts", "import", path]).contains("3 unchanged"));
    fs::write(&file, format!("{cards}BEGIN:VCARD\r\nFN:Cut off\r\n")).expect("it can be written");
    let partly = ask(&node, &["contacts", "import", path]);
    assert_eq!(partly.status.code(), Some(1));
    assert!(
        complaint(&partly).contains("card 3"),
        "{}",
        complaint(&partly)
    );
    let missing = ask(&node, &["contacts", "import", "/nowhere/cards.vcf"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(complaint(&missing).contains("/nowhere/cards.vcf"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_book_goes_out_as_cards_and_tables_and_comes_in_again() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = alone(directory.path()).await;
    let node = url(&node);
    let at = |name: &str| {
        let path = directory.path().join(name);
        path.to_str().expect("a path in UTF-8").to_owned()
    };
    let table = at("kontakte.csv");
    let rows = "Nom;Tel;Club;Pointure\nAda;+44 20 7946 0000;chess;38\nBob;1;;41\n";
    fs::write(&table, rows).expect("it can be written");
    let map = "Nom=name;Tel=phone:home;Club=groups";
    let first = &told(&node, &["contacts", "import", &table, "--map", map])[0];
    assert_eq!(first["created"], 2);
    assert_eq!(first["ignored_columns"], json!(["Pointure"]));
    let found = &told(&node, &["contacts", "search", "ada"])[0];
    assert_eq!(found["phones"][0]["label"], "home");

    let cards = said(&node, &["contacts", "export", "--format", "vcard4"]);
    assert_eq!(cards.matches("BEGIN:VCARD").count(), 2);
    let one = at("chess.vcf");
    said(&node, &["contacts", "export", &one, "--group", "chess"]);
    let chess = fs::read_to_string(&one).expect("it was written");
    assert!(
        chess.contains("VERSION:3.0") && chess.contains("FN:Ada"),
        "{chess}"
    );
    assert!(!chess.contains("Bob"), "{chess}");
    let out = at("all.csv");
    said(&node, &["contacts", "export", &out]);
    let before = told(&node, &["contacts", "list"]);
    // What a contact came from last is new; what it says is not.
    let again = &told(&node, &["contacts", "import", &out])[0];
    assert_eq!(again["updated"], 2, "{again}");
    let after = told(&node, &["contacts", "list"]);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before["phones"], after["phones"]);
        assert_eq!(before["groups"], after["groups"]);
    }
    let again = &told(&node, &["contacts", "import", &out])[0];
    assert_eq!(again["unchanged"], 2, "{again}");
    let left: Vec<_> = fs::read_dir(directory.path())
        .expect("it can be read")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name.to_string_lossy().ends_with(".partial"))
        .collect();
    assert!(left.is_empty(), "{left:?}");

    fs::write(&table, "Nom,Tel\nAda,\"1\n").expect("it can be written");
    let torn = ask(&node, &["contacts", "import", &table]);
    assert_eq!(torn.status.code(), Some(1), "{}", complaint(&torn));
    let strange = ask(&node, &["contacts", "export", &at("all.pdf")]);
    assert!(
        complaint(&strange).contains("--format"),
        "{}",
        complaint(&strange)
    );
    let nowhere = ask(&node, &["contacts", "export", "/nowhere/all.vcf"]);
    assert!(
        complaint(&nowhere).contains("/nowhere/all.vcf"),
        "{}",
        complaint(&nowhere)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_ends_without_a_word_when_its_reader_goes() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = alone(directory.path()).await;
    let node = url(&node);
    let card = |number| format!("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:N {number}\r\nEND:VCARD\r\n");
    let cards: String = (0..3_000).map(card).collect();
    answer(&fed(&node, &["contacts", "import", "-"], cards.as_bytes()));
    let mut command = asking(&[&node], &["contacts", "export"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be run");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(complaint(&output), "");
    assert!(output.status.success(), "{}", output.status);
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_are_found_and_joined() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = alone(directory.path()).await;
    let node = url(&node);
    let phone = ["--phone", "+44 20 7946 0000"];
    let add = |id: &'static str, name: &'static str, group: &'static str| {
        let arguments = ["contacts", "add", name, "--id", id, "--group", group];
        said(&node, &[&arguments[..], &phone].concat())
    };
    add("minh", "Nguyễn Thị Minh", "friends");
    add("ada", "Ada", "crew");
    let found = told(&node, &["contacts", "search", "nguyen"]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["id"], "minh");
    assert_eq!(told(&node, &["contacts", "search", "7946"]).len(), 2);
    let crew = told(&node, &["contacts", "list", "--group", "crew"]);
    assert_eq!((crew.len(), &crew[0]["id"]), (1, &json!("ada")));
    let groups = told(&node, &["contacts", "duplicates"]);
    assert_eq!(groups[0]["contacts"].as_array().map(Vec::len), Some(2));
    assert!(said(&node, &["contacts", "duplicates"]).contains("Ada (ada)"));
    let one = &told(&node, &["contacts", "absorb", "ada", "minh"])[0];
    assert_eq!(one["groups"], json!(["crew", "friends"]));
    assert_eq!(told(&node, &["contacts", "list"]).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_goes_in_and_comes_out_as_it_is() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let node = alone(directory.path()).await;
    let node = url(&node);
    let id = said(&node, &["contacts", "add", "Ada"]);
    let id = id.trim();
    let png = b"\x89PNG\r\n\x1a\n\xff\x00\n";
    let file = directory.path().join("ada.png");
    fs::write(&file, png).expect("it can be written");
    let path = file.to_str().expect("a path in UTF-8");
    let get = ["contacts", "photo", "get", id];
    let missing = ask(&node, &get);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        complaint(&missing).contains("no photo"),
        "{}",
        complaint(&missing)
    );
    let set = ["contacts", "photo", "set", id, path];
    let set_once = [&set[..], &["--if-absent"]].concat();
    assert!(said(&node, &set_once).starts_with("image/png, 11 bytes"));
    assert_eq!(ask(&node, &set_once).status.code(), Some(1));
    assert_eq!(ask(&node, &get).stdout, png);
    let told_photo = &told(&node, &get)[0];
    assert_eq!(told_photo["base64"], "iVBORw0KGgr/AAo=");
    let tag = told_photo["etag"].as_str().expect("a tag");
    let copy = directory.path().join("copy.png");
    let copy_path = copy.to_str().expect("a path in UTF-8");
    assert_eq!(said(&node, &[&get[..], &[copy_path]].concat()), "");
    assert_eq!(fs::read(&copy).expect("it is there"), png);
    let shown = said(&node, &["contacts", "show", id]);
    assert!(shown.contains("image/png, 11 bytes"), "{shown}");
    // Of what begins like no image the type must be said.
    let piped = ["contacts", "photo", "set", id, "-"];
    let untyped = fed(&node, &piped, b"hello");
    assert_eq!(untyped.status.code(), Some(1));
    assert!(complaint(&untyped).contains("--content-type"));
    let typed = [
        &piped[..],
        &["--content-type", "image/x-mine", "--if-match", tag],
    ]
    .concat();
    answer(&fed(&node, &typed, b"hello"));
    assert_eq!(told(&node, &get)[0]["media_type"], "image/x-mine");
    let list = said(&node, &["contacts", "history", id]);
    assert!(list.contains("image/x-mine, 5 bytes"), "{list}");
    assert!(!list.contains("base64"), "{list}");
    let refused = fed(
        &node,
        &[&piped[..], &["--content-type", "text/html"]].concat(),
        b"x",
    );
    assert_eq!(refused.status.code(), Some(1));
    let rm = ["contacts", "photo", "rm", id];
    assert_eq!(told(&node, &rm)[0], json!({"id": id, "deleted": true}));
    assert_eq!(ask(&node, &rm).status.code(), Some(1));
    assert_eq!(ask(&node, &get).stdout, b"");
}
