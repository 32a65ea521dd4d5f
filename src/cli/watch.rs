//! `grapevine watch`: every change as it comes.

use clap::{Args, ValueEnum};

use super::{nodes::NodeArgs, output::shown};
use crate::client::Change;

/// Of what changes are told.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Collection {
    Contacts,
    Counters,
    Kv,
    Topics,
}

impl Collection {
    const fn name(self) -> &'static str {
        match self {
            Self::Contacts => "contacts",
            Self::Counters => "counters",
            Self::Kv => "kv",
            Self::Topics => "topics",
        }
    }
}

/// Tells every change that a node takes in, until Ctrl-C; goes on with another node when one is gone.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  grapevine watch --collection kv --prefix greetings/")]
pub(super) struct Watch {
    #[command(flatten)]
    nodes: NodeArgs,
    /// Only of this
    #[arg(long, value_enum)]
    collection: Option<Collection>,
    /// Only of what begins with this
    #[arg(long)]
    prefix: Option<String>,
}

impl Watch {
    /// Runs until somebody ends it, or no node is left.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.nodes.client()?;
        let mut output = self.nodes.output();
        let collection = self.collection.map(Collection::name);
        let mut feed = client.topics().watch(collection, self.prefix.as_deref());
        loop {
            let change: Change = feed.next().await?;
            output.answer(&change, |change| {
                let what = match &change.value {
                    _ if change.deleted => "deleted".to_owned(),
                    Some(value) => value.to_string(),
                    None => "too large to be told".to_owned(),
                };
                let (collection, key) = (&change.collection, shown(&change.key));
                format!("{collection} {key}  {what}")
            })?;
            output.flush()?;
        }
    }
}
