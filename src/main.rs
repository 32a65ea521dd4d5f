//! The `grapevine` program. Everything it does is in the library's `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    grapevine::cli::run()
}
