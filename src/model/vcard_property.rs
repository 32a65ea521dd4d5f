//! One property of a card, as `calcard` reads it.
//!
//! calcard decodes quoted-printable with few charsets and takes ISO-8859-1 where none is said. So it is told a
//! charset that does not exist, upon which it hands over the bytes, and they are decoded here: as the line
//! declares, else as UTF-8 if they are, else as Windows-1252, which the programs that declare nothing use.

use calcard::{
    Entry, Parser,
    vcard::{VCardEntry, VCardParameterName, VCardProperty, VCardValue},
};
use encoding_rs::{Encoding, WINDOWS_1252};

use super::{
    vcard_convert::readable,
    vcard_lines::{Head, head},
    vcard_text::{split_escaped, unescaped},
};

/// A charset of which calcard knows nothing.
const RAW_CHARSET: &str = "X-RAW";

/// A property that could be read.
#[derive(Clone, Debug)]
pub(super) struct Property {
    entry: VCardEntry,
    head: Head,
    /// What stands behind the colon, if its parts are to be told apart.
    value: String,
    /// The head holds nothing but the name.
    pub(super) plain: bool,
    /// The head has quotes, within which calcard drops types it does not know.
    quoted: bool,
}

impl Property {
    /// Reads an unfolded line of a card of `version`.
    pub(super) fn read(line: &str, version: &str) -> Option<Self> {
        let head_text = core::str::from_utf8(head(line.as_bytes())?).ok()?;
        let value = &line[head_text.len() + 1..];
        let raw = value;
        let head = Head::read(head_text.as_bytes());
        let line = if head.quoted_printable {
            let parameters = head_text.split(';').filter(|parameter| {
                let upper = parameter.trim().to_ascii_uppercase();
                upper != "QUOTED-PRINTABLE"
                    && !upper.starts_with("CHARSET=")
                    && !upper.starts_with("ENCODING=")
            });
            // A soft break at the end of the card would take what follows in.
            let value = value.strip_suffix('=').unwrap_or(value);
            let rest = parameters.collect::<Vec<_>>().join(";");
            format!("{rest};CHARSET={RAW_CHARSET};ENCODING=QUOTED-PRINTABLE:{value}")
        } else {
            line.to_owned()
        };
        let card = format!("BEGIN:VCARD\nVERSION:{version}\n{line}\nEND:VCARD\n");
        let Entry::VCard(card) = Parser::new(&card).entry() else {
            return None;
        };
        let mut entries = card.entries.into_iter().skip(1);
        let entry = entries.next()?;
        let is_structured = matches!(entry.name, VCardProperty::N | VCardProperty::Adr);
        Some(Self {
            entry,
            head,
            value: if is_structured { raw } else { "" }.to_owned(),
            plain: !head_text.contains([';', '.']),
            quoted: head_text.contains('"'),
        })
    }

    pub(super) const fn name(&self) -> &VCardProperty {
        &self.entry.name
    }

    pub(super) fn group(&self) -> Option<&str> {
        self.entry.group.as_deref()
    }

    /// What stands behind the colon of a structured property.
    pub(super) fn value(&self) -> &str {
        &self.value
    }

    /// The parts of a structured property as trimmed texts; several values of one part have commas between them.
    /// calcard takes spaces from such values.
    pub(super) fn parts(&self) -> Vec<String> {
        // As an export writes it, for that must read the same.
        let value = if self.head.quoted_printable {
            readable(&self.value, self.head.charset.as_deref())
        } else {
            self.value.clone()
        };
        split_escaped(&value, ';')
            .map(|part| {
                let values = split_escaped(part, ',').map(|value| unescaped(value.trim()));
                let values: Vec<String> = values.collect();
                values.join(", ").trim().to_owned()
            })
            .collect()
    }

    /// The values as trimmed texts, one for each component.
    pub(super) fn components(&self) -> Vec<String> {
        self.entry
            .values
            .iter()
            .map(|value| self.text(value).trim().to_owned())
            .collect()
    }

    /// Whether its value is data.
    pub(super) fn is_binary(&self) -> bool {
        matches!(self.entry.values.first(), Some(VCardValue::Binary(_)))
    }

    /// Whether there is nothing in any of the parts of a structured property.
    pub(super) fn is_empty(&self) -> bool {
        self.parts().iter().all(String::is_empty)
    }

    /// The first value as a trimmed text, if there is anything in it.
    pub(super) fn first(&self) -> Option<String> {
        self.components()
            .into_iter()
            .next()
            .filter(|text| !text.is_empty())
    }

