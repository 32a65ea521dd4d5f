use std::time::Duration;

use grapevine::cluster::{
    Alarms, BlockedWhy, Blocker, Collection, Divergence, Health, MemberStatus,
};
use grapevine_crdt::ReplicaId;
use serde_json::json;

use crate::support::{TestServer, expect, expect_problem, send};

fn member(name: &str, agrees: bool) -> MemberStatus {
    MemberStatus {
        name: name.to_owned(),
        replica: ReplicaId::from_bytes([7; 16]),
        http: "127.0.0.1:1".to_owned(),
        peer: "127.0.0.1:2".to_owned(),
        alive: true,
        agrees,
        lag: (!agrees).then_some(3),
        last_heard: agrees.then_some(Duration::from_millis(40)),
        clock_offset_ms: agrees.then_some(-12),
    }
}

fn tell(server: &TestServer, members: Vec<MemberStatus>) {
    *server.cluster.members.lock().expect("no holder panics") = members;
}

#[tokio::test]
async fn the_cluster_has_the_promised_shape() {
    let server = TestServer::start().await;
    tell(&server, vec![member("alpha", true), member("beta", false)]);
    let cluster = expect(server.get("/v1/cluster").await, 200).await;
    assert_eq!(cluster["node"]["name"], "alpha");
    assert_eq!(cluster["node"]["uptime_ms"], 1_500);
    let alpha = json!({
        "name": "alpha", "replica": "07070707-0707-0707-0707-070707070707", "http": "127.0.0.1:1",
        "peer": "127.0.0.1:2", "alive": true, "agrees": true, "lag": null, "last_heard_ms": 40,
        "clock_offset_ms": -12,
    });
    assert_eq!(cluster["members"][0], alpha);
    assert_eq!(cluster["members"][1]["lag"], 3);
    assert_eq!(cluster["members"][1]["last_heard_ms"], json!(null));
}

#[tokio::test]
async fn convergence_says_who_does_not_agree() {
    let server = TestServer::start().await;
    tell(&server, vec![member("alpha", true)]);
    let agreed = expect(server.get("/v1/cluster/convergence").await, 200).await;
    assert_eq!(agreed, json!({"converged": true}));
    tell(&server, vec![member("alpha", true), member("beta", false)]);
    let problem = server.get("/v1/cluster/convergence?wait=500ms").await;
    let problem = expect_problem(problem, 504, None).await;
    assert_eq!(problem["disagreeing"][0]["name"], "beta");
    assert!(
        problem["detail"]
            .as_str()
            .expect("a detail")
            .contains("beta")
    );
    for wait in ["61s", "2m", "10", "-1s", "soon", ""] {
        let response = server
            .get(&format!("/v1/cluster/convergence?wait={wait}"))
            .await;
        expect_problem(response, 400, Some("wait")).await;
    }
    expect(server.get("/v1/cluster/convergence?wait=0s").await, 504).await;
}

#[tokio::test]
async fn who_is_in_the_way_of_collection_and_what_differs_is_told() {
    let server = TestServer::start().await;
    let calm = expect(server.get("/v1/cluster").await, 200).await;
    let nothing = json!({"partitions_collected": 0, "garbage": 0, "blocked_by": []});
    assert_eq!(calm["collection"], nothing);
    assert_eq!(calm["divergences"], json!([]));
    let replica = ReplicaId::from_bytes([7; 16]);
    *server.cluster.health.lock().expect("no holder panics") = Health {
        collection: Collection {
            partitions_collected: 3,
            garbage: 12,
            blocked_by: vec![Blocker {
                name: "beta".to_owned(),
                replica,
                why: BlockedWhy::Silent,
                lasted: Duration::from_secs(60),
            }],
        },
        divergences: vec![Divergence {
            name: "beta".to_owned(),
            replica,
            partition: 9,
            lasted: Duration::from_secs(2),
        }],
        alarms: Alarms {
            damaged: 1,
            divergences: 2,
            clashes: 3,
        },
    };
    let cluster = expect(server.get("/v1/cluster").await, 200).await;
    let replica = replica.to_string();
    let blocker =
        json!({"name": "beta", "replica": replica, "why": "silent", "blocked_ms": 60_000});
    assert_eq!(
        cluster["collection"],
        json!({"partitions_collected": 3, "garbage": 12, "blocked_by": [blocker]})
    );
    let divergence =
        json!({"name": "beta", "replica": replica, "partition": 9, "lasted_ms": 2_000});
    assert_eq!(cluster["divergences"], json!([divergence]));
    let alarms = json!({"damaged": 1, "divergences": 2, "clashes": 3});
    assert_eq!(cluster["alarms"], alarms);
}

#[tokio::test]
async fn a_member_that_will_not_come_back_is_forgotten_and_a_live_one_is_not() {
    let server = TestServer::start().await;
    tell(&server, vec![member("beta", true)]);
    let path = "/v1/cluster/members/07070707-0707-0707-0707-070707070707";
    expect_problem(server.delete(path).await, 409, None).await;
    let dead = MemberStatus {
        alive: false,
        ..member("beta", false)
    };
    tell(&server, vec![dead]);
    expect(server.delete(path).await, 204).await;
    expect_problem(server.delete(path).await, 404, None).await;
    let nobody = server.delete("/v1/cluster/members/beta").await;
    expect_problem(nobody, 400, Some("id")).await;
}

#[tokio::test]
async fn health_is_told() {
    let server = TestServer::start().await;
    let pong = server.get("/ping").await;
    assert_eq!(pong.text().await.expect("text"), "pong");
    let live = expect(server.get("/healthz").await, 200).await;
    assert_eq!(live["status"], "ok");
    assert_eq!(
        live["checks"],
        json!({"store": {"ok": true, "reason": null}})
    );
    let ready = expect(server.get("/readyz").await, 200).await;
    assert_eq!(ready["status"], "ready");
    for check in [
        "draining",
        "leaving",
        "reads",
        "writes",
        "caught_up",
        "clock",
    ] {
        assert_eq!(ready["checks"][check], json!({"ok": true, "reason": null}));
    }
    let head = send(server.request("HEAD", "/healthz")).await;
    assert_eq!(head.status().as_u16(), 200);
}
