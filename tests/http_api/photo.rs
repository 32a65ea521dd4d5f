//! The photo of a contact: whose bytes they are, what is refused, and what a browser could be talked into.

use grapevine::{
    http::HttpLimits,
    model::{Collection, EntityId, MAX_PHOTO_BYTES, NewPhoto, WriteStamp, contact_photo},
};
use grapevine_crdt::{Dot, Entity, FieldCell, ReplicaId, Seq, Timestamp};
use reqwest::Response;
use serde_json::{Value, json};

use crate::support::{NO_CONTENT, TestServer, etag, expect, expect_problem, send};

const PHOTO: &str = "/v1/contacts/ada/photo";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\nand then some";
/// What `PNG` is in base64.
const PNG_BASE64: &str = "iVBORw0KGgphbmQgdGhlbiBzb21l";

async fn with_ada() -> TestServer {
    let body_bytes = HttpLimits::default().max_body_bytes;
    let server =
        TestServer::start_limited(|_| {}, |limits| limits.max_body_bytes = body_bytes).await;
    let ada = json!({"name": "Ada"});
    expect(server.json("PUT", "/v1/contacts/ada", &ada).await, 201).await;
    server
}

async fn put(server: &TestServer, media_type: &str, bytes: &[u8]) -> Response {
    let request = server.request("PUT", PHOTO);
    let request = request.header("content-type", media_type);
    send(request.body(bytes.to_vec())).await
}

async fn ada(server: &TestServer) -> Value {
    expect(server.get("/v1/contacts/ada").await, 200).await
}

async fn bytes(response: Response) -> Vec<u8> {
    assert_eq!(response.status(), 200);
    response.bytes().await.expect("it is whole").to_vec()
}

/// Imports a card of Ada with these lines.
async fn import(server: &TestServer, lines: &str) {
    let card =
        format!("BEGIN:VCARD\nVERSION:3.0\nFN:Ada\nX-GRAPEVINE-ID:ada\n{lines}\nEND:VCARD\n");
    let request = server.request("POST", "/v1/contacts/import");
    let request = request.header("content-type", "text/vcard");
    let report = expect(send(request.body(card)).await, 200).await;
    assert_eq!(report["rejected"], 0, "{report}");
}

