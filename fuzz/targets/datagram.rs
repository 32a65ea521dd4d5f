//! A datagram of gossip.

use grapevine::cluster::decode_datagram;

pub(super) fn run(bytes: &[u8]) {
    let _garbage = decode_datagram(bytes);
}
