//! Why a request brought no answer of success, and whether it may have happened all the same.

use std::fmt::Write as _;

use super::problem::{Problem, ProblemKind};

/// Why a request did not succeed. [`ClientError::may_have_happened`] says whether a write is nevertheless possible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// This is not where a node can be. Nothing was sent.
    #[error("{address} is no address of a node: {why}")]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is no node to ask. Nothing was sent.
    #[error("no node is named")]
    NoNode,
    /// The client cannot be made as it was told. Nothing was sent.
    #[error("{0}")]
    Options(String),
    /// The request cannot be sent at all. Nothing was.
    #[error("this cannot be asked: {0}")]
    Request(String),
    /// What should be sent cannot be read. A part may have been sent, which no node takes for the whole.
    #[error("{what} cannot be read")]
    Source {
        /// What should have been sent.
        what: String,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// What a node sent cannot be written where it should go.
    #[error("what comes cannot be written")]
    Target {
        /// Why.
        source: std::io::Error,
    },
    /// No node could be reached. Nothing happened.
    #[error("no node can be reached: {}", told(tried))]
    Unreachable {
        /// Each node that was tried, and why it was not reached.
        tried: Vec<(String, String)>,
    },
    /// A node was reached and did not answer. If the request was a write, nobody knows whether it happened.
    #[error(
        "{node} did not answer: {why}{}",
        if *write { "; whether it was written is unknown" } else { "" }
    )]
    Unanswered {
        /// The node.
        node: String,
        /// What happened instead.
        why: String,
        /// Whether the request was a write.
        write: bool,
    },
    /// A node answered that it cannot or will not. [`Problem::may_have_happened`] says what that means for a write.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// What answered is no node of a version that is known here. A write may have happened.
    #[error("{node} answers what no node should: {why}")]
    Unexpected {
        /// Where it came from.
        node: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ClientError {
    /// What the node said, if it is a node that refuses.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    /// Whether a node said that there is nothing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.is(ProblemKind::NotFound)
    }

    /// Whether a node refused for this reason.
    #[must_use]
    pub fn is(&self, kind: ProblemKind) -> bool {
        self.problem().is_some_and(|problem| problem.kind == kind)
    }

    /// Whether the request, if it was a write, may have happened although it was not answered as done.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Address { .. }
            | Self::NoNode
            | Self::Options(_)
            | Self::Request(_)
            | Self::Source { .. }
            | Self::Target { .. }
            | Self::Unreachable { .. } => false,
            Self::Unanswered { write, .. } => *write,
            Self::Problem(problem) => problem.may_have_happened(),
            Self::Unexpected { .. } => true,
        }
    }
}

fn told(tried: &[(String, String)]) -> String {
    let mut told = String::new();
    for (node, why) in tried {
        let comma = if told.is_empty() { "" } else { ", " };
        let _never_fails = write!(told, "{comma}{node} ({why})");
    }
    told
}