    /// The day it tells, as `YYYY-MM-DD` or `--MM-DD`; whether there is such a day is not checked.
    pub(super) fn day(&self) -> Option<String> {
        let value = self.entry.values.first()?;
        let date = value.as_partial_date_time()?;
        let (month, day) = (date.month?, date.day?);
        Some(date.year.map_or_else(
            || format!("--{month:02}-{day:02}"),
            |year| format!("{year:04}-{month:02}-{day:02}"),
        ))
    }

    /// The types, in lower case, and whether they are all that the parameters say.
    pub(super) fn types(&self) -> (Vec<String>, bool) {
        let mut types = Vec::new();
        let mut all = self.group().is_none() && !self.quoted && self.head == Head::default();
        for parameter in &self.entry.params {
            match (&parameter.name, parameter.value.as_text()) {
                (VCardParameterName::Type, Some(text)) => types.push(text.to_lowercase()),
                _ => all = false,
            }
        }
        (types, all)
    }

    /// What a value says, with `\n` at the end of each line.
    fn text(&self, value: &VCardValue) -> String {
        match value {
            VCardValue::Text(text) => self.decode(text.as_bytes()),
            VCardValue::Binary(data) => self.decode(&data.data),
            VCardValue::Component(parts) => {
                let parts = parts.iter().map(|part| self.decode(part.as_bytes()));
                parts.collect::<Vec<_>>().join(", ")
            }
            VCardValue::Integer(_)
            | VCardValue::Float(_)
            | VCardValue::Boolean(_)
            | VCardValue::PartialDateTime(_)
            | VCardValue::Sex(_)
            | VCardValue::GramGender(_)
            | VCardValue::Kind(_) => String::new(),
        }
    }

    fn decode(&self, bytes: &[u8]) -> String {
        let declared = self
            .head
            .charset
            .as_deref()
            .filter(|_| self.head.quoted_printable);
        let declared = declared.and_then(|label| Encoding::for_label(label.as_bytes()));
        let text = match (declared, core::str::from_utf8(bytes)) {
            (Some(encoding), _) => encoding.decode_without_bom_handling(bytes).0.into_owned(),
            (None, Ok(text)) => text.to_owned(),
            (None, Err(_)) => WINDOWS_1252
                .decode_without_bom_handling(bytes)
                .0
                .into_owned(),
        };
        text.replace("\r\n", "\n").replace('\r', "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(line: &str) -> Option<String> {
        Property::read(line, "2.1").and_then(|property| property.first())
    }

    #[test]
    fn quoted_printable_is_read_in_whatever_charset() {
        let utf8 = "NOTE;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=C3=91a=0D=0Ab";
        assert_eq!(first(utf8).as_deref(), Some("\u{d1}a\nb"));
        let latin = "FN;CHARSET=ISO-8859-1;ENCODING=QUOTED-PRINTABLE:Andr=E9";
        assert_eq!(first(latin).as_deref(), Some("Andr\u{e9}"));
        let euro = "FN;CHARSET=windows-1252;QUOTED-PRINTABLE:=80";
        assert_eq!(first(euro).as_deref(), Some("\u{20ac}"));
        let japanese = "FN;ENCODING=QUOTED-PRINTABLE;CHARSET=SHIFT_JIS:=8E=52=93=63";
        assert_eq!(first(japanese).as_deref(), Some("\u{5c71}\u{7530}"));
    }

    #[test]
    fn a_soft_break_at_the_end_takes_nothing_in() {
        let torn = "NOTE;ENCODING=QUOTED-PRINTABLE:ab=";
        assert_eq!(first(torn).as_deref(), Some("ab"));
    }

    #[test]
    fn an_undeclared_charset_is_utf8_if_it_can_be() {
        assert_eq!(
            first("FN;QUOTED-PRINTABLE:=C3=91").as_deref(),
            Some("\u{d1}")
        );
        assert_eq!(first("FN;QUOTED-PRINTABLE:=D1").as_deref(), Some("\u{d1}"));
    }

    #[test]
    fn components_keep_their_places() {
        let line = "N;ENCODING=QUOTED-PRINTABLE;CHARSET=ISO-8859-1:N=FA=F1ez;Ana;;;";
        let property = Property::read(line, "2.1").expect("a property");
        assert_eq!(property.components()[..2], ["N\u{fa}\u{f1}ez", "Ana"]);
    }

    #[test]
    fn lines_without_a_colon_are_no_properties() {
        assert!(Property::read("hello", "3.0").is_none());
        assert!(Property::read("", "3.0").is_none());
    }
}
