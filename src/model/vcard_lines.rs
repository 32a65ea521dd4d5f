//! The content lines of address book files: bytes in whatever charset and folding to cards of unfolded lines
//! in UTF-8.
//!
//! The properties themselves are read by `calcard`. It is handed one line at a time, because it skips what it
//! cannot read without saying so, and an import must account for every line. This module does what must come
//! before: it undoes folding, quoted-printable soft breaks and bare base64 continuations, finds where cards
//! begin and end (a card may hold another as its `AGENT`), and decodes charsets.

use std::{
    collections::VecDeque,
    io::{self, BufRead},
    mem,
};

use encoding_rs::Encoding;

use super::decoded::decoded;

/// The most bytes of one card.
pub const MAX_CARD_BYTES: usize = 4 * 1_024 * 1_024;
/// How far into a line the colon is looked for that ends its name and parameters.
const MAX_HEAD_BYTES: usize = 8 * 1_024;

/// Why a file cannot be read at all. No state changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnreadableFile {
    /// No `BEGIN:VCARD` in it.
    #[error("there is no vCard in it: no line says BEGIN:VCARD")]
    NoCard,
    /// The charset that was declared for the whole file is not one.
    #[error("{0} is not a charset that is known here")]
    Charset(String),
    /// More cards than the caller allows.
    #[error("it holds more than {0} vCards")]
    TooManyCards(usize),
}

/// One card as lines, without its `BEGIN` and `END`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RawCard {
    pub(super) lines: Vec<Line>,
    /// Why the card as a whole cannot be taken.
    pub(super) problem: Option<String>,
    bytes: usize,
}

/// An unfolded content line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// In UTF-8; what could not be decoded is replaced.
    pub(super) text: String,
    /// Why it cannot be taken, if it cannot.
    pub(super) problem: Option<String>,
}

/// The cards of a file, as it is read: no more of it is in memory than one card.
pub(super) struct RawCards<'a> {
    lines: Unfolded<Box<dyn BufRead + Send + 'a>>,
    grouping: Grouping,
    /// What was declared for the whole file, if that says how to read a line.
    declared: Option<&'static Encoding>,
    ended: bool,
}

impl<'a> RawCards<'a> {
    /// `charset` is what was declared for the whole file, if anything was.
    pub(super) fn new(
        reader: impl BufRead + Send + 'a,
        charset: Option<&str>,
    ) -> Result<Self, UnreadableFile> {
        let declared = charset
            .map(|label| {
                Encoding::for_label(label.as_bytes())
                    .ok_or_else(|| UnreadableFile::Charset(label.to_owned()))
            })
            .transpose()?;
        // Only a charset with wide units must be decoded before there are lines to speak of.
        let (reader, is_decoded) = decoded(reader, declared, |it| !it.is_ascii_compatible());
        Ok(Self {
            lines: Unfolded::new(reader),
            grouping: Grouping::default(),
            declared: declared.filter(|_| !is_decoded),
            ended: false,
        })
    }

    /// The next card; `None` at the end. An error is one of the reader.
    pub(super) fn next(&mut self) -> io::Result<Option<RawCard>> {
        loop {
            if let Some(card) = self.grouping.ready.pop_front() {
                return Ok(Some(card));
            }
            if self.ended {
                return Ok(None);
            }
            let line = self.lines.next()?;
            self.ended = line.is_none();
            match line {
                Some(line) => self.grouping.take(&line, self.declared),
                None => self.grouping.finish(),
            }
        }
    }

    /// How many lines so far belong to no card.
    pub(super) const fn stray_lines(&self) -> usize {
        self.grouping.stray_lines
    }
}

/// The lines of a file, unfolded.
struct Unfolded<R> {
    lines: Lines<R>,
    current: Vec<u8>,
}

impl<R: BufRead> Unfolded<R> {
    const fn new(reader: R) -> Self {
        Self {
            lines: Lines {
                reader,
                separator: None,
            },
            current: Vec::new(),
        }
    }

    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        while let Some(line) = self.lines.next()? {
            let ends = line.iter().rev().take_while(|byte| **byte == b'\r');
            let physical = &line[..line.len() - ends.count()];
            if ends_softly(&self.current) && !is_boundary(physical) {
                self.current.pop();
                extend(&mut self.current, physical);
            } else if let Some((b' ' | b'\t', rest)) = physical.split_first() {
                extend(&mut self.current, rest);
            } else if goes_on_as_base64(&self.current, physical) {
                extend(&mut self.current, physical);
            } else {
                let whole = mem::replace(&mut self.current, physical.to_vec());
                if !whole.is_empty() {
                    return Ok(Some(whole));
                }
            }
        }
        let last = mem::take(&mut self.current);
        Ok((!last.is_empty()).then_some(last))
    }
}

