//! How a command that failed says so: one line, and an exit code.

use std::process::ExitCode;

use crate::config::ConfigError;

/// Could not start, or failed while it ran.
const FAILED: u8 = 1;

/// The command line or a setting is wrong.
const WRONG_SETTINGS: u8 = 2;

/// Tells the user, and yields the exit code.
pub(super) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("grapevine: {}", one_line(error));
    ExitCode::from(if error.is::<ConfigError>() {
        WRONG_SETTINGS
    } else {
        FAILED
    })
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

    use super::one_line;

    #[test]
    fn a_cause_is_told_once_and_on_one_line() {
        let error = anyhow!("disk\nfull")
            .context("cannot write: disk, full")
            .context("cannot start");
        assert_eq!(one_line(&error), "cannot start: cannot write: disk, full");
    }
}
