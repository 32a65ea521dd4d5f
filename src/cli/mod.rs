//! The command line: one file a command.
//!
//! Exit codes: 0 done, or ended on request (Ctrl-C or SIGTERM), 1 could not start, failed while it ran or was answered
//! with an error, 2 the command line or a setting is wrong, in which case nothing was opened, 3 no node could be
//! reached, 4 nobody knows whether a write happened.
//!
//! What a command answers goes to standard output, everything else to standard error. An error is one line
//! with its causes. It must not know how a node works: it starts nodes and shuts them down, and asks those that run
//! through the client.

mod backup;
mod batch;
mod bundle;
mod closed;
mod cluster;
mod command;
mod compact;
mod completions;
mod contact_export;
mod contact_fields;
mod contact_history;
mod contact_import;
mod contact_photo;
mod contacts;
mod counter;
mod dev;
mod dump;
mod dump_lines;
mod failure;
mod flags;
mod kv;
mod listed;
mod listen;
mod load;
mod mend_clock;
mod nodes;
mod output;
mod partial;
mod ping;
mod progress;
mod secret;
mod serve;
mod stop;
mod stress;
mod token;
mod topic;
mod verify;
mod watch;

pub use command::run;
