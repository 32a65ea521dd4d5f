//! What a command answers, on standard output: tables and lines for people, JSON for programs, bytes as they are.
//!
//! A reader that goes away (`| head`) ends the command without a word.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};

use comfy_table::{Table, presets};
use serde::Serialize;

/// Nobody reads standard output any more.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the answer any more")]
pub(super) struct ReaderGone;

/// Clears a terminal and goes to its top.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// Standard output.
#[derive(Debug)]
pub(super) struct Output {
    out: BufWriter<Stdout>,
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self {
            out: BufWriter::new(io::stdout()),
            json,
        }
    }

    /// Whether a program reads it.
    pub(super) const fn is_json(&self) -> bool {
        self.json
    }

    /// `value` as a line of JSON, or what `text` makes of it for people.
    pub(super) fn answer<T: Serialize>(
        &mut self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        if self.json {
            self.json_line(value)
        } else {
            self.line(&text(value))
        }
    }

    pub(super) fn json_line(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let line = serde_json::to_string(value)?;
        self.line(&line)
    }

    pub(super) fn line(&mut self, line: &str) -> anyhow::Result<()> {
        self.bytes(line.as_bytes())?;
        self.bytes(b"\n")
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.out.write_all(bytes).map_err(gone)
    }

    /// Everything so far reaches the reader.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        self.out.flush().map_err(gone)
    }

    /// On a terminal, what comes next takes the place of all that was there.
    pub(super) fn redraw(&mut self) -> anyhow::Result<()> {
        if io::stdout().is_terminal() {
            self.bytes(CLEAR.as_bytes())?;
        }
        Ok(())
    }
}

/// Why standard output cannot be written, told apart from that nobody reads it any more.
pub(super) fn gone(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        ReaderGone.into()
    } else {
        anyhow::Error::new(error).context("the answer cannot be written")
    }
}

/// A table without lines, so that it can be searched and cut.
pub(super) fn table<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

/// A table as text, without the blanks that fill its last column.
pub(super) fn rendered(table: &Table) -> String {
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

/// What others wrote, fit for a terminal: characters that steer one are shown by their names.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_others_wrote_does_not_steer_the_terminal() {
        assert_eq!(shown("Nguyễn\u{1b}[2J\n"), "Nguyễn\\u{1b}[2J\\n");
    }
}
