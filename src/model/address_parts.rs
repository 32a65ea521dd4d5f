//! A postal address in its parts, as vCard has them in `ADR`.
//!
//! As the content of an element it is one text: the parts in the order of `ADR`, a separator that no part may have in it
//! between them. So equal addresses are equal texts, and are matched like numbers are.

use serde_json::{Map, Value};

use super::{
    contact_draft::text,
    contact_rules::{InvalidContact, MAX_ADDRESS_PART_CHARS, TextRule},
};

/// What stands between the parts of a content: a control character, which no part has.
const SEPARATOR: char = '\u{1f}';

/// The parts of an address, in the order of [`AddressParts::PARTS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AddressParts([Option<String>; AddressParts::COUNT]);

impl AddressParts {
    pub(super) const COUNT: usize = 7;
    /// In the order of vCard's `ADR` (RFC 6350, section 6.3.1).
    pub(super) const PARTS: [&'static str; Self::COUNT] = [
        "po_box",
        "extended",
        "street",
        "locality",
        "region",
        "postal_code",
        "country",
    ];
    /// The place of the street among them.
    pub(super) const STREET: usize = 2;

    /// Of parts in the order of [`Self::PARTS`]; `None` if all of them are empty.
    pub(super) fn of(parts: [Option<String>; Self::COUNT]) -> Option<Self> {
        let parts = parts.map(|part| part.filter(|part| !part.is_empty()));
        parts.iter().any(Option::is_some).then_some(Self(parts))
    }

    /// In the order of [`Self::PARTS`].
    pub(super) fn parts(&self) -> [Option<&str>; Self::COUNT] {
        self.0.each_ref().map(Option::as_deref)
    }

    /// The parts themselves.
    pub(super) fn into_parts(self) -> [Option<String>; Self::COUNT] {
        self.0
    }

    /// Reads the parts among the fields of an element; `at` gives the path of each.
    pub(super) fn read(
        object: &Map<String, Value>,
        at: impl Fn(&str) -> String,
    ) -> Result<Self, InvalidContact> {
        let mut parts = [const { None }; Self::COUNT];
        for (name, part) in Self::PARTS.into_iter().zip(&mut parts) {
            let Some(text) = text(object.get(name), &at(name))? else {
                continue;
            };
            Self::check(text).map_err(|detail| InvalidContact::new(at(name), detail))?;
            *part = Some(text.to_owned());
        }
        Self::of(parts).ok_or_else(|| {
            let detail = format!("is needed, or another of {}", Self::PARTS.join(", "));
            InvalidContact::new(at(Self::PARTS[Self::STREET]), detail)
        })
    }

    /// What is wrong with `text` as a part, if anything is.
    pub(super) fn check(text: &str) -> Result<(), String> {
        if text.trim().is_empty() {
            return Err("is not blank".to_owned());
        }
        TextRule::lines(MAX_ADDRESS_PART_CHARS).check(text)
    }

    /// As the content of an element.
    pub(super) fn content(&self) -> String {
        let parts = self.parts().map(Option::unwrap_or_default);
        parts.join(&SEPARATOR.to_string())
    }

    /// What [`Self::content`] made; parts that are not there are none.
    pub(super) fn of_content(content: &str) -> Self {
        let mut parts = content.split(SEPARATOR);
        let part = |_| {
            let part = parts.next().filter(|part| !part.is_empty());
            part.map(str::to_owned)
        };
        Self(core::array::from_fn(part))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_are_bounded_and_come_back_from_a_content() {
        let json =
            json!({"street": "St James's Square 12\n2nd floor", "country": "UK", "region": null});
        let object = json.as_object().expect("an object");
        let at = |part: &str| format!("addresses[0].{part}");
        let parts = AddressParts::read(object, at).expect("it is within the bounds");
        assert_eq!(AddressParts::of_content(&parts.content()), parts);
        for (bad, field) in [
            (json!({"street": 1}), "addresses[0].street"),
            (json!({"street": ""}), "addresses[0].street"),
            (json!({"country": "x".repeat(513)}), "addresses[0].country"),
            (json!({"region": "a\u{1f}b"}), "addresses[0].region"),
            (json!({"region": " "}), "addresses[0].region"),
        ] {
            let object = bad.as_object().expect("an object");
            let error = AddressParts::read(object, at).expect_err("it is beyond the bounds");
            assert_eq!(error.field, field);
        }
    }

    #[test]
    fn what_a_peer_made_up_is_read_as_far_as_it_goes() {
        for content in ["", "a", &"\u{1f}b".repeat(20)] {
            let parts = AddressParts::of_content(content);
            assert_eq!(AddressParts::of_content(&parts.content()), parts);
        }
    }
}
