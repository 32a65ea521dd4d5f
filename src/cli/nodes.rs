//! Which nodes a command asks, and the flags that all commands share which ask one.

use std::{
    env,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;

use super::output::Output;
use crate::client::{Client, ClientOptions};

/// The token itself.
const TOKEN_VARIABLE: &str = "GRAPEVINE_TOKEN";
/// The most bytes of a file of a token or of certificates.
const MAX_FILE_BYTES: u64 = 1_024 * 1_024;
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
    #[command(flatten)]
    access: AccessArgs,
}

/// By what right a command asks, and whom it believes. A token is never the value of a flag: everybody on the machine
/// can read those.
#[derive(Debug, Args)]
pub(super) struct AccessArgs {
    /// A file that holds the access token; without it the variable `GRAPEVINE_TOKEN` is asked
    #[arg(long, global = true, env = "GRAPEVINE_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A file of certificates (PEM) that vouch for `https` nodes, in place of those that the system trusts
    #[arg(long, global = true, env = "GRAPEVINE_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl AccessArgs {
    /// `options` with the token and the certificates.
    pub(super) fn add_to(&self, mut options: ClientOptions) -> anyhow::Result<ClientOptions> {
        if let Some(ca) = &self.ca {
            options = options.authorities(read(ca)?);
        }
        let token = match &self.token_file {
            Some(file) => {
                let token = String::from_utf8(read(file)?);
                Some(token.with_context(|| format!("{} holds no token", file.display()))?)
            }
            None => env::var(TOKEN_VARIABLE).ok(),
        };
        let Some(token) = token.filter(|token| !token.trim().is_empty()) else {
            return Ok(options);
        };
        let exposed = options
            .nodes()
            .find(|node| !node.is_encrypted() && !node.is_loopback());
        if let Some(node) = exposed {
            eprintln!(
                "grapevine: the token travels to {node} unencrypted: who is on the way can take it"
            );
        }
        Ok(options.access_token(&token)?)
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

impl NodeArgs {
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        Ok(self.options()?.connect()?)
    }

    /// For a command that asks in a way of its own.
    pub(super) fn options(&self) -> anyhow::Result<ClientOptions> {
        let mut options = ClientOptions::default();
        if let Some(seconds) = self.timeout {
            options = options.answer_timeout(Duration::from_secs(seconds));
        }
        for node in &self.node {
            options = options.node(node)?;
        }
        self.access.add_to(options)
    }

    pub(super) fn output(&self) -> Output {
        Output::new(self.json)
    }
}
