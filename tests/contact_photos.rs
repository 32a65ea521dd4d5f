//! The danger: of two photos that were set apart one vanishes, or a contact has two, or each node shows another.

mod islands;

use islands::{Archipelago, Island, expect, send};
use serde_json::{Value, json};

const PHOTO: &str = "/v1/contacts/ada/photo";

async fn put(island: &Island, media_type: &str, bytes: &'static str) {
    let request = island.request("PUT", PHOTO);
    let request = request.header("content-type", media_type).body(bytes);
    let answer = send(request).await;
    assert!(answer.status().is_success(), "{answer:?}");
}

async fn photo(island: &Island) -> (String, Vec<u8>) {
    let answer = send(island.request("GET", PHOTO)).await;
    assert_eq!(answer.status(), 200);
    let tag = answer.headers()["etag"].to_str().expect("ASCII").to_owned();
    let bytes = answer.bytes().await.expect("it is whole");
    (tag, bytes.to_vec())
}

async fn read(island: &Island, path: &str) -> Value {
    expect(send(island.request("GET", path)).await, 200).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_photos_that_were_set_apart_one_is_shown_and_the_other_can_be_chosen() {
    let archipelago = Archipelago::start(&["ann", "bob"]).await;
    let [ann, bob] = &archipelago.islands[..] else {
        panic!("there are two");
    };
    let ada = json!({"name": "Ada"});
    let made = send(ann.request("PUT", "/v1/contacts/ada").json(&ada)).await;
    expect(made, 201).await;
    archipelago.settle().await;
    archipelago.cut(0, 1);
    put(ann, "image/png", "of ann").await;
    put(bob, "image/gif", "of bob").await;
    archipelago.heal();
    archipelago.settle().await;
    let shown = photo(ann).await;
    assert_eq!(photo(bob).await, shown);
    let contact = read(ann, "/v1/contacts/ada").await;
    assert_eq!(read(bob, "/v1/contacts/ada").await, contact);
    assert_eq!(contact["vcard"], json!(["PHOTO"]));
    assert_eq!(contact["conflicts"], 1);
    let conflicts = read(bob, "/v1/contacts/ada/conflicts").await;
    let conflict = &conflicts["items"][0];
    assert_eq!(conflict["field"], "photo");
    let id = conflict["id"].as_str().expect("an id");
    let choose = format!("/v1/contacts/ada/conflicts/{id}/choose");
    expect(send(bob.request("POST", &choose)).await, 200).await;
    archipelago.settle().await;
    let chosen = photo(ann).await;
    assert_eq!(photo(bob).await, chosen);
    let mut both = [shown.1, chosen.1];
    both.sort();
    assert_eq!(both, [b"of ann", b"of bob"]);
    assert_eq!(read(ann, "/v1/contacts/ada").await["conflicts"], 0);
}
