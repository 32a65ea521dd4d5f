//! `grapevine token`: who may ask over HTTP.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{
    closed::cannot_open,
    listed::{self, Most},
    nodes::NodeArgs,
    output::{Output, shown},
};
use crate::{
    access::{GrantError, Grants},
    client::{NewToken, TokenDraft},
    clock::{SystemClock, WallClock as _},
    model::{self, Bearer, Collection, Grant, GrantDraft, Limit},
    store::{Store, StoreError, StoreOptions},
};

/// Makes, lists and revokes access tokens.
///
/// As soon as the first token exists, every node wants one with each request.
#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(flatten)]
    nodes: NodeArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Makes the first token of a cluster, for an admin, and prints it once
    ///
    /// It asks a node that lets everybody in: one on loopback, while no token exists. With `--data` it writes into
    /// the store of a node that is not running.
    #[command(
        after_help = "Examples:\n  grapevine token bootstrap --out admin.token\n  grapevine token bootstrap --data /var/lib/grapevine --out admin.token"
    )]
    Bootstrap(Bootstrap),
    /// Makes a token and prints it once
    #[command(
        after_help = "Examples:\n  grapevine token new --role read --name dashboard\n  \
            grapevine token new --role write --collection kv --prefix till-7/ --days 90 --out till-7.token\n  \
            grapevine token new --role admin --data /var/lib/grapevine --out admin.token"
    )]
    New(New),
    /// Lists the tokens, without their secrets
    #[command(after_help = "Example:\n  grapevine token list")]
    List {
        #[command(flatten)]
        most: Most,
    },
    /// Revokes tokens
    #[command(after_help = "Example:\n  grapevine token revoke 0123456789abcdef")]
    Revoke {
        /// Their ids, as `token list` tells them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct Bootstrap {
    /// The data directory of a node that is not running, made if it is not there
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    out: Out,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// To read
    Read,
    /// To write as well
    Write,
    /// To do everything
    Admin,
}

#[derive(Debug, Args)]
struct New {
    /// What it is for
    #[arg(long, value_enum)]
    role: Role,
    /// What it is called
    #[arg(long, default_value = "", value_name = "TEXT")]
    name: String,
    /// Only for this collection: contacts, counters, kv or topics
    #[arg(long, value_name = "COLLECTION")]
    collection: Option<String>,
    /// Only for keys of the collection that begin so; those of a topic begin with its name and a slash
    #[arg(long, value_name = "TEXT", requires = "collection")]
    prefix: Option<String>,
    /// In the store of a node that is not running: for who lost every token of an admin
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Only for so many days
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36_500))]
    days: Option<u64>,
    #[command(flatten)]
    out: Out,
}

/// Where a token goes.
#[derive(Debug, Args)]
struct Out {
    /// Writes the token into this new file, which only its owner can read, and not to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Where a token goes, opened: what cannot be written must not be made.
struct Target {
    path: PathBuf,
    file: File,
}

impl Token {
    /// Runs to its end.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut output = self.nodes.output();
        match self.action {
            Action::Bootstrap(Bootstrap {
                data: Some(data),
                out,
            }) => {
                return make_closed(&data, &out, output, async |grants| {
                    grants.make_first(SystemClock.unix_ms()).await
                })
                .await;
            }
            Action::Bootstrap(Bootstrap { data: None, out }) => {
                let target = out.open()?;
                let made = self.nodes.client()?.tokens().create_first().await;
                told(
                    &mut output,
                    target,
                    made.map_err(Into::into)
                        .map(|made| (json!(made.info), made.token)),
                )?;
            }
            Action::New(new) if new.data.is_some() => return new.make_closed(output).await,
            Action::New(new) => {
                let target = new.out.open()?;
                let client = self.nodes.client()?;
                let made: anyhow::Result<NewToken> = client
                    .tokens()
                    .create(&new.draft())
                    .await
                    .map_err(Into::into);
                told(
                    &mut output,
                    target,
                    made.map(|made| (json!(made.info), made.token)),
                )?;
            }
            Action::List { most } => {
                let list = self.nodes.client()?.tokens().list();
                let header = ["ID", "NAME", "ROLE", "ONLY", "MADE", "UNTIL"];
                listed::print(&mut output, list, &most, header, |token| {
                    let only = token.collection.as_deref().map(|collection| {
                        format!(
                            "{collection}/{}*",
                            token.prefix.as_deref().unwrap_or_default()
                        )
                    });
                    [
                        token.id.clone(),
                        shown(&token.name),
                        token.role.clone(),
                        only.as_deref().map_or_else(|| "-".to_owned(), shown),
                        token.created_at.clone(),
                        token.expires_at.clone().unwrap_or_else(|| "-".to_owned()),
                    ]
                })
                .await?;
            }
            Action::Revoke { ids } => {
                let client = self.nodes.client()?;
                for id in ids {
                    client.tokens().revoke(&id).await?;
                    if output.is_json() {
                        output.json_line(&json!({ "id": id, "revoked": true }))?;
                    }
                }
            }
        }
        output.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

impl New {
    fn role(&self) -> model::Role {
        match self.role {
            Role::Read => model::Role::Read,
            Role::Write => model::Role::Write,
            Role::Admin => model::Role::Admin,
        }
    }

