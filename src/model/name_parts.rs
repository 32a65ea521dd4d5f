//! A name in its parts, as vCard has them in `N`: one value, so an edit of it says all of its parts. What a person is
//! called is a field of its own.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    contact_draft::text,
    contact_rules::{InvalidContact, MAX_LINE_CHARS, MAX_NAME_CHARS, TextRule},
};
use crate::codec;

const FORMAT: u8 = 1;

/// The parts of a name, at least one of which is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NameParts {
    /// Of the family.
    pub family: Option<String>,
    /// Of the person.
    pub given: Option<String>,
    /// Of the person too, such as a middle name.
    pub additional: Option<String>,
    /// What stands before the name, such as `Dr.`
    pub prefix: Option<String>,
    /// What stands behind it, such as `Jr.`
    pub suffix: Option<String>,
}

impl NameParts {
    /// The field, as users see it, and its attribute.
    pub(super) const FIELD: &'static str = "name_parts";
    /// The parts, in the order of vCard's `N` (RFC 6350, section 6.2.2).
    pub(super) const PARTS: [&'static str; 5] =
        ["family", "given", "additional", "prefix", "suffix"];

    /// Of parts in the order of [`Self::PARTS`]; `None` if all of them are empty.
    pub(super) fn of(parts: [Option<String>; 5]) -> Option<Self> {
        let [family, given, additional, prefix, suffix] =
            parts.map(|part| part.filter(|part| !part.is_empty()));
        let parts = Self {
            family,
            given,
            additional,
            prefix,
            suffix,
        };
        (parts != Self::default()).then_some(parts)
    }

    /// In the order of [`Self::PARTS`].
    pub(super) fn parts(&self) -> [Option<&str>; 5] {
        [
            &self.family,
            &self.given,
            &self.additional,
            &self.prefix,
            &self.suffix,
        ]
        .map(|part| part.as_deref())
    }

    /// Reads the field of a contact; missing, null, or without any part it is `None`.
    pub(super) fn read(value: Option<&Value>) -> Result<Option<Self>, InvalidContact> {
        let object = match value {
            None | Some(Value::Null) => return Ok(None),
            Some(value) => value
                .as_object()
                .ok_or_else(|| InvalidContact::new(Self::FIELD, "is an object"))?,
        };
        let at = |part: &str| format!("{}.{part}", Self::FIELD);
        let known = |part: &&String| Self::PARTS.contains(&part.as_str());
        if let Some(part) = object.keys().find(|part| !known(part)) {
            return Err(InvalidContact::new(at(part), "is not a field here"));
        }
        let mut parts = [const { None }; 5];
        for (name, part) in Self::PARTS.into_iter().zip(&mut parts) {
            let path = at(name);
            let Some(text) = text(object.get(name), &path)? else {
                continue;
            };
            Self::check(text).map_err(|detail| InvalidContact::new(path, detail))?;
            *part = Some(text.to_owned());
        }
        Ok(Self::of(parts))
    }

    /// What is wrong with `text` as a part, if anything is.
    pub(super) fn check(text: &str) -> Result<(), String> {
        if text.trim().is_empty() {
            return Err("is not blank".to_owned());
        }
        TextRule::line(MAX_LINE_CHARS).check(text)
    }

    /// The parts in the order in which they are said, as far as a name goes.
    pub(super) fn composed(&self) -> String {
        let said = [
            &self.prefix,
            &self.given,
            &self.additional,
            &self.family,
            &self.suffix,
        ];
        let said: Vec<&str> = said.into_iter().flatten().map(|part| part.trim()).collect();
        let name: String = said.join(" ").chars().take(MAX_NAME_CHARS).collect();
        name.trim().to_owned()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        codec::encode_versioned(FORMAT, self)
            .expect("a name is far smaller than the limit of the codec")
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        codec::decode_versioned(FORMAT, bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_are_read_bounded_and_said_in_order() {
        let json = json!({"family": "Lovelace", "given": "Ada", "prefix": "Lady", "suffix": ""});
        let parts = NameParts::read(Some(&json)).expect("it is within the bounds");
        let parts = parts.expect("there are some");
        assert_eq!(parts.composed(), "Lady Ada Lovelace");
        assert_eq!(NameParts::decode(&parts.encode()), Some(parts));
        for (bad, field) in [
            (json!("Ada"), "name_parts"),
            (json!({"first": "Ada"}), "name_parts.first"),
            (json!({"given": 1}), "name_parts.given"),
            (json!({"given": " "}), "name_parts.given"),
            (json!({"given": "x".repeat(257)}), "name_parts.given"),
            (json!({"given": "a\nb"}), "name_parts.given"),
        ] {
            let error = NameParts::read(Some(&bad)).expect_err("it is beyond the bounds");
            assert_eq!(error.field, field);
        }
        for none in [json!(null), json!({}), json!({"given": ""})] {
            assert_eq!(NameParts::read(Some(&none)), Ok(None));
        }
        let long = Some("é".repeat(MAX_LINE_CHARS));
        let parts = NameParts::of([long.clone(), long, None, None, None]).expect("parts");
        assert_eq!(parts.composed().chars().count(), MAX_NAME_CHARS);
    }
}