/// The lines of a file as they are, without their ends.
struct Lines<R> {
    reader: R,
    /// By what they end, once one has ended: old programs write `\r` alone.
    separator: Option<u8>,
}

impl<R: BufRead> Lines<R> {
    /// The next line; of one that is too long for a card, only so much that this is seen.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let mut any = false;
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(any.then_some(line));
            }
            any = true;
            let ends = |byte: &u8| match self.separator {
                Some(separator) => *byte == separator,
                None => matches!(byte, b'\n' | b'\r'),
            };
            let Some(end) = buffer.iter().position(ends) else {
                let bytes = buffer.len();
                extend(&mut line, buffer);
                self.reader.consume(bytes);
                continue;
            };
            extend(&mut line, &buffer[..end]);
            let found = buffer[end];
            self.reader.consume(end + 1);
            if self.separator.is_none() {
                self.separator = Some(self.found(found)?);
            }
            return Ok(Some(line));
        }
    }

    /// By what all lines end, if the first ends with `byte`: `\n`, however many `\r` some program put before it.
    fn found(&mut self, byte: u8) -> io::Result<u8> {
        if byte == b'\n' {
            return Ok(byte);
        }
        loop {
            match self.reader.fill_buf()?.first() {
                Some(b'\r') => self.reader.consume(1),
                Some(b'\n') => {
                    self.reader.consume(1);
                    return Ok(b'\n');
                }
                Some(_) | None => return Ok(byte),
            }
        }
    }
}

/// Adds `bytes` to a line, as far as it could be a line of a card.
fn extend(line: &mut Vec<u8>, bytes: &[u8]) {
    let room = (MAX_CARD_BYTES + 1).saturating_sub(line.len());
    line.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// Whether the line is quoted-printable and ends with a soft break.
fn ends_softly(line: &[u8]) -> bool {
    line.ends_with(b"=") && head(line).is_some_and(|head| Head::read(head).quoted_printable)
}

fn goes_on_as_base64(line: &[u8], next: &[u8]) -> bool {
    let digits = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    !next.is_empty()
        && next.iter().all(digits)
        && head(line).is_some_and(|head| Head::read(head).base64)
}

fn is_boundary(line: &[u8]) -> bool {
    is_line(line, b"BEGIN:VCARD") || is_line(line, b"END:VCARD")
}

fn is_line(line: &[u8], what: &[u8]) -> bool {
    line.trim_ascii().eq_ignore_ascii_case(what)
}

/// What stands before the colon; `None` if there is no colon where it should be.
pub(super) fn head(line: &[u8]) -> Option<&[u8]> {
    let mut quoted = false;
    let end = line.iter().take(MAX_HEAD_BYTES).position(|byte| {
        quoted ^= *byte == b'"';
        *byte == b':' && !quoted
    })?;
    Some(&line[..end])
}

/// What the parameters of a line say about the bytes of its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) quoted_printable: bool,
    pub(super) base64: bool,
    pub(super) charset: Option<String>,
}

impl Head {
    pub(super) fn read(head: &[u8]) -> Self {
        let mut read = Self::default();
        for parameter in head.split(|byte| *byte == b';').skip(1) {
            let text = String::from_utf8_lossy(parameter)
                .trim()
                .to_ascii_uppercase();
            match text.as_str() {
                "QUOTED-PRINTABLE" | "ENCODING=QUOTED-PRINTABLE" => read.quoted_printable = true,
                "BASE64" | "ENCODING=BASE64" | "ENCODING=B" => read.base64 = true,
                _ => {}
            }
            if let Some(charset) = text.strip_prefix("CHARSET=") {
                read.charset = Some(charset.trim_matches('"').to_owned());
            }
        }
        read
    }
}

