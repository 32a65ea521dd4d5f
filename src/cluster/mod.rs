//! The cluster as this node sees it: who is a member, who is alive, who agrees.

mod view;

pub use view::{ClusterView, MemberStatus, NodeStatus};
