//! The lines of a dump: a head with the version, one line an item, and an end that says how many there were.

use std::io::{BufRead, Read as _};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

/// The version of the format; files of another are refused.
pub(super) const DUMP_VERSION: u64 = 1;

/// The most bytes of a line: a value of 64 MiB as base64, with room for its key.
const MAX_LINE_BYTES: u64 = 96 * 1024 * 1024;

/// What a line holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Contact,
    Counter,
    KeyValue,
    Topic,
    Message,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Contact,
        Self::Counter,
        Self::KeyValue,
        Self::Topic,
        Self::Message,
    ];

    /// The one member of its lines.
    pub(super) const fn member(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Counter => "counter",
            Self::KeyValue => "kv",
            Self::Topic => "topic",
            Self::Message => "message",
        }
    }
}

/// How many of each there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts([u64; Kind::ALL.len()]);

impl Counts {
    pub(super) const fn add(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    pub(super) fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) fn to_json(&self) -> Value {
        let counts = Kind::ALL.iter().zip(self.0);
        let counts = counts.map(|(kind, count)| (kind.member().to_owned(), json!(count)));
        Value::Object(counts.collect())
    }
}

/// What the head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Names this dump, so that it counts once however often it is loaded.
    pub(super) id: String,
}

/// Reads a dump to its end, and calls `take` with each item.
pub(super) fn read(
    mut input: impl BufRead,
    take: &mut dyn FnMut(Kind, Value) -> anyhow::Result<()>,
) -> anyhow::Result<(Head, Counts)> {
    let first = line(&mut input)?.context("the file is empty")?;
    let head: Value = serde_json::from_slice(&first).context("this is no dump")?;
    let version = head["grapevine_dump"].as_u64().context("this is no dump")?;
    ensure!(
        version == DUMP_VERSION,
        "this dump is of version {version}; this program reads version {DUMP_VERSION}"
    );
    let id = head["id"]
        .as_str()
        .context("the dump has no id")?
        .to_owned();
    let mut counts = Counts::default();
    let mut number: u64 = 1;
    while let Some(bytes) = line(&mut input)? {
        number += 1;
        let value: Value =
            serde_json::from_slice(&bytes).with_context(|| format!("line {number} is no JSON"))?;
        if let Some(end) = value.get("end") {
            ensure!(
                *end == counts.to_json(),
                "the dump does not hold what its end says: {end}"
            );
            ensure!(
                line(&mut input)?.is_none(),
                "the dump goes on after its end"
            );
            return Ok((Head { id }, counts));
        }
        let mut found = Kind::ALL.into_iter().filter_map(|kind| {
            let item = value.get(kind.member())?;
            Some((kind, item.clone()))
        });
        let (kind, item) = found
            .next()
            .with_context(|| format!("line {number} holds nothing that is known"))?;
        counts.add(kind);
        take(kind, item).with_context(|| format!("line {number}"))?;
    }
    bail!("the dump is cut off: it has no end")
}

fn line(input: &mut impl BufRead) -> anyhow::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    input
        .by_ref()
        .take(MAX_LINE_BYTES)
        .read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    ensure!(bytes.pop() == Some(b'\n'), "a line is cut off or too long");
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = concat!(
        "{\"grapevine_dump\":1,\"id\":\"x\"}\n",
        "{\"counter\":{\"name\":\"a\",\"value\":3}}\n",
        "{\"kv\":{\"key\":\"b\",\"text\":\"c\"}}\n",
        "{\"end\":{\"contact\":0,\"counter\":1,\"kv\":1,\"message\":0,\"topic\":0}}\n",
    );

    fn kinds(text: &str) -> anyhow::Result<Vec<Kind>> {
        let mut kinds = Vec::new();
        let mut take = |kind, _| {
            kinds.push(kind);
            Ok(())
        };
        read(text.as_bytes(), &mut take)?;
        Ok(kinds)
    }

    #[test]
    fn a_dump_that_is_cut_off_or_of_another_version_is_told_from_a_whole_one() {
        assert_eq!(
            kinds(DUMP).expect("it is whole"),
            [Kind::Counter, Kind::KeyValue]
        );
        for place in 0..DUMP.len() {
            assert!(kinds(&DUMP[..place]).is_err(), "cut off at {place}");
        }
        let lines: Vec<&str> = DUMP.split_inclusive('\n').collect();
        for missing in 0..lines.len() {
            let mut lines = lines.clone();
            lines.remove(missing);
            assert!(kinds(&lines.concat()).is_err(), "without line {missing}");
        }
        assert!(kinds(&DUMP.replacen('1', "2", 1)).is_err());
        assert!(kinds(&format!("{DUMP}{{}}\n")).is_err());
        assert!(kinds(&DUMP.replacen("\"kv\"", "\"other\"", 1)).is_err());
    }
}
