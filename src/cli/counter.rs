//! `grapevine counter`: counters.

use clap::{Args, Subcommand};

use super::{
    listed::{self, Most},
    nodes::NodeArgs,
    output::shown,
};
use crate::client::{Client, ClientError, Condition, Counter};

/// Reads counters and counts.
#[derive(Debug, Args)]
pub(super) struct CounterCommand {
    #[command(flatten)]
    nodes: NodeArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Says where a counter stands; one that nobody has touched stands at 0
    #[command(after_help = "Example:\n  grapevine counter get visits")]
    Get {
        /// The counter
        name: String,
    },
    /// Counts on, and says where the counter stands then
    #[command(after_help = "Examples:\n  grapevine counter incr visits\n  \
            grapevine counter incr sold 5 --key order-1017")]
    Incr(Count),
    /// Counts down, and says where the counter stands then
    #[command(after_help = "Example:\n  grapevine counter decr stock 2 --key order-1017")]
    Decr(Count),
    /// Forgets what the node has seen; counts that it has not seen yet survive
    #[command(after_help = "Example:\n  grapevine counter reset visits")]
    Reset {
        /// The counter
        name: String,
    },
    /// Lists counters
    #[command(after_help = "Example:\n  grapevine counter ls visits/")]
    Ls {
        /// Only counters whose names begin with this
        #[arg(default_value = "")]
        prefix: String,
        #[command(flatten)]
        most: Most,
    },
}

#[derive(Debug, Args)]
struct Count {
    /// The counter
    name: String,
    /// How much
    #[arg(default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    by: u64,
    /// Names this count: however often it is repeated with the same key, it counts once. Without a key a count is
    /// never repeated, and exit code 4 says that nobody knows whether it counted.
    #[arg(long)]
    key: Option<String>,
}

impl CounterCommand {
    /// Runs to its end.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.nodes.client()?;
        let mut output = self.nodes.output();
        let counter = match self.action {
            Action::Get { name } => client.counters().get(&name).await?.value,
            Action::Incr(count) => count.up(&client).await?,
            Action::Decr(count) => count.down(&client).await?,
            Action::Reset { name } => client.counters().reset(&name, &Condition::None).await?,
            Action::Ls { prefix, most } => {
                let counters = client.counters().list(&prefix);
                listed::print(&mut output, counters, &most, ["NAME", "VALUE"], |counter| {
                    [shown(&counter.name), counter.value.to_string()]
                })
                .await?;
                return output.flush();
            }
        };
        output.answer(&counter, |counter| counter.value.to_string())?;
        output.flush()
    }
}

impl Count {
    async fn up(&self, client: &Client) -> Result<Counter, ClientError> {
        let counters = client.counters();
        match &self.key {
            Some(key) => counters.increment_once(&self.name, self.by, key).await,
            None => counters.increment(&self.name, self.by).await,
        }
    }

    async fn down(&self, client: &Client) -> Result<Counter, ClientError> {
        let counters = client.counters();
        match &self.key {
            Some(key) => counters.decrement_once(&self.name, self.by, key).await,
            None => counters.decrement(&self.name, self.by).await,
        }
    }
}
