//! `grapevine cluster`: who is a member, whether all agree, and taking members off the roster.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    nodes::NodeArgs,
    output::{Output, rendered, shown, table},
    stop::Stop,
};
use crate::client::{Client, ClientError, ClusterStatus, Member};

/// The longest that a node waits for agreement in one request.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// How often the members are counted while not all are there.
const MEMBERS_PERIOD: Duration = Duration::from_millis(100);

/// Looks at the cluster, waits for it, and takes members off its roster.
#[derive(Debug, Args)]
pub(super) struct Cluster {
    #[command(flatten)]
    nodes: NodeArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Shows the node that answers, its members, and what it complains of
    #[command(
        after_help = "Examples:\n  grapevine cluster status\n  grapevine cluster status --watch --every 5"
    )]
    Status(Status),
    /// Lists the members
    #[command(after_help = "Example:\n  grapevine cluster members --json")]
    Members,
    /// Takes a member off the roster that will not come back, so that nothing waits for it
    #[command(after_help = "Example:\n  grapevine cluster forget ship")]
    Forget {
        /// Its name, or the replica that `cluster members --json` tells
        member: String,
    },
    /// Lets a node leave the cluster for good, once the live members hold all that it holds
    ///
    /// It takes no writes from then on, and answers reads until it is stopped. Exit code 1 says that it did not leave, and
    /// why: it takes part as before.
    #[command(after_help = "Example:\n  grapevine cluster leave --node http://ship:7801 --for 60")]
    Leave {
        /// How long the members may take, in seconds
        #[arg(long = "for", default_value_t = 30, value_name = "SECONDS",
            value_parser = clap::value_parser!(u64).range(0..=60))]
        seconds: u64,
    },
    /// Waits until all live members hold the same
    #[command(after_help = "Example:\n  grapevine cluster wait --members 3 --for 30")]
    Wait(Wait),
}

#[derive(Debug, Args)]
struct Status {
    /// Draws it again and again, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// How often, in seconds
    #[arg(long, default_value_t = 1, value_name = "SECONDS", requires = "watch",
        value_parser = clap::value_parser!(u64).range(1..=3_600))]
    every: u64,
}

#[derive(Debug, Args)]
struct Wait {
    /// At most so long, in seconds
    #[arg(long = "for", default_value_t = 60, value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(0..=86_400))]
    seconds: u64,
    /// First, until so many members are alive
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    members: usize,
}

impl Cluster {
    /// Runs to its end.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.nodes.client()?;
        let mut output = self.nodes.output();
        match self.action {
            Action::Status(status) => status.run(&client, &mut output).await?,
            Action::Members => {
                let status = client.cluster().status().await?;
                if output.is_json() {
                    for member in &status.members {
                        output.json_line(member)?;
                    }
                } else {
                    output.line(&members(&status.members))?;
                }
            }
            Action::Forget { member } => {
                let replica = replica(&client, &member).await?;
                client.cluster().forget(&replica).await?;
                if output.is_json() {
                    output.json_line(&json!({ "replica": replica, "forgotten": true }))?;
                }
            }
            Action::Leave { seconds } => {
                // Of several, nobody would know which leaves.
                let [node] = &client.each_node()?[..] else {
                    bail!("name the one node that leaves, with --node");
                };
                node.cluster().leave(Duration::from_secs(seconds)).await?;
                output.answer(&json!({ "left": true }), |_| {
                    "it has left; stop it when nobody reads from it any more".to_owned()
                })?;
            }
            Action::Wait(wait) => wait.run(&client, &mut output).await?,
        }
        output.flush()
    }
}