/// Puts lines into cards.
#[derive(Default)]
struct Grouping {
    ready: VecDeque<RawCard>,
    stray_lines: usize,
    open: Option<RawCard>,
    /// How many cards are open within the open one.
    nested: usize,
}

impl Grouping {
    fn take(&mut self, line: &[u8], declared: Option<&'static Encoding>) {
        let begins = is_line(line, b"BEGIN:VCARD");
        let Some(card) = &mut self.open else {
            if begins {
                self.open = Some(RawCard::default());
            } else {
                self.stray_lines += 1;
            }
            return;
        };
        if begins && (self.nested > 0 || card.awaits_agent()) {
            self.nested += 1;
            card.extend_agent(line);
        } else if begins {
            card.problem = Some("it has no END:VCARD".to_owned());
            self.close();
            self.open = Some(RawCard::default());
        } else if self.nested > 0 {
            self.nested -= usize::from(is_line(line, b"END:VCARD"));
            card.extend_agent(line);
        } else if is_line(line, b"END:VCARD") {
            self.close();
        } else {
            card.push(line, declared);
        }
    }

    fn close(&mut self) {
        self.nested = 0;
        self.ready.extend(self.open.take());
    }

    fn finish(&mut self) {
        if let Some(card) = &mut self.open {
            card.problem = Some("it is cut off: it has no END:VCARD".to_owned());
        }
        self.close();
    }
}

impl RawCard {
    fn push(&mut self, line: &[u8], declared: Option<&'static Encoding>) {
        if self.fits(line) {
            self.lines.push(Line::decode(line, declared));
        }
    }

    /// Whether the last line is an `AGENT` without a value: what follows is a card (vCard 2.1, section 2.4.3).
    fn awaits_agent(&self) -> bool {
        self.lines.last().is_some_and(|line| {
            let name = line.text.split([';', ':']).next().unwrap_or_default();
            name.eq_ignore_ascii_case("AGENT") && line.text.trim_end().ends_with(':')
        })
    }

    fn extend_agent(&mut self, line: &[u8]) {
        if !self.fits(line) {
            return;
        }
        if let Some(agent) = self.lines.last_mut() {
            agent.text.push('\n');
            agent.text.push_str(&String::from_utf8_lossy(line));
        }
    }

    fn fits(&mut self, line: &[u8]) -> bool {
        self.bytes += line.len();
        let fits = self.bytes <= MAX_CARD_BYTES;
        if !fits {
            self.lines.clear();
            self.problem = Some(format!("it has more than {MAX_CARD_BYTES} bytes"));
        }
        fits
    }
}