async fn exported(server: &TestServer, format: &str) -> Vec<String> {
    let path = format!("/v1/contacts/export?format={format}");
    let text = bytes(server.get(&path).await).await;
    let text = String::from_utf8(text).expect("it is UTF-8");
    let text = text.replace("\r\n ", "");
    let photos = text.lines().filter(|line| line.contains("PHOTO"));
    photos.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_photo_comes_back_as_it_was_put_and_goes() {
    let server = with_ada().await;
    assert_eq!(ada(&server).await["photo"], Value::Null);
    expect_problem(server.get(PHOTO).await, 404, None).await;
    expect_problem(server.delete(PHOTO).await, 404, None).await;
    let made = put(&server, "image/PNG; a=b", PNG).await;
    let tag = etag(&made);
    assert!(made.headers().contains_key("grapevine-token"));
    let made = expect(made, 201).await;
    let wanted = json!({"media_type": "image/png", "bytes": PNG.len(), "href": PHOTO});
    assert_eq!(made, wanted);
    assert_eq!(ada(&server).await["photo"], wanted);
    let read = server.get(PHOTO).await;
    assert_eq!(etag(&read), tag);
    let headers = read.headers().clone();
    assert_eq!(headers["content-type"], "image/png");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    let policy = headers["content-security-policy"].to_str().expect("ASCII");
    assert!(policy.contains("sandbox") && policy.contains("default-src 'none'"));
    assert_eq!(bytes(read).await, PNG);
    let head = send(server.request("HEAD", PHOTO)).await;
    assert_eq!(head.headers()["content-type"], "image/png");
    assert_eq!(bytes(head).await, b"");
    let again = server.request("GET", PHOTO).header("if-none-match", &tag);
    assert_eq!(send(again).await.status(), 304);
    // Other bytes, and the same bytes of another type, are another photo.
    for (media_type, other) in [("image/gif", PNG), ("image/gif", b"GIF89a".as_slice())] {
        let replaced = put(&server, media_type, other).await;
        assert_ne!(etag(&replaced), tag);
        expect(replaced, 200).await;
        assert_eq!(bytes(server.get(PHOTO).await).await, other);
    }
    assert_eq!(ada(&server).await["vcard"], json!(["PHOTO"]));
    assert_eq!(server.delete(PHOTO).await.status(), NO_CONTENT);
    expect_problem(server.get(PHOTO).await, 404, None).await;
    expect_problem(server.delete(PHOTO).await, 404, None).await;
    assert_eq!(ada(&server).await["photo"], Value::Null);
    assert_eq!(ada(&server).await["vcard"], json!([]));
}

#[tokio::test]
async fn a_photo_that_changed_since_is_replaced_or_removed_unseen() {
    let server = with_ada().await;
    let conditional = async |method: &str, header: &str, tag: &str| {
        let request = server.request(method, PHOTO).header(header, tag);
        let request = request.header("content-type", "image/png");
        send(request.body(if method == "PUT" { PNG } else { b"" })).await
    };
    let none = conditional("PUT", "if-match", "*").await;
    expect_problem(none, 412, Some("If-Match")).await;
    let first = conditional("PUT", "if-none-match", "*").await;
    let tag = etag(&first);
    expect(first, 201).await;
    let second = conditional("PUT", "if-none-match", "*").await;
    expect_problem(second, 412, Some("If-None-Match")).await;
    expect(put(&server, "image/gif", PNG).await, 200).await;
    for method in ["PUT", "DELETE"] {
        let stale = conditional(method, "if-match", &tag).await;
        expect_problem(stale, 412, Some("If-Match")).await;
    }
    let current = etag(&server.get(PHOTO).await);
    let kept = conditional("PUT", "if-match", &current).await;
    assert_eq!(etag(&kept), tag);
    expect(kept, 200).await;
    // What cannot be handed out is there all the same.
    import(&server, "PHOTO:https://a.example/a.png").await;
    expect_problem(server.get(PHOTO).await, 404, None).await;
    let other = conditional("PUT", "if-none-match", "*").await;
    expect_problem(other, 412, Some("If-None-Match")).await;
    let gone = conditional("DELETE", "if-match", "*").await;
    assert_eq!(gone.status(), NO_CONTENT);
}

#[tokio::test]
async fn a_photo_that_is_none_or_too_large_is_refused_and_nothing_is_written() {
    let server = with_ada().await;
    let before = ada(&server).await;
    for media_type in ["text/html", "image/", "image/*", "application/octet-stream"] {
        let refused = put(&server, media_type, PNG).await;
        expect_problem(refused, 415, Some("Content-Type")).await;
    }
    let untyped = send(server.request("PUT", PHOTO).body(PNG)).await;
    expect_problem(untyped, 415, Some("Content-Type")).await;
    expect_problem(put(&server, "image/png", b"").await, 400, Some("body")).await;
    let mut largest = vec![7; MAX_PHOTO_BYTES + 1];
    let refused = put(&server, "image/png", &largest).await;
    let problem = expect_problem(refused, 413, Some("body")).await;
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains(&MAX_PHOTO_BYTES.to_string()), "{detail}");
    assert_eq!(ada(&server).await, before);
    largest.pop();
    expect(put(&server, "image/png", &largest).await, 201).await;
    assert_eq!(bytes(server.get(PHOTO).await).await, largest);
    for (method, path, status, field) in [
        ("GET", "/v1/contacts/a%20b/photo", 400, Some("id")),
        ("PUT", "/v1/contacts/a%20b/photo", 400, Some("id")),
        ("GET", "/v1/contacts/bob/photo", 404, None),
        ("PUT", "/v1/contacts/bob/photo", 404, None),
        ("DELETE", "/v1/contacts/bob/photo", 404, None),
        ("GET", "/v1/contacts/ada/photo?size=9", 400, Some("size")),
        ("PUT", "/v1/contacts/ada/photo?size=9", 400, Some("size")),
    ] {
        let request = server.request(method, path);
        let request = request.header("content-type", "image/png");
        expect_problem(send(request.body(PNG)).await, status, field).await;
    }
    let post = send(server.request("POST", PHOTO)).await;
    expect_problem(post, 405, None).await;
}

