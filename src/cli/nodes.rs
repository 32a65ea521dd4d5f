//! Which nodes a command asks, and the flags that all commands share which ask one.

use std::time::Duration;

use clap::Args;

use super::output::Output;
use crate::client::{Client, ClientError, ClientOptions};

const DEFAULT_NODE: &str = "http://127.0.0.1:7801";

/// What a command that asks a node is told beside its own matter.
#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    /// Where a node serves HTTP; may be repeated, or several with commas: the next is asked when one does not answer
    #[arg(
        long,
        global = true,
        env = "GRAPEVINE_NODE",
        default_value = DEFAULT_NODE,
        value_delimiter = ',',
        value_name = "URL"
    )]
    node: Vec<String>,
    /// Answer in JSON, one value a line: for a list, one line an item
    #[arg(long, global = true)]
    json: bool,
    /// How long a node may take to answer, in seconds
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    timeout: Option<u64>,
}

impl NodeArgs {
    pub(super) fn client(&self) -> Result<Client, ClientError> {
        self.options()?.connect()
    }

    /// For a command that asks in a way of its own.
    pub(super) fn options(&self) -> Result<ClientOptions, ClientError> {
        let mut options = ClientOptions::default();
        if let Some(seconds) = self.timeout {
            options = options.answer_timeout(Duration::from_secs(seconds));
        }
        for node in &self.node {
            options = options.node(node)?;
        }
        Ok(options)
    }

    pub(super) fn output(&self) -> Output {
        Output::new(self.json)
    }
}
