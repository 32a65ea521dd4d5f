//! `grapevine topic`: messages.

use clap::{Args, Subcommand};

use super::{
    kv,
    listed::{self, Most},
    nodes::NodeArgs,
    output::shown,
};
use crate::client::Message;

/// Posts messages, and reads them as they come.
#[derive(Debug, Args)]
pub(super) struct Topic {
    #[command(flatten)]
    nodes: NodeArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Posts a message
    #[command(
        after_help = "Examples:\n  grapevine topic post news \"The harbour is open\" --author ada\n  date | grapevine topic post news -"
    )]
    Post {
        /// The topic
        topic: String,
        /// The text; `-` is standard input
        body: String,
        /// Who says it
        #[arg(long, env = "USER", default_value = "anonymous", value_name = "NAME")]
        author: String,
    },
    /// Reads the messages that are there, oldest first
    #[command(
        after_help = "Examples:\n  grapevine topic read news --since 2025-06-01T00:00:00Z\n  grapevine topic read news --newest --limit 10"
    )]
    Read {
        /// The topic
        topic: String,
        /// From this time on (RFC 3339)
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// The newest first
        #[arg(long)]
        newest: bool,
        #[command(flatten)]
        most: Most,
    },
    /// Reads each message as it comes, until Ctrl-C; goes on with another node when one is gone
    #[command(after_help = "Example:\n  grapevine topic follow news")]
    Follow {
        /// The topic
        topic: String,
        /// First what is there from this time on (RFC 3339)
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
    },
}

impl Topic {
    /// Runs to its end.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.nodes.client()?;
        let topics = client.topics();
        let mut output = self.nodes.output();
        match self.action {
            Action::Post {
                topic,
                body,
                author,
            } => {
                let body = if body == "-" {
                    String::from_utf8(kv::read("-".as_ref()).await?)?
                } else {
                    body
                };
                let message = topics.post(&topic, &author, &body).await?;
                output.answer(&message, |message| message.id.clone())?;
            }
            Action::Read {
                topic,
                since,
                newest,
                most,
            } => {
                let messages = if newest {
                    topics.newest_messages(&topic, since.as_deref())
                } else {
                    topics.messages(&topic, since.as_deref())
                };
                let header = ["AT", "AUTHOR", "BODY"];
                listed::print(&mut output, messages, &most, header, |message| {
                    [
                        message.at.clone(),
                        shown(&message.author),
                        shown(&message.body),
                    ]
                })
                .await?;
            }
            Action::Follow { topic, since } => {
                let mut feed = topics.follow(&topic, since.as_deref());
                loop {
                    let message: Message = feed.next().await?;
                    output.answer(&message, |message| {
                        let (author, body) = (shown(&message.author), shown(&message.body));
                        format!("{}  {author}: {body}", message.at)
                    })?;
                    output.flush()?;
                }
            }
        }
        output.flush()
    }
}
