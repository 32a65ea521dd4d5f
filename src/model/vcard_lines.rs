//! The content lines of address book files: bytes in whatever charset and folding to cards of unfolded lines
//! in UTF-8.
//!
//! The properties themselves are read by `calcard`. It is handed one line at a time, because it skips what it
//! cannot read without saying so, and an import must account for every line. This module does what must come
//! before: it undoes folding, quoted-printable soft breaks and bare base64 continuations, finds where cards
//! begin and end (a card may hold another as its `AGENT`), and decodes charsets.

use encoding_rs::Encoding;

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

/// A file as cards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RawFile {
    pub(super) cards: Vec<RawCard>,
    /// How many lines belong to no card.
    pub(super) stray_lines: usize,
}

/// Reads at most `max_cards` cards; `charset` is what was declared for the whole file, if anything was.
pub(super) fn read(
    bytes: &[u8],
    charset: Option<&str>,
    max_cards: usize,
) -> Result<RawFile, UnreadableFile> {
    let declared = charset
        .map(|label| {
            Encoding::for_label(label.as_bytes())
                .ok_or_else(|| UnreadableFile::Charset(label.to_owned()))
        })
        .transpose()?;
    let wide = Encoding::for_bom(bytes)
        .or(declared.map(|encoding| (encoding, 0)))
        .filter(|(encoding, _)| !encoding.is_ascii_compatible());
    let decoded;
    let bytes = match wide {
        // Only a charset with wide units must be decoded before there are lines to speak of.
        Some((encoding, _)) => {
            decoded = encoding.decode(bytes).0.into_owned();
            decoded.as_bytes()
        }
        None => bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes),
    };
    let declared = declared.filter(|_| wide.is_none());
    let mut file = Grouping::new(max_cards);
    unfold(bytes, &mut |line| file.take(line, declared))?;
    file.finish()
}

/// Calls `take` for each unfolded line.
fn unfold(
    bytes: &[u8],
    take: &mut dyn FnMut(&[u8]) -> Result<(), UnreadableFile>,
) -> Result<(), UnreadableFile> {
    let separator = if bytes.contains(&b'\n') { b'\n' } else { b'\r' };
    let mut current: Vec<u8> = Vec::new();
    for physical in bytes.split(|byte| *byte == separator) {
        let physical = physical.strip_suffix(b"\r").unwrap_or(physical);
        if ends_softly(&current) && !is_boundary(physical) {
            current.pop();
            current.extend_from_slice(physical);
        } else if let Some((b' ' | b'\t', rest)) = physical.split_first() {
            current.extend_from_slice(rest);
        } else if goes_on_as_base64(&current, physical) {
            current.extend_from_slice(physical);
        } else {
            if !current.is_empty() {
                take(&current)?;
            }
            current.clear();
            current.extend_from_slice(physical);
        }
    }
    if current.is_empty() {
        Ok(())
    } else {
        take(&current)
    }
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
struct Grouping {
    file: RawFile,
    open: Option<RawCard>,
    /// How many cards are open within the open one.
    nested: usize,
    max_cards: usize,
}

impl Grouping {
    fn new(max_cards: usize) -> Self {
        Self {
            file: RawFile::default(),
            open: None,
            nested: 0,
            max_cards,
        }
    }

    fn take(
        &mut self,
        line: &[u8],
        declared: Option<&'static Encoding>,
    ) -> Result<(), UnreadableFile> {
        let begins = is_line(line, b"BEGIN:VCARD");
        let Some(card) = &mut self.open else {
            if begins {
                self.open = Some(RawCard::default());
            } else {
                self.file.stray_lines += 1;
            }
            return Ok(());
        };
        if begins && (self.nested > 0 || card.awaits_agent()) {
            self.nested += 1;
            card.extend_agent(line);
        } else if begins {
            card.problem = Some("it has no END:VCARD".to_owned());
            self.close()?;
            self.open = Some(RawCard::default());
        } else if self.nested > 0 {
            self.nested -= usize::from(is_line(line, b"END:VCARD"));
            card.extend_agent(line);
        } else if is_line(line, b"END:VCARD") {
            self.close()?;
        } else {
            card.push(line, declared);
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), UnreadableFile> {
        self.nested = 0;
        if let Some(card) = self.open.take() {
            if self.file.cards.len() == self.max_cards {
                return Err(UnreadableFile::TooManyCards(self.max_cards));
            }
            self.file.cards.push(card);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<RawFile, UnreadableFile> {
        if let Some(card) = &mut self.open {
            card.problem = Some("it is cut off: it has no END:VCARD".to_owned());
        }
        self.close()?;
        if self.file.cards.is_empty() {
            return Err(UnreadableFile::NoCard);
        }
        Ok(self.file)
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

    fn lines(bytes: &[u8]) -> Vec<String> {
        let file = read(bytes, None, 10).expect("a card");
        let texts = file.cards[0].lines.iter().map(|line| line.text.clone());
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
        let silent = read(&card(b"FN:Andr\xe9\r\n"), None, 10).expect("a card");
        assert!(silent.cards[0].lines[0].problem.is_some());
        let file = read(&card(b"FN:Andr\xe9\r\n"), Some("windows-1252"), 10).expect("a card");
        assert_eq!(file.cards[0].lines[0].text, "FN:Andr\u{e9}");
    }

    #[test]
    fn utf16_files_are_read_by_their_mark() {
        let text = "\u{feff}BEGIN:VCARD\r\nFN:Zo\u{eb}\r\nEND:VCARD\r\n";
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(lines(&bytes), ["FN:Zo\u{eb}"]);
    }

    #[test]
    fn a_torn_card_is_said_to_be_torn() {
        let file = read(b"BEGIN:VCARD\nFN:A\nBEGIN:VCARD\nFN:B\n", None, 10).expect("cards");
        assert!(file.cards.iter().all(|card| card.problem.is_some()));
        assert_eq!(file.cards.len(), 2);
    }

    #[test]
    fn bounds_hold() {
        assert_eq!(read(b"hello", None, 10), Err(UnreadableFile::NoCard));
        let two = [card(b"FN:A\r\n"), card(b"FN:B\r\n")].concat();
        assert_eq!(read(&two, None, 1), Err(UnreadableFile::TooManyCards(1)));
        let huge = card(&[&b"NOTE:"[..], &vec![b'x'; MAX_CARD_BYTES]].concat());
        let file = read(&huge, None, 10).expect("a card");
        assert!(file.cards[0].problem.is_some());
    }
}
