//! Which node is asked next, and when asking is given up.
//!
//! What decides is whether a request may have happened. One that was certainly not taken (no connection, or the node
//! says that it did nothing) goes to the next node, whatever it is. One that may have been taken is repeated only if
//! it is idempotent; else the error says that nobody knows. Nothing is asked for ever: the nodes are gone through a
//! few times, with pauses between.

use std::time::Duration;

use hyper::Method;
use tokio::time::sleep;

use super::{
    address::NodeAddress,
    call::Call,
    error::ClientError,
    options::ClientOptions,
    problem::{Problem, ProblemKind},
};

/// The longest pause between two rounds.
const MAX_ROUND_PAUSE: Duration = Duration::from_secs(2);

/// Why one node gave no answer of success to one request.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was not sent.
    Unreached(String),
    /// It may have been taken.
    Unanswered(String),
    /// The node says why not.
    Refused(Box<Problem>),
    /// No node would do better.
    Hopeless(ClientError),
}

impl Failure {
    pub(super) fn late(limit: Duration) -> Self {
        Self::Unanswered(format!("nothing came within {limit:?}"))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Hopeless(error)
    }
}

/// The attempts at one request.
#[derive(Debug)]
pub(super) struct Rounds<'a> {
    options: &'a ClientOptions,
    call: &'a Call,
    first: usize,
    turn: usize,
    pause: Duration,
    unreached: Vec<(String, String)>,
    /// Whether an attempt may have been taken.
    perhaps_done: bool,
    /// The last node that was asked and did not do it.
    last: Option<ClientError>,
}

impl<'a> Rounds<'a> {
    /// Begins with the node `first`.
    pub(super) fn new(options: &'a ClientOptions, call: &'a Call, first: usize) -> Self {
        Self {
            options,
            call,
            first,
            turn: 0,
            pause: options.round_pause,
            unreached: Vec::new(),
            perhaps_done: false,
            last: None,
        }
    }

    /// The place of the node whose turn it is.
    pub(super) fn node(&self) -> usize {
        let turn = self.turn.saturating_sub(1);
        (self.first + turn) % self.options.nodes.len()
    }

    /// The next node; `None` when all were asked often enough.
    pub(super) async fn next(&mut self) -> Option<&'a NodeAddress> {
        let nodes = self.options.nodes.len();
        if self.turn >= nodes.saturating_mul(self.options.rounds as usize) {
            return None;
        }
        if self.turn > 0 && self.turn.is_multiple_of(nodes) {
            sleep(self.pause).await;
            self.pause = (self.pause * 2).min(MAX_ROUND_PAUSE);
            self.unreached.clear();
        }
        self.turn += 1;
        Some(&self.options.nodes[self.node()])
    }

    /// Whether an attempt before this one deleted what is not found now.
    pub(super) fn deleted_before(&self, problem: &Problem) -> bool {
        self.perhaps_done
            && self.call.method == Method::DELETE
            && problem.kind == ProblemKind::NotFound
    }

    /// Takes note of a failure; an error if no other node is asked.
    pub(super) fn failed(&mut self, failure: Failure) -> Result<(), ClientError> {
        let node = self.options.nodes[self.node()].to_string();
        let write = self.call.is_write();
        let (error, perhaps_done, may_pass) = match failure {
            Failure::Unreached(why) => {
                self.unreached.push((node, why));
                return Ok(());
            }
            Failure::Hopeless(error) => return Err(error),
            Failure::Unanswered(why) => (ClientError::Unanswered { node, why, write }, write, true),
            Failure::Refused(problem) => {
                let after = problem.retry_after.unwrap_or_default();
                self.pause = self.pause.max(after).min(MAX_ROUND_PAUSE);
                let perhaps_done = write && problem.may_have_happened();
                let may_pass = problem.may_pass();
                (ClientError::Problem(problem), perhaps_done, may_pass)
            }
        };
        self.perhaps_done |= perhaps_done;
        if !may_pass || (perhaps_done && !self.call.idempotent) {
            return Err(error);
        }
        // What may have happened is the worse news.
        let outweighed = self
            .last
            .as_ref()
            .is_some_and(|last| last.may_have_happened() && !error.may_have_happened());
        if !outweighed {
            self.last = Some(error);
        }
        Ok(())
    }

    /// What is to be said when no node is left.
    pub(super) fn given_up(self) -> ClientError {
        self.last.unwrap_or(ClientError::Unreachable {
            tried: self.unreached,
        })
    }
}
