//! What clients did and what they were answered, in the order of each.

use std::{collections::BTreeMap, fmt};

/// The fields of a contact, or the one `value` of a key.
pub(crate) type State = BTreeMap<String, String>;

/// One request.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    /// The client gives up its token, and with it what it was promised.
    NewSession,
    /// Puts the whole of an entity, by its path.
    Put(String, State),
    Patch(String, State),
    Remove(String),
    Read(String),
    /// Counts by an amount, under an idempotency key or none.
    Count(String, i64, Option<String>),
    ReadCounter(String),
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A write is acknowledged.
    Done,
    /// What a read shows; `None` if nothing is there.
    Shown(Option<State>),
    Counted(i64),
    /// It was not done, for this reason (the last word of the problem's type).
    Refused(String),
    /// Nobody knows whether it was, or will be, done: no answer, or one that says so.
    Indeterminate(String),
}

/// One request of one client and its answer.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at_ms: u128,
    pub(crate) node: usize,
    pub(crate) call: Call,
    pub(crate) answer: Answer,
}

impl fmt::Display for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:>7} ms, node {}: {:?} -> {:?}",
            self.at_ms, self.node, self.call, self.answer
        )
    }
}

impl Call {
    pub(crate) fn is_write(&self) -> bool {
        match self {
            Self::Put(..) | Self::Patch(..) | Self::Remove(_) | Self::Count(..) => true,
            Self::NewSession | Self::Read(_) | Self::ReadCounter(_) => false,
        }
    }
}
