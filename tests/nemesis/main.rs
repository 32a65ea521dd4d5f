//! The danger: five real nodes on a network that is cut, delayed and lossy, killed and paused under load, lose
//! something acknowledged, count something twice, show a client less than it wrote, or never agree again.
//!
//! Needs network namespaces, and takes minutes: `.ci/nemesis` runs it. What is checked is what clients saw: their
//! histories, and what every node shows once the network is whole. The checker itself is tested with the rest.

mod bites;
mod checker;
mod client;
mod history;
mod network;
mod port;
mod schedule;
mod site;
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use checker::{Expected, Final, expect};
use client::{Client, shown};
use history::{Answer, Call, Entry};
use reqwest::Method;
use schedule::schedule;
use site::{Isolation, Site};
use support::{client::NodeClient, cluster::all_see_all};
use tokio::task::JoinSet;

/// From when the network is whole until all agree. Gossip takes some seconds to see that a node is back.
const CONVERGES_WITHIN: Duration = Duration::from_secs(30);

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Runs as a child of the next test only.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "no test: the network of one node, in its namespace"]
async fn the_port_of_a_node() {
    port::run().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and network namespaces: see .ci/nemesis"]
async fn a_bad_network_loses_nothing_acknowledged_and_ends_in_agreement() {
    let Some(isolation) = Isolation::find() else {
        eprintln!("SKIPPED: this machine gives us no network namespaces (unshare, nsenter, ip)");
        return;
    };
    let seed = setting("NEMESIS_SEED").unwrap_or_else(rand::random);
    let length = Duration::from_secs(setting("NEMESIS_SECONDS").unwrap_or(60));
    let clients: usize = setting("NEMESIS_CLIENTS").unwrap_or(8);
    let forgetful = env::var_os("NEMESIS_FORGETFUL").is_some();
    println!(
        "NEMESIS_SEED={seed} NEMESIS_SECONDS={} NEMESIS_CLIENTS={clients}",
        length.as_secs()
    );

    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut site = Site::start(isolation, directory.path()).await;
    let nodes: Vec<_> = site.http().iter().map(NodeClient::new).collect();
    all_see_all(&nodes).await;

    let began = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let mut working = JoinSet::new();
    for number in 0..clients {
        let client = Client::new(number, seed, site.http(), began, forgetful);
        working.spawn(client.run(stop.clone()));
    }
    let planned = schedule(seed, length);
    site.suffer(&planned, began, length).await;
    site.heal().await;
    let healed = Instant::now();
    stop.store(true, Ordering::Relaxed);
    let histories = working.join_all().await;
    let idle = healed.elapsed();
    let disagreement = converge(&nodes, healed).await;
    let converged = healed.elapsed();

    let expected = expect(&histories);
    let mut wrong = expected.violations.clone();
    wrong.extend(disagreement);
    let mut finals = Vec::new();
    for node in &nodes {
        finals.push(everything(node, &expected).await);
    }
    wrong.extend(expected.judge(&finals));
    wrong.extend(site.close());

    println!("faults: {}", planned.len());
    for (what, how_many) in &expected.figures {
        println!("{what}: {how_many}");
    }
    println!(
        "entities: {}, counters: {}",
        expected.entities.len(),
        expected.counters.len()
    );
    for (counter, tally) in &expected.counters {
        println!("{counter}: {:?}, {tally:?}", finals[0].counters[counter]);
    }
    println!(
        "converged after healing: {converged:?}, after the last client: {:?}",
        converged.saturating_sub(idle)
    );
    if !wrong.is_empty() {
        write_histories(&histories);
    }
    assert!(
        wrong.is_empty(),
        "seed {seed}: {} wrongs:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let acknowledged = expected.figures.get("writes acknowledged");
    assert!(
        acknowledged.is_some_and(|writes| *writes > clients * 10),
        "hardly anything was written: nothing was tested"
    );
}

fn setting<T: FromStr>(name: &str) -> Option<T> {
    let value = env::var(name).ok()?;
    let Ok(value) = value.parse() else {
        panic!("{name} is {value:?}, which is no number");
    };
    Some(value)
}

/// Waits until every node sees all and says that all agree; else says who does not.
async fn converge(nodes: &[NodeClient], healed: Instant) -> Option<String> {
    loop {
        let mut seen = Vec::new();
        for node in nodes {
            let converged = node.get("/v1/cluster/convergence?wait=1s").await;
            let cluster = node.get("/v1/cluster").await;
            let members = cluster.as_ref().map(|cluster| {
                let members = cluster["members"].as_array().into_iter().flatten();
                let agreeing = |member: &&serde_json::Value| {
                    member["alive"] == true && member["agrees"] == true
                };
                members.filter(agreeing).count()
            });
            if converged.is_err() || !matches!(members, Ok(agreeing) if agreeing == nodes.len()) {
                seen.push(format!("{converged:?} {cluster:?}"));
            }
        }
        if seen.is_empty() {
            return None;
        }
        if healed.elapsed() > CONVERGES_WITHIN {
            return Some(format!(
                "no agreement within {CONVERGES_WITHIN:?}: {seen:#?}"
            ));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// All that clients ever wrote, as a node shows it.
async fn everything(node: &NodeClient, expected: &Expected) -> Final {
    let mut shows = Final::default();
    for path in expected.entities.keys() {
        let answer = node.send(Method::GET, path, None).await;
        let answer = answer.expect("a whole network answers");
        let state = if answer.status() == reqwest::StatusCode::NOT_FOUND {
            None
        } else {
            assert!(answer.status().is_success(), "{path}: {answer:?}");
            let bytes = answer.bytes().await.expect("a whole network answers");
            match shown(&Call::Read(path.clone()), &bytes) {
                Answer::Shown(state) => state,
                other => panic!("{other:?} is no state"),
            }
        };
        shows.entities.insert(path.clone(), state);
    }
    for counter in expected.counters.keys() {
        let value = node.counter(counter).await;
        let value = value.expect("a whole network answers");
        shows.counters.insert(counter.clone(), value);
    }
    shows
}

/// For whoever looks for the cause.
fn write_histories(histories: &[Vec<Entry>]) {
    let path = env::temp_dir().join(format!("nemesis-histories-{}.txt", std::process::id()));
    let mut text = String::new();
    let mut by_time: BTreeMap<(u128, usize, usize), &Entry> = BTreeMap::new();
    for (client, history) in histories.iter().enumerate() {
        for (number, entry) in history.iter().enumerate() {
            by_time.insert((entry.at_ms, client, number), entry);
        }
    }
    for ((_, client, _), entry) in by_time {
        writeln!(text, "client {client}: {entry}").expect("a text takes everything");
    }
    std::fs::write(&path, text).expect("the temporary directory can be written to");
    println!("histories: {}", path.display());
}
