//! One connection that writes until it is told to stop.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    command::Kind,
    ledger::{Ledger, Place},
};
use crate::client::{Client, ClientError, Condition, ContactDraft};

/// Among how many counters the increments are spread.
const COUNTERS: u32 = 16;
/// How many places of each kind a connection writes to, again and again.
const SLOTS: u32 = 100;
/// How long a connection rests after an error: a node that is down or has too much to do is not asked in a loop.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// The names under which one run writes.
#[derive(Debug)]
pub(super) struct Names {
    run: String,
}

impl Names {
    pub(super) fn new(run: &str) -> Self {
        Self {
            run: run.to_owned(),
        }
    }

    pub(super) fn counter(&self, counter: u32) -> String {
        format!("stress/{}/{counter}", self.run)
    }

    pub(super) fn value(&self, place: &Place) -> String {
        let (connection, slot) = (place.connection, place.slot);
        match place.kind {
            Kind::Counter | Kind::Kv => format!("stress/{}/{connection}/{slot}", self.run),
            Kind::Contacts | Kind::Topic => format!("stress-{}-{connection}-{slot}", self.run),
        }
    }

    /// The topic to which one connection alone posts.
    pub(super) fn topic(&self, connection: u32) -> String {
        format!("stress-{}-{connection}", self.run)
    }
}

/// One of those who write.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) number: u32,
    pub(super) node: Client,
    pub(super) names: Arc<Names>,
    pub(super) mix: Vec<Kind>,
    pub(super) size: usize,
}

impl Connection {
    /// Writes one thing after another; yields what became of all of them.
    pub(super) async fn run(self, ended: watch::Receiver<bool>) -> Ledger {
        let mut ledger = Ledger::default();
        let mut number = 0_u64;
        while !*ended.borrow() {
            let turn = u32::try_from(number % u64::from(u32::MAX)).expect("it is below");
            let kind = self.mix[turn as usize % self.mix.len()];
            let slot = (turn / u32::try_from(self.mix.len()).expect("kinds are few")) % SLOTS;
            let place = Place {
                kind,
                connection: self.number,
                slot,
            };
            let asked = Instant::now();
            let answer = match kind {
                Kind::Counter => {
                    let counter = (self.number.wrapping_add(turn)) % COUNTERS;
                    let answer = self.count(counter).await;
                    ledger.counted(counter, &answer);
                    answer
                }
                Kind::Topic => {
                    let answer = self.post(number).await;
                    ledger.posted(self.number, number, &answer);
                    answer
                }
                Kind::Kv | Kind::Contacts => {
                    let answer = self.put(place, number).await;
                    ledger.put(place, number, &answer);
                    answer
                }
            };
            ledger.answered(&answer, asked.elapsed());
            if answer.is_err() {
                sleep(ERROR_PAUSE).await;
            }
            number += 1;
        }
        ledger
    }

    async fn count(&self, counter: u32) -> Result<(), ClientError> {
        let name = self.names.counter(counter);
        self.node.counters().increment(&name, 1).await.map(drop)
    }

    async fn post(&self, number: u64) -> Result<(), ClientError> {
        let topic = self.names.topic(self.number);
        let (topics, text) = (self.node.topics(), number.to_string());
        topics.post(&topic, "stress", &text).await.map(drop)
    }

    async fn put(&self, place: Place, number: u64) -> Result<(), ClientError> {
        let name = self.names.value(&place);
        if place.kind == Kind::Contacts {
            let contact = ContactDraft {
                name: format!("Stress {}", place.connection),
                title: Some(number.to_string()),
                ..ContactDraft::default()
            };
            let put = self.node.contacts();
            return put.put(&name, &contact, &Condition::None).await.map(drop);
        }
        let mut value = format!("{number}:");
        let fill = self.size.saturating_sub(value.len());
        value.extend(std::iter::repeat_n('.', fill));
        let put = self.node.kv().put(&name, "text/plain", value).await;
        put.map(drop)
    }
}
