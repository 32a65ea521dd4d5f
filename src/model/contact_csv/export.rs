//! A contact as a row.

use csv::{Terminator, WriterBuilder};
use grapevine_crdt::Entity;

use super::super::{
    address_parts::AddressParts,
    contact::Contact,
    contact_element::{ElementDraft, Kind},
};

/// How many phones, e-mails and web addresses each have columns of their own; the last has all that are beyond.
const ELEMENTS: usize = 5;
/// How many postal addresses do.
const ADDRESSES: usize = 3;
/// The columns of one, in the order of vCard's `ADR`.
const ADDRESS_COLUMNS: [&str; AddressParts::COUNT] = [
    "PO Box",
    "Extended Address",
    "Street",
    "City",
    "Region",
    "Postal Code",
    "Country",
];

/// What is put between several values of one cell, as Google does.
const SEPARATOR: &str = " ::: ";

/// The columns of every export, in the names that Google gives them but for that of an address that nobody took apart.
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
    "Address",
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
    for number in 1..=ADDRESSES {
        for column in ["Label"].into_iter().chain(ADDRESS_COLUMNS) {
            names.push(format!("Address {number} - {column}"));
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
    for (kind, elements) in Kind::ALL.into_iter().zip(elements) {
        match kind {
            Kind::Phone | Kind::Email | Kind::Url => {
                push_elements(&mut cells, elements, ELEMENTS, |content| vec![content]);
            }
            Kind::Address => push_elements(&mut cells, elements, ADDRESSES, |content| {
                let parts = AddressParts::of_content(&content).into_parts();
                parts.map(Option::unwrap_or_default).into()
            }),
        }
    }
    Some(line(&cells))
}

/// The label and the texts of each of `most` elements; those of the last are those of all that are beyond, too.
fn push_elements(
    cells: &mut Vec<String>,
    elements: Vec<ElementDraft>,
    most: usize,
    texts: impl Fn(String) -> Vec<String>,
) {
    let columns = 1 + texts(String::new()).len();
    let rows = elements.into_iter().map(|element| {
        let mut row = vec![element.label.unwrap_or_default()];
        row.extend(texts(element.content));
        row
    });
    let mut rows: Vec<Vec<String>> = rows.collect();
    if rows.len() > most {
        let rest = rows.split_off(most - 1);
        let column = |place: usize| {
            let texts = rest.iter().map(|row| row[place].as_str());
            texts.collect::<Vec<_>>().join(SEPARATOR)
        };
        rows.push((0..columns).map(column).collect());
    }
    rows.resize(most, vec![String::new(); columns]);
    cells.extend(rows.into_iter().flatten());
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