impl Status {
    async fn run(&self, client: &Client, output: &mut Output) -> anyhow::Result<()> {
        if !self.watch {
            let status = client.cluster().status().await?;
            return output.answer(&status, drawn);
        }
        let mut stop = Stop::catch()?;
        loop {
            let status = client.cluster().status().await;
            output.redraw()?;
            match status {
                Ok(status) => output.answer(&status, drawn)?,
                // It may come back, and whoever watches wants to see that.
                Err(error @ (ClientError::Unreachable { .. } | ClientError::Unanswered { .. })) => {
                    let told = json!({ "error": error.to_string() });
                    output.answer(&told, |_| error.to_string())?;
                }
                Err(error) => return Err(error.into()),
            }
            output.flush()?;
            tokio::select! {
                () = sleep(Duration::from_secs(self.every)) => {}
                asked = stop.requested() => return Ok(asked?),
            }
        }
    }
}

impl Wait {
    async fn run(&self, client: &Client, output: &mut Output) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(self.seconds);
        loop {
            let status = client.cluster().status().await?;
            let alive = status.members.iter().filter(|member| member.alive).count();
            if alive >= self.members {
                break;
            }
            if Instant::now() >= deadline {
                bail!("{alive} members are alive, not {}", self.members);
            }
            sleep(MEMBERS_PERIOD).await;
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let disagreeing = client.cluster().converged(left.min(MAX_WAIT)).await?;
            if disagreeing.is_empty() {
                return output.answer(&json!({ "converged": true }), |_| {
                    "all live members agree".to_owned()
                });
            }
            if Instant::now() >= deadline {
                bail!("these do not agree yet: {}", disagreeing.join(", "));
            }
        }
    }
}

/// The replica of the member that is called so, or is it.
async fn replica(client: &Client, member: &str) -> anyhow::Result<String> {
    if let Ok(replica) = Uuid::parse_str(member) {
        return Ok(replica.to_string());
    }
    let status = client.cluster().status().await?;
    let mut named = status
        .members
        .into_iter()
        .filter(|known| known.name == member);
    let found = named
        .next()
        .with_context(|| format!("no member is called {}", shown(member)))?;
    if named.next().is_some() {
        bail!(
            "several members are called {}: name the replica",
            shown(member)
        );
    }
    Ok(found.replica)
}

fn drawn(status: &ClusterStatus) -> String {
    let node = &status.node;
    let mut text = format!(
        "{} of {}, version {}, up {}\n\n{}",
        shown(&node.name),
        shown(&node.cluster),
        node.version,
        duration(node.uptime_ms),
        members(&status.members)
    );
    if let Some(fault) = &node.clock_fault {
        text.push_str("\n\ntakes no writes: ");
        text.push_str(&shown(fault));
    }
    for (what, complaints) in [
        ("refused", status.more.get("refused")),
        ("differs", status.more.get("divergences")),
        (
            "nothing deleted is forgotten because of",
            status
                .more
                .get("collection")
                .and_then(|all| all.get("blocked_by")),
        ),
    ] {
        for complaint in complaints
            .and_then(|all| all.as_array())
            .into_iter()
            .flatten()
        {
            let name = complaint["name"].as_str().unwrap_or("?");
            let why = complaint["reason"].as_str().or(complaint["why"].as_str());
            text.extend(["\n\n", what, ": ", &shown(name)]);
            if let Some(why) = why {
                text.extend([" (", &shown(why), ")"]);
            }
        }
    }
    text
}

fn members(members: &[Member]) -> String {
    let mut table = table([
        "NAME", "ALIVE", "AGREES", "LAG", "HEARD", "CLOCK", "HTTP", "PEER",
    ]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let yes_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    for member in members {
        table.add_row([
            shown(&member.name),
            yes_no(member.alive),
            yes_no(member.agrees),
            or_dash(member.lag.map(|lag| lag.to_string())),
            or_dash(member.last_heard_ms.map(duration)),
            or_dash(
                member
                    .clock_offset_ms
                    .map(|offset| format!("{offset:+} ms")),
            ),
            or_dash(member.http.as_deref().map(shown)),
            or_dash(member.peer.as_deref().map(shown)),
        ]);
    }
    rendered(&table)
}

fn duration(ms: u64) -> String {
    match ms / 1_000 {
        0 => format!("{ms} ms"),
        seconds @ 1..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..86_400 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}