#[tokio::test]
async fn a_photo_that_a_card_brought_is_handed_out_or_told_why_not() {
    let server = with_ada().await;
    import(&server, &format!("PHOTO;ENCODING=b;TYPE=JPEG:{PNG_BASE64}")).await;
    let read = server.get(PHOTO).await;
    assert_eq!(read.headers()["content-type"], "image/jpeg");
    assert_eq!(bytes(read).await, PNG);
    import(&server, "PHOTO:https://a.example/a.png").await;
    let photo = json!({"uri": "https://a.example/a.png"});
    assert_eq!(ada(&server).await["photo"], photo);
    // Neither fetched nor redirected to.
    let elsewhere = server.get(PHOTO).await;
    assert!(!elsewhere.headers().contains_key("location"));
    let problem = expect_problem(elsewhere, 404, None).await;
    assert_eq!(problem["uri"], "https://a.example/a.png");
    import(&server, "PHOTO;ENCODING=b;TYPE=PNG:iVBO*").await;
    let why = ada(&server).await["photo"]["problem"].clone();
    let problem = expect_problem(server.get(PHOTO).await, 404, None).await;
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(
        detail.ends_with(why.as_str().expect("a problem")),
        "{detail}"
    );
    // A card is no way to serve a page from here.
    import(&server, "PHOTO:data:text/html;base64,PHNjcmlwdD4=").await;
    let page = server.get(PHOTO).await;
    assert_eq!(page.headers()["content-type"], "application/octet-stream");
    assert_eq!(bytes(page).await, b"<script>");
    // One that was set takes the place of whatever there was.
    expect(put(&server, "image/png", PNG).await, 200).await;
    assert_eq!(ada(&server).await["vcard"], json!(["PHOTO"]));
}

#[tokio::test]
async fn a_photo_leaves_as_each_format_writes_it() {
    let server = with_ada().await;
    let came = "PHOTO;X-MINE=1;TYPE=jpeg;ENCODING=BASE64:/9j/AAAA";
    import(&server, came).await;
    assert_eq!(exported(&server, "vcard3").await, [came]);
    expect(put(&server, "image/png", PNG).await, 200).await;
    let three = format!("PHOTO;ENCODING=b;TYPE=PNG:{PNG_BASE64}");
    assert_eq!(exported(&server, "vcard3").await, [three]);
    let four = format!("PHOTO:data:image/png;base64,{PNG_BASE64}");
    assert_eq!(exported(&server, "vcard4").await, [four]);
    assert_eq!(exported(&server, "csv").await, [""; 0]);
}

#[tokio::test]
async fn a_photo_is_lost_by_an_edit_of_something_else() {
    let server = with_ada().await;
    expect(put(&server, "image/png", PNG).await, 201).await;
    let photo = ada(&server).await["photo"].clone();
    let path = "/v1/contacts/ada";
    let same = async |json: Value, method: &str| {
        let now = expect(server.json(method, path, &json).await, 200).await;
        assert_eq!(now["photo"], photo, "{method} {json}");
    };
    let mut whole = ada(&server).await;
    whole["note"] = json!("n");
    same(whole, "PUT").await;
    same(json!({"name": "Ada"}), "PUT").await;
    same(json!({"name": "Ada", "photo": null}), "PUT").await;
    same(json!({"title": "t", "photo": {"uri": "x"}}), "PATCH").await;
    let list = expect(server.get("/v1/contacts?fields=photo").await, 200).await;
    assert_eq!(list["items"], json!([{"id": "ada", "photo": photo}]));
    let removal = json!({"photo": null});
    let now = expect(server.json("PATCH", path, &removal).await, 200).await;
    assert_eq!((&now["photo"], &now["title"]), (&Value::Null, &json!("t")));
    expect_problem(server.get(PHOTO).await, 404, None).await;
    // It can be taken back, as any change.
    let undone = send(server.request("POST", "/v1/contacts/ada/undo")).await;
    assert_eq!(expect(undone, 200).await["photo"], photo);
    let history = expect(server.get("/v1/contacts/ada/history").await, 200).await;
    let change = &history["items"][0]["fields"][0];
    assert_eq!(
        (&change["field"], &change["element"]),
        (&json!("photo"), &Value::Null)
    );
    assert_eq!(
        change["after"],
        json!({"media_type": "image/png", "bytes": PNG.len()})
    );
    // Restored, a contact has it too.
    assert_eq!(server.delete(path).await.status(), NO_CONTENT);
    expect_problem(server.get(PHOTO).await, 404, None).await;
    let restored = send(server.request("POST", "/v1/contacts/ada/restore")).await;
    assert_eq!(expect(restored, 200).await["photo"], photo);
    assert_eq!(bytes(server.get(PHOTO).await).await, PNG);
}

