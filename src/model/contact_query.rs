//! What somebody types to find contacts, read.
//!
//! Digits that follow each other are one number, however it is grouped: `020 79` is the beginning of `0207946`. They
//! may be words as well (`studio 54 20`). So a query is one list of words or two, and a contact is found by either.

use super::{
    contact_index::{ContactTerms, term},
    fold::{fold, words},
};

/// The most bytes of a query.
pub const MAX_QUERY_BYTES: usize = 1_024;
/// The most words of a query.
pub const MAX_QUERY_WORDS: usize = 16;

/// Why a query cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuery {
    /// It is too long.
    #[error("has at most {MAX_QUERY_BYTES} bytes")]
    TooLong,
    /// It has too many words.
    #[error("has at most {MAX_QUERY_WORDS} words")]
    TooManyWords,
}

/// Words of which each must be the beginning of some word of a contact.
pub(super) type Words = Vec<String>;

/// A query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContactQuery {
    readings: Vec<Words>,
}

impl ContactQuery {
    /// Reads what was typed.
    pub fn read(text: &str) -> Result<Self, InvalidQuery> {
        if text.len() > MAX_QUERY_BYTES {
            return Err(InvalidQuery::TooLong);
        }
        let (mut joined, mut apart) = (Words::new(), Words::new());
        let mut number = String::new();
        for token in fold(text).split(' ') {
            let found: Vec<&str> = words(token).map(term).collect();
            if found.is_empty() {
                continue;
            }
            if is_number(token) {
                // The zero of `+44 (0)20` is dialled at home only.
                let token = token.replace("(0)", "");
                number.extend(token.chars().filter(char::is_ascii_digit));
            } else {
                end_number(&mut number, &mut joined);
                joined.extend(found.iter().map(|word| (*word).to_owned()));
            }
            apart.extend(found.into_iter().map(str::to_owned));
        }
        end_number(&mut number, &mut joined);
        let mut readings = Vec::new();
        for mut reading in [joined, apart] {
            reading.sort();
            reading.dedup();
            if reading.len() > MAX_QUERY_WORDS {
                return Err(InvalidQuery::TooManyWords);
            }
            if !reading.is_empty() && !readings.contains(&reading) {
                readings.push(reading);
            }
        }
        Ok(Self { readings })
    }

    /// What may be meant, first what is most likely; nothing if there is no word in it.
    #[must_use]
    pub fn readings(&self) -> &[Vec<String>] {
        &self.readings
    }

    /// The first of the readings by which a contact is found.
    #[must_use]
    pub fn finds(&self, terms: &ContactTerms) -> Option<usize> {
        let found = |words: &Words| words.iter().all(|word| terms.has(word));
        self.readings.iter().position(found)
    }
}

/// Whether a word of a query may be a part of a telephone number.
fn is_number(token: &str) -> bool {
    let allowed = |c: char| c.is_ascii_digit() || "+()-./".contains(c);
    token.chars().all(allowed)
}

fn end_number(number: &mut String, words: &mut Words) {
    if !number.is_empty() {
        words.push(term(number).to_owned());
        number.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(text: &str) -> Vec<Vec<String>> {
        ContactQuery::read(text).expect("a query").readings
    }

    #[test]
    fn digits_are_read_as_one_number_and_as_words() {
        assert_eq!(
            readings("+44 (0)20 79"),
            [vec!["442079"], vec!["0", "20", "44", "79"]]
        );
        assert_eq!(readings("020-7946"), [vec!["207946"], vec!["20", "7946"]]);
        assert_eq!(readings("Ada 0207946"), [vec!["207946", "ada"]]);
        assert_eq!(readings("O'Brien, Óscar"), [vec!["brien", "o", "oscar"]]);
        for nothing in ["", "  ", "+", "!? -"] {
            assert!(readings(nothing).is_empty(), "{nothing}");
        }
    }

    #[test]
    fn a_query_is_bounded() {
        assert_eq!(
            ContactQuery::read(&"x".repeat(1_025)),
            Err(InvalidQuery::TooLong)
        );
        let many = "a b c d e f g h i j k l m n o p q";
        assert_eq!(ContactQuery::read(many), Err(InvalidQuery::TooManyWords));
    }
}
