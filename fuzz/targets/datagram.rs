//! A datagram of gossip, sealed or not, and what is sealed in one.

use grapevine::{
    cluster::{decode_datagram, is_letter},
    secret::{Secret, Secrets},
};

pub(super) fn run(bytes: &[u8]) {
    let _garbage = decode_datagram(bytes);
    let secrets = Secrets::new(vec![Secret::from_bytes([7; 32])]).expect("one");
    let keys = secrets.keys("grapevine");
    let _garbage = is_letter(&keys[0], bytes);
}
