//! How a command that failed says so: one line, and an exit code.

use std::process::ExitCode;

use super::output::{ReaderGone, shown};
use crate::{client::ClientError, config::ConfigError};

/// What the codes mean, for help.
pub(super) const EXIT_CODES: &str = "Exit codes: 0 done, or ended on request; 1 could not start, failed, or a node answered with an error \
    (nothing there is one); 2 a wrong command line or setting; 3 no node could be reached, or none answered a question; 4 no answer to \
    a write, which may have happened all the same.";

/// Could not start, failed while it ran, or was answered with an error.
const FAILED: u8 = 1;

/// The command line or a setting is wrong.
const WRONG_SETTINGS: u8 = 2;

/// No node could be reached, or none answered a question. Nothing was written.
pub(super) const NOT_REACHED: u8 = 3;

/// A write was not answered as done, and may be.
const UNKNOWN: u8 = 4;

/// Tells the user, and yields the exit code.
pub(super) fn report(error: &anyhow::Error) -> ExitCode {
    if error.is::<ReaderGone>() {
        return ExitCode::SUCCESS;
    }
    eprintln!("grapevine: {}", shown(&one_line(error)));
    ExitCode::from(code(error))
}

fn code(error: &anyhow::Error) -> u8 {
    if error.is::<ConfigError>() {
        return WRONG_SETTINGS;
    }
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Address { .. } | ClientError::NoNode | ClientError::Options(_)) => {
            WRONG_SETTINGS
        }
        Some(error) if error.may_have_happened() => UNKNOWN,
        Some(ClientError::Unreachable { .. } | ClientError::Unanswered { .. }) => NOT_REACHED,
        Some(_) | None => FAILED,
    }
}

/// The error and its causes; a cause that the error before it already tells is not told twice.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let cause = cause.to_string().replace('\n', ", ");
        if line.contains(&cause) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&cause);
    }
    line
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::{FAILED, NOT_REACHED, UNKNOWN, WRONG_SETTINGS, code, one_line};
    use crate::client::ClientError;

    #[test]
    fn a_cause_is_told_once_and_on_one_line() {
        let error = anyhow!("disk\nfull")
            .context("cannot write: disk, full")
            .context("cannot start");
        assert_eq!(one_line(&error), "cannot start: cannot write: disk, full");
    }
    #[test]
    fn what_may_have_happened_is_told_from_what_did_not() {
        let unanswered = |write| ClientError::Unanswered {
            node: "http://ship:7801".to_owned(),
            why: "silence".to_owned(),
            write,
        };
        let wrong = ClientError::Address {
            address: "ship".to_owned(),
            why: "no",
        };
        let unreachable = ClientError::Unreachable { tried: Vec::new() };
        for (error, expected) in [
            (anyhow::Error::new(unanswered(true)), UNKNOWN),
            (
                anyhow::Error::new(unanswered(true)).context("importing"),
                UNKNOWN,
            ),
            (unanswered(false).into(), NOT_REACHED),
            (unreachable.into(), NOT_REACHED),
            (wrong.into(), WRONG_SETTINGS),
            (anyhow!("no"), FAILED),
        ] {
            assert_eq!(code(&error), expected, "{error}");
        }
    }
}
