//! Whether every node shows what was acknowledged.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    super::progress,
    command::Kind,
    ledger::{Counted, Held, Ledger, Place, Posted},
    load::Names,
};
use crate::client::{Client, ClientError};

/// How many of the things that are wrong are told.
const MAX_TOLD: usize = 10;
/// The longest that a node waits for agreement in one request.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// What the check found.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// How many things were looked at, on all nodes together.
    pub(super) verified: u64,
    pub(super) wrong: u64,
    /// The first of what is wrong.
    pub(super) told: Vec<String>,
    /// How long the nodes took to agree; `None` if they did not.
    pub(super) agreed_after: Option<Duration>,
}

/// One thing to look at.
enum Question {
    Counter(u32, Counted),
    Value(Place, Held),
    Topic(u32, Posted),
}

/// Waits until the nodes agree, `settle` at most, and looks at everything on each.
pub(super) async fn run(
    nodes: &[Client],
    names: &Arc<Names>,
    ledger: &Ledger,
    at_once: u32,
    settle: Duration,
) -> anyhow::Result<Verdict> {
    let mut verdict = Verdict {
        agreed_after: agreed(nodes, settle).await?,
        ..Verdict::default()
    };
    let total = (ledger.counters.len() + ledger.values.len() + ledger.posted.len()) * nodes.len();
    let bar = progress::items("verifying", total as u64);
    let places = Arc::new(Semaphore::new(at_once as usize));
    let mut looking: JoinSet<Result<Option<String>, ClientError>> = JoinSet::new();
    for node in nodes {
        let counters = ledger.counters.iter();
        let counters = counters.map(|(counter, counted)| Question::Counter(*counter, *counted));
        let values = ledger.values.iter();
        let values = values.map(|(place, held)| Question::Value(*place, held.clone()));
        let topics = ledger.posted.iter();
        let topics =
            topics.map(|(connection, posted)| Question::Topic(*connection, posted.clone()));
        for question in counters.chain(values).chain(topics) {
            let place = places.clone().acquire_owned().await?;
            let (node, names) = (node.clone(), names.clone());
            looking.spawn(async move {
                let found = question.answer(&node, &names).await;
                drop(place);
                found
            });
            while let Some(found) = looking.try_join_next() {
                verdict.take(found??);
                bar.inc(1);
            }
        }
    }
    while let Some(found) = looking.join_next().await {
        verdict.take(found??);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(verdict)
}

impl Verdict {
    fn take(&mut self, wrong: Option<String>) {
        self.verified += 1;
        if let Some(wrong) = wrong {
            self.wrong += 1;
            if self.told.len() < MAX_TOLD {
                self.told.push(wrong);
            }
        }
    }
}

async fn agreed(nodes: &[Client], settle: Duration) -> Result<Option<Duration>, ClientError> {
    let begun = Instant::now();
    for node in nodes {
        loop {
            let left = settle.saturating_sub(begun.elapsed());
            if node
                .cluster()
                .converged(left.min(MAX_WAIT))
                .await?
                .is_empty()
            {
                break;
            }
            if begun.elapsed() >= settle {
                return Ok(None);
            }
        }
    }
    Ok(Some(begun.elapsed()))
}

impl Question {
    /// What is wrong with the answer of a node.
    async fn answer(self, node: &Client, names: &Names) -> Result<Option<String>, ClientError> {
        let address = node.nodes().map(ToString::to_string).collect::<String>();
        match self {
            Self::Counter(number, counted) => {
                let name = names.counter(number);
                let value = node.counters().get(&name).await?.value.value;
                let Counted {
                    acknowledged,
                    unknown,
                } = counted;
                Ok((!counted.allows(value)).then(|| {
                    format!(
                        "{address}: {name} stands at {value}; {acknowledged} were acknowledged and {unknown} not answered"
                    )
                }))
            }
            Self::Topic(connection, posted) => {
                let topic = names.topic(connection);
                let mut messages = node.topics().messages(&topic, None);
                let mut numbers = Vec::new();
                while let Some(message) = messages.next().await? {
                    numbers.push(message.body.parse().unwrap_or(u64::MAX));
                }
                let wrong = posted.wrong(&numbers);
                Ok(wrong.map(|wrong| format!("{address}: {topic} {wrong}")))
            }
            Self::Value(place, held) => {
                let name = names.value(&place);
                let value = read(node, place.kind, &name).await?;
                Ok((!held.allows(value)).then(|| {
                    let shown = |value: Option<u64>| {
                        value.map_or_else(|| "nothing".to_owned(), |value| value.to_string())
                    };
                    format!(
                        "{address}: {name} holds {}; {} was acknowledged last",
                        shown(value),
                        shown(held.acknowledged)
                    )
                }))
            }
        }
    }
}

/// The number that a place holds.
async fn read(node: &Client, kind: Kind, name: &str) -> Result<Option<u64>, ClientError> {
    if kind == Kind::Contacts {
        return match node.contacts().get(name).await {
            Ok(contact) => Ok(contact
                .value
                .fields
                .title
                .and_then(|title| title.parse().ok())),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        };
    }
    let value = node.kv().get(name).await?;
    Ok(value.and_then(|value| {
        let text = String::from_utf8_lossy(&value.value.bytes);
        text.split(':').next()?.parse().ok()
    }))
}
