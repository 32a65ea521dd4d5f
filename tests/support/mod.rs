//! What the tests on real processes share: the `grapevine` program, its nodes, HTTP to them, waiting.
//!
//! Nothing here sleeps for a while and hopes: every wait is for a condition, with a deadline. No port is
//! fixed: a node takes free ones, tells them, and gets the same ones when it is started again.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part of what they share, and nothing is beyond it"
)]

pub mod client;
pub mod cluster;
pub mod local;
pub mod process;
pub mod program;
pub mod proxy;
pub mod wait;
