//! The dangers: a closed store is damaged and nobody says so, or a command touches a store that a node has open.

mod support;

use std::path::Path;

use redb::{Database, ReadableTable, TableDefinition};
use support::{
    client::NodeClient,
    process::{NodeProcess, Start},
    program::{complaint, grapevine, run},
};

fn on(command: &str, data: &Path) -> (Option<i32>, String) {
    let output = run(grapevine().arg(command).arg("--data").arg(data));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &complaint(&output);
    (output.status.code(), said)
}

/// Takes the first row of a table away.
fn lose_a_row(data: &Path, table: &str) {
    let database = Database::open(data.join("data.redb")).expect("it opens");
    let transaction = database.begin_write().expect("it can be written to");
    {
        let table: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(table);
        let mut rows = transaction.open_table(table).expect("the table is there");
        let key = {
            let first = rows.first().expect("it is read").expect("a row");
            first.0.value().to_vec()
        };
        rows.remove(key.as_slice()).expect("it can be removed");
    }
    transaction.commit().expect("it can be committed");
}

#[tokio::test]
async fn a_damaged_store_passes_for_sound() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let nowhere = directory.path().join("nowhere");
    for command in ["verify", "compact", "mend-clock"] {
        assert_eq!(on(command, &nowhere).0, Some(2), "{command}");
        assert!(!nowhere.exists(), "{command} makes nothing");
    }
    let node = NodeProcess::start(Start::new("one", directory.path(), &[]));
    let data = node.data().to_owned();
    let client = NodeClient::new(node.url());
    client.put_kv("k", "v").await.expect("it is put");
    for command in ["verify", "compact", "mend-clock"] {
        let (code, said) = on(command, &data);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("in use"), "{said}");
    }
    node.terminate();
    for command in ["verify", "compact", "mend-clock", "verify"] {
        let (code, said) = on(command, &data);
        assert_eq!(code, Some(0), "{command}: {said}");
    }
    lose_a_row(&data, "log_v1");
    let (code, said) = on("verify", &data);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the log lacks write"), "{said}");
}
