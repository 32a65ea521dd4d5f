//! A contact as a row.

use csv::{Terminator, WriterBuilder};
use grapevine_crdt::Entity;

use super::super::{contact::Contact, contact_element::Kind};

/// How many phones, e-mails and web addresses each have columns of their own; the last has all that are beyond.
const ELEMENTS: usize = 5;

/// What is put between several values of one cell, as Google does.
const SEPARATOR: &str = " ::: ";

/// The columns of every export, in the names that Google gives them.
const SCALARS: [&str; 13] = [
    "Id",
    "Name",
    "Last Name",
    "First Name",
    "Middle Name",
    "Name Prefix",
    "Name Suffix",
    "Organization Name",
    "Organization Title",
    "Birthday",
    "Address 1 - Formatted",
    "Notes",
    "Labels",
];

/// The first line of an export.
#[must_use]
pub fn csv_header() -> Vec<u8> {
    let mut names: Vec<String> = SCALARS.map(str::to_owned).into();
    for list in ["Phone", "E-mail", "Website"] {
        for number in 1..=ELEMENTS {
            names.push(format!("{list} {number} - Label"));
            names.push(format!("{list} {number} - Value"));
        }
    }
    line(&names)
}

/// The contact `id` that `entity` shows as a line of an export; `None` if it is hidden.
#[must_use]
pub fn export_row(id: &str, entity: &Entity) -> Option<Vec<u8>> {
    let contact = Contact::read(id, entity)?;
    let or_empty = |text: Option<String>| text.unwrap_or_default();
    let elements = Kind::ALL.map(|kind| contact.elements(kind));
    let parts = contact.name_parts.unwrap_or_default();
    let mut cells = vec![
        contact.id,
        contact.name,
        or_empty(parts.family),
        or_empty(parts.given),
        or_empty(parts.additional),
        or_empty(parts.prefix),
        or_empty(parts.suffix),
        or_empty(contact.organization),
        or_empty(contact.title),
        or_empty(contact.birthday),
        or_empty(contact.address),
        or_empty(contact.note),
        // One that holds the separator of others is not read as several.
        contact.groups.join(SEPARATOR)
            + if contact.groups.len() == 1 {
                SEPARATOR
            } else {
                ""
            },
    ];
    for elements in elements {
        let texts = elements.into_iter();
        let texts = texts.map(|it| (or_empty(it.label), it.content));
        push_elements(&mut cells, texts.collect());
    }
    Some(line(&cells))
}

fn push_elements(cells: &mut Vec<String>, mut elements: Vec<(String, String)>) {
    if elements.len() > ELEMENTS {
        let rest = elements.split_off(ELEMENTS - 1);
        let (labels, values): (Vec<_>, Vec<_>) = rest.into_iter().unzip();
        elements.push((labels.join(SEPARATOR), values.join(SEPARATOR)));
    }
    elements.resize(ELEMENTS, (String::new(), String::new()));
    for (label, value) in elements {
        cells.extend([label, value]);
    }
}

fn line(cells: &[String]) -> Vec<u8> {
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    writer
        .write_record(cells)
        .expect("memory can be written to, and a row has as many cells as itself");
    writer.into_inner().expect("memory can be written to")
}
