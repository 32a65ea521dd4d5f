//! The danger: a node leaves for good while what it wrote is nowhere else, for a member that is there does not take it in.

mod support;

use reqwest::Method;
use support::{
    client::{NodeClient, Refused},
    cluster::{clients, joined},
    wait::until,
};
use tokio::task::spawn_blocking;

/// The status with which a node answers that it should leave.
async fn leave(node: &NodeClient, wait: &str) -> Result<u16, Refused> {
    let path = format!("/v1/cluster/leave?wait={wait}");
    let answer = node.send(Method::POST, &path, None).await?;
    Ok(answer.status().as_u16())
}

/// Whether `/readyz` says that the node is leaving.
async fn is_leaving(node: &NodeClient) -> Result<bool, Refused> {
    let answer = node.send(Method::GET, "/readyz", None).await?;
    let status = answer.status().as_u16();
    let told: serde_json::Value = answer
        .json()
        .await
        .map_err(|error| Refused(error.to_string()))?;
    let leaves = told["checks"]["leaving"]["ok"] == false;
    assert!(!leaves || status == 503, "{told}");
    Ok(leaves)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_leaves_although_what_it_wrote_is_nowhere_else() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let nodes = joined(directory.path(), &["ann", "bob"]).await;
    let of_nodes = clients(&nodes);
    let [ann, bob] = [&of_nodes[0], &of_nodes[1]];
    nodes[0].signal("STOP");
    bob.put_kv("k", "v").await.expect("acknowledged");
    let refused = leave(bob, "300ms").await.expect("it answers");
    // Ann has not taken it in, or is taken to be away.
    assert!([409, 504].contains(&refused), "{refused}");
    assert!(!is_leaving(bob).await.expect("it answers"));
    let asked = {
        let bob = bob.clone();
        tokio::spawn(async move { leave(&bob, "20s").await })
    };
    until("readiness that says so meanwhile", async || {
        let leaves = is_leaving(bob).await?;
        // It is taken back where ann is taken to be away.
        let over = leaves || asked.is_finished();
        over.then_some(()).ok_or(Refused("it is ready".to_owned()))
    })
    .await;
    nodes[0].signal("CONT");
    let first = asked.await.expect("it does not panic");
    if first.expect("it answers") != 200 {
        until("a node that leaves", async || {
            match leave(bob, "5s").await? {
                200 => Ok(()),
                status => Err(Refused(status.to_string())),
            }
        })
        .await;
    }
    assert!(is_leaving(bob).await.expect("it answers"));
    let mut nodes = nodes;
    let gone = nodes.pop().expect("there are two");
    spawn_blocking(move || gone.kill_nine())
        .await
        .expect("it is killed");
    let held = ann.get_kv("k").await.expect("it answers");
    assert_eq!(held.as_deref(), Some("v"));
}
