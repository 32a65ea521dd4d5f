//! Whether a file is CSV: no quote is misplaced, no row without end, and a header to read it by.

use std::io::{self, BufRead};

/// The most bytes of one row.
pub const MAX_CSV_ROW_BYTES: usize = 1_024 * 1_024;
/// The most columns of a header.
pub const MAX_CSV_COLUMNS: usize = 1_024;

/// Why a file cannot be read as CSV. No state changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct InvalidCsv {
    /// The line, from 1.
    pub line: u64,
    /// The character in it, from 1.
    pub column: u64,
    /// What is wrong there.
    pub problem: String,
}

/// How a file that was checked is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CsvShape {
    /// What stands between fields.
    pub(super) delimiter: u8,
}

/// Where in a row the check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    /// A field begins.
    Start,
    Plain,
    Quoted,
    /// Behind a quote within a quoted field.
    Quote,
}

/// Reads all of `reader` and says how it is to be read, or what is wrong with it.
pub fn check_csv(mut reader: impl BufRead) -> io::Result<Result<CsvShape, InvalidCsv>> {
    let delimiter = delimiter(reader.fill_buf()?);
    let mut check = Check {
        delimiter,
        within: Within::Start,
        line: 1,
        column: 1,
        quote: (1, 1),
        row: 1,
        row_bytes: 0,
        any: false,
    };
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        for byte in buffer {
            if let Err(problem) = check.take(*byte) {
                return Ok(Err(problem));
            }
        }
        let bytes = buffer.len();
        reader.consume(bytes);
    }
    Ok(check.finish().map(|()| CsvShape { delimiter }))
}

/// What the first line has most of, beside what it quotes.
fn delimiter(beginning: &[u8]) -> u8 {
    let mut quoted = false;
    let mut found = [(b',', 0), (b';', 0), (b'\t', 0)];
    for byte in beginning {
        quoted ^= *byte == b'"';
        if *byte == b'\n' && !quoted {
            break;
        }
        for (delimiter, times) in &mut found {
            *times += usize::from(byte == delimiter && !quoted);
        }
    }
    // Of equals the first.
    let best = found.iter().rev().max_by_key(|(_, times)| *times);
    best.map_or(b',', |(delimiter, _)| *delimiter)
}

struct Check {
    delimiter: u8,
    within: Within,
    line: u64,
    column: u64,
    /// Where the last quoted field began.
    quote: (u64, u64),
    /// The line on which the row began.
    row: u64,
    row_bytes: usize,
    any: bool,
}

impl Check {
    fn take(&mut self, byte: u8) -> Result<(), InvalidCsv> {
        self.any = true;
        self.row_bytes += 1;
        if self.row_bytes > MAX_CSV_ROW_BYTES {
            let detail =
                format!("the row that begins here has more than {MAX_CSV_ROW_BYTES} bytes");
            return Err(invalid((self.row, 1), detail));
        }
        let here = (self.line, self.column);
        let ends = byte == b'\n' || byte == b'\r';
        self.within = match (self.within, byte) {
            (Within::Start, b'"') => {
                self.quote = here;
                Within::Quoted
            }
            (Within::Plain, b'"') => {
                return Err(invalid(
                    here,
                    "a quote in a field that is not quoted as a whole",
                ));
            }
            (Within::Quoted, b'"') => Within::Quote,
            (Within::Quoted, _) | (Within::Quote, b'"') => Within::Quoted,
            (Within::Start | Within::Plain | Within::Quote, byte)
                if byte == self.delimiter || ends =>
            {
                Within::Start
            }
            (Within::Start | Within::Plain, _) => Within::Plain,
            (Within::Quote, _) => {
                let problem =
                    "a quote within a quoted field is not doubled, or does not end the field";
                return Err(invalid((self.line, self.column.saturating_sub(1)), problem));
            }
        };
        if byte == b'\n' {
            self.line += 1;
            self.column = 1;
            if self.within != Within::Quoted {
                self.row = self.line;
                self.row_bytes = 0;
            }
        } else {
            // Bytes within a character of UTF-8 do not count.
            self.column += u64::from(byte & 0xc0 != 0x80);
        }
        Ok(())
    }

    fn finish(self) -> Result<(), InvalidCsv> {
        if self.within == Within::Quoted {
            return Err(invalid(
                self.quote,
                "the quote that opens here is never closed",
            ));
        }
        if !self.any {
            return Err(invalid((1, 1), "there is no header: the file is empty"));
        }
        Ok(())
    }
}

pub(super) fn invalid((line, column): (u64, u64), problem: impl Into<String>) -> InvalidCsv {
    InvalidCsv {
        line,
        column,
        problem: problem.into(),
    }
}
