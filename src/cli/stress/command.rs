//! The flags of `grapevine stress`, and its course.

use std::{sync::Arc, time::Duration};

use anyhow::bail;
use clap::{Args, ValueEnum};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use uuid::Uuid;

use super::{
    super::{nodes::NodeArgs, progress, stop::Stop},
    ledger::Ledger,
    load::{Connection, Names},
    report::Report,
    verify::{self, Verdict},
};
use crate::client::Client;

/// How often the progress is drawn.
const DRAW_PERIOD: Duration = Duration::from_millis(200);

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Kind {
    /// Increments of a few counters
    Counter,
    /// Values under keys
    Kv,
    /// Contacts, made and edited
    Contacts,
    /// Messages, in a topic for each connection
    Topic,
}

/// Writes as fast as the nodes take it, and verifies that nothing acknowledged is missing.
///
/// Prints rate, latencies and errors. Exit code 1 says that something which was acknowledged is missing or wrong. It removes
/// what it wrote; of a counter, a trace stays.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  grapevine stress --node http://127.0.0.1:7801 --node http://127.0.0.1:7802 --connections 100 --duration 30s --mix counter,kv,topic"
)]
pub(in super::super) struct Stress {
    #[command(flatten)]
    nodes: NodeArgs,
    /// How many write at once, spread over the nodes
    #[arg(long, default_value_t = 100, value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=8_000))]
    connections: u32,
    /// How long: 500ms, 30s, 5m
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = duration)]
    duration: Duration,
    /// What is written, in turn
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "counter",
        value_name = "KIND"
    )]
    mix: Vec<Kind>,
    /// How large a value is, in bytes
    #[arg(long, default_value_t = 100, value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    size: u32,
    /// How long the nodes may take to agree before it is verified: 500ms, 30s, 5m
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = duration)]
    settle: Duration,
    /// Leaves there what was written
    #[arg(long)]
    keep: bool,
}

impl Stress {
    /// Writes, waits, verifies, removes.
    pub(in super::super) async fn run(self) -> anyhow::Result<()> {
        let client = self.nodes.options()?.session(false).rounds(1).connect()?;
        let nodes = client.each_node()?;
        for node in &nodes {
            node.ping().await?;
        }
        let names = Arc::new(Names::new(&Uuid::now_v7().simple().to_string()));
        let begun = Instant::now();
        let ledger = self.load(&nodes, &names).await?;
        let lasted = begun.elapsed();
        // From here on every question is asked until it is answered.
        let client = self.nodes.options()?.session(false).connect()?;
        let nodes = client.each_node()?;
        let verdict = verify::run(&nodes, &names, &ledger, self.connections, self.settle).await?;
        if !self.keep {
            remove(&client, &names, &ledger).await?;
        }
        let report = Report::new(
            &self.mix,
            self.connections,
            nodes.len(),
            lasted,
            &ledger,
            &verdict,
        );
        let mut output = self.nodes.output();
        output.answer(&report, Report::text)?;
        output.flush()?;
        judge(&verdict)
    }

    /// Until the time is over, or somebody asks for the end.
    async fn load(&self, nodes: &[Client], names: &Arc<Names>) -> anyhow::Result<Ledger> {
        let mut stop = Stop::catch()?;
        let (ending, ended) = watch::channel(false);
        let mut writing = JoinSet::new();
        for number in 0..self.connections {
            let node = nodes[number as usize % nodes.len()].clone();
            let connection = Connection {
                number,
                node,
                names: names.clone(),
                mix: self.mix.clone(),
                size: self.size as usize,
            };
            writing.spawn(connection.run(ended.clone()));
        }
        let bar = progress::elapsed("writing", self.duration);
        let begun = Instant::now();
        while begun.elapsed() < self.duration {
            let left = self.duration.saturating_sub(begun.elapsed());
            tokio::select! {
                () = tokio::time::sleep(left.min(DRAW_PERIOD)) => {}
                asked = stop.requested() => {
                    asked?;
                    break;
                }
            }
            progress::at(&bar, begun.elapsed());
        }
        bar.finish_and_clear();
        ending.send_replace(true);
        let mut all = Ledger::default();
        while let Some(ledger) = writing.join_next().await {
            all.append(ledger?);
        }
        Ok(all)
    }
}

fn judge(verdict: &Verdict) -> anyhow::Result<()> {
    if verdict.wrong > 0 {
        bail!(
            "{} of {} things are not as they were acknowledged",
            verdict.wrong,
            verdict.verified
        );
    }
    Ok(())
}

async fn remove(client: &Client, names: &Names, ledger: &Ledger) -> anyhow::Result<()> {
    for counter in ledger.counters.keys() {
        match client.counters().delete(&names.counter(*counter)).await {
            Ok(()) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    for place in ledger.values.keys() {
        let name = names.value(place);
        let removed = match place.kind {
            Kind::Kv => client.kv().delete(&name).await,
            Kind::Contacts => client.contacts().delete(&name).await,
            Kind::Counter | Kind::Topic => Ok(()),
        };
        match removed {
            Ok(()) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    for connection in ledger.posted.keys() {
        let topic = names.topic(*connection);
        let mut messages = client.topics().messages(&topic, None);
        while let Some(message) = messages.next().await? {
            client.topics().remove(&topic, &message.id).await?;
        }
    }
    Ok(())
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time is 500ms, 30s or 5m".to_owned();
    let unit = text
        .find(|character: char| !character.is_ascii_digit())
        .ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err(wrong()),
    };
    let ms = number.checked_mul(factor).ok_or_else(wrong)?;
    Ok(Duration::from_millis(ms))
}
