//! JSON in which no object has a member twice.
//!
//! What such an object says depends on who reads it (RFC 8259, section 4): a proxy that checks the first and a node
//! that takes the last do not see the same request. So it is refused, and the member is named.

use std::{cell::Cell, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// Why bytes are no JSON that is taken.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// They are not JSON.
    Syntax(serde_json::Error),
    /// An object has this member twice.
    Twice(String),
}

/// The value that `bytes` hold.
pub(super) fn read(bytes: &[u8]) -> Result<Value, Unreadable> {
    let twice = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Unique(&twice).deserialize(&mut deserializer);
    let value = value.and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|error| match twice.take() {
        Some(member) => Unreadable::Twice(member),
        None => Unreadable::Syntax(error),
    })
}

/// Makes a value; notes the member that is there twice.
#[derive(Clone, Copy)]
struct Unique<'a>(&'a Cell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                let error = A::Error::custom("a member is there twice");
                self.0.set(Some(name));
                return Err(error);
            }
            object.insert(name, members.next_value_seed(self)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_else_reads_as_it_ever_did() {
        for text in [
            r#"{"a": [1, -2, 3.5, 18446744073709551615, 1e300, "x\u00e9", null, true, {}], "b": {"a": []}}"#,
            "7",
            "\"text\"",
            " [ ] ",
        ] {
            let expected: Value = serde_json::from_str(text).expect("it is JSON");
            assert_eq!(read(text.as_bytes()).expect("it is JSON"), expected);
        }
        let deep = "[".repeat(1_000) + &"]".repeat(1_000);
        for text in ["", "{", "{} {}", "nul", "{\"a\" 1}", "[1,]", "1e999", &deep] {
            let read = read(text.as_bytes());
            assert!(
                matches!(read, Err(Unreadable::Syntax(_))),
                "{text}: {read:?}"
            );
        }
    }

    #[test]
    fn a_member_that_is_there_twice_is_read_as_its_last() {
        for text in [
            r#"{"by": 1, "by": 1}"#,
            r#"{"x": [{"y": {"by": 1, "a": 2, "b\u0079": 3}}]}"#,
        ] {
            let read = read(text.as_bytes());
            assert!(matches!(read, Err(Unreadable::Twice(member)) if member == "by"));
        }
    }
}
