//! The seeded simulation: the real engine and the real merge over stores in memory, with a network, disks
//! and clocks that misbehave.
//!
//! Everything derives from one number. A run that fails prints how to replay it:
//! `SEED=… cargo test --test sim`. `SEEDS=…` changes how many seeds are tried, `FROM=…` where they begin; `TRACE=1` tells
//! every event, and `WATCH=collection/key` the story of one entity.
//!
//! Invariants 1 to 10 of the design are checked at every step, one file each under `invariants`, and
//! each file proves that its check bites.

mod client;
mod conflicts;
mod counts;
mod courier;
mod directed;
mod directed_absence;
mod directed_collection;
mod directed_outsider;
mod directed_past;
mod fault;
mod held;
mod history;
mod invariants;
mod nemesis;
mod network;
mod node;
mod oracle;
mod outsider;
mod random;
mod roster;
mod rules;
mod seen;
mod settings;
mod stage;
mod watch;
mod world;
mod writer;
