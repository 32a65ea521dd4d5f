//! The command line: one file a command.
//!
//! Exit codes: 0 ended on request (Ctrl-C or SIGTERM), 1 could not start or failed while it ran, 2 the
//! command line or a setting is wrong, in which case nothing was opened.
//!
//! What a command answers goes to standard output, everything else to standard error. An error is one line
//! with its causes. It must not know how a node works: it starts nodes and shuts them down, and asks those that run
//! over HTTP.

mod bundle;
mod closed;
mod command;
mod compact;
mod dev;
mod failure;
mod flags;
mod listen;
mod mend_clock;
mod node_client;
mod serve;
mod stop;
mod verify;

pub use command::run;
