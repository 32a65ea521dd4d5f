//! The dangers: a supervisor cannot tell that a node serves, cannot end it, or cannot read what it logs.

mod support;

use std::fs;

use serde_json::Value;
use support::{
    process::{NodeProcess, Start},
    program::{grapevine, run},
};

#[test]
fn a_node_tells_where_it_serves_and_ends_well_on_sigterm() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut start = Start::new("one", directory.path(), &[]);
    start.more = ["--log-format", "json"].map(Into::into).to_vec();
    let node = NodeProcess::start(start);
    assert!(!node.url().ends_with(":0"));
    assert!(!node.seed().ends_with(":0"));
    // Fails unless the exit code is 0.
    node.terminate();
    let log = fs::read_to_string(directory.path().join("one.log")).expect("it logged");
    assert!(!log.is_empty());
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).expect("every line is JSON");
        assert!(line["level"].is_string(), "{line}");
    }
}

#[cfg(not(feature = "otlp"))]
#[test]
fn spans_are_waited_for_that_this_program_cannot_tell() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut start = Start::new("one", directory.path(), &[]);
    start.prelude = Some("export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1".to_owned());
    NodeProcess::start(start).terminate();
    let log = fs::read_to_string(directory.path().join("one.log")).expect("it logged");
    assert!(log.contains("without the feature `otlp`"), "{log}");
}

#[test]
fn help_and_version_need_nothing() {
    for flag in ["--help", "--version"] {
        let output = run(grapevine().arg(flag));
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("grapevine"));
    }
}

#[test]
fn a_command_that_does_not_exist_ends_with_two() {
    assert_eq!(run(grapevine().arg("sing")).status.code(), Some(2));
}
