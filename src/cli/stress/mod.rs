//! `grapevine stress`: a load on a cluster, and a check that nothing of what was acknowledged is missing.
//!
//! Every connection writes to one node, keeps a ledger of what was acknowledged and of what was not answered, and goes on.
//! At the end every node must show all of it: a counter stands between what was acknowledged and that with everything
//! unanswered added; a value is the last one acknowledged, or one that was not answered. It kills nothing, and writes under
//! names of its own that it removes.

mod command;
mod ledger;
mod load;
mod report;
mod verify;

pub(super) use command::Stress;
