//! Contacts as CSV, in and out.

use serde_json::{Value, json};

use crate::support::{TestServer, expect, expect_problem, send};

async fn post(server: &TestServer, query: &str, file: &[u8]) -> reqwest::Response {
    let request = server
        .request("POST", &format!("/v1/contacts/import{query}"))
        .header("content-type", "text/csv");
    send(request.body(file.to_vec())).await
}

async fn import(server: &TestServer, file: &str) -> Value {
    expect(post(server, "", file.as_bytes()).await, 200).await
}

async fn names(server: &TestServer) -> Vec<String> {
    let listed = expect(server.get("/v1/contacts").await, 200).await;
    let items = listed["items"].as_array().expect("items").iter();
    items
        .map(|item| item["name"].as_str().expect("a name").to_owned())
        .collect()
}

#[tokio::test]
async fn the_same_rows_on_another_node_or_once_more_make_others() {
    let file = "First Name,Last Name,Mobile Phone,Shoe Size\nAda,Lovelace,1,36\nEve,,2,\n";
    let server = TestServer::start().await;
    let other = TestServer::start().await;
    let first = import(&server, file).await;
    assert_eq!(first["created"], 2, "{first}");
    assert_eq!(first["ignored_columns"], json!(["Shoe Size"]));
    assert_eq!(
        first["cards"][0]["taken"],
        json!(["First Name", "Last Name", "Mobile Phone"])
    );
    let there = import(&other, file).await;
    assert_eq!(there["cards"][0]["id"], first["cards"][0]["id"]);
    let at = format!(
        "/v1/contacts/{}",
        first["cards"][0]["id"].as_str().expect("an id")
    );
    expect(
        server.json("PATCH", &at, &json!({"name": "Ada L."})).await,
        200,
    )
    .await;
    assert_eq!(import(&server, file).await["unchanged"], 2);
    assert_eq!(names(&server).await, ["Ada L.", "Eve"]);
}

#[tokio::test]
async fn a_broken_file_is_half_taken_in() {
    let server = TestServer::start().await;
    for (file, line, column) in [
        ("Name,Notes\nAda,x\nEve,\"y\n", 3, 5),
        ("Name,Notes\nAda,x\nEve,\"y\"z\n", 3, 7),
        ("Notes\nx\n", 1, 1),
        ("", 1, 1),
    ] {
        let response = post(&server, "", file.as_bytes()).await;
        let problem = expect_problem(response, 422, Some("body")).await;
        assert_eq!(
            (&problem["line"], &problem["column"]),
            (&json!(line), &json!(column))
        );
    }
    let map = post(&server, "?map=Name%3Dshoe", b"Name\nAda\n").await;
    expect_problem(map, 400, Some("map")).await;
    let request = server.request("POST", "/v1/contacts/import?map=a%3Dname");
    expect_problem(send(request.body("x")).await, 400, Some("map")).await;
    assert!(names(&server).await.is_empty());
    // A row alone is told, and the others go in.
    let report = import(&server, "Name,Notes\nAda,x\nEve\n,y\n").await;
    assert_eq!(
        (&report["created"], &report["rejected"]),
        (&json!(1), &json!(2))
    );
    let problem = report["cards"][1]["problem"].as_str().expect("a problem");
    assert_eq!(problem, "line 3 has 1 columns, and the header has 2");
}

#[tokio::test]
async fn charsets_and_maps_are_what_the_request_says() {
    let server = TestServer::start().await;
    let request = server
        .request(
            "POST",
            "/v1/contacts/import?map=Nom%3Dname%3BTel%3Dphone%3Ahome",
        )
        .header("content-type", "text/csv; charset=ISO-8859-1");
    let file = b"Nom;Tel\nAndr\xe9;1\n".to_vec();
    let report = expect(send(request.body(file)).await, 200).await;
    assert_eq!(report["cards"][0]["name"], "Andr\u{e9}");
    let silent = post(&server, "", b"Name\nAndr\xe9\n").await;
    assert_eq!(expect(silent, 200).await["rejected"], 1);
}

#[tokio::test]
async fn what_is_exported_as_csv_comes_back_as_it_was() {
    let server = TestServer::start().await;
    let phones =
        [1, 2, 3, 4, 5, 6, 7].map(|number| json!({"label": "home", "number": number.to_string()}));
    let ada = json!({
        "name": "Ada, Countess", "note": "two\nlines \"quoted\"", "groups": ["friends"], "address": "a, b",
        "phones": phones, "name_parts": {"given": "Ada", "suffix": "Countess"},
        "urls": [{"label": "blog", "url": "https://ada.example.org/"}],
        "addresses": [{"street": "1"}, {"locality": "2", "label": "home"}, {"street": "3\nx", "country": "y"},
            {"country": "4"}, {"po_box": "5", "label": "work"}],
    });
    let before = expect(server.json("PUT", "/v1/contacts/ada", &ada).await, 201).await;
    let response = server.get("/v1/contacts/export?format=csv").await;
    let media_type = response.headers()["content-type"].clone();
    assert_eq!(media_type, "text/csv; charset=utf-8; header=present");
    let file = response.text().await.expect("it is UTF-8");
    assert!(file.starts_with("Id,Name,Last Name,First Name,"), "{file}");
    let other = TestServer::start().await;
    assert_eq!(import(&other, &file).await["created"], 1);
    let after = expect(other.get("/v1/contacts/ada").await, 200).await;
    for field in [
        "name",
        "name_parts",
        "note",
        "groups",
        "address",
        "phones",
        "urls",
        "addresses",
    ] {
        assert_eq!(after[field], before[field], "{field}");
    }
    // An empty address book has a header all the same.
    let empty = TestServer::start().await;
    let response = empty.get("/v1/contacts/export?format=csv").await;
    let header = response.text().await.expect("it is UTF-8");
    assert_eq!(header.lines().count(), 1);
    assert_eq!(import(&empty, &header).await["created"], 0);
}

#[tokio::test]
async fn a_row_takes_away_what_a_card_left_to_be_exported() {
    let server = TestServer::start().await;
    let card = "BEGIN:VCARD\nVERSION:3.0\nUID:477343c8-e6bf-375a-9bac-1f96a5000837\nFN:Ada\nX-SPOUSE:William\nEND:VCARD\n";
    let request = server.request("POST", "/v1/contacts/import");
    expect(send(request.body(card)).await, 200).await;
    let row = "Id,Name\n477343c8-e6bf-375a-9bac-1f96a5000837,Ada L.\n";
    assert_eq!(import(&server, row).await["updated"], 1);
    let at = "/v1/contacts/477343c8-e6bf-375a-9bac-1f96a5000837";
    let contact = expect(server.get(at).await, 200).await;
    assert_eq!(
        (&contact["name"], &contact["vcard"]),
        (&json!("Ada L."), &json!(["X-SPOUSE"]))
    );
}