#[tokio::test]
async fn two_contacts_that_become_one_keep_two_photos() {
    let server = with_ada().await;
    expect(put(&server, "image/png", PNG).await, 201).await;
    let bob = json!({"name": "Bob"});
    expect(server.json("PUT", "/v1/contacts/bob", &bob).await, 201).await;
    let request = server.request("PUT", "/v1/contacts/bob/photo");
    let request = request.header("content-type", "image/gif").body("GIF89a");
    expect(send(request).await, 201).await;
    let absorbed = send(server.request("POST", "/v1/contacts/ada/absorb/bob")).await;
    let absorbed = expect(absorbed, 200).await;
    assert_eq!(absorbed["photo"]["media_type"], "image/png");
    assert_eq!(absorbed["vcard"], json!(["PHOTO"]));
}

/// What a peer that holds `held` writes when this photo is set there.
fn set_elsewhere(held: &Entity, bytes: &[u8]) -> Vec<FieldCell> {
    let stamp = WriteStamp {
        dot: Dot::new(ReplicaId::from_bytes([1; 16]), Seq::new(1)),
        time: Timestamp::from_unix_ms(1_700_000_000_000),
        collected: None,
        region: None,
    };
    let photo = NewPhoto::new("image/gif", bytes).expect("a photo");
    contact_photo::set(held, &photo, stamp).expect("it fits")
}

#[tokio::test]
async fn a_photo_that_somebody_set_unseen_can_be_chosen() {
    let server = with_ada().await;
    let id = EntityId::new(Collection::Contacts, "ada").expect("a good key");
    let held = server.store.snapshot().entity(&id).expect("readable");
    let cells = set_elsewhere(&held.expect("it is there"), b"theirs");
    expect(put(&server, "image/png", PNG).await, 201).await;
    let announced = Timestamp::from_unix_ms(1_700_000_001_000);
    server.arrives(id, cells, announced).await;
    // Ours is later.
    assert_eq!(bytes(server.get(PHOTO).await).await, PNG);
    assert_eq!(ada(&server).await["conflicts"], 1);
    assert_eq!(ada(&server).await["vcard"], json!(["PHOTO"]));
    let page = expect(server.get("/v1/contacts/ada/conflicts").await, 200).await;
    let conflict = &page["items"][0];
    assert_eq!(conflict["field"], "photo");
    assert_eq!(
        conflict["value"],
        json!({"media_type": "image/gif", "bytes": 6, "uri": "data:image/gif;base64,dGhlaXJz"})
    );
    assert_eq!(conflict["shown"]["value"]["bytes"], PNG.len());
    let id = conflict["id"].as_str().expect("an id");
    let choose = format!("/v1/contacts/ada/conflicts/{id}/choose");
    let chosen = expect(send(server.request("POST", &choose)).await, 200).await;
    assert_eq!(chosen["photo"]["media_type"], "image/gif");
    assert_eq!(chosen["conflicts"], 0);
    assert_eq!(bytes(server.get(PHOTO).await).await, b"theirs");
}
