//! The cluster: who belongs to it, who is alive, and how a node finds the others.
//!
//! Two sources, of different worth. Gossip ([`Gossip`], chitchat over UDP) says who is alive now, and carries
//! a few short texts for each node, none of which grows with the data. The roster ([`Roster`]) is a collection
//! like any other, so it says who belongs, for good, and travels by sync; its entries are keyed by replica id,
//! and a new life strikes those before it.
//!
//! `datagram` owns the bytes of a gossip datagram, `letter` those of a sealed one, `courier` decides what may pass,
//! `socket` sends and receives, `seeds` resolves the names of seeds again and again. A message too large for a datagram
//! takes a [`Detour`]. [`ClusterView`] is how the layers above see all of it.
//!
//! Invariants: starting waits for no name and no seed; no datagram and no failure to send ends gossip, and if
//! chitchat itself fails it is started anew under a higher generation.
//!
//! With a cluster secret no datagram of a stranger is looked into, and none is answered with more bytes than it has.
//!
//! It must not know sync, HTTP, or how the two sources are put together.

mod courier;
mod datagram;
mod detour;
mod gossip;
mod letter;
mod roster;
mod seeds;
mod socket;
mod view;
mod window;

pub use datagram::{DatagramError, MAX_DATAGRAM_BYTES, decode as decode_datagram};
pub use detour::{Carrier, Detour};
pub use gossip::{Gossip, GossipConfig, GossipPeer, GossipTotals};
pub use letter::{SEALED_EXTRA_BYTES, SealError, is_letter};
pub use roster::{Expulsion, Listed, MAX_EXPULSIONS, MAX_MEMBERS, Member, Roster, RosterError};
pub use view::{
    Alarms, BlockedWhy, Blocker, ClusterView, Collection, Divergence, ForgetError, Health,
    LeaveError, MemberStatus, NodeStatus, RefusedStatus,
};
