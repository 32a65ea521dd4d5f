//! The rows of a file that was checked, as what an import takes.

use std::{
    collections::BTreeMap,
    io::{self, BufRead},
};

use csv::{ByteRecord, Reader, ReaderBuilder};
use encoding_rs::{Encoding, UTF_8};

use super::{
    super::{
        address_parts::AddressParts,
        contact_draft::{ContactDraft, check_content, check_group, check_label, check_scalar},
        contact_element::{ElementDraft, Kind},
        contact_rules::MAX_ELEMENTS,
        decoded::decoded,
        name_parts::NameParts,
        vcard::{Card, RejectedCard, RejectedProperty, id_of_name},
    },
    check::{CsvShape, InvalidCsv, MAX_CSV_COLUMNS, invalid},
    columns::{Column, ColumnMap},
};

/// What Google puts between several values of one cell, with a space on both sides.
pub(super) const SEPARATOR: &str = ":::";

/// The rows of a file of any length, one after another.
pub struct RowReader<'a> {
    rows: Reader<Box<dyn BufRead + Send + 'a>>,
    header: Vec<String>,
    columns: Vec<Option<Column>>,
}

impl<'a> RowReader<'a> {
    /// `reader` without its charset: what is declared for it, or marked in it, is made UTF-8.
    #[must_use]
    pub fn decoded(
        reader: impl BufRead + Send + 'a,
        charset: Option<&'static Encoding>,
    ) -> Box<dyn BufRead + Send + 'a> {
        decoded(reader, charset, |encoding| encoding != UTF_8).0
    }

    /// Reads the header. An error of `reader` counts as one of the file.
    pub fn new(
        reader: Box<dyn BufRead + Send + 'a>,
        shape: CsvShape,
        map: &ColumnMap,
    ) -> Result<Self, InvalidCsv> {
        let mut rows = ReaderBuilder::new()
            .delimiter(shape.delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(reader);
        let mut record = ByteRecord::new();
        let read = rows.read_byte_record(&mut record);
        read.map_err(|error| invalid((1, 1), error.to_string()))?;
        if record.len() > MAX_CSV_COLUMNS {
            let detail = format!("the header has more than {MAX_CSV_COLUMNS} columns");
            return Err(invalid((1, 1), detail));
        }
        let texts = record.iter().map(|name| core::str::from_utf8(name));
        let header: Result<Vec<String>, _> = texts.map(|text| text.map(str::to_owned)).collect();
        let header = header.map_err(|_| {
            invalid(
                (1, 1),
                "the header is not UTF-8, and no charset is declared",
            )
        })?;
        if let Some(missing) = map.missing(&header) {
            let detail = format!("the header has no column {missing:?}, of which the map speaks");
            return Err(invalid((1, 1), detail));
        }
        let columns = map.columns(&header);
        if !columns.iter().flatten().any(names_somebody) {
            let detail = "no column of the header says whom a row is about: none is a name, an organization, an e-mail \
                          address or a phone";
            return Err(invalid((1, 1), detail));
        }
        Ok(Self {
            rows,
            header,
            columns,
        })
    }

    /// The columns that mean nothing here: what they hold is not taken.
    pub fn ignored_columns(&self) -> impl Iterator<Item = &str> {
        let columns = self.header.iter().zip(&self.columns);
        columns
            .filter(|(_, column)| column.is_none())
            .map(|(name, _)| name.as_str())
    }

    /// The next row, or why it cannot be taken; `None` at the end. An error is one of the reader.
    #[allow(
        clippy::should_implement_trait,
        reason = "an iterator goes on after an error, and a reader does not"
    )]
    pub fn next(&mut self) -> io::Result<Option<Result<Card, RejectedCard>>> {
        let mut record = ByteRecord::new();
        if !self.rows.read_byte_record(&mut record)? {
            return Ok(None);
        }
        let line = record.position().map_or(0, csv::Position::line);
        Ok(Some(self.row(line, &record)))
    }

    fn row(&self, line: u64, record: &ByteRecord) -> Result<Card, RejectedCard> {
        let refused = |problem: String| RejectedCard {
            problem,
            rejected: Vec::new(),
        };
        if record.len() != self.header.len() {
            return Err(refused(format!(
                "line {line} has {} columns, and the header has {}",
                record.len(),
                self.header.len()
            )));
        }
        let mut row = Row::default();
        let mut hasher = blake3::Hasher::new_derive_key("grapevine 2026 csv row");
        for (place, (name, cell)) in self.header.iter().zip(record).enumerate() {
            let text = core::str::from_utf8(cell).map_err(|_| {
                let column = place + 1;
                refused(format!(
                    "line {line}, column {column} ({name}) is not UTF-8, and no charset is declared"
                ))
            })?;
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            for part in [name.as_str(), text] {
                hasher.update(&(part.len() as u64).to_be_bytes());
                hasher.update(part.as_bytes());
            }
            if let Some(column) = &self.columns[place] {
                row.take(name, column, text);
            }
        }
        row.finish(line, *hasher.finalize().as_bytes())
    }
}

