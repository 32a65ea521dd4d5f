//! The `grapevine` program as a command, without the settings of whoever runs the tests.

use std::{
    env,
    process::{Command, Output, Stdio},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_grapevine");

/// The program under test, with no `GRAPEVINE_*` or `RUST_LOG` of the outside.
pub fn grapevine() -> Command {
    clean(Command::new(PROGRAM))
}

/// The program under test, run by a shell that does `prelude` first.
pub fn grapevine_behind(prelude: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{prelude}; exec \"$@\""), "sh", PROGRAM]);
    clean(command)
}

fn clean(mut command: Command) -> Command {
    for (name, _) in env::vars_os() {
        let shown = name.to_string_lossy();
        if shown.starts_with("GRAPEVINE_") || shown == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command that is expected to end by itself.
pub fn run(command: &mut Command) -> Output {
    command.output().expect("the program can be run")
}

/// What it said on standard error.
pub fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Sends a signal (`INT`, `TERM`, `STOP`, ...) to a process of ours.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status()
        .expect("a shell can be run");
    assert!(status.success(), "kill -{name} {pid}: {status}");
}