impl Line {
    /// UTF-8 if it is; else what the line, or else the file, declares. A charset that is not declared is not
    /// guessed.
    fn decode(bytes: &[u8], declared: Option<&'static Encoding>) -> Self {
        let own = || {
            let charset = Head::read(head(bytes)?).charset?;
            Encoding::for_label(charset.as_bytes()).filter(|charset| charset.is_ascii_compatible())
        };
        let encoding = match core::str::from_utf8(bytes) {
            // A line of pure UTF-8 in a file that says otherwise is what the file says, but for ASCII.
            Ok(text) if text.is_ascii() || declared.is_none() => {
                return Self {
                    text: text.to_owned(),
                    problem: None,
                };
            }
            Ok(_) | Err(_) => own().or(declared),
        };
        let (text, failed) = encoding.map_or_else(
            || (String::from_utf8_lossy(bytes), true),
            |encoding| encoding.decode_without_bom_handling(bytes),
        );
        Self {
            text: text.into_owned(),
            problem: failed.then(|| {
                "it is not UTF-8, and declares no charset in which it can be read".to_owned()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], charset: Option<&str>) -> Vec<RawCard> {
        let mut whole = RawCards::new(bytes, charset).expect("a charset");
        // However few bytes there are at a time.
        let trickle = io::BufReader::with_capacity(3, bytes);
        let mut pieces = RawCards::new(trickle, charset).expect("a charset");
        let mut cards = Vec::new();
        while let Some(card) = whole.next().expect("memory can be read") {
            assert_eq!(
                pieces.next().expect("memory can be read"),
                Some(card.clone())
            );
            cards.push(card);
        }
        assert_eq!(pieces.next().expect("memory can be read"), None);
        assert_eq!(pieces.stray_lines(), whole.stray_lines());
        cards
    }

    fn lines(bytes: &[u8]) -> Vec<String> {
        let cards = read(bytes, None);
        let texts = cards[0].lines.iter().map(|line| line.text.clone());
        texts.collect()
    }

    fn card(lines: &[u8]) -> Vec<u8> {
        [b"BEGIN:VCARD\r\n", lines, b"END:VCARD\r\n"].concat()
    }

    #[test]
    fn a_fold_within_a_character_is_undone_before_decoding() {
        let folded = card(b"FN:Nguy\xe1\xbb\r\n \x85n\r\n");
        assert_eq!(lines(&folded), ["FN:Nguy\u{1ec5}n"]);
    }

    #[test]
    fn soft_breaks_never_swallow_the_end_of_a_card() {
        let soft = card(b"NOTE;ENCODING=QUOTED-PRINTABLE:one=\r\ntwo=\r\n");
        assert_eq!(lines(&soft), ["NOTE;ENCODING=QUOTED-PRINTABLE:onetwo="]);
        let plain = card(b"NOTE:1+1=\r\nFN:Ada\r\n");
        assert_eq!(lines(&plain), ["NOTE:1+1=", "FN:Ada"]);
    }

    #[test]
    fn base64_without_folding_is_one_line() {
        let photo = card(b"PHOTO;BASE64:\r\nAAAA\r\nBBB=\r\n\r\nFN:Ada\r\n");
        assert_eq!(lines(&photo), ["PHOTO;BASE64:AAAABBB=", "FN:Ada"]);
    }

    #[test]
    fn a_nested_card_belongs_to_its_agent() {
        let agent = card(b"AGENT:\r\nBEGIN:VCARD\r\nFN:Friday\r\nEND:VCARD\r\nFN:Crusoe\r\n");
        let nested = "AGENT:\nBEGIN:VCARD\nFN:Friday\nEND:VCARD";
        assert_eq!(lines(&agent), [nested, "FN:Crusoe"]);
    }

    #[test]
    fn eight_bit_lines_are_read_in_the_charset_they_declare() {
        let latin = card(b"FN;CHARSET=ISO-8859-1:Andr\xe9\r\n");
        assert_eq!(lines(&latin), ["FN;CHARSET=ISO-8859-1:Andr\u{e9}"]);
        let silent = read(&card(b"FN:Andr\xe9\r\n"), None);
        assert!(silent[0].lines[0].problem.is_some());
        let file = read(&card(b"FN:Andr\xe9\r\n"), Some("windows-1252"));
        assert_eq!(file[0].lines[0].text, "FN:Andr\u{e9}");
    }

    #[test]
    fn utf16_files_are_read_by_their_mark() {
        let text = "\u{feff}BEGIN:VCARD\r\nFN:Zo\u{eb}\r\nEND:VCARD\r\n";
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(lines(&bytes), ["FN:Zo\u{eb}"]);
    }

    #[test]
    fn a_torn_card_is_said_to_be_torn() {
        let cards = read(b"BEGIN:VCARD\nFN:A\nBEGIN:VCARD\nFN:B\n", None);
        assert!(cards.iter().all(|card| card.problem.is_some()));
        assert_eq!(cards.len(), 2);
    }

    #[test]
    fn old_ends_of_lines_are_ends() {
        assert_eq!(lines(b"BEGIN:VCARD\rFN:A\rEND:VCARD\r"), ["FN:A"]);
        assert_eq!(lines(b"BEGIN:VCARD\nFN:A\nEND:VCARD"), ["FN:A"]);
    }

    #[test]
    fn a_line_without_end_takes_memory_without_bound() {
        let huge = card(&[&b"NOTE:"[..], &vec![b'x'; 3 * MAX_CARD_BYTES], b"\r\n"].concat());
        let file = [&huge[..], &card(b"FN:B\r\n")].concat();
        let mut lines = Lines {
            reader: &file[..],
            separator: None,
        };
        while let Some(line) = lines.next().expect("memory can be read") {
            assert!(line.len() <= MAX_CARD_BYTES + 1);
        }
        let cards = read(&file, None);
        assert!(cards[0].problem.is_some() && cards[0].lines.is_empty());
        assert_eq!(cards[1].lines[0].text, "FN:B", "what follows is whole");
    }
}