fn names_somebody(column: &Column) -> bool {
    match column {
        Column::NamePart(_) | Column::Element(Kind::Phone | Kind::Email, ..) => true,
        Column::Scalar(field) => ["name", "organization"].contains(field),
        Column::Id
        | Column::Address(..)
        | Column::Groups
        | Column::Element(Kind::Url | Kind::Address, ..)
        | Column::Label(..) => false,
    }
}

/// An element that is put together from its columns.
struct Element {
    kind: Kind,
    column: String,
    label: Option<String>,
    content: String,
}

/// An address that is put together from its columns.
struct Address {
    slot: String,
    /// The first of its columns.
    column: String,
    parts: [Option<String>; AddressParts::COUNT],
    whole: Option<String>,
}

/// The values of one cell.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split(SEPARATOR).map(str::trim)
}

/// A row that is being read.
#[derive(Default)]
struct Row {
    draft: ContactDraft,
    id: Option<String>,
    name_parts: [Option<String>; NameParts::PARTS.len()],
    /// The addresses by their names, in the order of the columns.
    addresses: Vec<Address>,
    elements: Vec<(String, Element)>,
    labels: BTreeMap<(Kind, String), String>,
    taken: Vec<String>,
    rejected: Vec<RejectedProperty>,
}

impl Row {
    fn take(&mut self, name: &str, column: &Column, text: &str) {
        self.taken.push(name.to_owned());
        match column {
            Column::Id => self.id = Some(text.to_owned()),
            Column::Scalar(field) => self.scalar(name, field, text),
            Column::NamePart(place) => self.name_part(name, *place, text),
            Column::Address(slot, part) => self.address(name, slot, *part, text),
            Column::Groups => self.groups(name, text),
            Column::Element(kind, slot, label) => {
                let element = Element {
                    kind: *kind,
                    column: name.to_owned(),
                    label: label.clone(),
                    content: text.to_owned(),
                };
                self.elements.push((slot.clone(), element));
            }
            Column::Label(kind, slot) => {
                self.labels.insert((*kind, slot.clone()), text.to_owned());
            }
        }
    }

    fn reject(&mut self, column: &str, problem: impl Into<String>) {
        self.taken.retain(|taken| taken != column);
        self.rejected.push(RejectedProperty {
            property: column.to_owned(),
            problem: problem.into(),
        });
    }

    fn scalar(&mut self, column: &str, field: &str, text: &str) {
        if self
            .draft
            .scalar(field)
            .is_some_and(|held| !held.is_empty())
        {
            return self.reject(column, format!("another column says the {field} already"));
        }
        match check_scalar(field, text) {
            Ok(()) => self.draft.set_scalar(field, Some(text.to_owned())),
            Err(problem) => self.reject(column, problem),
        }
    }

    fn address(&mut self, column: &str, slot: &str, part: Option<usize>, text: &str) {
        let known = self.addresses.iter().position(|it| it.slot == slot);
        let place = known.unwrap_or_else(|| {
            self.addresses.push(Address {
                slot: slot.to_owned(),
                column: column.to_owned(),
                parts: [const { None }; AddressParts::COUNT],
                whole: None,
            });
            self.addresses.len() - 1
        });
        let address = &mut self.addresses[place];
        let held = part.map_or(&mut address.whole, |part| &mut address.parts[part]);
        *held = Some(text.to_owned());
    }

    fn name_part(&mut self, column: &str, place: usize, text: &str) {
        match NameParts::check(text) {
            Ok(()) => self.name_parts[place] = Some(text.to_owned()),
            Err(problem) => self.reject(column, problem),
        }
    }

    fn groups(&mut self, column: &str, text: &str) {
        let separator = if text.contains(SEPARATOR) {
            SEPARATOR
        } else {
            ";"
        };
        for group in text.split(separator) {
            // Google marks its own groups.
            let group = group.trim().trim_start_matches("* ").trim();
            if group.is_empty() {
                continue;
            }
            match check_group(group) {
                Ok(()) if self.draft.groups.len() < MAX_ELEMENTS => {
                    self.draft.groups.insert(group.to_owned());
                }
                Ok(()) => self.reject(column, format!("has more than {MAX_ELEMENTS} items")),
                Err(problem) => self.reject(column, problem),
            }
        }
    }

