//! The danger: a node dies by `kill -9` in the midst of writes, and takes something acknowledged with it, or
//! makes the others fail, or counts something twice when it comes back.

mod support;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use serde_json::json;
use support::{
    client::{NodeClient, Refused},
    cluster::{all_agree, clients, joined, same_bytes},
    process::{NodeProcess, Start},
    wait::{POLL_INTERVAL, until},
};
use tokio::task::JoinSet;

/// How many clients write to each node.
const WRITERS_PER_NODE: usize = 4;

/// How often the third node is killed.
const KILLS: usize = 5;

/// How many acknowledged writes lie between two kills: a draw from these.
const WRITES_BETWEEN_KILLS: std::ops::Range<u64> = 100..400;

/// What was written while a node was away, in the second test.
const MISSED_WRITES: usize = 2_000;

/// What one client did.
#[derive(Debug, Default)]
struct Tally {
    keys: BTreeSet<String>,
    contacts: BTreeSet<String>,
    increments: i64,
    doubtful_increments: i64,
    failures: Vec<Refused>,
}

/// What all clients share.
struct Load {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    /// Where the node that dies serves now; `None` while it is dead.
    victim: Mutex<Option<NodeClient>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_in_the_midst_of_writes_loses_nothing_acknowledged_and_fails_nobody_else() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut nodes = joined(directory.path(), &["one", "two", "three"]).await;
    let load = Arc::new(Load {
        stop: AtomicBool::new(false),
        acknowledged: AtomicU64::new(0),
        victim: Mutex::new(Some(NodeClient::new(nodes[2].url()))),
    });
    let mut steady = JoinSet::new();
    let mut shaky = JoinSet::new();
    for writer in 0..WRITERS_PER_NODE {
        for (index, client) in clients(&nodes[..2]).into_iter().enumerate() {
            let name = format!("steady-{index}-{writer}");
            steady.spawn(write_to(Target::Steady(client), name, load.clone()));
        }
        shaky.spawn(write_to(
            Target::Victim,
            format!("shaky-{writer}"),
            load.clone(),
        ));
    }
    for _ in 0..KILLS {
        let until_kill = rand::random_range(WRITES_BETWEEN_KILLS);
        eprintln!("kill after {until_kill} more writes");
        writes_go_on(&load, until_kill).await;
        let victim = nodes.pop().expect("the third node runs");
        let again = victim.kill_nine();
        *load.victim.lock().expect("no holder panics") = None;
        writes_go_on(&load, until_kill / 2).await;
        nodes.push(start_while_writing(again).await);
        let client = NodeClient::new(nodes[2].url());
        *load.victim.lock().expect("no holder panics") = Some(client);
    }
    load.stop.store(true, Ordering::Relaxed);
    let steady = sum(steady.join_all().await);
    let shaky = sum(shaky.join_all().await);
    assert!(
        steady.failures.is_empty(),
        "writes on nodes that lived failed: {:?}",
        steady.failures
    );
    assert!(shaky.increments > 0, "the third node never counted");