    /// Makes it in the store of a node that is not running.
    async fn make_closed(self, output: Output) -> anyhow::Result<ExitCode> {
        let limit = match &self.collection {
            None => None,
            Some(name) => {
                let collection = Collection::of_users(name);
                let collection = collection.with_context(|| format!("{name} is no collection"))?;
                Some(Limit::new(
                    collection,
                    self.prefix.clone().unwrap_or_default(),
                ))
            }
        };
        let now_ms = SystemClock.unix_ms();
        let draft = GrantDraft {
            name: self.name.clone(),
            role: self.role(),
            limit,
            expires_ms: self.days.map(|days| now_ms + days * 86_400_000),
        };
        let data = self.data.clone().unwrap_or_default();
        make_closed(&data, &self.out, output, async |grants| {
            grants.make(draft, now_ms).await
        })
        .await
    }

    fn draft(&self) -> TokenDraft {
        TokenDraft {
            name: self.name.clone(),
            role: self.role().name().to_owned(),
            collection: self.collection.clone(),
            prefix: self.prefix.clone(),
            expires_in: self.days.map(|days| days * 86_400),
        }
    }
}

impl Out {
    fn open(&self) -> anyhow::Result<Option<Target>> {
        let Some(path) = &self.out else {
            return Ok(None);
        };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options
            .open(path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Some(Target {
            path: path.clone(),
            file,
        }))
    }
}

impl Target {
    fn write(mut self, token: &str) -> anyhow::Result<()> {
        let written = writeln!(self.file, "{token}").and_then(|()| self.file.sync_all());
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// Writes a token where it goes, once it is made; what else is said of it goes to standard output.
fn told(
    output: &mut Output,
    target: Option<Target>,
    made: anyhow::Result<(Value, String)>,
) -> anyhow::Result<()> {
    let (mut info, token) = match made {
        Ok(made) => made,
        Err(error) => {
            if let Some(target) = target {
                let _stays_empty = std::fs::remove_file(&target.path);
            }
            return Err(error);
        }
    };
    if let Some(target) = target {
        target.write(&token)?;
        output.answer(&info, |info| {
            info["id"].as_str().unwrap_or_default().to_owned()
        })?;
    } else {
        info["token"] = token.clone().into();
        output.answer(&info, |_| token)?;
    }
    output.flush()
}

/// Makes a token in the store of a node that is not running.
async fn make_closed(
    data: &Path,
    out: &Out,
    mut output: Output,
    decide: impl AsyncFnOnce(Grants) -> Result<(Grant, Bearer), GrantError>,
) -> anyhow::Result<ExitCode> {
    let options = StoreOptions::new(data.to_owned());
    let opened = spawn_blocking(move || Store::open(options, Arc::new(SystemClock))).await;
    let store = match opened.unwrap_or(Err(StoreError::Closed)) {
        Ok(store) => store,
        Err(error) => return cannot_open(error),
    };
    let made = async {
        let target = out.open()?;
        let made = decide(Grants::new(store.clone())).await;
        let made = made.map_err(anyhow::Error::from).map(|(grant, bearer)| {
            let info = json!({
                "id": grant.id().to_string(),
                "name": grant.name(),
                "role": grant.role().name(),
            });
            (info, bearer.to_text())
        });
        told(&mut output, target, made)
    };
    let made = made.await;
    store.close().await;
    made.map(|()| ExitCode::SUCCESS)
}
