//! Contacts as rows of CSV (RFC 4180), in and out.
//!
//! A file is checked as a whole before any of its rows is taken ([`check_csv`]): whoever misplaces a quote moves
//! everything behind it. What the columns mean follows from their names: those that address books of Google and
//! Outlook write, those of our own export, or what the caller says of them.

mod check;
mod columns;
mod export;
mod rows;
#[cfg(test)]
mod tests;

pub use check::{CsvShape, InvalidCsv, MAX_CSV_COLUMNS, MAX_CSV_ROW_BYTES, check_csv};
pub use columns::{ColumnMap, InvalidMap};
pub use export::{csv_header, export_row};
pub use rows::RowReader;
