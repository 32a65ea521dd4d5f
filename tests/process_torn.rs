//! The danger: a connection breaks in the middle of a large transfer, and what came through is claimed as
//! whole, begun anew for ever, or never completed.

mod support;

use support::{
    client::NodeClient,
    cluster::{all_agree, clients, same_bytes},
    process::{NodeProcess, Start},
    proxy::TearingProxy,
    wait::until,
};
use tokio::task::JoinSet;

/// How many values the transfer has.
const VALUES: usize = 160;

/// The bytes of each.
const VALUE_BYTES: usize = 32 * 1024;

/// After how many bytes connections are torn off, one after another.
const CUTS: [usize; 3] = [500_000, 200_000, 1_000_000];

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_torn_off_in_the_middle_is_completed_and_nothing_is_missing() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let full = NodeProcess::start(Start::new("full", directory.path(), &[]));
    let client = NodeClient::new(full.url());
    fill(&client).await;
    client.increment("visits", 42).await.expect("acknowledged");

    // The empty node knows nobody but the proxy.
    let proxy = TearingProxy::start(full.seed(), CUTS.to_vec()).await;
    let empty = NodeProcess::start(Start::new("empty", directory.path(), &[proxy.address()]));
    until("torn connection", async || {
        (proxy.torn() > 0).then_some(()).ok_or("none yet")
    })
    .await;
    // What was torn off brought less than all.
    let behind = NodeClient::new(empty.url());
    let held = behind
        .whole_list("/v1/kv?limit=1000")
        .await
        .expect("it serves meanwhile");
    assert!(held.len() < VALUES, "nothing was left to be completed");

    let nodes = [full, empty];
    let clients = clients(&nodes);
    all_agree(&clients).await;
    eprintln!("{} connections were torn off", proxy.torn());
    for index in 0..VALUES {
        let bytes = same_bytes(&clients, &format!("/v1/kv/{}", key(index))).await;
        assert_eq!(bytes, value(index).into_bytes());
    }
    same_bytes(&clients, "/v1/counters/visits").await;
}

async fn fill(client: &NodeClient) {
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let client = client.clone();
        writers.spawn(async move {
            for index in (writer..VALUES).step_by(8) {
                client
                    .put_kv(&key(index), &value(index))
                    .await
                    .expect("acknowledged");
            }
        });
    }
    writers.join_all().await;
}

fn key(index: usize) -> String {
    format!("large-{index:03}")
}

fn value(index: usize) -> String {
    format!("{index:08}").repeat(VALUE_BYTES / 8)
}