    fn finish(mut self, line: u64, hash: [u8; 32]) -> Result<Card, RejectedCard> {
        self.put_elements();
        self.put_addresses();
        self.draft.name_parts = NameParts::of(std::mem::take(&mut self.name_parts));
        if self.draft.name.is_empty() {
            let Some(name) = self.made_up_name() else {
                return Err(RejectedCard {
                    problem: format!(
                        "line {line} names nobody: no name, organization, e-mail or phone"
                    ),
                    rejected: self.rejected,
                });
            };
            self.draft.name = name;
        }
        Ok(Card {
            id: id_of_name(self.id.as_deref(), &hash),
            hash,
            draft: self.draft,
            kept: Vec::new(),
            replaces_kept: false,
            taken_names: self.taken,
            rejected: self.rejected,
        })
    }

    fn put_elements(&mut self) {
        for (slot, element) in std::mem::take(&mut self.elements) {
            let label = self.labels.get(&(element.kind, slot)).cloned();
            let label = label.or_else(|| element.label.clone()).unwrap_or_default();
            let contents: Vec<&str> = element.content.split(SEPARATOR).collect();
            let labels: Vec<&str> = label.split(SEPARATOR).collect();
            for (place, content) in contents.iter().enumerate() {
                let own = if labels.len() == contents.len() {
                    labels[place]
                } else {
                    label.as_str()
                };
                let own = own.trim().trim_start_matches("* ").trim();
                self.put_element(element.kind, &element.column, own, content.trim());
            }
        }
    }

    fn put_element(&mut self, kind: Kind, column: &str, label: &str, content: &str) {
        let list = self.draft.elements_mut(kind);
        if list.len() == MAX_ELEMENTS {
            return self.reject(column, format!("has more than {MAX_ELEMENTS} items"));
        }
        let label = Some(label).filter(|label| !label.is_empty());
        let checked = check_content(kind, content);
        match checked.and_then(|()| label.map_or(Ok(()), check_label)) {
            Ok(()) => list.push(ElementDraft {
                label: label.map(str::to_owned),
                content: content.to_owned(),
                ..ElementDraft::default()
            }),
            Err(problem) => self.reject(column, problem),
        }
    }

    fn put_addresses(&mut self) {
        for address in std::mem::take(&mut self.addresses) {
            let said = |part: &Option<String>| part.as_ref().map_or(0, |it| pieces(it).count());
            let count = address.parts.iter().map(said).max().unwrap_or_default();
            if count == 0 {
                self.whole_address(&address);
            }
            let label = self.label_of(&address);
            for place in 0..count {
                let part = |part: &Option<String>| {
                    let piece = pieces(part.as_deref()?).nth(place)?;
                    Some(piece.to_owned())
                };
                let own = pieces(&label).count() == count;
                let own = own.then(|| pieces(&label).nth(place)).flatten();
                let parts = AddressParts::of(address.parts.each_ref().map(part));
                if let Some(parts) = parts {
                    let label = own.unwrap_or(&label).trim_start_matches("* ").trim();
                    self.put_element(Kind::Address, &address.column, label, &parts.content());
                }
            }
        }
    }

    /// What its column says an address is for, or what its columns are called, as Outlook does.
    fn label_of(&self, address: &Address) -> String {
        let label = self.labels.get(&(Kind::Address, address.slot.clone()));
        let outlook = match address.slot.as_str() {
            "home" => "home",
            "business" => "work",
            "other" => "other",
            _ => "",
        };
        label.map_or(outlook, String::as_str).to_owned()
    }

    /// An address that nobody took apart is the one text that a contact has, or else a street.
    fn whole_address(&mut self, address: &Address) {
        let Some(whole) = address.whole.as_deref() else {
            return;
        };
        if self.draft.address.is_none() {
            return self.scalar(&address.column, "address", whole);
        }
        let mut parts = [const { None }; AddressParts::COUNT];
        parts[AddressParts::STREET] = Some(whole.to_owned());
        if let Some(parts) = AddressParts::of(parts) {
            let label = self.label_of(address);
            self.put_element(Kind::Address, &address.column, &label, &parts.content());
        }
    }

    fn made_up_name(&self) -> Option<String> {
        let said = self.draft.name_parts.as_ref().map(NameParts::composed);
        let candidates = [
            said.as_deref(),
            self.draft.organization.as_deref(),
            self.draft
                .emails
                .first()
                .map(|email| email.content.as_str()),
            self.draft
                .phones
                .first()
                .map(|phone| phone.content.as_str()),
        ];
        let mut named = candidates.into_iter().flatten();
        let fits = |name: &&str| !name.is_empty() && check_scalar("name", name).is_ok();
        named.find(fits).map(str::to_owned)
    }
}
