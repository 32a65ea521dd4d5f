//! Log lines on standard error: for people on a terminal, JSON for machines.
//!
//! It is set up once a process, before anything is opened. Standard output stays free for what a command
//! answers. What is logged from then on can be changed while the process runs ([`set_level`]). It must not know what is
//! logged.

use std::{
    io::{self, IsTerminal as _},
    sync::{Mutex, OnceLock},
};

use tracing_subscriber::{
    EnvFilter, Registry, fmt, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

use crate::config::{ConfigError, Layers};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line, coloured on a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Debug)]
pub struct Logging {
    format: LogFormat,
    filter: EnvFilter,
}

impl Logging {
    /// From `log_format` and `log_level`; where they are silent, from whether standard error is a terminal,
    /// from `RUST_LOG`, and from `level`.
    pub fn from_settings(layers: &Layers, level: &str) -> Result<Self, ConfigError> {
        let format = match layers.word("log_format")? {
            Some("json") => LogFormat::Json,
            Some(_) => LogFormat::Human,
            None if io::stderr().is_terminal() => LogFormat::Human,
            None => LogFormat::Json,
        };
        let filter = match layers.text("log_level") {
            Some(text) => parse(text).ok_or_else(|| layers.not_allowed("log_level", text))?,
            // Gossip of a foreign cluster would otherwise be told with every datagram; the nodes say it
            // once a minute themselves.
            None => EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| EnvFilter::new(format!("{level},chitchat=error"))),
        };
        Ok(Self { format, filter })
    }

    /// Sends log lines to standard error from now on. Does nothing if the process logs already.
    pub fn start(self) {
        let first = self.filter.to_string();
        let (filter, handle) = reload::Layer::new(self.filter);
        let filtered = tracing_subscriber::registry().with(filter);
        let lines = fmt::layer().with_writer(io::stderr);
        let started = match self.format {
            LogFormat::Human => {
                let lines = lines.with_ansi(io::stderr().is_terminal());
                filtered.with(lines).try_init()
            }
            LogFormat::Json => filtered.with(lines.json().flatten_event(true)).try_init(),
        };
        if started.is_ok() {
            let now = Mutex::new(first.clone());
            let _only_once = RUNNING.set(Running { handle, first, now });
        }
    }
}

/// The filter of this process, once it logs.
static RUNNING: OnceLock<Running> = OnceLock::new();

struct Running {
    handle: reload::Handle<EnvFilter, Registry>,
    first: String,
    now: Mutex<String>,
}

/// Why what is logged was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogLevelError {
    /// It is no level, nor levels by module.
    #[error(
        "{0:?} is not off, error, warn, info, debug or trace, nor such levels by module as in info,grapevine=debug"
    )]
    NotAllowed(String),
    /// The program that this node is a part of logs by itself, or not at all.
    #[error("this process does not log in a way that can be changed here")]
    NotOurs,
}

/// What is logged now: a level, or levels by module.
pub fn level() -> Result<String, LogLevelError> {
    let running = RUNNING.get().ok_or(LogLevelError::NotOurs)?;
    let now = running.now.lock().expect("no holder of the lock panics");
    Ok(now.clone())
}

/// Changes what is logged, in the whole process; `None` is what it was at the start.
pub fn set_level(level: Option<&str>) -> Result<(), LogLevelError> {
    let running = RUNNING.get().ok_or(LogLevelError::NotOurs)?;
    let level = level.unwrap_or(&running.first);
    let filter = match parse(level) {
        Some(filter) => filter,
        // What came from the environment may be more than settings allow.
        None if level == running.first => EnvFilter::new(level),
        None => return Err(LogLevelError::NotAllowed(level.to_owned())),
    };
    let mut now = running.now.lock().expect("no holder of the lock panics");
    let told = filter.to_string();
    if running.handle.reload(filter).is_err() {
        return Err(LogLevelError::NotOurs);
    }
    tracing::info!(level = told, "what is logged was changed");
    *now = told;
    Ok(())
}

/// A filter of which every part names a level: a lone word that is none would be read as a module, and log
/// nothing.
fn parse(text: &str) -> Option<EnvFilter> {
    let level = |part: &str| {
        let word = part.rsplit('=').next().unwrap_or_default().trim();
        ["off", "error", "warn", "info", "debug", "trace"]
            .iter()
            .any(|level| level.eq_ignore_ascii_case(word))
    };
    text.split(',').all(level).then_some(())?;
    EnvFilter::builder().parse(text).ok()
}
