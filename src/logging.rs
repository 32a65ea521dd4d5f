//! Log lines on standard error: for people on a terminal, JSON for machines.
//!
//! It is set up once a process, before anything is opened. Standard output stays free for what a command
//! answers. It must not know what is logged.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

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
        let lines = tracing_subscriber::fmt()
            .with_env_filter(self.filter)
            .with_writer(io::stderr);
        let _already_logging = match self.format {
            LogFormat::Human => lines.with_ansi(io::stderr().is_terminal()).try_init(),
            LogFormat::Json => lines.json().flatten_event(true).try_init(),
        };
    }
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