    let clients = clients(&nodes);
    all_agree(&clients).await;
    for node in &clients {
        let held = keys(node, "/v1/kv?limit=1000", "key").await;
        let lost: Vec<_> = steady.keys.union(&shaky.keys).collect();
        let lost: Vec<_> = lost
            .into_iter()
            .filter(|key| !held.contains(*key))
            .collect();
        assert!(lost.is_empty(), "acknowledged keys are gone: {lost:?}");
        let held = keys(node, "/v1/contacts?limit=1000", "id").await;
        for id in steady.contacts.union(&shaky.contacts) {
            assert!(held.contains(id), "the acknowledged contact {id} is gone");
        }
        let counted = node.counter("steady").await.expect("it answers");
        assert_eq!(counted, steady.increments);
        let counted = node.counter("shaky").await.expect("it answers");
        let most = shaky.increments + shaky.doubtful_increments;
        assert!(
            (shaky.increments..=most).contains(&counted),
            "counted {counted}, acknowledged {}, at most {most}",
            shaky.increments
        );
    }
    for key in steady.keys.iter().chain(&shaky.keys).step_by(97) {
        let value = same_bytes(&clients, &format!("/v1/kv/{key}")).await;
        assert_eq!(value, format!("value of {key}").as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_catches_up_with_every_write_it_missed() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut nodes = joined(directory.path(), &["one", "two", "three"]).await;
    let away = nodes.pop().expect("the third node runs").kill_nine();
    let others = clients(&nodes);
    let mut writers = JoinSet::new();
    for writer in 0..16 {
        let node = others[writer % 2].clone();
        writers.spawn(async move {
            for index in (writer..MISSED_WRITES).step_by(16) {
                let key = format!("missed-{index:05}");
                node.put_kv(&key, &key).await.expect("it is acknowledged");
            }
        });
    }
    writers.join_all().await;
    others[0]
        .increment("missed", 5)
        .await
        .expect("it is acknowledged");

    let began = Instant::now();
    nodes.push(NodeProcess::start(away));
    let back = NodeClient::new(nodes[2].url());
    until("all that was missed", async || {
        let held = keys(&back, "/v1/kv?limit=1000", "key").await;
        if held.len() == MISSED_WRITES && back.counter("missed").await? == 5 {
            return Ok(());
        }
        Err(Refused(format!("{} keys", held.len())))
    })
    .await;
    eprintln!(
        "caught up with {MISSED_WRITES} writes {:?} after its start",
        began.elapsed()
    );
    all_agree(&clients(&nodes)).await;
}

/// To which node a client writes.
enum Target {
    Steady(NodeClient),
    Victim,
}

/// Writes until the load stops. On the node that dies a request without an answer is in doubt: it may have
/// been done or not.
async fn write_to(target: Target, name: String, load: Arc<Load>) -> Tally {
    let mut tally = Tally::default();
    let counter = if matches!(target, Target::Steady(_)) {
        "steady"
    } else {
        "shaky"
    };
    let mut index = 0_u64;
    while !load.stop.load(Ordering::Relaxed) {
        let node = match &target {
            Target::Steady(node) => Some(node.clone()),
            Target::Victim => load.victim.lock().expect("no holder panics").clone(),
        };
        let Some(node) = node else {
            tokio::time::sleep(POLL_INTERVAL).await;
            continue;
        };
        index += 1;
        let outcome = match index % 3 {
            0 => {
                let key = format!("{name}-{index}");
                let put = node.put_kv(&key, &format!("value of {key}")).await;
                put.map(|()| tally.keys.extend([key]))
            }
            1 => match node.increment(counter, 1).await {
                Ok(()) => {
                    tally.increments += 1;
                    Ok(())
                }
                Err(refused) => {
                    tally.doubtful_increments += 1;
                    Err(refused)
                }
            },
            _ => {
                let contact = json!({ "name": format!("{name} {index}") });
                let made = node.create_contact(contact).await;
                made.map(|id| tally.contacts.extend([id]))
            }
        };
        match outcome {
            Ok(()) => {
                load.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err(refused) => tally.failures.push(refused),
        }
    }
    tally
}

/// Waits until `more` further writes are acknowledged.
async fn writes_go_on(load: &Load, more: u64) {
    let target = load.acknowledged.load(Ordering::Relaxed) + more;
    until("acknowledged writes", async || {
        let now = load.acknowledged.load(Ordering::Relaxed);
        (now >= target).then_some(()).ok_or((now, target))
    })
    .await;
}

/// The start waits for the node; the clients must go on meanwhile.
async fn start_while_writing(start: Start) -> NodeProcess {
    tokio::task::spawn_blocking(|| NodeProcess::start(start))
        .await
        .expect("it starts")
}

fn sum(tallies: Vec<Tally>) -> Tally {
    tallies
        .into_iter()
        .fold(Tally::default(), |mut sum, tally| {
            sum.keys.extend(tally.keys);
            sum.contacts.extend(tally.contacts);
            sum.increments += tally.increments;
            sum.doubtful_increments += tally.doubtful_increments;
            sum.failures.extend(tally.failures);
            sum
        })
}

/// One field of every item of a list.
async fn keys(node: &NodeClient, path: &str, field: &str) -> BTreeSet<String> {
    let items = node.whole_list(path).await.expect("the list is served");
    items
        .iter()
        .filter_map(|item| item[field].as_str().map(str::to_owned))
        .collect()
}
